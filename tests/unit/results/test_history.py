"""The committed square over all releases: complete, every end named, and as `portability` where both measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from matrix.core.versions import is_dated
from matrix.results.files import read_run, run_files
from matrix.results.run import Run
from matrix.results.square import squares
from matrix.site.build import runs_of_pages

RESULTS = Path(__file__).parents[3] / "results"


@pytest.fixture(scope="module")
def history() -> Run:
    return read_run(RESULTS / "history.json")


def ends(run: Run) -> dict[tuple[str, str], str]:
    return {(cell.axes["compiler"], cell.axes["runtime"]): cell.words for cell in run.cells}


def test_all_961_cells_are_measured_and_their_ends_have_names(history):
    (square,) = squares(history)
    assert (len(square.rows), len(square.columns), len(square.cells)) == (31, 31, 961)
    assert (square.rows[0], square.rows[15], square.rows[16], square.rows[-1]) == (
        "20230209.425", "20241104.1068", "2.9.0", "3.13.0",
    )  # fmt: skip
    assert all(cell.measured and not cell.degenerate for cell in history.cells)
    assert not {cell.signature for cell in history.cells} & {"unrecognised", "no-output", "module-damaged"}


def test_every_runtime_loads_the_modules_of_its_own_release(history):
    own = [cell for cell in history.cells if cell.axes["compiler"] == cell.axes["runtime"]]
    assert len(own) == 30 and all(cell.right for cell in own)  # compiler 3.7.1 has no runtime


def test_it_ends_as_portability_where_both_measured(history):
    found, other = ends(history), ends(read_run(RESULTS / "portability.json"))
    assert len(other) == 225
    assert {pair: found[pair] for pair in other} == other


def test_modules_of_the_last_dated_releases_load_on_the_first_numbered_ones(history):
    (square,) = squares(history)
    assert len(square.islands) == 12
    assert "modules of compilers 20240828.999 to 3.3 run on runtimes 20240828.999 to 3.3" in square.islands
    across = {pair for pair, end in ends(history).items() if is_dated(pair[0]) != is_dated(pair[1]) and end == "passed"}
    assert len(across) == 20, "two dated and five numbered releases, both ways"


def test_the_start_page_stays_with_the_numbered_releases():
    """Its square would have 31 columns, half of them releases that few people still use."""
    found = runs_of_pages(run_files(RESULTS))
    assert found[0].preset == "portability"
    assert "history" in [run.preset for run in found]
