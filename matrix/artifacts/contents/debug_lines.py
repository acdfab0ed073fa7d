"""What the debug information of an ELF file says of its code: the functions by name, and the line of each address.

DWARF 2 to 4 in its 32-bit form, as `iree-compile` writes it in all releases: a unit for each dispatch, whose lines are
those of the MLIR that it read. Files may be hostile: each step is checked against the section.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from matrix.artifacts.elf import Elf
from matrix.core.errors import FileFault

MOST_ROWS = 2_000_000
"""Rows of line tables, and entries of units, in one file."""
LARGEST_NUMBER = 10
"""Bytes of a LEB128 number of 64 bits."""

_COMPILE_UNIT, _SUBPROGRAM = 0x11, 0x2E
_NAME, _LOW, _HIGH = 0x03, 0x11, 0x12
_FIXED = {0x05: 2, 0x06: 4, 0x07: 8, 0x0B: 1, 0x0C: 1, 0x10: 4, 0x11: 1, 0x12: 2, 0x13: 4, 0x14: 8, 0x17: 4, 0x20: 8}
"""Forms with a fixed number of bytes."""
_ADDRESS, _STRING, _STRP, _PRESENT, _SDATA = 0x01, 0x08, 0x0E, 0x19, 0x0D
_BLOCKS = {0x03: 2, 0x04: 4, 0x0A: 1}
"""Forms with their length before them, in so many bytes."""
_LENGTH_BEFORE, _NUMBERS = (0x09, 0x18), (0x0F, 0x15, _SDATA)


@dataclass(frozen=True, slots=True, kw_only=True)
class DebugFunction:
    """A function; `low` to `high` are its addresses. Both are 0 where the linker left its code out."""

    name: str
    low: int
    high: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LineRange:
    """Addresses of one line of a file. Line 0: code of no line."""

    low: int
    high: int
    file: str
    line: int


class _Reader:
    """Reads numbers and texts from a section, in order."""

    def __init__(self, content: bytes, place: str, at: int = 0) -> None:
        self.content, self.place, self.at = content, place, at

    def take(self, size: int) -> bytes:
        found = self.content[self.at : self.at + size]
        if len(found) != size:
            raise _fault(self.place, f"the end of it after {len(found)} of {size} bytes at {self.at}")
        self.at += size
        return found

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def leb(self, *, signed: bool = False) -> int:
        value = shift = 0
        for _ in range(LARGEST_NUMBER):
            byte = self.number(1)
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value - (1 << shift) if signed and byte & 0x40 else value
        raise _fault(self.place, f"a number of more than {LARGEST_NUMBER} bytes at {self.at}")

    def text(self) -> str:
        end = self.content.find(b"\0", self.at)
        if end < 0:
            raise _fault(self.place, f"a name without an end at {self.at}")
        found = self.take(end - self.at + 1)[:-1]
        return found.decode("utf-8", errors="replace")

    def unit(self) -> _Reader:
        """The unit that begins here, after its length."""
        size = self.number(4)
        if size >= 0xFFFFFFF0:
            raise _fault(self.place, "a unit in the 64-bit form")
        return _Reader(self.take(size), self.place)


def _fault(place: str, read: str) -> FileFault:
    return FileFault(
        f"{place}: read {read}, expected DWARF 2 to 4 as iree-compile writes it",
        tip="the file is damaged or of an unknown release: compile it again",
    )


def _section(content: bytes, elf: Elf, name: str) -> bytes:
    found = elf.section(name)
    return content[found.offset : found.offset + found.size] if found else b""


def read_functions(content: bytes, elf: Elf, place: str) -> tuple[DebugFunction, ...]:
    """The functions with a name, in the order of the file; none without debug information. Raises FileFault."""
    abbreviations, texts = _section(content, elf, ".debug_abbrev"), _section(content, elf, ".debug_str")
    reader = _Reader(_section(content, elf, ".debug_info"), f"{place}: .debug_info")
    found: list[DebugFunction] = []
    tables: dict[int, Mapping[int, _Shape]] = {}
    while reader.at < len(reader.content):
        unit = reader.unit()
        _version(unit)
        where, width = unit.number(4), unit.number(1)
        if where not in tables:
            tables[where] = _abbreviations(_Reader(abbreviations, f"{place}: .debug_abbrev", where))
        found += _functions(unit, tables[where], texts, width)
    return tuple(found)


def _version(unit: _Reader) -> int:
    if not 2 <= (version := unit.number(2)) <= 4:
        raise _fault(unit.place, f"version {version}")
    return version


@dataclass(frozen=True, slots=True)
class _Shape:
    """What an entry of a unit is, and the (attribute, form) pairs that follow."""

    tag: int
    attributes: tuple[tuple[int, int], ...]


def _abbreviations(reader: _Reader) -> Mapping[int, _Shape]:
    found: dict[int, _Shape] = {}
    while code := reader.leb():
        tag = reader.leb()
        reader.take(1)
        pairs: list[tuple[int, int]] = []
        while (pair := (reader.leb(), reader.leb())) != (0, 0):
            pairs.append(pair)
        found[code] = _Shape(tag, tuple(pairs))
    return found


def _functions(unit: _Reader, shapes: Mapping[int, _Shape], texts: bytes, width: int) -> Iterator[DebugFunction]:
    for _ in range(MOST_ROWS):
        if unit.at >= len(unit.content):
            return
        if not (code := unit.leb()):
            continue
        if code not in shapes:
            raise _fault(unit.place, f"an entry of the unknown kind {code}")
        shape = shapes[code]
        values = {name: (form, _value(unit, form, texts, width)) for name, form in shape.attributes}
        if shape.tag != _SUBPROGRAM or _NAME not in values or _LOW not in values or _HIGH not in values:
            continue
        name, (_, low), (form, high) = str(values[_NAME][1]), values[_LOW], values[_HIGH]
        if isinstance(low, int) and isinstance(high, int):
            end = high if form == _ADDRESS else low + high
            yield DebugFunction(name=name, low=low, high=end if low else 0)
    raise _fault(unit.place, f"more than {MOST_ROWS} entries")


def _value(unit: _Reader, form: int, texts: bytes, width: int) -> int | str:
    """What an attribute says; 0 for what no function needs."""
    found: int | str = 0
    if form in _FIXED:
        found = unit.number(_FIXED[form])
    elif form == _ADDRESS:
        found = unit.number(width)
    elif form == _STRP:
        found = _Reader(texts, unit.place, unit.number(4)).text()
    elif form == _STRING:
        found = unit.text()
    elif form in _NUMBERS:
        found = unit.leb(signed=form == _SDATA)
    elif form in _BLOCKS or form in _LENGTH_BEFORE:
        unit.take(unit.number(_BLOCKS[form]) if form in _BLOCKS else unit.leb())
    elif form != _PRESENT:
        raise _fault(unit.place, f"an attribute of the unknown form {form}")
    return found


# -- lines


def read_lines(content: bytes, elf: Elf, place: str) -> tuple[LineRange, ...]:
    """The addresses of each line, in order; what the linker left out is not in them. Raises FileFault."""
    reader = _Reader(_section(content, elf, ".debug_line"), f"{place}: .debug_line")
    found: list[LineRange] = []
    while reader.at < len(reader.content):
        found += islice(_Rows(reader.unit()).ranges(), MOST_ROWS - len(found))
    return tuple(sorted(found, key=lambda each: each.low))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    """What a table says of itself; the names are those of DWARF."""

    minimum: int
    line_base: int
    line_range: int
    opcode_base: int
    lengths: tuple[int, ...]
    files: tuple[str, ...]


def _header(unit: _Reader) -> _Header:
    version = _version(unit)
    unit.take(4)
    minimum = unit.number(1)
    unit.take(2 if version >= 4 else 1)
    base, line_range, opcode_base = unit.number(1), unit.number(1), unit.number(1)
    if not line_range or not opcode_base:
        raise _fault(unit.place, "a table without a range of lines")
    lengths = tuple(unit.number(1) for _ in range(opcode_base - 1))
    while unit.text():  # folders
        pass
    return _Header(
        minimum=minimum,
        line_base=base - 256 if base >= 128 else base,
        line_range=line_range,
        opcode_base=opcode_base,
        lengths=lengths,
        files=tuple(_file_names(unit)),
    )


def _file_names(unit: _Reader) -> Iterator[str]:
    while name := unit.text():
        for _ in range(3):
            unit.leb()
        yield name


class _Rows:
    """The rows that the program of a table makes: each gives the range from the row before it."""

    def __init__(self, unit: _Reader) -> None:
        self.unit, self.header = unit, _header(unit)
        self._restart()

    def _restart(self) -> None:
        self.address, self.line, self.file = 0, 1, 1
        self.last: tuple[int, int, int] | None = None

    def ranges(self) -> Iterator[LineRange]:
        while self.unit.at < len(self.unit.content):
            ends = False
            if (code := self.unit.number(1)) >= self.header.opcode_base:
                self._advance(code - self.header.opcode_base)
                self.line += self.header.line_base + (code - self.header.opcode_base) % self.header.line_range
            elif code == 0:
                ends = self._extended()
            elif code != 1:
                self._standard(code)
            if code >= self.header.opcode_base or code == 1 or ends:
                yield from self._row()
            if ends:
                self._restart()

    def _row(self) -> Iterator[LineRange]:
        if self.last and self.last[0] and self.last[0] < self.address:
            low, line, file = self.last
            name = self.header.files[file - 1] if 0 < file <= len(self.header.files) else ""
            yield LineRange(low=low, high=self.address, file=name, line=line)
        self.last = (self.address, self.line, self.file)

    def _advance(self, code: int) -> None:
        self.address += code // self.header.line_range * self.header.minimum

    def _standard(self, code: int) -> None:
        if code == 2:
            self.address += self.unit.leb() * self.header.minimum
        elif code == 3:
            self.line += self.unit.leb(signed=True)
        elif code == 4:
            self.file = self.unit.leb()
        elif code == 8:
            self._advance(255 - self.header.opcode_base)
        elif code == 9:
            self.address += self.unit.number(2)
        else:
            for _ in range(self.header.lengths[code - 1]):
                self.unit.leb()

    def _extended(self) -> bool:
        """Whether it ends a sequence of rows."""
        size = self.unit.leb()
        inner = _Reader(self.unit.take(size), self.unit.place)
        code = inner.number(1)
        if code == 2:
            self.address = inner.number(size - 1)
        return code == 1
