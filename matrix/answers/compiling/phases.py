"""The CPU time of a compile by phase and by pass: of one release, or of two, and which phase made it slower. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from matrix.core.keys import Json
from matrix.core.text import counted, plain_rows
from matrix.plan.backends.shared import MODEL_AXIS
from matrix.results.measured.compiles import (
    LEAST_PHASE_PART,
    LEAST_PHASE_SECONDS,
    LEAST_TURN_SECONDS,
    PHASE_WITHIN,
    TURN_WITHIN,
    PhaseChange,
    PhaseTimes,
    SecondsSpread,
    beyond_noise,
    phase_changes,
)

PHASES_FORMAT = 1
MOST_PASSES_SHOWN = 10
WAITED_MUCH = 1.15
"""A compile on one thread that took so many times its CPU time waited for a core."""


def _more_than(within: float, seconds: float) -> str:
    return f"{100 * within:.0f} %, {100 * LEAST_PHASE_PART:.0f} % of the whole compile and {seconds:g} s"


TURNS_RULE = (
    "the compiles took turns; a difference is told where the same side took longer in each turn, in the middle by more "
    f"than {_more_than(TURN_WITHIN, LEAST_TURN_SECONDS)}"
)
PHASE_RULE = (
    "a difference is told where the compiles of both do not overlap, and their medians differ by more than "
    f"{_more_than(PHASE_WITHIN, LEAST_PHASE_SECONDS)}; they did not take turns, so a load that rose between them is "
    "told as a difference too: measure both together before you rely on it"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompilePhases:
    """Compiles of one module. `usual` are the CPU seconds of the stage that keeps it. `ended` says how a compiler ended
    that did not come to its end; then `until` has the phases until there, of that one compile."""

    axes: Mapping[str, str]
    times: PhaseTimes | None
    usual: float | None = None
    ended: str = ""
    until: Mapping[str, float] = field(default_factory=dict)
    passes: Mapping[str, SecondsSpread] = field(default_factory=dict)
    waited: float = 1.0
    """Seconds for each CPU second of the compiles with passes."""

    @property
    def name(self) -> str:
        others = (f"{axis} {label}" for axis, label in self.axes.items() if axis != MODEL_AXIS.name)
        return ", ".join((self.axes.get(MODEL_AXIS.name, ""), *others))


def phases_lines(found: CompilePhases) -> list[str]:
    """What one release takes."""
    lines = [found.name]
    if not found.times:
        last = list(found.until)[-1] if found.until else ""
        where = f"behind the phase {last}" if last else "before the end of its first phase"
        rows = [[name, f"{seconds:.2f} s"] for name, seconds in found.until.items()]
        table = plain_rows(rows, headers=("phase", "CPU time")).splitlines() if rows else []
        return [*lines, f"the compiler ended {where}: {found.ended}", *(["", *table] if table else [])]
    whole = found.times.whole
    usual = f"; the compile that is kept took {found.usual:.2f} s" if found.usual is not None else ""
    lines.append(f"{whole.text} CPU in {counted(found.times.compiles, 'compile')}{usual}")
    rows = [[name, each.text, f"{100 * each.middle / whole.middle:.1f} %"] for name, each in found.times.phases.items()]
    lines += ["", *plain_rows(rows, headers=("phase", "CPU time", "share")).splitlines()]
    if found.passes:
        longest = sorted(found.passes.items(), key=lambda row: -row[1].middle)[:MOST_PASSES_SHOWN]
        passes = [[name, each.text] for name, each in longest]
        lines += ["", *plain_rows(passes, headers=("pass, on one thread", "time")).splitlines(), *_busy((found,))]
    return lines


def _busy(found: Iterable[CompilePhases]) -> Iterator[str]:
    worst = max((each.waited for each in found if each.passes), default=1.0)
    if worst > WAITED_MUCH:
        yield (
            f"the machine was busy: a compile with passes took {worst:.1f} times its CPU time. The waiting is taken "
            "off each pass in equal parts, so small differences between passes say nothing"
        )


def in_turns(*found: CompilePhases) -> bool:
    """Whether compiles of one run took turns."""
    return all(each.times is not None and each.times.turns for each in found)


def rule_of(*, in_turns: bool) -> str:
    return TURNS_RULE if in_turns else PHASE_RULE


def comparison_of_phases(before: CompilePhases, after: CompilePhases) -> list[str]:
    """What the newer release takes more or less, and in which phases. Both are of one run."""
    if not before.times or not after.times:
        return [line for each in (before, after) for line in (*phases_lines(each), "")][:-1]
    differ = [axis for axis, label in before.axes.items() if after.axes.get(axis) != label]
    sides = [", ".join(f"{axis} {each.axes[axis]}" for axis in differ) for each in (before, after)]
    shared = {axis: label for axis, label in after.axes.items() if axis not in differ}
    whole = max(before.times.whole.middle, after.times.whole.middle)
    turns = in_turns(before, after)
    changes = phase_changes(before.times.phases, after.times.phases, whole=whole, in_turns=turns)
    lines = [
        ", ".join((shared.pop(MODEL_AXIS.name, ""), *(f"{axis} {label}" for axis, label in shared.items()))),
        f"before: {sides[0]}: {before.times.whole.text} CPU in {counted(before.times.compiles, 'compile')}",
        f"after: {sides[1]}: {after.times.whole.text} CPU in {counted(after.times.compiles, 'compile')}",
        whole_words(before.times, after.times, in_turns=turns),
        *changed_phases(changes),
        rule_of(in_turns=turns),
        "",
        *_changes_table(changes, "phase"),
    ]
    if before.passes and after.passes:
        lines += ["", *pass_lines(before, after)]
    return lines


def whole_words(before: PhaseTimes, after: PhaseTimes, *, in_turns: bool) -> str:
    """`the whole compile: 1.23 times the CPU time`, or that it is no difference."""
    ratio = after.whole.middle / before.whole.middle if before.whole.middle else 1.0
    whole = max(before.whole.middle, after.whole.middle)
    if not beyond_noise(before.whole, after.whole, whole=whole, in_turns=in_turns):
        return f"the whole compile: no difference by this rule (medians: {ratio:.2f} times)"
    return f"the whole compile: {ratio:.2f} times the CPU time, {after.whole.middle - before.whole.middle:+.2f} s"


def changed_phases(changes: Sequence[PhaseChange]) -> list[str]:
    """The phases that differ by the rule, the largest change first; or that none is."""
    found = sorted((each for each in changes if each.changed), key=lambda each: -abs(each.change))
    return [phase_words(each) for each in found] or ["no phase differs by this rule"]


def phase_words(each: PhaseChange) -> str:
    """`executable-targets: longer, 1.77 s -> 3.06 s (+1.29 s)`."""
    longer = "longer" if each.change > 0 else "shorter"
    return f"{each.name}: {longer}, {each.before.middle:.2f} s -> {each.after.middle:.2f} s ({each.change:+.2f} s)"


def changes_rows(changes: Sequence[PhaseChange]) -> list[list[str]]:
    return [
        [
            each.name,
            each.before.text,
            each.after.text,
            f"{each.change:+.2f} s",
            ("longer" if each.change > 0 else "shorter") if each.changed else "",
        ]
        for each in changes
    ]


def _changes_table(changes: Sequence[PhaseChange], what: str) -> list[str]:
    return plain_rows(changes_rows(changes), headers=(what, "before", "after", "change", "")).splitlines()


def pass_changes(before: CompilePhases, after: CompilePhases) -> list[PhaseChange]:
    """The passes with the largest change first. They are times on one thread: their noise is that of the machine."""
    whole = max(sum(each.middle for each in side.passes.values()) for side in (before, after))
    turns = in_turns(before, after)
    changes = phase_changes(before.passes, after.passes, whole=whole, in_turns=turns)
    return sorted(changes, key=lambda each: (not each.changed, -abs(each.change)))


def pass_lines(before: CompilePhases, after: CompilePhases) -> list[str]:
    shown = pass_changes(before, after)[:MOST_PASSES_SHOWN]
    return [*_changes_table(shown, "pass, on one thread"), *_busy((before, after))]


# -- as JSON


def phases_document(found: Sequence[CompilePhases]) -> dict[str, Json]:
    turns = in_turns(*found)
    document: dict[str, Json] = {
        "format": PHASES_FORMAT,
        "rule": rule_of(in_turns=turns),
        "in_turns": turns,
        "compiles": [_fields(each) for each in found],
    }
    if len(found) == 2 and found[0].times and found[1].times:
        first, second = found[0].times, found[1].times
        whole = max(first.whole.middle, second.whole.middle)
        document["whole_changed"] = beyond_noise(first.whole, second.whole, whole=whole, in_turns=turns)
        changes = phase_changes(first.phases, second.phases, whole=whole, in_turns=turns)
        document["phases"] = [_change_fields(each) for each in changes]
        if found[0].passes and found[1].passes:
            document["passes"] = [_change_fields(each) for each in pass_changes(found[0], found[1])]
    return document


def _fields(found: CompilePhases) -> Json:
    times = found.times
    return {
        "axes": {**found.axes},
        "cpu_seconds": [*times.whole.values] if times else None,
        "phases": {name: [*each.values] for name, each in times.phases.items()} if times else None,
        "machine": times.machine if times else None,
        "kept_compile_cpu_seconds": found.usual,
        "ended": found.ended,
        "phases_until": {**found.until},
        "passes": {name: [*each.values] for name, each in found.passes.items()},
        "waited": round(found.waited, 3),
    }


def _change_fields(each: PhaseChange) -> Json:
    return {
        "name": each.name,
        "before": [*each.before.values],
        "after": [*each.after.values],
        "change": round(each.change, 6),
        "changed": each.changed,
    }
