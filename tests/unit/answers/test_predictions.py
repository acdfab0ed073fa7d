"""What the gates predict beside what was observed: over all committed results, where the two part, and without any."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from matrix.answers.predictions import (
    committed_predictions,
    compared_words,
    only_predicted,
    prediction_agreement,
    surprising,
)
from matrix.cli.main import main
from matrix.core.records import Outcome
from matrix.core.versions import is_version
from matrix.results.files import read_run, run_files
from matrix.results.run import Cell, Run
from matrix.site.squares import find_squares, mark, marks_of

RESULTS = Path(__file__).parents[3] / "results"


@pytest.fixture(scope="module")
def run() -> Run:
    return read_run(RESULTS / "portability.json")


def of(run: Run, compiler: str, runtime: str) -> Cell:
    return next(cell for cell in run.cells if (cell.axes["compiler"], cell.axes["runtime"]) == (compiler, runtime))


def shown(run: Run, cell: Cell) -> tuple[str, str]:
    """The mark of a changed cell in its square, and what the legend says of it."""
    cells = tuple(cell if each.axes == cell.axes else each for each in run.cells)
    (table,) = find_squares(replace(run, cells=cells))
    text = mark(run, cell)
    return text, next(row.words for row in marks_of(table) if row.mark == text)


@pytest.mark.parametrize("path", run_files(RESULTS), ids=lambda path: path.stem)
def test_all_committed_cells_end_as_predicted(path):
    """A result that does not is a finding: explain it here and in the documents before it is published."""
    cells = read_run(path).cells
    found = prediction_agreement(cells, committed_predictions())
    assert found.other == ()
    of_iree = [cell for cell in cells if "compiler" in cell.axes and is_version(cell.axes["runtime"])]
    assert (found.agreeing > 0) == bool(of_iree), "gates are of IREE's modules and of releases alone"


def test_a_cell_that_ends_otherwise_is_marked_counted_and_named(run):
    cell = replace(of(run, "3.8.0", "3.9.0"), outcome=Outcome.FAILED, signature="executable-abi")
    assert surprising(cell, committed_predictions())
    assert shown(run, cell) == (
        "E≠",
        "failed at run: executable-abi; predicted: it loads; observed: executable-abi",
    )
    found = prediction_agreement(
        [cell if each.axes == cell.axes else each for each in run.cells], committed_predictions()
    )
    assert found.words == "224 of 225 cells ended as the gates alone predict"
    assert len(found.other) == 1 and "compiler=3.8.0 runtime=3.9.0" in found.other[0]


def test_wrong_numbers_are_a_module_that_was_loaded(run):
    cell = replace(of(run, "3.8.0", "3.9.0"), outcome=Outcome.WRONG_OUTPUT, signature="")
    assert not surprising(cell, committed_predictions())
    assert compared_words(cell, committed_predictions()) == "predicted: it loads; as observed"


def test_a_crash_where_a_refusal_was_predicted_is_a_surprise(run):
    cell = replace(of(run, "3.8.0", "3.10.0"), outcome=Outcome.CRASHED, signature="")
    assert shown(run, cell)[0] == "cr≠"
    assert compared_words(cell, committed_predictions()).endswith("observed: crashed at run")


def test_what_fails_behind_the_gates_is_no_surprise(run):
    """An executable that imports a symbol, a device that is not there: the module itself was taken."""
    cell = replace(of(run, "3.8.0", "3.9.0"), outcome=Outcome.FAILED, signature="elf-imports")
    assert not surprising(cell, committed_predictions())
    assert compared_words(cell, committed_predictions()) == "predicted: it loads; what failed is none of these gates"
    found = prediction_agreement(
        [cell if each.axes == cell.axes else each for each in run.cells], committed_predictions()
    )
    assert found.words == "224 of 224 cells ended as the gates alone predict"
    refused = replace(of(run, "3.8.0", "3.10.0"), outcome=Outcome.FAILED, signature="elf-imports")
    assert surprising(refused, committed_predictions())  # it should not have come so far


@pytest.mark.parametrize(("runtime", "mark"), [("3.9.0", "(ok)"), ("3.10.0", "(B)")])
def test_a_release_that_cannot_be_had_is_predicted_and_marked_so(run, runtime, mark):
    cell = replace(of(run, "3.8.0", runtime), outcome=Outcome.NOT_INSTALLABLE, signature="", jobs=())
    text, words = shown(run, cell)
    assert text == mark and words.startswith("not_installable at run; predicted: ")


def test_with_all_outcomes_deleted_it_says_the_same(run, tmp_path, monkeypatch):
    """Of a run of which nothing was measured, with no results about: all 225 marks are predicted as observed."""
    monkeypatch.setenv("IREE_MATRIX_DATA", str(tmp_path))
    committed_predictions.cache_clear()
    bare = tuple(
        replace(
            cell,
            outcome=Outcome.UNTESTED,
            signature="",
            message="",
            means="",
            values={},
            jobs=(),
            comparison=None,
        )
        for cell in run.cells
    )
    (before,) = find_squares(run)
    (after,) = find_squares(replace(run, cells=bare, jobs={}))
    assert len(before.cells) == 225
    for place, cell in before.cells.items():
        assert mark(run, after.cells[place]) == f"({mark(run, cell)})", place
    assert prediction_agreement(bare, committed_predictions()).words == ""


def test_a_cell_that_stopped_at_the_export_is_not_predicted(run):
    cell = replace(of(run, "3.8.0", "3.9.0"), outcome=Outcome.UNTESTED, stage="export", signature="", jobs=())
    assert only_predicted(cell, committed_predictions()) is None
    assert shown(run, cell)[0] == "."


def test_releases_without_known_gates_are_not_predicted(run):
    cell = of(run, "3.8.0", "3.9.0")
    for label in ("4.0.0", "my-build", "-"):
        assert compared_words(replace(cell, axes={**cell.axes, "runtime": label}), committed_predictions()) == ""


def test_why_predicts_what_nobody_measured(capsys, tmp_path):
    store = ("--store", str(tmp_path / "none"))
    assert main(["why", "compiler=3.7.0", "runtime=3.11.0", *store]) == 0
    said = capsys.readouterr().out
    assert said.startswith("not measured: no cell has compiler=3.7.0 runtime=3.11.0")
    assert "predicted: refused at vm-bytecode-version (runtime reads 17.0, module has 15.0)" in said
    assert main(["why", "compiler=3.99.0", "runtime=3.11.0", *store]) == 2  # of which nobody knows the gates
    assert main(["why", "compiler=3.8.0", *store]) == 2  # more than one cell
    assert main(["why", "compiler=3.8.0", "runtime=3.8.0", "target=aarch64", *store]) == 2  # of two models
    capsys.readouterr()
    assert main(["why", "compiler=3.8.0", "runtime=3.8.0", "target=aarch64", "model=mobilenet_v2", *store]) == 0
    assert capsys.readouterr().out.startswith("of aarch64.json, measured ")  # no cell of the default preset
    assert main(["why", "compiler=3.8", "runtime=3.11", *store]) == 0
    assert "outcome    failed at run: vm-bytecode-version" in capsys.readouterr().out
    capsys.readouterr()
    assert main(["why", "compiler=3.8.0", "runtime=3.11.0", *store]) == 0
    assert "gates      predicted: refused at vm-bytecode-version" in capsys.readouterr().out
