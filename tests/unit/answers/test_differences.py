"""`diff`: two runs, two releases; what is worse, in groups, with the cause."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from matrix.answers.differences import Direction, diff_releases, diff_runs, difference_lines
from matrix.cli.main import main
from matrix.core.records import Outcome
from matrix.results.files import read_run, read_runs, run_files
from matrix.results.run import Run

COMMITTED = Path(__file__).parents[3] / "results" / "portability.json"


@pytest.fixture(scope="module")
def run() -> Run:
    return read_run(COMMITTED)


def raw() -> dict:
    return json.loads(COMMITTED.read_text())


def test_a_run_is_no_worse_than_itself(run):
    found = diff_runs(run, run)
    assert (found.groups, found.same, found.surroundings) == ((), 225, ())
    assert difference_lines(found) == ["0 worse, 0 better, 0 changed, 225 the same"]


def test_two_releases_cell_by_cell(run):
    """Against the raw file: every runtime whose outcome with compiler 3.10 is another one than with 3.9."""
    ends = {
        compiler: {
            cell["axes"]["runtime"]: cell["outcome"] for cell in raw()["cells"] if cell["axes"]["compiler"] == compiler
        }
        for compiler in ("3.9.0", "3.10.0")
    }
    broke = {runtime for runtime, end in ends["3.9.0"].items() if end == "passed" != ends["3.10.0"][runtime]}
    mended = {runtime for runtime, end in ends["3.10.0"].items() if end == "passed" != ends["3.9.0"][runtime]}
    found = diff_releases([run], "compiler", "3.9.0", "3.10.0")
    turned = {
        turn: {cell.axes["runtime"] for group in found.groups if group.turn is turn for cell in group.cells}
        for turn in Direction
    }
    assert (turned[Direction.WORSE], turned[Direction.BETTER]) == (broke, mended)
    assert broke and mended and found.worse == len(broke)
    assert sum(len(group.cells) for group in found.groups) + found.same == 15


def test_a_cell_of_several_runs_is_paired_where_one_of_them_has_both_sides():
    """Of torch 2.9 some run has cells that were not measured with 2.10; the file of exporters has both."""
    lines = (json.loads(path.read_text())["cells"] for path in run_files(COMMITTED.parent))
    both: dict[str, set[str]] = {"2.9.1": set(), "2.10.0": set()}
    for cell in (cell for cells in lines for cell in cells):
        if cell["axes"].get("torch") in both:
            both[cell["axes"]["torch"]].add(json.dumps({**cell["axes"], "torch": ""}))
    found = diff_releases(read_runs(run_files(COMMITTED.parent)), "torch", "2.9.1", "2.10.0")
    judged = sum(len(group.cells) for group in found.groups) + found.same + found.unmeasured
    assert judged == len(both["2.9.1"] & both["2.10.0"]) >= 30
    assert difference_lines(found)[-1].endswith(f"{len(both['2.9.1']) - judged} not measured with torch 2.10.0")


def test_groups_are_worst_first_with_their_cause(run):
    lines = difference_lines(diff_releases([run], "compiler", "3.9.0", "3.10.0"))
    assert lines[:4] == [
        "worse: 2 cells: passed -> failed at run: vm-bytecode-version",
        "  cells    runtime 3.8 to 3.9",
        "  gate     VM bytecode version",
        "  cause    the module's VM bytecode is version 16.0, the runtime reads 15.0",
    ]
    assert lines[-1] == "2 worse, 1 better, 9 changed, 3 the same"


def test_releases_that_are_not_neighbours_are_no_span(run):
    cells = tuple(
        replace(cell, outcome=Outcome.CRASHED, signature="")
        if cell.axes["compiler"] == "3.5.0" and cell.axes["runtime"] in ("3.4.0", "3.7.0")
        else cell
        for cell in run.cells
    )
    assert "  cells    compiler 3.5; runtime 3.4 and 3.7" in difference_lines(diff_runs(run, replace(run, cells=cells)))


def test_an_axis_that_is_tied_moves_with_the_other(run):
    own = tuple(cell for cell in run.cells if cell.axes["compiler"] == cell.axes["runtime"])
    worse = tuple(
        replace(cell, outcome=Outcome.WRONG_OUTPUT) if cell.axes["runtime"] == "3.9.0" else cell for cell in own
    )
    found = diff_releases([replace(run, cells=worse)], "compiler", "3.8.0", "3.9.0")
    assert [(group.turn, group.after) for group in found.groups] == [(Direction.WORSE, "wrong_output at run")]


def test_a_cell_has_a_partner_in_each_run_also_where_one_ties_the_axes(run):
    """Compiler 3.9 on runtime 3.9 has one partner where the runtime moves with it and another where it does not."""
    own = replace(run, cells=tuple(cell for cell in run.cells if cell.axes["compiler"] == cell.axes["runtime"]))
    alone = diff_releases([run], "compiler", "3.9.0", "3.10.0")
    found = [diff_releases(runs, "compiler", "3.9.0", "3.10.0") for runs in ([run, own], [own, run])]
    assert [(each.worse, each.same) for each in found] == [(alone.worse, alone.same + 1)] * 2
    assert alone.worse > 0


def test_what_is_not_measured_is_told_and_not_judged(run):
    first, second, *rest = run.cells
    after = replace(run, cells=(replace(first, outcome=Outcome.UNTESTED), *rest))
    found = diff_runs(run, after)
    assert (found.worse, found.unmeasured, found.gone, found.new) == (0, 1, 1, 0)
    assert difference_lines(found)[-1].endswith("223 the same, 1 gone, 1 measured on one side only")
    assert second.passed


def test_what_else_differs_between_two_runs(run):
    environments = {
        digest: replace(each, distributions=each.distributions | {"numpy": "9.9"})
        if each.lock == "runtime/3.8.0"
        else each
        for digest, each in run.environments.items()
    }
    jobs = {key: replace(job, machine="aarch64, a board, 4 cores") for key, job in run.jobs.items()}
    found = diff_runs(run, replace(run, environments=environments, jobs=jobs))
    numpy, machine = found.surroundings
    assert numpy.startswith("numpy ") and numpy.endswith("-> 9.9, in runtime/3.8.0")
    assert machine.endswith("-> aarch64, a board, 4 cores")


def written(path: Path, change) -> str:
    read = raw()
    change(read["cells"][0])
    path.write_text(json.dumps(read))
    return str(path)


def test_the_exit_status_is_for_ci(tmp_path, capsys):
    """1 where something is worse; 0 where it is better or only different."""
    worse = written(tmp_path / "worse.json", lambda cell: cell.update(outcome="crashed"))
    other = written(tmp_path / "other.json", lambda cell: cell.update(outcome="timed_out"))
    assert main(["diff", str(COMMITTED), worse]) == 1
    assert "worse: 1 cell: passed -> crashed at run" in capsys.readouterr().out
    assert main(["diff", worse, str(COMMITTED)]) == 0
    assert main(["diff", worse, other]) == 0
    assert main(["compare", worse, other]) == 1  # any difference counts there


def test_releases_on_the_command_line(capsys):
    words = ["diff", "compiler", "3.9", "3.10.0", "--results", str(COMMITTED)]
    assert main(words) == 1
    assert "gate     VM bytecode version" in capsys.readouterr().out
    assert main(["diff", "compiler", "3.8.0", "3.9.0", "--results", str(COMMITTED)]) == 0
    assert main(["diff", "compiler", "3.9", "4.0", "--results", str(COMMITTED)]) == 2
    assert "compiler: read '4.0', which no result has, expected one of 2.9.0" in capsys.readouterr().err
    assert main(["diff", "compiler", "3.9"]) == 2
    assert "read compiler 3.9, expected two files, or an axis and two of its values" in capsys.readouterr().err
    assert main(["diff", "before", "after"]) == 2  # two files, of which there is none
    assert main(["diff", "one"]) == 2
    assert main(["diff", "weather", "rain", "sun"]) == 2
