"""From the symptom to the cause: the gate, since when, the nearest pass; on the committed run and on small ones."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from matrix.answers.causes import cause_lines, cells_of, explain, nearest_passes, stretch_words
from matrix.answers.gates import load_gates
from matrix.cli.main import main, make_parser
from matrix.core.records import Outcome
from matrix.results import signatures
from matrix.results.files import read_run, read_runs, run_files
from matrix.results.run import Cell, Run
from matrix.run.planning import plan_of, question_of

ROOT = Path(__file__).parents[3]
COMMITTED = ROOT / "results" / "portability.json"
GATES = load_gates()
LOADED = ("vm-bytecode-version", "vm-features", "module-version", "import-signature", "executable-abi")


@pytest.fixture(scope="module")
def run() -> Run:
    return read_run(COMMITTED)


def cell_at(run: Run, compiler: str, runtime: str) -> Cell:
    wanted = {"compiler": compiler, "runtime": runtime}
    return next(cell for cell in run.cells if wanted.items() <= cell.axes.items())


def told(run: Run, compiler: str, runtime: str) -> str:
    cell = cell_at(run, compiler, runtime)
    return "\n".join(cause_lines(explain(cell, run.cells, GATES), cell, GATES))


def test_the_gate_with_what_each_release_has_there(run):
    text = told(run, "3.8.0", "3.11.0")
    assert "gate       VM bytecode version" in text
    assert (
        "VM bytecode 15.0: IREE 2.9 to 3.9\n  VM bytecode 16.0: IREE 3.10\n  VM bytecode 17.0: IREE 3.11 to 3.13"
        in text
    )


def test_an_import_is_named_with_both_of_its_signatures(run):
    text = told(run, "2.9.0", "3.4.0")
    assert "hal.command_buffer.execution_barrier 0riii_v: IREE 2.9 to 3.3" in text
    assert "hal.command_buffer.execution_barrier 0riiI_v: IREE 3.4 to 3.13" in text


def test_gates_behind_the_one_that_refused(run):
    assert "they also differ in VM bytecode (17.0, runtime 15.0), executable ABI (6, runtime 5)" in told(
        run, "3.11.0", "3.5.0"
    )


def test_since_which_release(run):
    text = told(run, "3.8.0", "3.11.0")
    assert "runtime: failed at run: vm-bytecode-version from 3.10.0 (3.9.0: passed) to 3.13.0 (the newest mea" in text
    assert (
        "compiler: failed at run: vm-bytecode-version from 2.9.0 (the oldest measured) to 3.10.0 (3.11.0: pas" in text
    )


def test_since_which_release_where_the_runtime_goes_with_the_compiler():
    models = read_run(COMMITTED.with_name("models.json"))
    (cell,) = (c for c in models.cells if (c.axes["model"], c.axes["compiler"]) == ("yolox_nano", "3.3.0"))
    (stretch,) = explain(cell, models.cells, GATES).stretches
    assert stretch_words(stretch) == (
        "compiler = runtime: failed at compile: legalization from 2.9.0 (the oldest measured) to 3.8.0 (3.9.0: passed)"
    )


def test_the_nearest_passes_are_nearest(run):
    """Against a search over all cells: no pass with as few axes changed is nearer in the same direction."""
    order = [cell.axes["runtime"] for cell in run.cells if cell.axes["compiler"] == "2.9.0"]
    for cell in run.cells:
        if cell.passed:
            continue
        moves = explain(cell, run.cells, GATES).moves
        assert moves, cell.name
        assert all(move.cell.passed and len(move.changes) == 1 for move in moves)
        here = order.index(cell.axes["runtime"])
        row = [each for each in run.cells if each.axes["compiler"] == cell.axes["compiler"] and each.passed]
        away = [order.index(each.axes["runtime"]) - here for each in row]
        for sign in (1, -1):
            nearest = min((abs(steps) for steps in away if steps * sign > 0), default=None)
            got = [
                abs(m.changes[0].steps)
                for m in moves
                if m.changes[0].axis == "runtime" and m.changes[0].steps * sign > 0
            ]
            assert got == ([] if nearest is None else [nearest])


def test_nobody_is_told_to_take_another_model_or_target(run):
    passed = cell_at(run, "3.8.0", "3.8.0")
    other = replace(passed, axes={**passed.axes, "model": "other"})
    assert nearest_passes(other.axes, [passed], run.cells) == ()
    assert nearest_passes(passed.axes, [passed], run.cells) != ()


def test_a_cell_without_a_pass_anywhere_says_so(run):
    cell = cell_at(run, "3.8.0", "3.11.0")
    assert "none was measured with this model and target" in "\n".join(
        cause_lines(explain(cell, [cell], GATES), cell, GATES)
    )


def test_a_passing_cell_says_how_far_it_holds(run):
    text = told(run, "3.5.0", "3.5.0")
    assert "runtime: passed from 3.4.0 (3.3.0: failed at run: module-version) to 3.7.0 (3.8.0: failed at r" in text
    assert "nearest" not in text and "gate" not in text


def test_every_failure_of_the_committed_run_has_its_gate(run):
    for cell in run.cells:
        if cell.outcome is Outcome.FAILED:
            cause = explain(cell, run.cells, GATES)
            assert cause.gate and len(cause.rows) > 1, cell.name


def test_a_toolchain_of_ones_own_has_no_row_of_gates_and_no_steps(run):
    cell = cell_at(run, "3.8.0", "3.11.0")
    own = replace(cell, axes={**cell.axes, "runtime": "mine"})
    cause = explain(own, (*run.cells, own), GATES)
    assert cause.others == ()
    assert {change.steps for move in cause.moves for change in move.changes if change.axis == "runtime"} == {0}


def test_the_gates_of_loading_are_signatures_with_a_name():
    assert set(LOADED) <= signatures.gates().keys() <= {row.name for row in signatures.rows()}


def test_a_measured_cell_wins_over_one_that_is_not(run):
    untested = replace(run.cells[0], outcome=Outcome.UNTESTED, comparison=None)
    other = replace(run, cells=(untested,))
    assert cells_of([other, run])[0] is run.cells[0]
    assert len(cells_of([other, run])) == len(run.cells)


def test_where_several_cells_fit_the_example_is_one_of_them(tmp_path, capsys):
    ask = ["why", "--store", str(tmp_path / "none"), "compiler=3.7.0", "runtime=3.7.0"]
    assert main(ask) == 2
    example = capsys.readouterr().err.partition("TIP for example: python -m matrix why ")[2].split()
    assert "compiler=3.7.0" in example and main([*ask[:3], *example]) == 0


def test_why_answers_from_the_committed_results_without_a_store(tmp_path, capsys):
    assert main(["why", "compiler=3.8.0", "runtime=3.11.0", "--store", str(tmp_path / "none")]) == 0
    out = capsys.readouterr().out
    for word in (
        "of portability.json, measured 2026",
        "message    c/runtime",
        "nearest that pass",
        "python -m matrix run",
    ):
        assert word in out
    assert not (tmp_path / "none").exists()


def test_why_answers_from_a_file(capsys):
    assert main(["why", "compiler=3.8.0", "runtime=3.8.0", "--results", str(COMMITTED)]) == 0
    assert "outcome    passed" in capsys.readouterr().out
    assert main(["why", "compiler=3.8.0", "--results", str(COMMITTED)]) == 2
    assert "15 cells fit compiler=3.8.0" in capsys.readouterr().err


def test_what_a_file_says_moves_no_terminal(tmp_path, capsys):
    text = COMMITTED.read_text().replace("signature mismatch between", "\\u001b[2J\\u202e mismatch")
    (tmp_path / "hostile.json").write_text(text)
    assert main(["why", "compiler=2.9.0", "runtime=3.4.0", "--results", str(tmp_path / "hostile.json")]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out and "\u202e" not in out
    assert "\\u001b[2J\\u202e" in out


RED = {
    (run.preset, cell.signature): cell
    for run in read_runs(run_files(ROOT / "results"))
    for cell in run.cells
    if cell.outcome.red
}
"""A red cell of each preset and signature that is published."""


@pytest.mark.parametrize("place", RED, ids="-".join)
def test_the_printed_command_of_a_red_cell_asks_for_that_cell_and_no_other(place):
    """The second tier pastes one in a clean virtual environment."""
    cell = RED[place]
    python, dash, package, *words = shlex.split(cell.reproduce)
    assert (python, dash, package, words[0]) == ("python", "-m", "matrix", "run")
    plan = plan_of(question_of(make_parser().parse_args(words)))
    assert [each.labels for each in plan.cells] == [dict(cell.axes)]
