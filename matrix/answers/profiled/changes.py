"""Two profiles compared by the operations of their model.

Releases cut a model into dispatches in different ways. So two of them are compared by the operations of the MLIR that
both read: each instruction counts to the operation of its line. Pure.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from matrix.results.measured.profiled_code import ModelOperation
from matrix.results.measured.profiles import RUNTIME_KIND, Profile

NO_LINE, NO_DISPATCH = "code of no operation", "code of no dispatch"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationChange:
    """Instructions for one operation on both sides, and the dispatches that have them. Without an operation: `name`
    says what it is."""

    name: str
    operation: ModelOperation | None
    before: int
    after: int
    before_in: tuple[str, ...] = ()
    after_in: tuple[str, ...] = ()

    @property
    def change(self) -> int:
        return self.after - self.before


def operation_changes(before: Profile, after: Profile) -> tuple[OperationChange, ...]:
    """By operation, those with the largest change first. The changes add up to that of all instructions.

    Operations are joined by their line, or, where the sides read different MLIR, by their text.
    """
    same = same_model(before, after)
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
        rows.append(OperationChange(name=NO_DISPATCH, operation=None, before=unnamed[0], after=unnamed[1]))
    runtime = OperationChange(name=RUNTIME_KIND, operation=None, before=before.code.runtime, after=after.code.runtime)
    return tuple(sorted([*rows, runtime], key=lambda row: -abs(row.change)))


def same_model(before: Profile, after: Profile) -> bool:
    """Whether both compilers read the same MLIR."""
    return before.code.mlir == after.code.mlir


@dataclass(slots=True, kw_only=True)
class _Found:
    operation: ModelOperation | None = None
    instructions: int = 0
    dispatches: tuple[str, ...] = ()


def _operations(profile: Profile, *, by_line: bool) -> dict[Hashable, _Found]:
    """Line or text of an operation -> what it comes to."""
    found: dict[Hashable, _Found] = {}
    for dispatch in profile.code.dispatches:
        for operation, count in profile.by_operation(dispatch).items():
            key = (operation.line if by_line else operation.digest) if operation else None
            each = found.setdefault(key, _Found(operation=operation))
            each.instructions += count
            each.dispatches = (*each.dispatches, dispatch.name)
    return found
