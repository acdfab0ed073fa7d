"""The parts of the VM's module: which bytes of its FlatBuffer are imports, exports, types …, and which bytecode is of
which function.

The compiler writes first the vectors of offsets, then the tables that they lead to, slot after slot, then the functions
and the bytecode: so a table begins where the first of its slot is, and ends where the next slot's begin.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import pairwise

from matrix.artifacts.flatbuffer import FlatTable

TABLE_SLOTS = {
    4: "types",
    5: "required modules",
    6: "imported functions",
    7: "entry points",
    8: "signatures",
    9: "data segments",
}
"""Slot of the root with tables -> what they are."""
FUNCTIONS, BYTECODE = 12, 14
_DESCRIPTOR_BYTES = (16, 20, 24, 28, 32)
MOST_FUNCTIONS = 10_000


def table_starts(root: FlatTable) -> list[tuple[int, str]]:
    """(position in the module, name) of each part of the tables, in order; what stands before the first is the root."""
    starts = [(0, "root")]
    vectors = [at for slot in TABLE_SLOTS if (at := root.vector(slot, 4)[0])]
    if vectors:
        starts.append((min(vectors) - 4, "offsets of tables"))
    for slot, name in TABLE_SLOTS.items():
        positions = [each.position for each in root.tables(slot)]
        if positions:
            starts.append((min(positions), name))
    functions, _ = root.vector(FUNCTIONS, 1)
    if functions:
        starts.append((functions - 4, "functions"))
    bytecode, size = root.vector(BYTECODE, 1)
    if bytecode:
        starts.append((bytecode + size, "end"))
    return sorted(starts)


def name_at(starts: list[tuple[int, str]], position: int) -> str:
    """The part that a position is in."""
    return next((name for start, name in reversed(starts) if start <= position), "root")


def cuts(starts: list[tuple[int, str]], low: int, high: int) -> Iterator[tuple[int, int, str]]:
    """(start, end, name) of the parts of a range."""
    places = [low, *(start for start, _ in starts if low < start < high), high]
    for start, end in pairwise(places):
        yield start, end, name_at(starts, start)


def function_ranges(content: bytes, root: FlatTable) -> list[tuple[int, int, str]]:
    """(start, end, name) of the bytecode of each function, in the order of the file; none where the descriptors are not
    as every compiler so far writes them. A function that is no entry point has only a number."""
    functions, count = root.vector(FUNCTIONS, 1)
    bytecode, size = root.vector(BYTECODE, 1)
    if not 0 < count <= MOST_FUNCTIONS or not bytecode:
        return []
    width = (bytecode - 4 - functions) // count
    if width not in _DESCRIPTOR_BYTES or functions + count * width > len(content):
        return []
    names = {each.u32(1): each.text(0) for each in root.tables(7)}
    found: list[tuple[int, int, str]] = []
    for number in range(count):
        offset, length = struct.unpack_from("<ii", content, functions + number * width)
        after = found[-1][1] if found else bytecode
        if length <= 0 or not after <= bytecode + offset <= bytecode + offset + length <= bytecode + size:
            return []
        found.append((bytecode + offset, bytecode + offset + length, names.get(number) or f"function {number}"))
    return found
