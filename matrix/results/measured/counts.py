"""Instructions of a call over the releases of an axis, and how they rank releases beside the times of other runs. Pure.

Instructions are no speed: which ones they are, and how long memory takes, is not in them.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from matrix.core.versions import releases_first
from matrix.plan.backends.iree.counting import COUNT_FIGURES, MISSES
from matrix.plan.backends.shared import MODEL_AXIS, TARGET_AXIS
from matrix.plan.stages import axes as axis_rows
from matrix.results.run import Run, kept_with_run
from matrix.results.sections import Block, Lines, Section, Words
from matrix.results.speed import timed_rows
from matrix.results.square import headings

INSTRUCTIONS = COUNT_FIGURES[0]
COUNTS_WITHIN = 0.0005
"""The part by which counts of the same code may differ; see docs/measuring.md."""
FIRST_AXES = (MODEL_AXIS.name, TARGET_AXIS.name)
FEWEST_RANKED = 4
"""With fewer releases, any order of ranks is likely by chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountSeries:
    """Release of `axis` -> instructions, everything else the same. `place` has the labels of the other axes; those of
    axes that follow the release are left out."""

    axis: str
    place: Mapping[str, str]
    instructions: Mapping[str, int]
    axes: tuple[Mapping[str, str], ...]
    """All labels of each release, in the same order."""
    following: tuple[str, ...] = ()
    """Axes that have the label of the release in each cell."""
    apart: tuple[str, ...] = ()
    """Further axes on which the series of the run differ."""
    misses: Mapping[str, int] = field(default_factory=dict)
    """Of the cache, where the run has them; older ones have none."""

    @property
    def name(self) -> str:
        """`mobilenet_v2, x86_64`, and what else tells series apart: `, runtime 3.13.0`."""
        first = [self.place[axis] for axis in FIRST_AXES if axis in self.place]
        return ", ".join([*first, *(f"{axis} {self.place[axis]}" for axis in self.apart)])


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedBeside:
    """How alike counts and times order the releases that have both: Spearman's rank correlation, 1 for the same order.
    `source` is the preset of the run with the times."""

    series: CountSeries
    source: str
    releases: int
    correlation: float

    @property
    def words(self) -> str:
        """`mobilenet_v2, x86_64: rank correlation 0.83 with the times of performance, over 15 releases`."""
        return (
            f"{self.series.name}: rank correlation {self.correlation:.2f} with the times of {self.source}, over "
            f"{self.releases} releases"
        )


@kept_with_run
def counted_cells(run: Run) -> Sequence[tuple[Mapping[str, str], int]]:
    """The labels and the instructions of each cell that passed and was counted."""
    return _figures(run, INSTRUCTIONS)


def _figures(run: Run, name: str) -> Sequence[tuple[Mapping[str, str], int]]:
    figures = {key: job.measurements.get(name) for key, job in run.jobs.items()}
    counted = {key: count for key, count in figures.items() if isinstance(count, int) and count > 0}
    if not counted:
        return ()
    found = ((cell, [counted[key] for key in cell.evidence if key in counted]) for cell in run.cells if cell.passed)
    return tuple((cell.axes, values[-1]) for cell, values in found if values)


@kept_with_run
def count_series(run: Run) -> tuple[CountSeries, ...]:
    """A series for each place with several releases of the first axis of releases that has several."""
    counted = counted_cells(run)
    axis = next((name for name in _released() if len({axes.get(name) for axes, _ in counted}) > 1), None)
    if axis is None:
        return ()
    following = _following([axes for axes, _ in counted], axis)
    places: dict[tuple[tuple[str, str], ...], dict[str, tuple[Mapping[str, str], int]]] = {}
    for axes, count in counted:
        place = tuple((name, label) for name, label in axes.items() if name not in (axis, *following))
        places.setdefault(place, {})[axes[axis]] = (axes, count)
    labels: dict[str, set[str]] = {}
    for name, label in (pair for place in places for pair in place if pair[0] not in FIRST_AXES):
        labels.setdefault(name, set()).add(label)
    apart = tuple(name for name, found in labels.items() if len(found) > 1)
    missed = {tuple(axes.items()): count for axes, count in _figures(run, MISSES)}
    return tuple(_series(axis, dict(place), found, apart, missed) for place, found in places.items() if len(found) > 1)


def _series(
    axis: str,
    place: Mapping[str, str],
    found: Mapping[str, tuple[Mapping[str, str], int]],
    apart: tuple[str, ...],
    missed: Mapping[tuple[tuple[str, str], ...], int],
) -> CountSeries:
    order = releases_first(found)
    misses = {label: missed.get(tuple(found[label][0].items())) for label in order}
    return CountSeries(
        axis=axis,
        place=place,
        instructions={label: found[label][1] for label in order},
        axes=tuple(found[label][0] for label in order),
        apart=apart,
        misses={label: count for label, count in misses.items() if count is not None},
        following=tuple(name for name in found[order[0]][0] if name != axis and _follows(name, found)),
    )


def _follows(name: str, found: Mapping[str, tuple[Mapping[str, str], int]]) -> bool:
    return all(axes.get(name) == label for label, (axes, _) in found.items())


def _released() -> list[str]:
    """The axes of releases, those of the square first."""
    rows = axis_rows()
    return sorted((name for name, row in rows.items() if row.released), key=lambda name: rows[name].product == "")


def _following(places: Sequence[Mapping[str, str]], axis: str) -> tuple[str, ...]:
    """The other axes of releases with one label for each release of `axis`, whatever the rest."""
    found = []
    for name in (name for name in _released() if name != axis):
        rest = {tuple(pair for pair in place.items() if pair[0] != name) for place in places}
        whole = {tuple(place.items()) for place in places}
        if len(rest) == len(whole):
            found.append(name)
    return tuple(found)


def instruction_words(count: float) -> str:
    """`1,108 M`; below a million all digits: `43,177`."""
    return f"{count / 1e6:,.0f} M" if count >= 1e7 else f"{count / 1e6:.2f} M" if count >= 1e6 else f"{count:,.0f}"


def series_words(series: CountSeries) -> str:
    """`507 M instructions with 2.9, 1,108 M with 3.8, 409 M with 3.13`: the first release, where it turns most, the
    last."""
    labels, counts = list(series.instructions), series.instructions
    short = dict(zip(labels, headings(labels), strict=True))
    named = [labels[0], max(labels, key=lambda label: counts[label]), min(labels, key=lambda label: counts[label])]
    named.append(labels[-1])
    told: list[str] = []
    for label in (label for label in labels if label in named):
        if not told or not same_counts(counts[label], counts[told[-1]]):
            told.append(label)
    first, *rest = told
    if not rest:
        every = f"every release from {short[first]} to {short[labels[-1]]}"
        return f"{instruction_words(counts[first])} instructions with {every}"
    said = [f"{instruction_words(counts[first])} instructions with {short[first]}"]
    return ", ".join(said + [f"{instruction_words(counts[label])} with {short[label]}" for label in rest])


def same_counts(one: float, other: float) -> bool:
    """Whether they differ by no more than repeats of the same code may."""
    return abs(one - other) <= COUNTS_WITHIN * min(one, other)


def count_lines(run: Run) -> tuple[str, ...]:
    """A sentence for each series."""
    return tuple(f"{series.name}: {series_words(series)}" for series in count_series(run))


def counted_models(runs: Iterable[Run]) -> tuple[str, ...]:
    """The models with a series."""
    names = (series.place.get(MODEL_AXIS.name, "") for run in runs for series in count_series(run))
    return tuple(dict.fromkeys(name for name in names if name))


NO_SPEED = "instructions of a call, counted; they are no speed"


def _blocks(run: Run) -> Iterator[Block]:
    if said := count_lines(run):
        yield Words(text=NO_SPEED)
        yield Lines(lines=said)


COUNTS_SECTION = Section(name="counts", blocks=_blocks)


def ranked_beside(run: Run, others: Iterable[Run]) -> tuple[RankedBeside, ...]:
    """Each series of counts beside each run with times of the same models, target and flags."""
    found = []
    timed = [(other, list(timed_rows(other))) for other in others if other.times]
    for series in count_series(run):
        for other, rows in timed:
            seconds: dict[str, float] = {}
            for axes, row, _ in rows:
                if row.median_seconds and (label := axes.get(series.axis, "")) in series.instructions:
                    own = series.axes[list(series.instructions).index(label)]
                    if all(axes[name] == own[name] for name in axes if name in own):
                        seconds[label] = row.median_seconds
            if len(seconds) >= FEWEST_RANKED:
                alike = rank_correlation([series.instructions[label] for label in seconds], list(seconds.values()))
                if alike is not None:
                    found.append(
                        RankedBeside(series=series, source=other.preset, releases=len(seconds), correlation=alike)
                    )
    return tuple(found)


def rank_correlation(these: Sequence[float], those: Sequence[float]) -> float | None:
    """Spearman's rank correlation; equal values share their mean rank. None where all values of a side are equal."""
    if len(these) < 2 or len(set(these)) == 1 or len(set(those)) == 1:
        return None
    return statistics.correlation(_ranks(these), _ranks(those))


def _ranks(values: Sequence[float]) -> list[float]:
    ordered = sorted(values)
    return [ordered.index(value) + (ordered.count(value) - 1) / 2 for value in values]
