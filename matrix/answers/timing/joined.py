"""The times of dispatches joined with the instructions that they execute: what takes long, what only executes much.

Of each workgroup the shortest of all calls counts: on a shared machine others interrupt the rest, and what takes long
at the same place of each call. Pure.
"""

from __future__ import annotations

import statistics
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

from matrix.answers.profiled.changes import same_model
from matrix.artifacts.timings.dispatch_times import DispatchTime, DispatchTimes
from matrix.results.measured.counts import FEWEST_RANKED, rank_correlation
from matrix.results.measured.dispatch_times import CallTimes
from matrix.results.measured.profiled_code import ModelOperation, ProfiledDispatch
from matrix.results.measured.profiles import Profile

TOP = 5
"""Dispatches that are compared by name."""
TimesOfCall: TypeAlias = DispatchTimes | CallTimes
"""With each invocation, as they were measured here; or as a run has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellTimes:
    """The times of a cell's dispatches: `traced` by Tracy, `profiled` by the runtime itself where its release can."""

    traced: TimesOfCall
    profiled: TimesOfCall | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedDispatch:
    """A dispatch with its time, and what it executes. `counted` or `time` is None where one of them has it alone."""

    name: str
    counted: ProfiledDispatch | None
    time: DispatchTime | None

    @property
    def rate(self) -> float | None:
        """Instructions in a nanosecond: few where it waits, or where each takes long."""
        if not self.counted or not self.time or not self.time.least:
            return None
        return self.counted.instructions / self.time.least


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolsAgreement:
    """How two tools agree on the same module and machine: ratios of a dispatch's times, the second to the first."""

    dispatches: int
    whole: float
    quartiles: tuple[float, float, float]
    ends: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class TimedProfile:
    """A profile and its times. The dispatches that take longest come first, those without a time last."""

    profile: Profile
    times: CellTimes

    @cached_property
    def dispatches(self) -> tuple[TimedDispatch, ...]:
        counted = {each.name: each for each in self.profile.code.dispatches}
        timed = {each.name: each for each in self.traced.dispatches}
        rows = [
            TimedDispatch(name=name, counted=counted.get(name), time=timed.get(name))
            for name in dict.fromkeys([*timed, *counted])
        ]
        return tuple(sorted(rows, key=lambda row: -(row.time.least if row.time else -1)))

    @cached_property
    def traced(self) -> TimesOfCall:
        return with_folded(self.times.traced, self.profile)

    @property
    def nanoseconds(self) -> int:
        """Of a call in its dispatches."""
        return self.traced.least

    @property
    def in_dispatches(self) -> int:
        """Instructions of a call in its dispatches."""
        return sum(each.instructions for each in self.profile.code.dispatches)

    @property
    def rate(self) -> float:
        """Instructions in a nanosecond, of all dispatches."""
        return self.in_dispatches / self.nanoseconds if self.nanoseconds else 0.0

    @cached_property
    def top_by_time(self) -> tuple[TimedDispatch, ...]:
        return tuple(each for each in self.dispatches if each.time)[:TOP]

    @cached_property
    def top_by_count(self) -> tuple[TimedDispatch, ...]:
        named = {each.name: each for each in self.dispatches}
        return tuple(named[each.name] for each in self.profile.code.dispatches[:TOP])

    @property
    def correlation(self) -> float | None:
        """Spearman's rank correlation of time and instructions over the dispatches that have both."""
        pairs = [(each.time.least, each.counted.instructions) for each in self.dispatches if each.time and each.counted]
        if len(pairs) < FEWEST_RANKED:
            return None
        return rank_correlation([each for each, _ in pairs], [each for _, each in pairs])

    @property
    def agreement(self) -> ToolsAgreement | None:
        """Of the runtime's own times with Tracy's."""
        if not self.times.profiled:
            return None
        return agreement_of(self.traced, with_folded(self.times.profiled, self.profile))


def with_folded(times: TimesOfCall, profile: Profile) -> TimesOfCall:
    """The times, with those of folded dispatches at the one whose code they share, as the counts have them."""
    owner = {name: each.name for each in profile.code.dispatches for name in each.folded}
    if isinstance(times, CallTimes):
        return times.with_owners(owner)
    made = (replace(each, name=owner.get(each.name, each.name)) for each in times.invocations)
    return DispatchTimes(method=times.method, calls=times.calls, invocations=tuple(made))


def agreement_of(first: TimesOfCall, second: TimesOfCall) -> ToolsAgreement | None:
    """None where they have no dispatch in common."""
    other = {each.name: each.shortest for each in second.dispatches}
    pairs = [(each.shortest, other.get(each.name, 0)) for each in first.dispatches]
    ratios = sorted(there / here for here, there in pairs if here and there)
    if not ratios:
        return None
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return ToolsAgreement(
        dispatches=len(ratios),
        whole=sum(other.values()) / sum(here for here, _ in pairs),
        quartiles=(low, middle, high),
        ends=(ratios[0], ratios[-1]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationTime:
    """Nanoseconds for one operation on both sides, as its part of the instructions of each dispatch has them."""

    operation: ModelOperation | None
    before: float
    after: float
    before_in: tuple[str, ...] = ()
    after_in: tuple[str, ...] = ()

    @property
    def change(self) -> float:
        return self.after - self.before


def operation_times(before: TimedProfile, after: TimedProfile) -> tuple[OperationTime, ...]:
    """By operation of the MLIR, those with the largest change first; where the sides read different MLIR, those with
    the same text are one. The changes add up to that of all dispatches with a time."""
    sides = [_by_operation(each, by_line=same_model(before.profile, after.profile)) for each in (before, after)]
    rows = []
    for key in dict.fromkeys([*sides[0], *sides[1]]):
        first, second = (side.get(key, _NOTHING) for side in sides)
        rows.append(
            OperationTime(
                operation=second.operation or first.operation,
                before=first.nanoseconds,
                after=second.nanoseconds,
                before_in=first.dispatches,
                after_in=second.dispatches,
            )
        )
    return tuple(sorted(rows, key=lambda row: -abs(row.change)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    operation: ModelOperation | None = None
    nanoseconds: float = 0.0
    dispatches: tuple[str, ...] = ()


_NOTHING = _Part()


def _by_operation(timed: TimedProfile, *, by_line: bool) -> Mapping[Hashable, _Part]:
    """Line or digest of an operation -> what it comes to."""
    found: dict[Hashable, _Part] = {}
    for row in timed.dispatches:
        if not row.time:
            continue
        for operation, part in _parts(timed.profile, row.counted).items():
            key = (operation.line if by_line else operation.digest) if operation else None
            had = found.get(key, _NOTHING)
            found[key] = _Part(
                operation=operation,
                nanoseconds=had.nanoseconds + part * row.time.least,
                dispatches=(*had.dispatches, row.name),
            )
    return found


def _parts(profile: Profile, counted: ProfiledDispatch | None) -> Mapping[ModelOperation | None, float]:
    """The part of a dispatch's instructions that each operation has."""
    if not counted or not counted.instructions:
        return {None: 1.0}
    return {each: count / counted.instructions for each, count in profile.by_operation(counted).items()}


def apart(first: Sequence[TimedDispatch], second: Sequence[TimedDispatch]) -> list[TimedDispatch]:
    """Those of the first that the second lacks."""
    names = {each.name for each in second}
    return [each for each in first if each.name not in names]
