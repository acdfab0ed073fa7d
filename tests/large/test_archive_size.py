"""A year of weekly runs of all published presets in the archive, simulated: each week other times, each month a
further release that ends like the newest one, with keys, digests and environments of its own. docs/answers.md has the
figure."""

from __future__ import annotations

import hashlib
import itertools
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from matrix.core.versions import releases_first
from matrix.results.files import read_run, run_files
from matrix.results.kept.archive import keep_run, read_kept
from matrix.results.run import Cell, FinishedJob, Run

ROOT = Path(__file__).parents[2]
SAMPLED = (0, 26, 51)
"""Weeks that are written; the sizes between them are interpolated."""
MOST_BYTES = 50_000_000


def digest(*words: object) -> str:
    return hashlib.sha256(repr(words).encode()).hexdigest()


def with_release(run: Run, label: str) -> Run:
    """The run with one more release of the compiler and the runtime, wherever it has several."""
    moving = [name for name in ("compiler", "runtime") if len(run.axis(name).labels) > 1]
    newest = {name: releases_first(run.axis(name).labels)[-1] for name in moving}
    jobs, cells = dict(run.jobs), {cell.name: cell for cell in run.cells}
    for count in range(1, len(moving) + 1):
        for names in itertools.combinations(moving, count):
            for cell in (cell for cell in run.cells if all(cell.axes[name] == newest[name] for name in names)):
                axes = {**cell.axes, **dict.fromkeys(names, label)}
                if all(axes[name] == axes[other] for name, other in run.ties.items()):
                    made = [_again(run.jobs[key], label, names) for key in cell.jobs]
                    jobs |= {job.key: job for job in made}
                    new = replace(cell, axes=axes, jobs=tuple(job.key for job in made), beside=())
                    cells.setdefault(new.name, new)
    environments = dict(run.environments)
    for job in jobs.values():
        if job.environment not in environments:
            like = next(iter(run.environments.values()))
            environments[job.environment] = replace(like, digest=job.environment)
    axes_of_run = tuple(
        replace(axis, values=(*axis.values, replace(axis.values[-1], label=label))) if axis.name in moving else axis
        for axis in run.axes
    )
    return replace(run, axes=axes_of_run, cells=tuple(cells.values()), jobs=jobs, environments=environments)


def _again(job: FinishedJob, label: str, names: tuple[str, ...]) -> FinishedJob:
    """The job of the new release. An export stays what it was."""
    if job.stage in ("export", "import"):
        return job
    artifacts = {name: replace(file, sha256=digest(file.sha256, label)) for name, file in job.artifacts.items()}
    key, environment = digest(job.key, label, names), digest(job.environment, label)
    return replace(job, key=key, environment=environment, artifacts=artifacts)


def of_week(run: Run, week: int, dice: random.Random) -> Run:
    """The run measured once more: nothing of its times and dates is as before."""

    def other(job: FinishedJob) -> FinishedJob:
        clock = f"{dice.randrange(24):02d}:{dice.randrange(60):02d}:{dice.randrange(60):02d}"
        return replace(
            job,
            seconds=round(job.seconds * dice.gauss(1, 0.05), 6),
            cpu_seconds=round(job.cpu_seconds * dice.gauss(1, 0.05), 6),
            peak_bytes=job.peak_bytes and int(job.peak_bytes * dice.gauss(1, 0.01)),
            finished_at=f"2027-{1 + week // 5:02d}-{1 + week % 5 * 5:02d}T{clock}Z",
        )

    return replace(run, jobs={key: other(job) for key, job in run.jobs.items()})


def sizes(folder: Path) -> Iterator[list[int]]:
    """The bytes of each published preset in the sampled weeks."""
    dice = random.Random(7)
    for path in run_files(ROOT / "results"):
        run, written, months = read_run(path), list[int](), 0
        for week in SAMPLED:
            while months < week * 12 // 52:
                months += 1
                run = with_release(run, f"3.{13 + months}.0")
            kept, _ = keep_run(of_week(run, week, dice), folder)
            assert names(read_kept(kept).cells) == names(run.cells)
            written.append(kept.stat().st_size)
        yield written


def names(cells: tuple[Cell, ...]) -> list[str]:
    return [cell.name for cell in cells]


@pytest.mark.full
def test_a_year_of_weekly_runs_is_small(tmp_path):
    weeks = [sum(column) for column in zip(*sizes(tmp_path), strict=True)]
    between = zip(itertools.pairwise(SAMPLED), itertools.pairwise(weeks), strict=True)
    year = sum((end - begin) * (one + other) / 2 for (begin, end), (one, other) in between) + weeks[-1]
    assert weeks[0] < weeks[-1] and year < MOST_BYTES
    said = re.search(
        r"a year of weekly runs takes (\d+) MB", (ROOT / "docs" / "answers.md").read_text(encoding="utf-8")
    )
    assert said and abs(int(said[1]) - year / 1e6) < 1, f"{year / 1e6:.1f} MB"
