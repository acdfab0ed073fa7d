"""Profiles for people and as JSON: one, or two compared by operation. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from matrix.answers.profiled.changes import NO_LINE, OperationChange, operation_changes, same_model
from matrix.core.keys import Json
from matrix.core.text import counted, plain_rows
from matrix.plan.backends.shared import MODEL_AXIS
from matrix.results.measured.profiled_code import ModelOperation, short_name
from matrix.results.measured.profiles import NO_TIME, Profile, share_words

PROFILE_FORMAT = 1
MOST_DISPATCHES = 10
FAR_MORE = 10
"""From so many times on, per cent say little."""
SHARED_DISPATCH = "a dispatch that equal operations share counts to one of them"


def profile_lines(profile: Profile) -> list[str]:
    """The totals, and the dispatches that execute most."""
    listed = profile.code.dispatches[:MOST_DISPATCHES]
    rows = [
        [
            f"{each.instructions:,}",
            share_words(each.instructions, profile.instructions),
            f"{each.calls:,}",
            short_name(each.name),
            where_words(profile.main_operation(each), profile.source),
        ]
        for each in listed
    ]
    more = profile.code.dispatches[MOST_DISPATCHES:]
    rest = sum(each.instructions for each in more)
    after = [f"{_dispatches(len(more), 'further ')}: {rest:,} instructions"] if more else []
    table = plain_rows(rows, headers=("instructions", "share", "calls", "dispatch", "operation")).splitlines()
    return [_title(profile.axes), *total_lines(profile), "", *table, *after, *folded_lines(profile)]


def folded_lines(profile: Profile) -> list[str]:
    """The dispatches that the linker left out."""
    return [
        f"{short_name(name)} has the code of {short_name(each.name)} and counts there"
        for each in profile.code.dispatches
        for name in each.folded
    ]


def total_lines(profile: Profile) -> list[str]:
    """How many instructions a call has, and where they are."""
    whole, code = profile.instructions, profile.code
    return [
        f"{whole:,} instructions a call: {code.named:,} ({share_words(code.named, whole)}) in "
        f"{_dispatches(len(code.dispatches))}, {code.unnamed:,} in other code of the module, "
        f"{code.runtime:,} ({share_words(code.runtime, whole)}) in the runtime",
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
            ratio_words(each),
            where_words(each.operation, after.source) if each.operation else each.name,
            cut_words(each),
        ]
        for each in listed
    ]
    differ = [axis for axis, label in before.axes.items() if after.axes.get(axis) != label]
    shared = {axis: label for axis, label in after.axes.items() if axis not in differ}
    sides = [", ".join(f"{axis} {profile.axes[axis]}" for axis in differ) for profile in (before, after)]
    rest = [each for each in changes if each.change and each not in listed]
    table = plain_rows(rows, headers=("before", "after", "change", "", "operation", "dispatches")).splitlines()
    lines = [_title(shared), f"before: {sides[0]}", *total_lines(before)[:1], f"after: {sides[1]}", *total_lines(after)]
    if listed:
        lines.append(SHARED_DISPATCH)
    if not same_model(before, after):
        lines.append("both read different MLIR: operations with the same text are one")
    more = f"{counted(len(rest), 'further operation')} changed: {sum(each.change for each in rest):+,} instructions"
    return [*lines, "", *(table if listed else ["no operation changed"]), *([more] if rest else [])]


def _title(axes: Mapping[str, str]) -> str:
    model = axes.get(MODEL_AXIS.name, "")
    return ", ".join([model, *(f"{axis} {label}" for axis, label in axes.items() if axis != MODEL_AXIS.name)])


def _dispatches(number: int, which: str = "") -> str:
    return f"{number} {which}dispatch{'' if number == 1 else 'es'}"


def ratio_words(change: OperationChange) -> str:
    """`-12.3 %`, `41 times`, `new`, `gone`."""
    if not change.before or not change.after:
        return "gone" if change.before else "new"
    ratio = change.after / change.before
    return f"{ratio:,.0f} times" if ratio >= FAR_MORE else f"{100 * (ratio - 1):+.3g} %"


def where_words(operation: ModelOperation | None, source: str) -> str:
    """`module.mlir:33 torch.aten.conv2d 1x32x112x112xf32`."""
    if not operation:
        return NO_LINE
    return f"{source}:{operation.line} {operation.name} {operation.result}".strip()


def cut_words(change: OperationChange) -> str:
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
    code = profile.code
    return {
        "axes": {**profile.axes},
        "instructions": code.instructions,
        "in_dispatches": code.named,
        "in_other_module_code": code.unnamed,
        "in_runtime": code.runtime,
        "mlir": code.mlir,
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
                    for operation, count in profile.by_operation(each).items()
                ],
            }
            for each in code.dispatches
        ],
    }


def _operation_fields(operation: ModelOperation | None) -> Json:
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
