"""How the kept runs of a preset went over time: what changed since the run before it on the same machines. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from matrix.answers.dated.changes import unprompted_lines
from matrix.answers.differences import diff_runs, difference_lines
from matrix.results.formats import totals
from matrix.results.run import Run
from matrix.results.speed import timed_rows
from matrix.results.times import duration, machines_of

MOST_TRENDS = 60
"""The most rows of times of a preset: those that moved most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatedRun:
    """A kept run. `before` is the date of the one before it on the same machines, "" for the first; `compared` is the
    total of the differences from that one, `changed` what changed without a new release."""

    date: str
    machines: tuple[str, ...]
    totals: str
    before: str = ""
    compared: str = ""
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeTrend:
    """The medians of one cell on one machine, in words by date, and the last beside the first as a ratio."""

    place: str
    machines: tuple[str, ...]
    medians: Mapping[str, str]
    ratio: float

    @property
    def size(self) -> float:
        """How far the ratio is from 1, the same in both directions."""
        return max(self.ratio, 1 / self.ratio)


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetTrend:
    """A preset with its kept runs, the newest first, and the times of cells that several of them have."""

    preset: str
    question: str
    runs: tuple[DatedRun, ...]
    times: tuple[TimeTrend, ...]
    left_out: int

    @property
    def dates(self) -> tuple[str, ...]:
        """Those of its times, ascending."""
        return tuple(sorted({date for each in self.times for date in each.medians}))


def preset_trends(runs: Iterable[Run]) -> tuple[PresetTrend, ...]:
    """One for each preset with several runs."""
    by_preset: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.date):
        by_preset.setdefault(run.preset, []).append(run)
    return tuple(_trend(preset, found) for preset, found in by_preset.items() if len(found) > 1)


def _trend(preset: str, runs: Sequence[Run]) -> PresetTrend:
    last: dict[tuple[str, ...], Run] = {}
    rows = []
    for run in runs:
        machines = machines_of(run)
        rows.append(_dated(run, machines, last.get(machines)))
        last[machines] = run
    times = sorted(_times(runs), key=lambda each: -each.size)
    return PresetTrend(
        preset=preset,
        question=runs[-1].question,
        runs=tuple(reversed(rows)),
        times=tuple(times[:MOST_TRENDS]),
        left_out=max(0, len(times) - MOST_TRENDS),
    )


def _dated(run: Run, machines: tuple[str, ...], before: Run | None) -> DatedRun:
    if before is None:
        return DatedRun(date=run.date, machines=machines, totals=totals(run))
    return DatedRun(
        date=run.date,
        machines=machines,
        totals=totals(run),
        before=before.date,
        compared=difference_lines(diff_runs(before, run))[-1],
        changed=tuple(line.strip() for line in unprompted_lines(before, run)[2:]),
    )


def _times(runs: Sequence[Run]) -> list[TimeTrend]:
    """The newest of a day and machine; medians of different days have no common rounds, and so no verdict."""
    found: dict[tuple[tuple[str, ...], tuple[tuple[str, str], ...]], dict[str, float]] = {}
    for run in runs:
        for axes, row, _ in timed_rows(run):
            if row.median_seconds:
                found.setdefault((machines_of(run), tuple(axes.items())), {})[run.date] = row.median_seconds
    several = {key: medians for key, medians in found.items() if len(medians) > 1}
    varied = _varied([dict(axes) for _, axes in several])
    return [
        TimeTrend(
            place=", ".join(label for axis, label in axes if axis in varied),
            machines=machines,
            medians={date: duration(seconds) for date, seconds in medians.items()},
            ratio=medians[max(medians)] / medians[min(medians)],
        )
        for (machines, axes), medians in several.items()
    ]


def _varied(places: Sequence[Mapping[str, str]]) -> set[str]:
    """The axes with several values, and the model."""
    labels: dict[str, set[str]] = {}
    for axis, label in (pair for place in places for pair in place.items()):
        labels.setdefault(axis, set()).add(label)
    return {axis for axis, found in labels.items() if len(found) > 1 or axis == "model"}
