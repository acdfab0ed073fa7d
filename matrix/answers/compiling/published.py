"""The phases of compiles in published runs: which of them take longer with another release. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from matrix.answers.compiling.phases import changed_phases, rule_of, whole_words
from matrix.answers.differences import PairOfRuns
from matrix.plan.stages import later_axes
from matrix.results.measured.compiles import phase_changes, phase_times, phased_jobs

PHASES_HEADING = "what the phases of a compile take, in CPU time"
TWO_MACHINES = "compiled on machines of two classes: CPU times of two machines are not compared"


def phase_change_lines(pairs: Iterable[PairOfRuns]) -> list[str]:
    """The changes as lines for people; none for runs without such times. Each pair of compiles once, however many
    runtimes their modules were run with."""
    found: dict[tuple[str, str], list[str]] = {}
    rules: dict[str, None] = {}
    for first, before, second, after in pairs:
        if before is None or after is None:
            continue
        old, new = phase_times(first, before), phase_times(second, after)
        if not old or not new:
            continue
        one, other = phased_jobs(first, before)[0], phased_jobs(second, after)[0]
        if one.key == other.key:
            continue
        later = later_axes(other.stage)
        axes = {axis: label for axis, label in after.axes.items() if axis not in later}
        place = ", ".join(label for axis, label in axes.items() if before.axes.get(axis) == label)
        whole = max(old.whole.middle, new.whole.middle)
        turns = first is second and old.turns and new.turns
        changes = changed_phases(phase_changes(old.phases, new.phases, whole=whole, in_turns=turns))
        told = [whole_words(old, new, in_turns=turns), *changes] if old.machine == new.machine else [TWO_MACHINES]
        found.setdefault((one.key, other.key), [f"  {place}: {line}" for line in told])
        rules[f"  {rule_of(in_turns=turns)}"] = None
    return ["", PHASES_HEADING, *(line for lines in found.values() for line in lines), *rules] if found else []
