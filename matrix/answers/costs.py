"""What a release costs compared with another one of the same axis: latency, compile time, memory, size. Pure.

Latency is compared round by round, with the noise floor of the run. The other measures have no noise floor: they are
called equal within the part that `CostMeasure.within` says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from matrix.plan.backends.shared import MODEL_AXIS
from matrix.results.measured.counts import COUNTS_WITHIN, INSTRUCTIONS, count_series, instruction_words
from matrix.results.measured.figures import Timed, Times, Verdict
from matrix.results.run import Run
from matrix.results.speed import median_ratio, pass_rounds, timed_rows, verdict_between
from matrix.results.times import BUFFERS_COUNTED, PLACEMENT, amount, buffers_counted, duration


@dataclass(frozen=True, slots=True, kw_only=True)
class CostMeasure:
    """A measure of a release: `value` reads it from a row of times, `words` shows it. `within` is the part (0.05 is
    5 %) by which it may differ and is still called equal; None if the rounds of the run decide."""

    name: str
    value: Callable[[Timed], float | None]
    words: Callable[[float], str]
    within: float | None
    more: str
    less: str


def _bytes_words(value: float) -> str:
    return amount(int(value))


OWN_BUFFERS = "IREE's own buffers"
OWN_BUFFERS_COUNTED = f"{OWN_BUFFERS}: {BUFFERS_COUNTED}"
COUNTED_OTHERWISE = "not compared"
"""A verdict begins with it where both numbers count different things."""

COST_MEASURES = (
    CostMeasure(
        name="latency",
        value=lambda row: row.median_seconds,
        words=duration,
        within=None,
        more="slower",
        less="faster",
    ),
    CostMeasure(
        name="CPU time of a compile",
        value=lambda row: row.compile_cpu_seconds,
        words=duration,
        within=0.25,  # one quickest compile, beside other work
        more="longer",
        less="shorter",
    ),
    CostMeasure(
        name="memory of the process",
        value=lambda row: row.peak_bytes,
        words=_bytes_words,
        within=0.05,
        more="more",
        less="less",
    ),
    CostMeasure(
        name=OWN_BUFFERS,
        value=lambda row: row.device_peak_bytes,
        words=_bytes_words,
        within=0.01,
        more="more",
        less="less",
    ),
    CostMeasure(
        name="size of the .vmfb",
        value=lambda row: row.vmfb_bytes,
        words=_bytes_words,
        within=0.01,
        more="larger",
        less="smaller",
    ),
)

COUNTED = CostMeasure(
    name=INSTRUCTIONS,
    value=lambda _: None,  # of the cells, not of a table of times
    words=instruction_words,
    within=COUNTS_WITHIN,
    more="more",
    less="fewer",
)
"""Instructions of a call. They are no speed, and have no noise: they say what times leave undecided."""
MISSED = CostMeasure(
    name="misses of a first-level cache",
    value=lambda _: None,
    words=instruction_words,
    within=COUNTS_WITHIN,
    more="more",
    less="fewer",
)
"""Of a cache that is simulated: a large change of them beside few instructions says that memory decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostChange:
    """One measure of one place (`axes`: all labels but those of the compared axis) with both releases. `ratio` is the
    newer beside the older; for latency the median over the rounds. `verdict` is a word of its measure, `no difference`,
    or one of `speed.Verdict`. `noise_floor` is a ratio above 1, None without one."""

    run: Run
    axes: Mapping[str, str]
    measure: CostMeasure
    before: float
    after: float
    ratio: float
    verdict: str
    noise_floor: float | None = None

    @property
    def place(self) -> str:
        """The model, and the labels of axes on which the run has several values."""
        axes = {axis for axis in self.axes if axis == MODEL_AXIS.name or len(self.run.axis(axis).labels) > 1}
        return ", ".join(label for axis, label in self.axes.items() if axis in axes)

    @property
    def changed(self) -> bool:
        return self.verdict in (self.measure.more, self.measure.less)

    @property
    def comparable(self) -> bool:
        return not self.verdict.startswith(COUNTED_OTHERWISE)

    @property
    def size(self) -> float:
        """How far the ratio is from 1, the same in both directions."""
        return max(self.ratio, 1 / self.ratio)

    @property
    def words(self) -> str:
        """`24 times faster (6.41 ms -> 264 us)`; `8.1 % more (19.3 MB -> 20.9 MB)`."""
        ends = f"({self.measure.words(self.before)} -> {self.measure.words(self.after)})"
        if not self.changed:
            return f"{self.verdict} {ends}"
        part = f"{self.size:.2g} times" if self.size >= 1.995 else f"{100 * abs(self.ratio - 1):.2g} %"
        return f"{part} {self.verdict} {ends}"


def cost_changes(runs: Sequence[Run], axis: str, before: str, after: str) -> tuple[CostChange, ...]:
    """Every measure of every place that both releases have in one table of times, and its instructions and misses where
    they are counted, the largest change first. Times of different runs are not compared: they may be of different
    machines."""
    having = [run for run in runs if {before, after} <= run.by_label.get(axis, {}).keys()]
    found = [change for run in having for change in _of_run(run, axis, before, after)]
    found += [change for run in having for change in _counted(run, axis, before, after)]
    return tuple(sorted(found, key=lambda change: (not change.changed, -change.size)))


def _of_run(run: Run, axis: str, before: str, after: str) -> Iterator[CostChange]:
    rows: dict[tuple[int, tuple[tuple[str, str], ...]], dict[str, Timed]] = {}
    tables: dict[int, Times] = {}
    tied = {axis, *(name for name, other in run.ties.items() if other == axis)}
    tied |= {run.ties[axis]} if axis in run.ties else set()
    for axes, row, table in timed_rows(run):
        if axes.get(axis) in (before, after):
            place = tuple((name, label) for name, label in axes.items() if name not in tied)
            rows.setdefault((id(table), place), {})[axes[axis]] = row
            tables[id(table)] = table
    for (number, place), both in rows.items():
        if len(both) == 2:
            yield from row_changes(run, tables[number], dict(place), both[before], both[after])


def _counted(run: Run, axis: str, before: str, after: str) -> Iterator[CostChange]:
    for series in count_series(run):
        for measure, counts in ((COUNTED, series.instructions), (MISSED, series.misses)):
            if axis not in (series.axis, *series.following) or not {before, after} <= counts.keys():
                continue
            ratio = counts[after] / counts[before]
            same = abs(ratio - 1) <= COUNTS_WITHIN
            verdict = str(Verdict.SAME) if same else measure.more if ratio > 1 else measure.less
            yield CostChange(
                run=run,
                axes=series.place,
                measure=measure,
                before=counts[before],
                after=counts[after],
                ratio=ratio,
                verdict=verdict,
            )


def row_changes(run: Run, table: Times, axes: Mapping[str, str], old: Timed, new: Timed) -> Iterator[CostChange]:
    """Every measure that both rows of one table have, the newer compared with the older."""
    for measure in COST_MEASURES:
        first, second = measure.value(old), measure.value(new)
        if not first or not second:
            continue
        ratio = second / first
        floor = None
        if measure.within is None:
            ratio = median_ratio(new.seconds_by_round, old.seconds_by_round) or ratio
            floor = table.noise_floor or _highest_floor(run)
            verdict = _latency_verdict(table, old, new, measure, floor)
        else:
            verdict = _counted_otherwise(table, old, new, measure) or _sized_verdict(measure, ratio)
        yield CostChange(
            run=run,
            axes=axes,
            measure=measure,
            before=first,
            after=second,
            ratio=ratio,
            verdict=verdict,
            noise_floor=floor,
        )


def _sized_verdict(measure: CostMeasure, ratio: float) -> str:
    if measure.within is not None and abs(ratio - 1) <= measure.within:
        return str(Verdict.SAME)
    return measure.more if ratio > 1 else measure.less


def _counted_otherwise(table: Times, old: Timed, new: Timed, measure: CostMeasure) -> str:
    """Empty where both runtimes count the figure alike."""
    if measure.name != OWN_BUFFERS:
        return ""
    counted = [buffers_counted({**table.shared, **row.axes}) or "unknown" for row in (old, new)]
    return "" if counted[0] == counted[1] else f"{COUNTED_OTHERWISE}: {counted[0]}, then {counted[1]}"


def _highest_floor(run: Run) -> float | None:
    """The noise floor for a model whose baseline has no time: that of the run's noisiest one."""
    return max((table.noise_floor for table in run.times if table.noise_floor), default=None)


def _latency_verdict(table: Times, old: Timed, new: Timed, measure: CostMeasure, floor: float | None) -> str:
    """The verdict that all passes share; undecided without a noise floor."""
    if floor is None:
        return f"{Verdict.UNDECIDED}: no noise floor"
    verdicts = {
        verdict_between(new.seconds_by_round, old.seconds_by_round, rounds, floor) for rounds in pass_rounds(table)
    }
    if len(verdicts) != 1:
        return str(Verdict.UNSETTLED)
    (verdict,) = verdicts
    words = {Verdict.SLOWER: measure.more, Verdict.FASTER: measure.less}
    return words.get(verdict, str(verdict))


def cost_lines(changes: Sequence[CostChange]) -> list[str]:
    """The changes as lines for people, and how many measures did not change."""
    shown = [change for change in changes if change.changed or not change.comparable]
    lines = [f"  {change.place}: {change.measure.name} {change.words}" for change in shown]
    if not changes:
        return ["costs: latency, instructions, compile time, memory and size were not measured with both in one run"]
    rest = len(changes) - len(shown)
    lines += [f"  {OWN_BUFFERS_COUNTED}"] if any(change.measure.name == OWN_BUFFERS for change in shown) else []
    return ["costs", *lines, f"  {rest} of {len(changes)} numbers did not change beyond their noise", f"  {PLACEMENT}"]
