"""Reads FlatBuffers that may be hostile: every step is checked against the buffer, and a budget bounds the work.

The package `flatbuffers` follows offsets, and raises various exceptions where they lead nowhere. Offsets may also lead
in circles, or let a million vector elements share one long text: the budget stops that.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

from matrix.core.errors import FileFault

LONGEST_TEXT = 4096
BUDGET = 100_000
"""Steps for one buffer. A module of 1,000 exports takes about 10,000; 100,000 take a fifth of a second."""

_FAULTS = (struct.error, TypeError, ValueError, IndexError, OverflowError)


class Budget:
    """Counts the steps of reading one buffer."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.left = BUDGET

    def take(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise fault(self.place, "tables that lead in circles or hold more than any module does")


def fault(place: str, read: str) -> FileFault:
    return FileFault(
        f"{place}: read {read}, expected a FlatBuffer that iree-compile wrote",
        tip="the file is damaged or not a module: compile it again",
    )


class FlatTable:
    """One table of a FlatBuffer. Fields are given by their slot in the schema; an absent field reads as 0 or empty.

    Every reader raises FileFault where an offset leads out of the buffer, or where the budget is spent.
    """

    def __init__(
        self, content: bytes, position: int, budget: Budget, *, slots: Mapping[int, int] | None = None
    ) -> None:
        if not 0 <= position <= len(content) - 4:
            raise fault(budget.place, f"a table at {position} of {len(content)} bytes")
        from flatbuffers.table import Table  # imports numpy, half a second: only few verbs read such a file

        self._slots = slots
        self._content = content
        self._budget = budget
        self._table = Table(content, position)

    @property
    def position(self) -> int:
        return int(self._table.Pos)

    def _field(self, slot: int) -> int:
        """The position of the field's value; 0 where the field is absent."""
        self._budget.take(1)
        if self._slots is not None and slot not in self._slots:
            return 0
        try:
            offset = int(self._table.Offset(4 + 2 * (self._slots[slot] if self._slots else slot)))
        except _FAULTS as error:
            raise self._broken(slot, error) from error
        return self.position + offset if offset else 0

    def renumbered(self, slots: Mapping[int, int]) -> FlatTable:
        """The same table, written by another schema: `slots` leads from the slots that are asked for to its own. It has
        no other fields."""
        return FlatTable(self._content, self.position, self._budget, slots=slots)

    def _broken(self, slot: int, error: Exception) -> FileFault:
        return fault(self._budget.place, f"field {slot} of the table at {self.position}, which leads nowhere ({error})")

    def _number(self, slot: int, form: str) -> int:
        at = self._field(slot)
        try:
            return int(struct.unpack_from(form, self._content, at)[0]) if at else 0
        except _FAULTS as error:
            raise self._broken(slot, error) from error

    def u32(self, slot: int) -> int:
        return self._number(slot, "<I")

    def u64(self, slot: int) -> int:
        return self._number(slot, "<Q")

    def _target(self, slot: int) -> int:
        """The position that the offset in a field leads to; 0 where the field is absent."""
        at = self._field(slot)
        if not at:
            return 0
        try:
            target = int(self._table.Indirect(at))
        except _FAULTS as error:
            raise self._broken(slot, error) from error
        if not 0 < target <= len(self._content) - 4:
            raise fault(self._budget.place, f"field {slot} of the table at {self.position}, which leads to {target}")
        return target

    def table(self, slot: int) -> FlatTable | None:
        target = self._target(slot)
        return FlatTable(self._content, target, self._budget) if target else None

    def vector(self, slot: int, width: int) -> tuple[int, int]:
        """(position of the first element, number of elements) of a vector; an element has `width` bytes."""
        target = self._target(slot)
        if not target:
            return 0, 0
        (count,) = struct.unpack_from("<I", self._content, target)
        if count * width > len(self._content) - target - 4:
            raise fault(self._budget.place, f"field {slot}: {count} elements, more than the file has")
        return target + 4, count

    def text(self, slot: int) -> str:
        start, length = self.vector(slot, 1)
        if length > LONGEST_TEXT:
            raise fault(self._budget.place, f"field {slot}: a name of {length} bytes")
        self._budget.take(1 + length // 64)
        return self._content[start : start + length].decode("utf-8", errors="replace")

    def tables(self, slot: int) -> Iterator[FlatTable]:
        start, count = self.vector(slot, 4)
        self._budget.take(count)
        for index in range(count):
            at = start + 4 * index
            yield FlatTable(self._content, at + struct.unpack_from("<I", self._content, at)[0], self._budget)


def root_table(content: bytes, identifier: bytes, place: str) -> FlatTable:
    """The root table of a buffer without its size prefix. Raises FileFault for another identifier."""
    if len(content) < 8 or content[4:8] != identifier:
        raise fault(place, f"the identifier {content[4:8]!r}")
    return FlatTable(content, struct.unpack_from("<I", content)[0], Budget(place))
