"""The phases of compiles in published runs: which of them take longer with another release. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from matrix.answers.compiling.phases import PHASE_RULE, changed_phases, whole_words
from matrix.answers.differences import PairOfRuns
from matrix.plan.stages import later_axes
from matrix.results.measured.compiles import phase_changes, phase_times, phased_job

PHASES_HEADING = "what the phases of a compile take, in CPU time"
TWO_MACHINES = "compiled on machines of two classes: CPU times of two machines are not compared"


def phase_change_lines(pairs: Iterable[PairOfRuns]) -> list[str]:
    """The changes as lines for people; none for runs without such times. Each pair of compiles once, however many
    runtimes their modules were run with."""
    found: dict[tuple[str, str], list[str]] = {}
    for first, before, second, after in pairs:
        if before is None or after is None:
            continue
        jobs = phased_job(first, before), phased_job(second, after)
        old, new = phase_times(first, before), phase_times(second, after)
        if not jobs[0] or not jobs[1] or not old or not new or jobs[0].key == jobs[1].key:
            continue
        later = later_axes(jobs[1].stage)
        axes = {axis: label for axis, label in after.axes.items() if axis not in later}
        place = ", ".join(label for axis, label in axes.items() if before.axes.get(axis) == label)
        whole = max(old.whole.middle, new.whole.middle)
        changes = changed_phases(phase_changes(old.phases, new.phases, whole=whole))
        said = [whole_words(old, new), *changes] if old.machine == new.machine else [TWO_MACHINES]
        found.setdefault((jobs[0].key, jobs[1].key), [f"  {place}: {line}" for line in said])
    return (
        ["", PHASES_HEADING, *(line for lines in found.values() for line in lines), f"  {PHASE_RULE}"] if found else []
    )
