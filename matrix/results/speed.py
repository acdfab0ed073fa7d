"""What a release costs in time, in numbers that say how far they can be trusted. Pure.

The rule for a verdict, written down. A release and the baseline are measured in the same rounds; of each round the
ratio of their latencies is taken. In one pass a release is *slower* (*faster*) if the median of its ratios is beyond
the noise floor and an interval for that median (exact, from order statistics, with 85 % or more) lies wholly above
(below) 1. The noise floor is how far from 1 that interval reaches for the baseline's twin, the same release once
more, in the worst of the passes, and 1 % at least. Passes that agree give the verdict, else it is *unsettled*.
With two passes of seven rounds, all noise, a release that costs the same is called different less than once in 100.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from matrix.artifacts.benchmark import Timing, device_peak
from matrix.core.records import JobEnd, JobResult, Outcome
from matrix.plan.backends.iree import BENCHMARK, COMPILE
from matrix.plan.rounds import group_of, is_baseline, is_twin, round_of
from matrix.results.cells import CellReport, Repeat, Report

CONFIDENCE = 0.85
LEAST_FLOOR = 0.01
"""Where code comes to lie in memory costs or gains as much; nobody changes a release for it."""


class Verdict(StrEnum):
    FASTER = "faster"
    SLOWER = "slower"
    SAME = "no difference"
    UNSETTLED = "unsettled"
    TOO_FEW = "too few rounds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """The times of one cell, in seconds: the median over its rounds, the quartiles, `ratio` to the baseline (median of
    the rounds' ratios), and a verdict a pass. None where there is nothing to tell; `reason` then says why."""

    cell: CellReport
    baseline: bool
    reason: str = ""
    rounds: Mapping[int, Timing]
    median: float | None = None
    quartiles: tuple[float, float] | None = None
    ratio: float | None = None
    verdicts: tuple[Verdict, ...] = ()

    @property
    def verdict(self) -> Verdict | None:
        if not self.verdicts:
            return None
        if Verdict.TOO_FEW in self.verdicts:  # a pass that is not over contradicts nothing
            return Verdict.TOO_FEW
        return self.verdicts[0] if len(set(self.verdicts)) == 1 else Verdict.UNSETTLED


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedTable:
    """Cells that are compared with one baseline. `shared` are their common labels, `axes` those that differ.

    `twins` are the rounds of the baseline's twin, `floor` is the noise floor as a ratio above 1 (None without a twin),
    `waited` the share of the time in which a call did not have a core though it needed one, `load` the highest load
    of the machine.
    """

    shared: Mapping[str, str]
    axes: tuple[str, ...]
    rows: tuple[Speed, ...]
    twins: Mapping[int, Timing]
    floor: float | None
    waited: float
    load: float | None
    passes: int


def speed_tables(report: Report) -> tuple[SpeedTable, ...]:
    """One table for each group of cells with a baseline of their own; none if the spec asks for no benchmark."""
    if BENCHMARK not in report.plan.spec.stages:
        return ()
    axes = tuple(report.plan.baseline)
    groups: dict[tuple[str, ...], list[CellReport]] = {}
    for cell in report.cells:
        groups.setdefault(group_of(cell.cell, axes), []).append(cell)
    return tuple(_table(report, axes, cells) for cells in groups.values())


def _table(report: Report, axes: tuple[str, ...], cells: Sequence[CellReport]) -> SpeedTable:
    shown = [cell for cell in cells if cell.outcome is not Outcome.EXCLUDED]
    base = next((cell for cell in shown if is_baseline(cell.cell, report.plan.baseline)), None)
    passes = report.plan.spec.benchmark.passes
    levels = _timings(base.repeats, twin=False) if base and base.outcome is Outcome.PASSED else {}
    twins = _timings(base.repeats, twin=True) if base else {}
    floor = noise_floor(
        [_logs(_seconds(twins), _seconds(levels), rounds) for rounds in _passes(report)],
    )
    rows = tuple(_speed(report, cell, levels, floor, baseline=cell is base) for cell in shown)
    timings = [timing for row in rows for timing in row.rounds.values()]
    wall, cpu = sum(timing.seconds for timing in timings), sum(timing.cpu_seconds for timing in timings)
    return SpeedTable(
        shared={axis: label for axis, label in cells[0].labels.items() if axis not in axes},
        axes=_distinct(axes, cells),
        rows=rows,
        twins=twins,
        floor=None if floor is None else math.exp(floor),
        waited=max(0.0, 1 - cpu / wall) if wall else 0.0,
        load=max((timing.load for timing in timings if timing.load is not None), default=None),
        passes=passes,
    )


def _distinct(axes: Sequence[str], cells: Sequence[CellReport]) -> tuple[str, ...]:
    """The axes without those whose labels repeat an earlier one's (a runtime that is tied to the compiler)."""
    columns: dict[tuple[str, ...], str] = {}
    for axis in axes:
        columns.setdefault(tuple(cell.labels[axis] for cell in cells), axis)
    return tuple(columns.values())


def _speed(
    report: Report, cell: CellReport, levels: Mapping[int, Timing], floor: float | None, *, baseline: bool
) -> Speed:
    rounds = _timings(cell.repeats, twin=False)
    if cell.outcome is not Outcome.PASSED:
        return Speed(cell=cell, baseline=baseline, rounds={}, reason=cell.words)
    if not rounds:
        return Speed(cell=cell, baseline=baseline, rounds={}, reason=_why_untimed(cell.repeats))
    seconds = _seconds(rounds)
    times = sorted(seconds.values())
    logs = _logs(seconds, _seconds(levels), tuple(seconds))
    verdicts = (
        ()
        if baseline or not logs
        else tuple(verdict_of(_logs(seconds, _seconds(levels), numbers), floor) for numbers in _passes(report))
    )
    quarter = statistics.quantiles(times, n=4, method="inclusive") if len(times) > 1 else times * 3
    return Speed(
        cell=cell,
        baseline=baseline,
        rounds=rounds,
        median=statistics.median(times),
        quartiles=(quarter[0], quarter[2]),
        ratio=math.exp(statistics.median(logs)) if logs else None,
        verdicts=verdicts,
    )


def _why_untimed(repeats: Sequence[Repeat]) -> str:
    rounds = [repeat for repeat in repeats if repeat.node.stage == BENCHMARK]
    return next((repeat.reason for repeat in rounds if repeat.reason), "no round is measured yet")


def _timings(repeats: Sequence[Repeat], *, twin: bool) -> dict[int, Timing]:
    """Round -> timing, of one of the two series."""
    return {
        round_of(repeat.node): repeat.timing
        for repeat in repeats
        if repeat.timing is not None and is_twin(repeat.node) is twin
    }


def _seconds(rounds: Mapping[int, Timing]) -> dict[int, float]:
    return {number: timing.seconds for number, timing in rounds.items()}


def _passes(report: Report) -> list[tuple[int, ...]]:
    """The numbers of the rounds of each pass."""
    wanted = report.plan.spec.benchmark
    return [tuple(range(1 + start, 1 + start + wanted.rounds)) for start in _starts(wanted.rounds, wanted.passes)]


def _starts(rounds: int, passes: int) -> range:
    return range(0, rounds * passes, rounds)


def _logs(these: Mapping[int, float], those: Mapping[int, float], rounds: Sequence[int]) -> list[float]:
    """The logarithm of the ratio in each of the rounds in which both were measured."""
    return [math.log(these[number] / those[number]) for number in rounds if number in these and number in those]


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The narrowest interval between two of the values, equally far from both ends, that holds the median of what they
    were drawn from with CONFIDENCE or more, whatever the distribution; None for too few values.

    Of 7 values the 2nd and the 6th (87.5 %): one round that something disturbed decides nothing.
    """
    count, ordered = len(values), sorted(values)
    outside, found = 0.0, None
    for cut in range((count + 1) // 2):
        outside += 2 * math.comb(count, cut) / 2**count
        if 1 - outside < CONFIDENCE:
            break
        found = (ordered[cut], ordered[count - 1 - cut])
    return found


def noise_floor(passes: Sequence[Sequence[float]]) -> float | None:
    """From the logarithms of the twin's ratios, pass by pass; None where there are too few."""
    found = [interval for logs in passes if (interval := median_interval(logs))]
    if not found:
        return None
    return max(math.log1p(LEAST_FLOOR), *(abs(end) for interval in found for end in interval))


def verdict_of(logs: Sequence[float], floor: float | None) -> Verdict:
    """The verdict of one pass, from the logarithms of its ratios."""
    interval = median_interval(logs)
    if interval is None or floor is None:
        return Verdict.TOO_FEW
    middle = statistics.median(logs)
    if middle > floor and interval[0] > 0:
        return Verdict.SLOWER
    if middle < -floor and interval[1] < 0:
        return Verdict.FASTER
    return Verdict.SAME


def compile_job(cell: CellReport) -> JobResult | None:
    return next((job for job in cell.jobs if job.stage == COMPILE), None)


def compile_end(cell: CellReport) -> JobEnd | None:
    """The quickest of the compiles, where it was repeated: whatever else a machine does only adds to it."""
    again = [repeat.result for repeat in cell.repeats if repeat.node.stage == COMPILE]
    ends = [job.end for job in (compile_job(cell), *again) if job]
    return min(ends, key=lambda end: end.seconds, default=None)


def vmfb_bytes(cell: CellReport) -> int | None:
    job = compile_job(cell)
    return next((artifact.size for artifact in job.outputs), None) if job else None


def peak_bytes(cell: CellReport) -> int | None:
    """The most memory that a round's process had to itself; None where it was over too soon to be seen."""
    ends = [repeat.result.end for repeat in cell.repeats if repeat.timing and repeat.result]
    return max((end.peak_bytes for end in ends), default=0) or None


def device_bytes(cell: CellReport) -> int | None:
    """The most bytes of the module's device buffers, as IREE's own allocator counts them."""
    ends = [repeat.result.end for repeat in cell.repeats if repeat.timing and repeat.result]
    return max((peak for end in ends if (peak := device_peak(end.log)) is not None), default=None)
