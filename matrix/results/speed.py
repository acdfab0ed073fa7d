"""The time that a release costs, in numbers that show how far they can be trusted. Pure.

The rule for a verdict: A release and the baseline are measured in the same rounds, and each round gives the ratio of
their latencies. In one pass a release is *slower* (*faster*) if the median of its ratios is beyond the noise floor and
a confidence interval for that median (exact, from order statistics, 85 % or more) lies completely above (below) 1. The
noise floor is the largest distance from 1 of that interval for the baseline's twin, the same release once more, over
all passes, and 1 % at least; within one above 25 % nothing is called equal but *undecided*. Passes that agree give the
verdict, else it is *unsettled*. With two passes of seven rounds of pure noise, a release with the same cost gets a
wrong verdict less than once in 100.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from matrix.core.records import Outcome
from matrix.plan.axes import NONE
from matrix.plan.stages import axes_of, kinds
from matrix.results.measured.figures import Recompiled, Timed, Times, Verdict
from matrix.results.run import Cell, File, FinishedJob, Run

CONFIDENCE = 0.85
LEAST_FLOOR = 0.01
"""The position of code in memory has effects of this size; nobody changes a release for it."""
WIDEST_FLOOR = 1.25
"""With a higher noise floor (a ratio), a difference that matters would not be seen: none is claimed to be absent."""


DifferingClasses = Callable[[str, str], Iterable[str]]
"""(digest, digest) of two modules -> the classes of bytes in which they differ; none where they cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """A job besides those that decide a cell: a `round` (from 1) of it or of the baseline's `twin`, an `again` of one
    of them, or a measuring one. `job` is None if there is none; `reason` says why, and why one measured nothing."""

    round: int = 0
    twin: bool = False
    again: bool = False
    job: FinishedJob | None = None
    reason: str = ""

    @property
    def lacking(self) -> str:
        """Why a stage that measures without rounds left no figure."""
        return "" if self.round or self.again else self.reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A cell with the jobs of its times. `compiled` is its compile."""

    cell: Cell
    compiled: FinishedJob | None = None
    repeats: tuple[Repeat, ...] = ()
    mlir_bytes: int | None = None

    def rounds(self, *, twin: bool = False) -> dict[int, FinishedJob]:
        """Round -> its job, for one of the two series."""
        found = (each for each in self.repeats if each.round and each.twin is twin)
        return {each.round: each.job for each in found if each.job and each.job.measurements}

    @property
    def compiles(self) -> list[FinishedJob]:
        """All compiles of the module, the first one first."""
        again = [each.job for each in self.repeats if each.again and each.job]
        return [job for job in (self.compiled, *again) if job and self.compiled and job.stage == self.compiled.stage]

    @property
    def quickest(self) -> FinishedJob | None:
        """The quickest compile of those that passed: one that failed would look quick."""
        passed = (job for job in self.compiles if job.outcome is Outcome.PASSED)
        return min(passed, key=lambda job: job.seconds, default=None)


def times_of(
    subjects: Iterable[Subject], baseline: Mapping[str, str], apart: Collection[str], rounds: int, passes: int
) -> tuple[Times, ...]:
    """One table for each group of cells with the same baseline; they differ on its axes and on those `apart`."""
    groups: dict[tuple[str, ...], list[Subject]] = {}
    compared = (*baseline, *apart)
    for subject in subjects:
        shared = tuple(label for axis, label in subject.cell.axes.items() if axis not in compared)
        groups.setdefault(shared, []).append(subject)
    numbers = [range(1 + start, 1 + start + rounds) for start in range(0, rounds * passes, rounds)]
    return tuple(_table(group, baseline, compared, numbers) for group in groups.values())


def _table(
    subjects: Sequence[Subject], baseline: Mapping[str, str], compared: tuple[str, ...], passes: Sequence[range]
) -> Times:
    shown = [subject for subject in subjects if subject.cell.outcome is not Outcome.EXCLUDED]
    base = next((each for each in shown if baseline.items() <= each.cell.axes.items()), None)
    levels = _seconds(base.rounds()) if base and base.cell.passed else {}
    twins = _seconds(base.rounds(twin=True)) if base else {}
    floor = noise_floor([_logs(twins, levels, numbers) for numbers in passes])
    rows = tuple(_timed(each, levels, floor, passes, base=base, axes=compared) for each in shown)
    timings = [job.measurements for each in shown if each.cell.passed for job in each.rounds().values()]
    wall, cpu = (sum(timing[name] for timing in timings) for name in ("seconds", "cpu_seconds"))
    cells = [subject.cell for subject in subjects]
    return Times(
        shared={axis: label for axis, label in cells[0].axes.items() if axis not in compared},
        axes=_telling(tuple(baseline), compared[len(baseline) :], [cell.axes for cell in cells]),
        noise_floor=None if floor is None else math.exp(floor),
        waited_for_a_core=waited_for_core(cpu, wall),
        highest_load=max((timing["load"] for timing in timings if timing["load"] is not None), default=None),
        passes=len(passes),
        rows=rows,
        twin_seconds_by_round=_by_round(twins),
    )


def distinct(axes: Iterable[str], rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The axes without those whose labels repeat an earlier one's (a runtime that is tied to the compiler)."""
    columns: dict[tuple[Any, ...], str] = {}
    for axis in axes:
        columns.setdefault(tuple(row.get(axis) for row in rows), axis)
    return tuple(columns.values())


def _telling(baseline: Sequence[str], apart: Sequence[str], rows: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    """The axes that tell rows apart: those of the baseline, and of the others those that these do not determine."""
    kept = list(distinct(baseline, rows))
    for axis in apart:
        known: dict[tuple[str | None, ...], str | None] = {}
        places = [(tuple(row.get(name) for name in kept), row.get(axis)) for row in rows]
        if any(known.setdefault(place, label) != label for place, label in places):
            kept.append(axis)
    return tuple(kept)


def _timed(
    subject: Subject,
    levels: Mapping[int, float],
    floor: float | None,
    passes: Sequence[range],
    *,
    base: Subject | None,
    axes: Sequence[str],
) -> Timed:
    cell, jobs = subject.cell, subject.rounds()
    compiled = subject.quickest
    module = next(iter(compiled.artifacts.values()), None) if compiled else None
    row = Timed(
        axes={axis: label for axis, label in cell.axes.items() if axis in axes},
        baseline=subject is base,
        reason=_why_untimed(subject, jobs),
        command=next((job.command for job in jobs.values()), ()),
        compile_seconds=compiled.seconds if compiled else None,
        compile_cpu_seconds=compiled.cpu_seconds if compiled else None,
        vmfb_bytes=module.bytes if module else None,
        mlir_bytes=subject.mlir_bytes,
        peak_bytes=max((job.peak_bytes or 0 for job in jobs.values()), default=0) or None,
        device_peak_bytes=max(
            (peak for job in jobs.values() if (peak := job.measurements.get("device_peak_bytes")) is not None),
            default=None,
        ),
    )
    if row.reason:
        return row
    seconds = _seconds(jobs)
    times, logs = sorted(seconds.values()), _logs(seconds, levels, tuple(seconds))
    quarter = statistics.quantiles(times, n=4, method="inclusive") if len(times) > 1 else times * 3
    judged = () if row.baseline or not logs else passes
    same = base is not None and _keys(jobs) == _keys(base.rounds())  # the same modules on the same runtime
    return replace(
        row,
        median_seconds=statistics.median(times),
        quartile_1_seconds=quarter[0],
        quartile_3_seconds=quarter[2],
        ratio=median_ratio(seconds, levels),
        verdicts=tuple(
            Verdict.SAME_BYTES if same else verdict_of(_logs(seconds, levels, numbers), floor) for numbers in judged
        ),
        seconds_by_round=_by_round(seconds),
        cpu_seconds_by_round=_by_round({number: job.measurements["cpu_seconds"] for number, job in jobs.items()}),
    )


def _why_untimed(subject: Subject, jobs: Mapping[int, FinishedJob]) -> str:
    if not subject.cell.passed:
        return subject.cell.words
    reasons = (repeat.reason for repeat in subject.repeats if repeat.round and repeat.reason)
    return "" if jobs else next(reasons, "no round is measured yet")


def _seconds(jobs: Mapping[int, FinishedJob]) -> dict[int, float]:
    return {number: job.measurements["seconds"] for number, job in jobs.items()}


def _keys(jobs: Mapping[int, FinishedJob]) -> dict[int, str]:
    return {number: job.key for number, job in jobs.items()}


def _by_round(values: Mapping[int, float]) -> dict[str, float]:
    return {str(number): value for number, value in sorted(values.items())}


def waited_for_core(cpu: float, wall: float) -> float:
    """The part of the time in which calls had no core."""
    return max(0.0, 1 - cpu / wall) if wall else 0.0


def median_ratio(these: Mapping[Any, float], those: Mapping[Any, float]) -> float | None:
    """The median of the ratios over the rounds in which both were measured."""
    logs = _logs(these, those, tuple(these))
    return math.exp(statistics.median(logs)) if logs else None


TimedRow = tuple[Mapping[str, str], Timed, Times]


def timed_rows(run: Run) -> Iterator[TimedRow]:
    """Every row of times, with all labels of its cell."""
    for table in run.times:
        for row in table.rows:
            axes = {**table.shared, **row.axes}
            yield {axis.name: axes.pop(axis.name) for axis in run.axes if axis.name in axes} | axes, row, table


def ratio_quartiles(these: Mapping[str, float], those: Mapping[str, float]) -> tuple[float, float] | None:
    """The quartiles of the ratios of seconds by round, over the rounds that both have; None for fewer than two."""
    ratios = [seconds / those[number] for number, seconds in these.items() if seconds > 0 and those.get(number, 0) > 0]
    if len(ratios) < 2:
        return None
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return low, high


def ratio_interval(these: Mapping[str, float], those: Mapping[str, float]) -> tuple[float, float] | None:
    """The interval of `median_interval` for the ratio, over the rounds that both have; None for too few."""
    interval = median_interval(_logs(these, those, tuple(these)))
    return None if interval is None else (math.exp(interval[0]), math.exp(interval[1]))


def _logs(these: Mapping[Any, float], those: Mapping[Any, float], rounds: Sequence[Any]) -> list[float]:
    """The logarithm of the ratio for each round in which both were measured."""
    return [math.log(these[number] / those[number]) for number in rounds if number in these and number in those]


def recompiled_of(
    subjects: Iterable[Subject], order: Mapping[str, Sequence[str]], differ: DifferingClasses | None = None
) -> tuple[Recompiled, ...]:
    """One record for each compiler release with a repeated compile, in the order of the axis."""
    seen: dict[tuple[str, str], dict[str, list[FinishedJob]]] = {}
    for subject in subjects:
        if len(jobs := subject.compiles) > 1:
            axis = next(iter(axes_of(jobs[0].stage)), "")
            seen.setdefault((axis, subject.cell.axes.get(axis, NONE)), {})[jobs[0].key] = jobs

    def place(release: tuple[str, str]) -> int:
        labels = order.get(release[0], ())
        return labels.index(release[1]) if release[1] in labels else len(labels)

    return tuple(_recompiled(release[1], list(seen[release].values()), differ) for release in sorted(seen, key=place))


def _recompiled(compiler: str, modules: list[list[FinishedJob]], differ: DifferingClasses | None) -> Recompiled:
    first = [(_made(jobs[0]), jobs[0].outcome) for jobs in modules]
    classes = Counter(name for jobs in modules for name in (_differing(jobs, differ) if differ else ()))
    return Recompiled(
        compiler=compiler,
        modules=len(modules),
        unequal=sum(any(_made(job) != made for job in jobs) for jobs, (made, _) in zip(modules, first, strict=True)),
        ends=sum(any(job.outcome != end for job in jobs) for jobs, (_, end) in zip(modules, first, strict=True)),
        differing=dict(classes),
    )


def _made(job: FinishedJob) -> dict[str, File]:
    """What a compile is for, without what it says of that."""
    read = kinds()[job.stage].reads if job.stage in kinds() else ()
    return {name: file for name, file in job.artifacts.items() if not any(fnmatchcase(name, each) for each in read)}


def _differing(jobs: Sequence[FinishedJob], differ: DifferingClasses) -> set[str]:
    """The classes of bytes in which the artifacts of later jobs differ from those of the first."""
    pairs = {
        (made.sha256, again.sha256)
        for name, made in _made(jobs[0]).items()
        for job in jobs[1:]
        if (again := job.artifacts.get(name)) and again.sha256 != made.sha256
    }
    return {name for pair in pairs for name in differ(*pair)}


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The narrowest interval between two of the values, equally far from both ends, that contains the median of their
    distribution with CONFIDENCE or more, for any distribution; None for too few values.

    For 7 values it is from the 2nd to the 6th (87.5 %): one disturbed round decides nothing.
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
    """The noise floor from the logarithms of the twin's ratios, pass by pass; None if there are too few."""
    found = [interval for logs in passes if (interval := median_interval(logs))]
    if not found:
        return None
    return max(math.log1p(LEAST_FLOOR), *(abs(end) for interval in found for end in interval))


def pass_rounds(table: Times) -> list[list[str]]:
    """The numbers of the rounds, pass by pass, as the rows of the table name them."""
    numbers = sorted({int(number) for row in table.rows for number in row.seconds_by_round})
    size = -(-len(numbers) // table.passes) or 1
    return [[str(number) for number in numbers[start : start + size]] for start in range(0, len(numbers), size)]


def verdict_between(
    these: Mapping[str, float], those: Mapping[str, float], rounds: Sequence[str], noise_floor: float | None
) -> Verdict:
    """The verdict of one pass on a series of seconds by round compared with another; `noise_floor` is a ratio."""
    return verdict_of(_logs(these, those, rounds), None if noise_floor is None else math.log(noise_floor))


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
    return Verdict.SAME if floor <= math.log(WIDEST_FLOOR) else Verdict.UNDECIDED
