"""The CPU time of compiles by phase, as a run has it, and the rule for a difference. Pure.

CPU time is not free of noise: a neighbour on the same core slows a compile down, caches differ. So a phase counts as
changed only where no compile of one side took as long as any of the other, and the medians differ by more than
PHASE_WITHIN, by LEAST_PHASE_PART of the whole compile, and by LEAST_PHASE_SECONDS. That does not prove it: a job
compiles its release three times, and the other's job comes before or behind it, not between. A load that rises between
them makes a difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from matrix.artifacts.compiler.phases import PHASE_SECONDS, PHASED_SECONDS
from matrix.results.run import Cell, FinishedJob, Run

PHASE_WITHIN = 0.25
"""The part by which medians may differ and are still called equal."""
LEAST_PHASE_PART = 0.02
"""Of a whole compile: a smaller difference of a phase is none."""
LEAST_PHASE_SECONDS = 0.5
"""A smaller difference is none, however short the compile is."""
FEWEST_COMPILES = 3
"""Compiles that make a difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondsSpread:
    """Seconds of the same thing, measured some times."""

    values: tuple[float, ...]

    @property
    def middle(self) -> float:
        return median(self.values)

    @property
    def text(self) -> str:
        """`2.31 s (2.25 to 2.40)`."""
        low, high = min(self.values), max(self.values)
        return f"{self.middle:.2f} s" + (f" ({low:.2f} to {high:.2f})" if len(self.values) > 1 else "")


def beyond_noise(one: SecondsSpread, other: SecondsSpread, *, whole: float) -> bool:
    """Whether they differ by more than noise, in a compile of so many seconds."""
    if min(len(one.values), len(other.values)) < FEWEST_COMPILES:
        return False
    lower, higher = sorted((one, other), key=lambda each: each.middle)
    difference = higher.middle - lower.middle
    far = difference > max(PHASE_WITHIN * lower.middle, LEAST_PHASE_PART * whole, LEAST_PHASE_SECONDS)
    return far and max(lower.values) < min(higher.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseTimes:
    """The CPU seconds of compiles: of each phase in order, and of all together. `machine` is the class of it."""

    phases: Mapping[str, SecondsSpread]
    whole: SecondsSpread
    machine: str

    @property
    def compiles(self) -> int:
        return len(self.whole.values)


def phased_job(run: Run, cell: Cell) -> FinishedJob | None:
    return next((run.jobs[key] for key in cell.evidence if PHASE_SECONDS in run.jobs[key].measurements), None)


def phase_times(run: Run, cell: Cell) -> PhaseTimes | None:
    """Those of a cell; None where its run has none, or not numbers."""
    job = phased_job(run, cell)
    return times_of_job(job) if job else None


def times_of_job(job: FinishedJob) -> PhaseTimes | None:
    try:
        phases = {str(name): spread(each) for name, each in dict(job.measurements[PHASE_SECONDS]).items()}
        whole = spread(job.measurements[PHASED_SECONDS])
    except (KeyError, TypeError, ValueError):
        return None
    if not phases or any(len(each.values) != len(whole.values) for each in phases.values()):
        return None
    return PhaseTimes(phases=phases, whole=whole, machine=job.machine)


def spread(values: Iterable[object]) -> SecondsSpread:
    """Raises TypeError or ValueError for what is no list of seconds."""
    found = tuple(float(str(each)) for each in values)
    if not found or any(not 0 <= each < 1e9 for each in found):
        raise ValueError(f"{found[:3]}")
    return SecondsSpread(values=found)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseChange:
    """One phase of two releases; a phase that one of them does not have took no time there."""

    name: str
    before: SecondsSpread
    after: SecondsSpread
    changed: bool

    @property
    def change(self) -> float:
        return self.after.middle - self.before.middle


def phase_changes(
    before: Mapping[str, SecondsSpread], after: Mapping[str, SecondsSpread], *, whole: float
) -> list[PhaseChange]:
    """In the order of the phases, those that only the newer one has last."""
    return [_change(name, before.get(name), after.get(name), whole) for name in dict.fromkeys((*before, *after))]


def _change(name: str, before: SecondsSpread | None, after: SecondsSpread | None, whole: float) -> PhaseChange:
    none = SecondsSpread(values=(0.0,) * len((before or after or SecondsSpread(values=(0.0,))).values))
    first, second = before or none, after or none
    return PhaseChange(name=name, before=first, after=second, changed=beyond_noise(first, second, whole=whole))


def largest(found: Sequence[PhaseTimes], part: float) -> list[str]:
    """The phases that take so large a part of any of these compiles, in order."""
    return [
        name
        for name in dict.fromkeys(name for each in found for name in each.phases)
        if any(name in each.phases and each.phases[name].middle >= part * each.whole.middle for each in found)
    ]
