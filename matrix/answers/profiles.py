"""What each dispatch of a module executes, and each operation of its model: one release, or two compared by operation.

Releases cut a model into dispatches in different ways. So two of them are compared by the operations of the MLIR that
both read: each instruction counts to the operation of its line. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from matrix.artifacts.contents.executed import ExecutedCode, ExecutedDispatch, Line
from matrix.artifacts.contents.mlir_lines import MlirOperation
from matrix.core.keys import Json
from matrix.core.text import counted, plain_rows
from matrix.plan.backends.shared import MODEL_AXIS

PROFILE_FORMAT = 1
MOST_DISPATCHES = 10
NO_TIME = "instructions are counted, the same on every machine; they say nothing of how long each takes"
UNNAMED_FILE = "-"
"""The MLIR that the compiler read, in some dispatches of MobileNetV3 with 2.9; the line is the same."""
RUNTIME_ROW, NO_LINE = "the runtime", "code of no operation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What one call executes: `instructions` of it all, without the clock of the benchmark. `operations` are those of
    the lines that its code names, by line; `mlir` is the sha256 of their file `source`."""

    axes: Mapping[str, str]
    instructions: int
    code: ExecutedCode
    source: str
    mlir: str
    operations: Mapping[int, MlirOperation]

    @property
    def runtime(self) -> int:
        """The instructions outside of the module's code."""
        return self.instructions - self.code.kernel

    @property
    def named(self) -> int:
        """The instructions in dispatches."""
        return self.code.kernel - self.code.unnamed

    def operation(self, line: Line | None) -> MlirOperation | None:
        return self.operations.get(line[1]) if line and line[0] in (self.source, UNNAMED_FILE) else None

    def main_operation(self, dispatch: ExecutedDispatch) -> MlirOperation | None:
        """The operation with most of a dispatch's instructions."""
        return max(
            (each for each in self.by_operation(dispatch) if each),
            key=lambda each: (self.by_operation(dispatch)[each], -each.line),
            default=None,
        )

    def by_operation(self, dispatch: ExecutedDispatch) -> Counter[MlirOperation | None]:
        """The instructions of a dispatch by operation. Those of none count to its main one, if it has one."""
        found: Counter[MlirOperation | None] = Counter()
        for line, count in dispatch.lines.items():
            found[self.operation(line)] += count
        without = found.pop(None, 0)
        main = max(found, key=lambda each: (found[each], -each.line if each else 0), default=None)
        if without:
            found[main] += without
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationChange:
    """Instructions for one operation on both sides, and the dispatches that have them. Without an operation: `name`
    says what it is."""

    name: str
    operation: MlirOperation | None
    before: int
    after: int
    before_in: tuple[str, ...] = ()
    after_in: tuple[str, ...] = ()

    @property
    def change(self) -> int:
        return self.after - self.before


def short_name(dispatch: str) -> str:
    """A dispatch without the name of its function: `dispatch_5_conv_56x56x96x3x3_f32`."""
    _, found, rest = dispatch.partition("dispatch_")
    return found + rest if found else dispatch


def operation_changes(before: Profile, after: Profile) -> tuple[OperationChange, ...]:
    """By operation, those with the largest change first. The changes add up to that of all instructions.

    Operations are joined by their line, or, where the sides read different MLIR, by their text.
    """
    same = before.mlir == after.mlir
    sides = [_operations(profile, by_line=same) for profile in (before, after)]
    rows = []
    for key in dict.fromkeys([*sides[0], *sides[1]]):
        first, second = (side.get(key, _Found()) for side in sides)
        operation = second.operation or first.operation
        rows.append(
            OperationChange(
                name=operation.name if operation else NO_LINE,
                operation=operation,
                before=first.instructions,
                after=second.instructions,
                before_in=tuple(first.dispatches),
                after_in=tuple(second.dispatches),
            )
        )
    unnamed = (before.code.unnamed, after.code.unnamed)
    if any(unnamed):
        rows.append(OperationChange(name="code of no dispatch", operation=None, before=unnamed[0], after=unnamed[1]))
    rows.append(OperationChange(name=RUNTIME_ROW, operation=None, before=before.runtime, after=after.runtime))
    return tuple(sorted(rows, key=lambda row: -abs(row.change)))


@dataclass(slots=True, kw_only=True)
class _Found:
    operation: MlirOperation | None = None
    instructions: int = 0
    dispatches: tuple[str, ...] = ()


def _operations(profile: Profile, *, by_line: bool) -> dict[object, _Found]:
    """Line or text of an operation -> what it comes to."""
    found: dict[object, _Found] = {}
    for dispatch in profile.code.dispatches:
        for operation, count in profile.by_operation(dispatch).items():
            key = (operation.line if by_line else operation.text) if operation else None
            each = found.setdefault(key, _Found(operation=operation))
            each.instructions += count
            each.dispatches = (*each.dispatches, dispatch.name)
    return found


# -- for people


def profile_lines(profile: Profile) -> list[str]:
    """The totals, and the dispatches that execute most."""
    listed = profile.code.dispatches[:MOST_DISPATCHES]
    rows = [
        [
            f"{each.instructions:,}",
            _share(each.instructions, profile.instructions),
            f"{each.calls:,}",
            short_name(each.name),
            _where(profile.main_operation(each), profile.source),
        ]
        for each in listed
    ]
    folded = [
        f"{short_name(name)} has the code of {short_name(each.name)} and counts there"
        for each in profile.code.dispatches
        for name in each.folded
    ]
    more = profile.code.dispatches[MOST_DISPATCHES:]
    rest = sum(each.instructions for each in more)
    after = [f"{_dispatches(len(more), 'further ')}: {rest:,} instructions"] if more else []
    table = plain_rows(rows, headers=("instructions", "share", "calls", "dispatch", "operation")).splitlines()
    return [_title(profile.axes), *total_lines(profile), "", *table, *after, *folded]


def total_lines(profile: Profile) -> list[str]:
    """How many instructions a call has, and where they are."""
    whole, named = profile.instructions, profile.named
    return [
        f"{whole:,} instructions a call: {named:,} ({_share(named, whole)}) in "
        f"{_dispatches(len(profile.code.dispatches))}, {profile.code.unnamed:,} in other code of the module, "
        f"{profile.runtime:,} ({_share(profile.runtime, whole)}) in the runtime",
        NO_TIME,
    ]


def comparison_of_profiles(before: Profile, after: Profile) -> list[str]:
    """The operations whose instructions changed most."""
    changes = operation_changes(before, after)
    listed = [each for each in changes if each.change][:MOST_DISPATCHES]
    rows = [
        [
            f"{each.before:,}",
            f"{each.after:,}",
            f"{each.change:+,}",
            f"{100 * (each.after / each.before - 1):+.3g} %" if each.before else "new",
            _where(each.operation, after.source) if each.operation else each.name,
            _cut(each),
        ]
        for each in listed
    ]
    differ = [axis for axis, label in before.axes.items() if after.axes.get(axis) != label]
    shared = {axis: label for axis, label in after.axes.items() if axis not in differ}
    sides = [", ".join(f"{axis} {profile.axes[axis]}" for axis in differ) for profile in (before, after)]
    rest = [each for each in changes if each.change and each not in listed]
    table = plain_rows(rows, headers=("before", "after", "change", "", "operation", "dispatches")).splitlines()
    lines = [_title(shared), f"before: {sides[0]}", *total_lines(before)[:1], f"after: {sides[1]}", *total_lines(after)]
    if before.mlir != after.mlir:
        lines.append("both read different MLIR: operations with the same text are one")
    more = f"{counted(len(rest), 'further operation')} changed: {sum(each.change for each in rest):+,} instructions"
    return [*lines, "", *(table if listed else ["no operation changed"]), *([more] if rest else [])]


def _title(axes: Mapping[str, str]) -> str:
    model = axes.get(MODEL_AXIS.name, "")
    return ", ".join([model, *(f"{axis} {label}" for axis, label in axes.items() if axis != MODEL_AXIS.name)])


def _dispatches(number: int, which: str = "") -> str:
    return f"{number} {which}dispatch{'' if number == 1 else 'es'}"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "0.0 %"


def _where(operation: MlirOperation | None, source: str) -> str:
    if not operation:
        return NO_LINE
    return f"{source}:{operation.line} {operation.name} {operation.result}".strip()


def _cut(change: OperationChange) -> str:
    """The dispatches of both sides, where they are not the same."""
    before, after = (_few(names) for names in (change.before_in, change.after_in))
    return before if before == after else f"{before or 'none'} -> {after or 'none'}"


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(map(short_name, names[:2]))
    return shown + (f" and {len(names) - 2} more" if len(names) > 2 else "")


# -- as JSON


def profiles_document(profiles: Iterable[Profile]) -> dict[str, Json]:
    """All of the profiles, and of two of them the changes by operation."""
    every = [*profiles]
    document: dict[str, Json] = {"format": PROFILE_FORMAT, "profiles": [_profile_fields(each) for each in every]}
    if len(every) == 2:
        document["operations"] = [_change_fields(each) for each in operation_changes(*every)]
    return document


def _profile_fields(profile: Profile) -> Json:
    return {
        "axes": {**profile.axes},
        "instructions": profile.instructions,
        "in_dispatches": profile.named,
        "in_other_module_code": profile.code.unnamed,
        "in_runtime": profile.runtime,
        "mlir": profile.mlir,
        "source": profile.source,
        "dispatches": [
            {
                "name": each.name,
                "instructions": each.instructions,
                "share": each.instructions / profile.instructions,
                "calls": each.calls,
                "folded": [*each.folded],
                "operation": _operation_fields(profile.main_operation(each)),
                "operations": [
                    {"instructions": count, "operation": _operation_fields(operation)}
                    for operation, count in profile.by_operation(each).most_common()
                ],
            }
            for each in profile.code.dispatches
        ],
    }


def _operation_fields(operation: MlirOperation | None) -> Json:
    return {"line": operation.line, "name": operation.name, "result": operation.result} if operation else None


def _change_fields(each: OperationChange) -> Json:
    return {
        "name": each.name,
        "operation": _operation_fields(each.operation),
        "before": each.before,
        "after": each.after,
        "change": each.change,
        "before_in": [*each.before_in],
        "after_in": [*each.after_in],
    }
