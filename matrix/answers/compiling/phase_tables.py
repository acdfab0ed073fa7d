"""The phases of a compile, or of two compared, as Markdown and as CSV. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from tabulate import tabulate

from matrix.answers.compiling.phases import (
    CompilePhases,
    changed_phases,
    changes_rows,
    in_turns,
    pass_changes,
    phases_lines,
    rule_of,
    whole_words,
)
from matrix.results.formats import without_formulas
from matrix.results.measured.compiles import PhaseChange, SecondsSpread, phase_changes

_WHOLE, _PHASE, _PASS = "whole", "phase", "pass"


def phases_csv(found: Sequence[CompilePhases]) -> str:
    """A row for each phase and each pass in each compile, in seconds; where two releases took turns, those of the
    same `turn` were beside each other."""
    axes = list(dict.fromkeys(axis for each in found for axis in each.axes))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*axes, "what", "name", "turn", "seconds"])
    for each in found:
        for what, name, spread in _spreads(each):
            for number, seconds in enumerate(spread.values, start=1):
                labels = (each.axes.get(axis, "") for axis in axes)
                writer.writerow([*without_formulas([*labels, what, name]), number, f"{seconds:.6f}"])
    return stream.getvalue()


def _spreads(each: CompilePhases) -> Iterator[tuple[str, str, SecondsSpread]]:
    if each.times:
        yield _WHOLE, "", each.times.whole
        yield from ((_PHASE, name, spread) for name, spread in each.times.phases.items())
    elif each.until:
        yield from ((_PHASE, name, SecondsSpread(values=(seconds,))) for name, seconds in each.until.items())
    yield from ((_PASS, name, spread) for name, spread in each.passes.items())


def phases_markdown(found: Sequence[CompilePhases]) -> str:
    """All phases, and all passes."""
    both = len(found) > 1 and all(each.times for each in found)
    parts = list(_compared(*found) if both else (part for each in found for part in _alone(each)))
    return "\n\n".join(parts)


def _alone(found: CompilePhases) -> Iterator[str]:
    name, said, *_ = phases_lines(found)
    yield f"## {name}"
    yield said
    if not found.times:
        yield _table(("phase", "CPU time"), [[phase, f"{seconds:.2f} s"] for phase, seconds in found.until.items()])
        return
    whole = found.times.whole.middle or 1.0
    rows = [[name, each.text, f"{100 * each.middle / whole:.1f} %"] for name, each in found.times.phases.items()]
    yield _table(("phase", "CPU time", "share"), rows)
    if found.passes:
        longest = sorted(found.passes.items(), key=lambda row: -row[1].middle)
        yield _table(("pass, on one thread", "time"), [[name, each.text] for name, each in longest])


def _compared(before: CompilePhases, after: CompilePhases) -> Iterator[str]:
    assert before.times and after.times  # whoever calls it has looked
    turns = in_turns(before, after)
    whole = max(before.times.whole.middle, after.times.whole.middle)
    changes = phase_changes(before.times.phases, after.times.phases, whole=whole, in_turns=turns)
    said = [whole_words(before.times, after.times, in_turns=turns), *changed_phases(changes), rule_of(in_turns=turns)]
    yield f"## {before.name}, then {after.name}"
    yield "\n".join(f"- {line}" for line in said)
    yield _change_table(changes, _PHASE, whole=(before.times.whole, after.times.whole))
    if before.passes and after.passes:
        yield _change_table(pass_changes(before, after), "pass, on one thread")


def _change_table(
    changes: Sequence[PhaseChange], what: str, *, whole: tuple[SecondsSpread, SecondsSpread] | None = None
) -> str:
    rows = changes_rows(changes)
    if whole:
        one, other = whole
        rows.append(["all", one.text, other.text, f"{other.middle - one.middle:+.2f} s", ""])
    return _table((what, "before", "after", "change", ""), rows)


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return str(tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)) if rows else ""
