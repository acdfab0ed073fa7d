"""The CPU time of compiles by phase, as a run has it, and the rule for a difference. Pure.

CPU time is not free of noise: a neighbour on the same core slows a compile down, caches differ. Compiles that were
measured together take turns: one of each, then in the opposite order. A load that rises between two of them is in both
sides. Then a phase counts as changed where the same side took longer in each turn, and the middle difference of a turn
is more than TURN_WITHIN, LEAST_PHASE_PART of the whole compile and LEAST_TURN_SECONDS. Compiles of two hours count as
changed only where no compile of one side took as long as any of the other, and the medians differ by more than
PHASE_WITHIN and LEAST_PHASE_SECONDS; that proves less.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from matrix.artifacts.compiler.phases import PHASE_SECONDS, PHASED_SECONDS
from matrix.results.run import Cell, FinishedJob, Run

PHASE_WITHIN, TURN_WITHIN = 0.25, 0.1
"""The part by which medians may differ and are still called equal; and the middle of compiles that took turns."""
LEAST_PHASE_PART = 0.02
"""Of a whole compile: a smaller difference of a phase is none."""
LEAST_PHASE_SECONDS, LEAST_TURN_SECONDS = 0.5, 0.1
"""A smaller difference is none, however short the compile is; and one of compiles that took turns."""
FEWEST_COMPILES, FEWEST_TURNS = 3, 5
"""Compiles that make a difference; those of two releases that took turns."""


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


def beyond_noise(one: SecondsSpread, other: SecondsSpread, *, whole: float, in_turns: bool = False) -> bool:
    """Whether they differ by more than noise, in a compile of so many seconds. `in_turns`: one compile of each in turn,
    in the order of the values."""
    if min(len(one.values), len(other.values)) < (FEWEST_TURNS if in_turns else FEWEST_COMPILES):
        return False
    lower, higher = sorted((one, other), key=lambda each: each.middle)
    if not in_turns:
        least = max(PHASE_WITHIN * lower.middle, LEAST_PHASE_PART * whole, LEAST_PHASE_SECONDS)
        return higher.middle - lower.middle > least and max(lower.values) < min(higher.values)
    least = max(TURN_WITHIN * lower.middle, LEAST_PHASE_PART * whole, LEAST_TURN_SECONDS)
    apart = [high - low for low, high in zip(lower.values, higher.values, strict=False)]
    return median(apart) > least and min(apart) > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseTimes:
    """The CPU seconds of compiles: of each phase in order, and of all together. `machine` is the class of it. They took
    `turns` with all others of their run."""

    phases: Mapping[str, SecondsSpread]
    whole: SecondsSpread
    machine: str
    turns: bool = False

    @property
    def compiles(self) -> int:
        return len(self.whole.values)


def phased_jobs(run: Run, cell: Cell) -> tuple[FinishedJob, ...]:
    """In the order of their turns."""
    return tuple(run.jobs[key] for key in cell.evidence if PHASE_SECONDS in run.jobs[key].measurements)


def phase_times(run: Run, cell: Cell) -> PhaseTimes | None:
    """Those of a cell; None where its run has none, or not numbers, or other phases in another compile."""
    found = [times_of_job(job) for job in phased_jobs(run, cell)]
    times = [each for each in found if each]
    if not times or len(times) < len(found) or any(each.phases.keys() != times[0].phases.keys() for each in times):
        return None
    return PhaseTimes(
        phases={name: in_one_spread([each.phases[name] for each in times]) for name in times[0].phases},
        whole=in_one_spread([each.whole for each in times]),
        machine=times[0].machine,
        turns=len(times) > 1,
    )


def in_one_spread(spreads: Iterable[SecondsSpread]) -> SecondsSpread:
    return SecondsSpread(values=tuple(value for each in spreads for value in each.values))


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
    before: Mapping[str, SecondsSpread], after: Mapping[str, SecondsSpread], *, whole: float, in_turns: bool = False
) -> list[PhaseChange]:
    """In the order of the phases, those that only the newer one has last."""
    made = []
    for name in dict.fromkeys((*before, *after)):
        known = before.get(name) or after[name]
        none = SecondsSpread(values=(0.0,) * len(known.values))
        first, second = before.get(name, none), after.get(name, none)
        changed = beyond_noise(first, second, whole=whole, in_turns=in_turns)
        made.append(PhaseChange(name=name, before=first, after=second, changed=changed))
    return made


def largest(found: Sequence[PhaseTimes], part: float) -> list[str]:
    """The phases that take so large a part of any of these compiles, in order."""
    return [
        name
        for name in dict.fromkeys(name for each in found for name in each.phases)
        if any(name in each.phases and each.phases[name].middle >= part * each.whole.middle for each in found)
    ]
