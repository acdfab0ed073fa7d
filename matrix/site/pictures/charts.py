"""The charts of a run's numbers over the releases. `drawing` draws them, `findings` words their headlines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from matrix.answers.costs import COST_MEASURES, COUNTED, row_changes
from matrix.core.records import Outcome
from matrix.core.versions import releases_first
from matrix.plan.stages import exchanged, later_axes, module_of
from matrix.results.measured.counts import NO_SPEED, count_lines, counted_cells, ranked_beside
from matrix.results.measured.figures import Timed, Times
from matrix.results.run import FinishedJob, Run
from matrix.results.speed import TimedRow, ratio_quartiles, timed_rows
from matrix.results.times import BUFFERS_COUNTED, PLACEMENT, buffers_counted, machine_words
from matrix.site.pictures.chart import (
    BASELINE,
    CPU_SECONDS,
    FIRST_MEASURED,
    INSTRUCTION_COUNT,
    RATIO,
    SECONDS,
    SIZE,
    Chart,
    ChartKind,
    Point,
    Series,
)
from matrix.site.pictures.findings import (
    even_finding,
    is_even,
    ratios_finding,
    steps_between,
    steps_finding,
    steps_of,
)
from matrix.site.pictures.operations import operation_charts
from matrix.site.releases import products
from matrix.site.squares import ordered

HEADLINE_FIGURES = 2
"""The most figures over releases in a headline; all are in the table."""
PANELS = 12
"""The most series in one chart; the others are in the data of the run."""
MOST_AXES = 2
"""The most axes besides the releases; values along more axes are for a square, not for a line of panels."""

PointRow = tuple[Mapping[str, str], Point]
"""A point, and the axes at which it was measured."""


def _kind(cost: str, **words: str) -> ChartKind:
    """A chart of one of the measures that `answers.costs` compares releases by."""
    found = next(each for each in (*COST_MEASURES, COUNTED) if each.name == cost)
    return ChartKind(within=found.within, more=found.more, less=found.less, **words)


OWN_SCALES = "Each panel has a scale of its own, from 0."
HOW_RATIOS = (
    "with the quartiles over the rounds; less than 1 is faster. A triangle is a difference beyond the noise floor (the "
    f"grey band) in every pass; any other sign says nothing. Note: {PLACEMENT}."
)
APART = (
    "Releases were measured in different rounds: the headline names what differs by more than the larger noise floor "
    "of the two."
)
LATENCY_COST = "latency"
LATENCY = _kind(
    LATENCY_COST,
    name="latency",
    title="Latency of a call",
    measure=SECONDS,
    label="latency",
    reading=f"Median over all rounds, with the quartiles. {OWN_SCALES}",
)
CHANGE = replace(
    LATENCY,
    name="change",
    title="Latency compared with the release before",
    measure=RATIO,
    label="ratio",
    reading=f"Median ratio to the nearest older release that has a time, {HOW_RATIOS}",
)
RATIO_KIND = replace(LATENCY, name="ratio", measure=RATIO, label="ratio")
MEMORY = _kind(
    "memory of the process",
    name="memory",
    title="Memory of the process",
    measure=SIZE,
    label="memory",
    reading=f"The most memory that the process held in any round, without what it shares with others. {OWN_SCALES}",
)
BUFFERS = _kind(
    "IREE's own buffers",
    name="buffers",
    title="IREE's own buffers",
    measure=SIZE,
    label="buffers",
    reading="The most bytes of device buffers at a time, as the runtime counts them: "
    f"{BUFFERS_COUNTED}. The headline compares only releases that count alike. {OWN_SCALES}",
)
SIZES = _kind(
    "size of the .vmfb",
    name="size",
    title="Size of the .vmfb",
    measure=SIZE,
    label="size",
    reading=f"Bytes of the module that the compiler writes. {OWN_SCALES}",
)
QUICKEST = _kind(
    "CPU time of a compile",
    name="compile-time",
    title="Time to compile",
    measure=CPU_SECONDS,
    label="CPU time",
    reading=f"CPU time of the quickest compile. {OWN_SCALES}",
)
ONCE = replace(QUICKEST, within=0.5, reading=f"CPU time of one compile, with other jobs on the machine. {OWN_SCALES}")


INSTRUCTIONS_KIND = _kind(
    COUNTED.name,
    name="instructions",
    title="Instructions of a call",
    measure=INSTRUCTION_COUNT,
    label="instructions",
    reading=f"Counted by an emulator, the same on every machine: {NO_SPEED}. {OWN_SCALES}",
)


def find_charts(run: Run, beside: Iterable[Run] = ()) -> list[Chart]:
    """The charts of a run, in the order of a page; none if it measured nothing over several releases. Times of the runs
    `beside` it stand next to its counts."""
    compiles = list(_compiles(run))
    machine = _machines(job for _, job in compiles)
    sizes = [(axes, Point(value=_passed(job, _module_bytes(job)))) for axes, job in compiles]
    once = [(axes, Point(value=_passed(job, job.cpu_seconds))) for axes, job in compiles]
    timed = list(timed_rows(run))
    quickest = [(axes, Point(value=row.compile_cpu_seconds)) for axes, row, _ in timed]
    medians = [(axes, _median(row, table)) for axes, row, table in timed]
    memory = [(axes, Point(value=row.peak_bytes)) for axes, row, _ in timed]
    buffers = [(axes, Point(value=row.device_peak_bytes, counted=buffers_counted(axes))) for axes, row, _ in timed]
    change = _chart(run, CHANGE, _changes(run, timed), machine)
    latency = _chart(run, LATENCY, medians, machine)
    if latency and latency.series:
        latency = _with_verdicts(latency, change)
    made = (
        latency,
        change,
        _chart(run, _baseline_kind(timed), [(axes, _ratio(row, table)) for axes, row, table in timed], machine),
        _counts(run, beside, machine),
        _chart(run, MEMORY, memory, machine),
        _chart(run, BUFFERS, buffers, machine),
        _chart(run, SIZES, sizes, machine),
        _chart(run, QUICKEST, quickest, machine) or _chart(run, ONCE, once, machine),
    )
    return [*(chart for chart in made if chart), *operation_charts(run, machine)]


def _chart(run: Run, kind: ChartKind, rows: Sequence[PointRow], machine: str) -> Chart | None:
    """Rows over the first axis of releases with several values, a series for each combination of the others."""
    if all(point.value is None for _, point in rows):
        return None
    free = _free([axes for axes, _ in rows])
    x_axis = _releases_axis(free)
    if x_axis is None:
        return None
    others = [axis for axis in free if axis != x_axis] or ["model"]
    if len(others) > MOST_AXES:
        return None
    found: dict[tuple[str, ...], dict[str, Point]] = {}
    for axes, point in rows:
        found.setdefault(tuple(axes.get(axis, "-") for axis in others), {})[axes[x_axis]] = point
    series = [Series(axes=dict(zip(others, labels, strict=True)), points=points) for labels, points in found.items()]
    full = [each for each in series if each.values]
    even = [each for each in full if is_even(kind, each)]
    uneven = [each for each in full if each not in even]
    x = releases_first(axes[x_axis] for axes, _ in rows)
    return Chart(
        run=run,
        kind=kind,
        finding=_finding(kind, uneven, even, x),
        x_axis=x_axis,
        tied=_tied(rows, x_axis),
        x=x,
        series=tuple(uneven[:PANELS]),
        # Baselines of a chart of ratios are no finding.
        even=() if kind.measure == RATIO else tuple(even),
        left_out=max(0, len(uneven) - PANELS),
        empty=tuple(each.name for each in series if each not in full),
        machine=machine,
    )


def _finding(kind: ChartKind, series: Sequence[Series], even: Sequence[Series], x: Sequence[str]) -> str:
    if not series:
        return even_finding(even, kind)
    if kind.measure == RATIO:
        return ratios_finding(series, x)
    return steps_finding(kind, list(steps_of(kind, series, x)), x)


def _tied(rows: Sequence[PointRow], x_axis: str) -> tuple[str, ...]:
    """The other axes of releases that have the same label in each row."""
    return tuple(
        axis for axis in products() if axis != x_axis and all(axes.get(axis) == axes[x_axis] for axes, _ in rows)
    )


def _releases_axis(free: Sequence[str]) -> str | None:
    return next((axis for axis in products() if axis in free), None)


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


def _median(row: Timed, table: Times) -> Point:
    return Point(
        value=row.median_seconds,
        low=row.quartile_1_seconds,
        high=row.quartile_3_seconds,
        floor=table.noise_floor,
    )


def _with_verdicts(latency: Chart, change: Chart | None) -> Chart:
    """The headline from the verdicts on the rounds, where releases were measured in the same ones."""
    if change:
        steps = list(steps_between(CHANGE, change.every, change.x))
        return replace(latency, finding=steps_finding(LATENCY, steps, change.x))
    reading = f"{latency.kind.reading} {APART}"
    return replace(latency, kind=replace(latency.kind, reading=reading))


def _ratio(row: Timed, table: Times) -> Point:
    """A series whose baseline has no time has no ratio; it is among the latencies."""
    base = table.base.seconds_by_round if table.base else {}
    low, high = ratio_quartiles(row.seconds_by_round, base) or (None, None)
    verdict = BASELINE if row.baseline else row.verdict
    return Point(value=row.ratio, low=low, high=high, floor=table.noise_floor, verdict=verdict)


def _baseline_kind(timed: Sequence[TimedRow]) -> ChartKind:
    """Named by the common labels of all baselines, on axes with several values."""
    bases = [axes for axes, row, _ in timed if row.baseline]
    labels = {axis: {axes.get(axis, "-") for axes in bases} for axis in _free([axes for axes, _, _ in timed])}
    said = [f"{axis} {next(iter(found))}" for axis, found in labels.items() if len(found) == 1]
    name = ", ".join(said) or "the baseline"
    return replace(RATIO_KIND, title=f"Latency compared with {name}", reading=f"Median ratio to {name}, {HOW_RATIOS}")


def _changes(run: Run, timed: Sequence[TimedRow]) -> list[PointRow]:
    """Each release compared with the nearest older one that has a time, everything else the same."""
    x_axis = _releases_axis(_free([axes for axes, _, _ in timed]))
    if x_axis is None:
        return []
    tied = {x_axis, *_tied([(axes, Point(value=None)) for axes, _, _ in timed], x_axis)}
    places: dict[tuple[object, ...], dict[str, TimedRow]] = {}
    for axes, row, table in timed:
        place = tuple(item for item in axes.items() if item[0] not in tied)
        places.setdefault((id(table), place), {})[axes[x_axis]] = (axes, row, table)
    found: list[PointRow] = []
    for rows in places.values():
        before = ""
        for label in releases_first(rows):
            axes, row, _ = rows[label]
            if row.median_seconds is None:
                found.append((axes, Point(value=None)))
            elif not before:
                found.append((axes, Point(value=None, verdict=FIRST_MEASURED)))
            else:
                found.append((axes, _change(run, rows[before], rows[label])))
            before = label if row.median_seconds is not None else before
    return found


def _change(run: Run, before: TimedRow, after: TimedRow) -> Point:
    axes, new, table = after
    _, old, _ = before
    change = next((each for each in row_changes(run, table, axes, old, new) if each.measure.name == LATENCY_COST), None)
    if change is None:
        return Point(value=None)
    low, high = ratio_quartiles(new.seconds_by_round, old.seconds_by_round) or (None, None)
    return Point(value=change.ratio, low=low, high=high, floor=change.noise_floor, verdict=change.verdict)


# -- instructions


def _counts(run: Run, beside: Iterable[Run], machine: str) -> Chart | None:
    """The headline has the figures themselves."""
    rows = [(axes, Point(value=count)) for axes, count in counted_cells(run)]
    chart = _chart(run, INSTRUCTIONS_KIND, rows, machine) if rows else None
    if chart is None:
        return None
    told = [f"{line}." for line in count_lines(run)]
    ranks = [f"{each.words}." for each in ranked_beside(run, beside)]
    kind = replace(INSTRUCTIONS_KIND, reading=" ".join([INSTRUCTIONS_KIND.reading, *ranks]))
    return replace(chart, kind=kind, finding=" ".join(told[:HEADLINE_FIGURES]) or chart.finding)


# -- the cost of compiling, and its output


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


def _passed(job: FinishedJob, value: float | None) -> float | None:
    """A number of what did not succeed would look like one of what did."""
    return value if job.outcome is Outcome.PASSED else None


def _module_bytes(job: FinishedJob) -> float | None:
    module = job.artifacts.get(module_of(job.artifacts))
    return float(module.bytes) if module else None


def _machines(jobs: Iterable[FinishedJob]) -> str:
    return "; ".join(dict.fromkeys(machine_words(job.machine) for job in jobs))
