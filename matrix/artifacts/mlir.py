"""Reads the facts of an MLIR file: dialects, entry points, its likely writer. Of text only line starts are read, of
bytecode only the sections with names; weights are skipped.

The bytecode format: https://mlir.llvm.org/docs/BytecodeFormat/
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from matrix.artifacts.vmfb_archive import open_file
from matrix.core.errors import FileFault

BYTECODE_MAGIC = b"ML\xefR"
MOST_BYTES = 512 << 20
MOST_LINES = 100_000
LONGEST_LINE = 2048
LARGEST_SECTION = 4 << 20
MOST_NAMES = 1000
MOST_BYTECODE_SECTIONS = 64

_OPERATION = re.compile(rb'\s*(?:%[\w:, %#-]{1,200}=\s*)?"?([a-z]\w{0,30})\.[a-z][\w.]*+(?!: ")')
_TYPE = re.compile(rb"[!#]([a-z][a-z_0-9]{1,30})\.[a-z]")
_FUNCTION = re.compile(rb"\s*(?:func|util|vm)\.func\s+(?:public\s+)?@([\w$.-]{1,200})\s*\(")
_MODULE = re.compile(rb"\s*(?:builtin\.)?module\b")
_ONNX_PRODUCER = re.compile(rb'torch\.onnx_meta\.producer_(?:name|version) = "([^"]{1,60})"')

HINTS = (
    (b"torch.onnx_meta.", "iree-import-onnx"),
    (b"torch.assume_strict_symbolic_shapes", "torch.export, through iree-turbine or torch-mlir"),
    (b"mhlo.", "JAX or TensorFlow, through StableHLO"),
    (b"stablehlo.", "JAX, TensorFlow or torch-xla, through StableHLO"),
    (b"tf_saved_model.", "TensorFlow"),
    (b"tosa.", "a TOSA front end, such as LiteRT's"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mlir:
    """`producer` is the writer that bytecode names; `hints` are likely writers of a text; `entry_points` are public
    functions (None for bytecode: unknown); `complete` is false where the file was too long to read to its end."""

    size: int
    encoding: str
    producer: str
    hints: tuple[str, ...]
    dialects: tuple[str, ...]
    entry_points: tuple[str, ...] | None
    complete: bool


def is_mlir(path: Path, head: bytes) -> bool:
    """By the magic number of bytecode, or by the file name."""
    return head[:4] == BYTECODE_MAGIC or path.suffix in (".mlir", ".mlirbc")


def read_mlir(path: Path) -> Mlir:
    """Reads any file within 2 s and 200 MB. Raises FileFault for a file that is not MLIR."""
    with open_file(path) as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        if file.read(4) == BYTECODE_MAGIC:
            return _bytecode(file, str(path), size)
        file.seek(0)
        return _text(file, str(path), size)


def _fault(place: str, read: str) -> FileFault:
    return FileFault(
        f"{place}: read {read}, expected MLIR, as text or bytecode", tip="export or import the model again"
    )


def _text(file: BinaryIO, place: str, size: int) -> Mlir:
    dialects: set[str] = set()
    functions: dict[str, None] = {}
    hints: dict[str, None] = {}
    modules = 0
    for line in _lines(file):
        modules += bool(_MODULE.match(line))
        if len(functions) < MOST_NAMES and (function := _FUNCTION.match(line)):
            functions[function[1].decode()] = None
        if len(dialects) < MOST_NAMES:
            if operation := _OPERATION.match(line):
                dialects.add(operation[1].decode())
            dialects |= {match[1].decode() for match in _TYPE.finditer(line)}
        for mark, hint in HINTS:
            if mark in line:
                hints[hint] = None
        hints |= {f"ONNX of {match[1].decode(errors='replace')}": None for match in _ONNX_PRODUCER.finditer(line)}
        if len(hints) > MOST_NAMES:
            raise _fault(place, "more producers than any file has")
    if not dialects or not (modules or functions):
        raise _fault(place, f"a text of {size} bytes without an operation in a module or function")
    return Mlir(
        size=size,
        encoding="text",
        producer="",
        hints=tuple(hints),
        dialects=tuple(sorted(dialects)),
        entry_points=tuple(functions),
        complete=not file.read(1),
    )


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The first bytes of each line: the end of a long line is a weight."""
    beginning, left = True, MOST_BYTES
    lines = MOST_LINES
    while left > 0 and lines > 0 and (piece := file.readline(1 << 16)):
        left -= len(piece)
        if beginning:
            lines -= 1
            yield piece[:LONGEST_LINE]
        beginning = piece.endswith(b"\n")


def _bytecode(file: BinaryIO, place: str, size: int) -> Mlir:
    version = _varint(file, place)
    producer = _c_string(file, place)
    strings: list[str] = []
    dialects = b""
    for number, content in _sections(file, place, size):
        if number == 0:
            strings = _strings(content, place)
        elif number == 1:
            dialects = content
    return Mlir(
        size=size,
        encoding=f"bytecode {version}",
        producer=producer,
        hints=(),
        dialects=tuple(sorted(_dialects(dialects, strings, version, place))),
        entry_points=None,
        complete=True,
    )


def _sections(file: BinaryIO, place: str, size: int) -> Iterator[tuple[int, bytes]]:
    """(number, content) of the sections with strings and dialects; the others are skipped."""
    for _ in range(MOST_BYTECODE_SECTIONS):
        head = file.read(1)
        if not head:
            return
        length = _varint(file, place)
        if head[0] & 0x80:
            alignment = _varint(file, place)
            if alignment not in {1 << bit for bit in range(21)}:
                raise _fault(place, f"a section aligned to {alignment}")
            file.seek(-(-file.tell() // alignment) * alignment)
        start = file.tell()
        if start + length > size:
            raise _fault(place, f"a section of {length} bytes at {start}, of {size}")
        if head[0] & 0x7F in (0, 1):
            if length > LARGEST_SECTION:
                raise _fault(place, f"names of {length} bytes")
            yield head[0] & 0x7F, file.read(length)
        file.seek(start + length)
    raise _fault(place, f"more than {MOST_BYTECODE_SECTIONS} sections")


def _strings(content: bytes, place: str) -> list[str]:
    """The section holds a count, the lengths from last to first, and the texts from first to last, each with a NUL."""
    file = io.BytesIO(content)
    count = _varint(file, place)
    if count > len(content):
        raise _fault(place, f"{count} names in {len(content)} bytes")
    lengths = [_varint(file, place) for _ in range(count)][::-1]
    found = []
    for length in lengths:
        if length > len(content) - file.tell():
            raise _fault(place, f"a name of {length} bytes")
        found.append(file.read(length)[:200].rstrip(b"\0").decode("utf-8", errors="replace"))
    return found


def _dialects(content: bytes, strings: list[str], version: int, place: str) -> set[str]:
    file = io.BytesIO(content)
    found = set()
    for _ in range(min(_varint(file, place), MOST_NAMES) if content else 0):
        number = _varint(file, place)
        if version >= 1:  # the low bit: a section with the dialect's version follows
            if number & 1:
                file.seek(1, io.SEEK_CUR)
                file.seek(min(_varint(file, place), len(content)), io.SEEK_CUR)
            number >>= 1
        if number >= len(strings):
            raise _fault(place, f"dialect name {number} of {len(strings)}")
        found.add(strings[number])
    return found


def _varint(file: BinaryIO, place: str) -> int:
    """A number whose lowest set bit gives the number of bytes that follow."""
    first = file.read(1)
    more = 8 if first == b"\0" else (first[0] & -first[0]).bit_length() - 1 if first else 0
    rest = file.read(more)
    if not first or len(rest) != more:
        raise _fault(place, "bytecode that is cut off")
    return int.from_bytes(rest, "little") if more == 8 else int.from_bytes(first + rest, "little") >> (more + 1)


def _c_string(file: BinaryIO, place: str) -> str:
    content = file.read(256)
    text, end, rest = content.partition(b"\0")
    if not end:
        raise _fault(place, "a producer of more than 256 bytes")
    file.seek(-len(rest), io.SEEK_CUR)
    return text.decode("utf-8", errors="replace")
