"""Kept runs over time: each beside the run before it on its machine, and times that moved, without a verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from matrix.answers.dated.trends import MOST_TRENDS, preset_trends
from matrix.core.records import Outcome
from matrix.results.files import read_run
from matrix.results.run import Run

RESULTS = Path(__file__).parents[3] / "results"


@pytest.fixture(scope="module")
def timed() -> Run:
    return read_run(RESULTS / "performance.json")


def later(run: Run, day: str, *, factor: float = 1.0, machine: str = "") -> Run:
    """The same cells, measured on another day; `factor` changes the times of the first model."""
    jobs = {
        key: replace(job, finished_at=f"{day}T10:00:00Z", machine=machine or job.machine)
        for key, job in run.jobs.items()
    }
    first, *rest = run.times
    rows = tuple(
        replace(row, median_seconds=row.median_seconds * factor if row.median_seconds else None) for row in first.rows
    )
    return replace(run, jobs=jobs, times=(replace(first, rows=rows), *rest))


def test_a_run_stands_beside_the_one_before_it_on_its_machine(timed):
    repaired, *others = (cell for cell in timed.cells if cell.outcome.red)
    cells = tuple(replace(cell, outcome=Outcome.PASSED) if cell is repaired else cell for cell in timed.cells)
    second = replace(later(timed, "2026-12-01"), cells=cells)
    elsewhere = later(timed, "2026-11-30", machine="aarch64, a board, 4 cores")
    (trend,) = preset_trends([second, elsewhere, timed])
    assert [(run.date, run.before) for run in trend.runs] == [
        ("2026-12-01", timed.date), ("2026-11-30", ""), (timed.date, "")
    ]  # fmt: skip
    newest = trend.runs[0]
    assert newest.compared.startswith("0 worse, 1 better, 0 changed")
    (line,) = newest.changed
    assert line.startswith(f"1 cell: {repaired.words} -> ") and "does not repeat" in line
    assert trend.runs[1].machines == ("aarch64, a board, 4 cores (CPU flags not recorded)",)
    assert others or len(timed.cells) > 1


def test_times_of_one_machine_stand_by_date_with_the_last_beside_the_first(timed):
    (trend,) = preset_trends([timed, later(timed, "2026-12-01", factor=2.0)])
    assert trend.dates == (timed.date, "2026-12-01")
    moved = [row for row in trend.times if row.ratio > 1.5]
    model = timed.times[0].shared["model"]
    assert moved == list(trend.times[: len(moved)]), "what moved most comes first"
    assert {round(row.ratio, 6) for row in moved} == {2.0} and all(row.place.startswith(model) for row in moved)
    assert len(trend.times) + trend.left_out == sum(
        bool(row.median_seconds) for each in timed.times for row in each.rows
    )
    assert len(trend.times) <= MOST_TRENDS
    elsewhere = later(timed, "2026-12-01", machine="x86_64, another, 8 cores")
    (apart,) = preset_trends([timed, elsewhere])
    assert apart.times == (), "times of two machines are no trend"


def test_a_preset_with_one_run_has_no_trend(timed):
    assert preset_trends([timed]) == ()
    assert preset_trends([]) == ()
