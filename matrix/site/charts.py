"""Charts of a run's numbers over the releases, as data and as files. `drawing` draws them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matrix.core.records import Outcome
from matrix.core.text import mark_controls
from matrix.core.versions import releases_first
from matrix.plan.stages import exchanged, later_axes, module_of
from matrix.results.formats import without_formulas
from matrix.results.run import FinishedJob, Run, Timed, Times
from matrix.results.speed import TimedRow, ratio_quartiles, timed_rows
from matrix.results.times import duration
from matrix.site.harmless import LABEL, slug
from matrix.site.releases import products
from matrix.site.squares import ordered

PANELS = 12
"""The most series in one chart; the others are in the data of the run."""
MOST_AXES = 2
"""The most axes besides the releases; values along more axes are for a square, not for a line of panels."""
SIZE, SECONDS, CPU_SECONDS, RATIO = "bytes", "seconds", "seconds of CPU time", "ratio"
BASELINE = "baseline"
"""The verdict of the release that others are compared with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """`value` is None if there is none. `low` and `high` are the spread (the quartiles of the rounds); a ratio within
    `floor` (1.01 is 1 %) of 1 means nothing. `verdict` is one of `speed.Verdict`, or BASELINE."""

    value: float | None
    low: float | None = None
    high: float | None = None
    floor: float | None = None
    verdict: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A panel: `axes` are its labels, `points` are by their value on the chart's axis."""

    axes: Mapping[str, str]
    points: Mapping[str, Point]

    @property
    def name(self) -> str:
        """`mobilenet_v2`; `model linear, flags O3`: a model alone needs no word before it."""
        if set(self.axes) == {"model"}:
            return self.axes["model"]
        return ", ".join(f"{axis} {label}" for axis, label in self.axes.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """`measure` is the kind of values (SIZE, SECONDS, CPU_SECONDS or RATIO), `reading` how to read it. `left_out`
    counts the series beyond PANELS, `empty` names those without a number. `source` is printed below it everywhere."""

    run: Run
    kind: str
    title: str
    measure: str
    reading: str
    x_axis: str
    x: tuple[str, ...]
    series: tuple[Series, ...]
    left_out: int
    empty: tuple[str, ...]
    machine: str

    @property
    def slug(self) -> str:
        return slug(f"{self.run.preset}-{self.kind}")

    @property
    def source(self) -> str:
        """The source and date of the numbers: a chart is passed on without its page."""
        file = mark_controls(Path(self.run.source).name, LABEL)
        said = (f"Source: IREE matrix, {file}", f"measured {self.run.date}", self.machine)
        return ", ".join(part for part in said if part)

    @property
    def summary(self) -> str:
        """A sentence instead of the picture."""
        shown = ", ".join(each.name for each in self.series)
        return f"{self.title}; {self.x_axis} {self.x[0]} to {self.x[-1]}: {shown}. The numbers are in a table below."


def value_words(value: float, measure: str) -> str:
    """`17.7 kB`, `3.2 s`, `0.981`: as axes and tables show it."""
    if measure == SIZE:
        for limit, unit in ((1e6, "MB"), (1e3, "kB")):
            if value >= limit:
                return f"{value / limit:.3g} {unit}"
        return f"{value:.0f} B"
    if measure == RATIO:
        return f"{value:.3f}"
    return duration(value) if value else "0"


PointRow = tuple[Mapping[str, str], Point]
"""A point, and the axes at which it was measured."""


def find_charts(run: Run) -> list[Chart]:
    """The charts of a run, in the order of a page; none if it measured nothing over several releases."""
    compiles = list(_compiles(run))
    machine = _machines(job for _, job in compiles)
    sizes = [(axes, Point(value=_module_bytes(job))) for axes, job in compiles]
    once = [(axes, Point(value=_passed(job, job.cpu_seconds))) for axes, job in compiles]
    timed = list(timed_rows(run))
    quickest = [(axes, Point(value=row.compile_cpu_seconds)) for axes, row, _ in timed]
    medians = [(axes, _median(row)) for axes, row, _ in timed]
    made = (
        _ratios(run, timed, machine),
        _chart(run, medians, machine=machine, **MEDIANS),
        _chart(run, sizes, machine=machine, **SIZES),
        _chart(run, quickest, machine=machine, **QUICKEST) or _chart(run, once, machine=machine, **ONCE),
    )
    return [chart for chart in made if chart]


def _chart(run: Run, rows: Sequence[PointRow], *, machine: str, **words: str) -> Chart | None:
    """Rows over the first axis of releases with several values, a series for each combination of the others."""
    if all(point.value is None for _, point in rows):
        return None
    free = _free([axes for axes, _ in rows])
    x_axis = next((axis for axis in products() if axis in free), None)
    if x_axis is None:
        return None
    others = [axis for axis in free if axis != x_axis] or ["model"]
    if len(others) > MOST_AXES:
        return None
    found: dict[tuple[str, ...], dict[str, Point]] = {}
    for axes, point in rows:
        found.setdefault(tuple(axes.get(axis, "-") for axis in others), {})[axes[x_axis]] = point
    series = [Series(axes=dict(zip(others, labels, strict=True)), points=points) for labels, points in found.items()]
    full = [each for each in series if any(point.value is not None for point in each.points.values())]
    return Chart(
        run=run,
        x_axis=x_axis,
        x=releases_first(axes[x_axis] for axes, _ in rows),
        series=tuple(full[:PANELS]),
        left_out=max(0, len(full) - PANELS),
        empty=tuple(each.name for each in series if each not in full),
        machine=machine,
        **words,
    )


def _free(places: Sequence[Mapping[str, str]]) -> list[str]:
    """The axes with several values, except those that follow an earlier one: a runtime that follows its compiler, an
    exporter that a model does not need."""
    kept: dict[str, tuple[str, ...]] = {}
    for axis in ordered(axis for axes in places for axis in axes):
        column = tuple(axes.get(axis, "-") for axes in places)
        follows = any(len(set(zip(other, column, strict=True))) == len(set(other)) for other in kept.values())
        if len(set(column)) > 1 and not follows:
            kept[axis] = column
    return list(kept)


# -- latency

OWN_SCALES = "Each panel has a scale of its own, from 0."
MEDIANS: Mapping[str, str] = {
    "kind": "latency",
    "title": "Latency of a call",
    "measure": SECONDS,
    "reading": f"Median over all rounds, with the quartiles. {OWN_SCALES}",
}


def _ratios(run: Run, timed: Sequence[TimedRow], machine: str) -> Chart | None:
    """A series whose baseline has no time has no ratio; it is among the latencies."""
    baseline = _baseline(timed)
    return _chart(
        run,
        [(axes, _ratio(row, table)) for axes, row, table in timed],
        machine=machine,
        kind="ratio",
        title=f"Latency beside {baseline}",
        measure=RATIO,
        reading=f"Median ratio to {baseline} over the rounds, with the quartiles; less is faster. A triangle is a "
        "difference beyond the noise floor (the grey band) in every pass; a dot says nothing.",
    )


def _ratio(row: Timed, table: Times) -> Point:
    low, high = ratio_quartiles(row, table) or (None, None)
    verdict = BASELINE if row.baseline else row.verdict
    return Point(value=row.ratio, low=low, high=high, floor=table.noise_floor, verdict=verdict)


def _median(row: Timed) -> Point:
    return Point(value=row.median_seconds, low=row.quartile_1_seconds, high=row.quartile_3_seconds)


def _baseline(timed: Sequence[TimedRow]) -> str:
    """The common labels of all baselines, on axes with several values."""
    bases = [axes for axes, row, _ in timed if row.baseline]
    labels = {axis: {axes.get(axis, "-") for axes in bases} for axis in _free([axes for axes, _, _ in timed])}
    said = [f"{axis} {next(iter(found))}" for axis, found in labels.items() if len(found) == 1]
    return ", ".join(said) or "the baseline"


# -- the cost of compiling, and its output

SIZES: Mapping[str, str] = {
    "kind": "size",
    "title": "Size of the .vmfb",
    "measure": SIZE,
    "reading": f"Bytes of the module that the compiler writes. {OWN_SCALES}",
}
ONCE: Mapping[str, str] = {
    "kind": "compile-time",
    "title": "Time to compile",
    "measure": CPU_SECONDS,
    "reading": f"CPU time of one compile, with other jobs on the machine. {OWN_SCALES}",
}
QUICKEST: Mapping[str, str] = {**ONCE, "reading": f"CPU time of the quickest compile. {OWN_SCALES}"}


def _compiles(run: Run) -> Iterator[tuple[Mapping[str, str], FinishedJob]]:
    """Every compile once, with the axes that can affect it: cells of several runtimes share it."""
    seen: set[tuple[str, ...]] = set()
    for cell in run.cells:
        compiled = next((job for job in run.jobs_of(cell) if exchanged(job.inputs)), None)
        later = later_axes(compiled.stage) if compiled else ()
        axes = {axis: label for axis, label in cell.axes.items() if axis not in later}
        if compiled and tuple(axes.values()) not in seen:
            seen.add(tuple(axes.values()))
            yield axes, compiled


def _passed(job: FinishedJob, value: float) -> float | None:
    return value if job.outcome is Outcome.PASSED else None


def _module_bytes(job: FinishedJob) -> float | None:
    module = job.artifacts.get(module_of(job.artifacts))
    return float(module.bytes) if module else None


def _machines(jobs: Iterable[FinishedJob]) -> str:
    return "; ".join(dict.fromkeys(job.machine for job in jobs))


# -- files


def chart_csv(chart: Chart) -> str:
    """One row for each point."""
    axes = list(chart.series[0].axes)
    rows = [[*axes, chart.x_axis, chart.measure, "low", "high", "noise_floor", "verdict"]]
    for series, x, point in _points(chart):
        numbers = ("" if each is None else f"{each:.6g}" for each in (point.value, point.low, point.high, point.floor))
        rows.append([*series.axes.values(), x, *numbers, point.verdict])
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(map(without_formulas, rows))
    return stream.getvalue()


def chart_json(chart: Chart) -> str:
    """The points with the words in the chart."""
    content = {
        "title": chart.title,
        "reading": chart.reading,
        "source": chart.source,
        "measure": chart.measure,
        "axis": chart.x_axis,
        "points": [
            {
                **series.axes,
                chart.x_axis: x,
                "value": point.value,
                "low": point.low,
                "high": point.high,
                "noise_floor": point.floor,
                "verdict": point.verdict or None,
            }
            for series, x, point in _points(chart)
        ],
    }
    return json.dumps(content, indent=1) + "\n"


def _points(chart: Chart) -> Iterator[tuple[Series, str, Point]]:
    return ((series, x, series.points[x]) for series in chart.series for x in chart.x if x in series.points)
