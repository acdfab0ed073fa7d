"""Facts of a model's file that are needed before a tool reads it: the entry points of a `.vmfb`, the opset and the
graph's name of an `.onnx`. Weights are skipped, not read; a damaged file has no facts, and the tools say why."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""The wire types of protobuf (https://protobuf.dev/programming-guides/encoding)."""
MODEL_GRAPH, MODEL_OPSET, GRAPH_NAME, OPSET_DOMAIN, OPSET_VERSION = 7, 8, 2, 1, 2
"""Field numbers of onnx.proto."""
EXPORTS = 7
"""The slot of the exported functions in a module's FlatBuffer, 2.9 to 3.13."""
MODULE = "module.fb"


class Damaged(ValueError):
    """The file ends in the middle, or is not of its kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxFacts:
    """`graph` is the name that the importer gives to the function, `opset` such as `17` or `17, ai.onnx.ml 3`."""

    graph: str = ""
    opset: str = ""


def onnx_facts(path: Path) -> OnnxFacts:
    """What a `.onnx` file says of itself; as far as it can be read."""
    graph, opsets = "", []
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        try:
            for number, start, length in _fields(file, 0, size):
                if number == MODEL_GRAPH:
                    graph = _text(file, start, length, GRAPH_NAME)
                elif number == MODEL_OPSET:
                    version = next((begin for key, begin, _ in _fields(file, start, length) if key == OPSET_VERSION), 0)
                    opsets.append(f"{_text(file, start, length, OPSET_DOMAIN)} {version}".strip())
        except Damaged:
            pass
    return OnnxFacts(graph=graph, opset=", ".join(opsets))


def _text(file: IO[bytes], start: int, length: int, wanted: int) -> str:
    for number, begin, size in _fields(file, start, length):
        if number == wanted:
            file.seek(begin)
            return file.read(size).decode("utf-8", "replace")
    return ""


def _fields(file: IO[bytes], start: int, length: int) -> Iterator[tuple[int, int, int]]:
    """(number, start, length) of each field of a message; a whole number stands in the place of its start."""
    place, end = start, start + length
    while place < end:
        file.seek(place)
        tag, place = _varint(file, place)
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value, place = _varint(file, place)
            yield number, value, 0
            continue
        size = {FIXED64: 8, FIXED32: 4}.get(wire, -1)
        if wire == BYTES:
            size, place = _varint(file, place)
        if size < 0 or place + size > end:
            raise Damaged
        yield number, place, size
        place += size


def _varint(file: IO[bytes], place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise Damaged
        place += 1
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value, place
    raise Damaged


def entry_points(path: Path) -> tuple[str, ...]:
    """The functions that a `.vmfb` offers, without IREE's own (`__init`) and the asynchronous twins (`main$async`)."""
    try:
        names = _exports(_module(path))
    except (Damaged, struct.error, IndexError, UnicodeDecodeError):
        return ()
    return tuple(name for name in names if not name.startswith("__") and "$" not in name)


def _module(path: Path) -> bytes:
    """The FlatBuffer of a module, without its length prefix."""
    try:
        with zipfile.ZipFile(path) as archive:
            content = archive.read(MODULE)
    except (zipfile.BadZipFile, KeyError, OSError, EOFError, zlib.error):
        raise Damaged from None
    return content[4:]


def _exports(module: bytes) -> list[str]:
    """Slot by slot (https://flatbuffers.dev/internals): the root table, its vector of exports, their names."""
    if module[4:8] != b"IREE":
        raise Damaged
    vector = _follow(module, _field(module, _follow(module, 0), EXPORTS))
    (count,) = struct.unpack_from("<I", module, vector)
    tables = (_follow(module, vector + 4 + 4 * index) for index in range(count))
    names = []
    for table in tables:
        text = _follow(module, _field(module, table, 0))
        (length,) = struct.unpack_from("<I", module, text)
        names.append(module[text + 4 : text + 4 + length].decode())
    return names


def _follow(module: bytes, place: int) -> int:
    (offset,) = struct.unpack_from("<I", module, place)
    return int(place + offset)


def _field(module: bytes, table: int, slot: int) -> int:
    """Where a field of a table lies. Raises Damaged if the table has none."""
    (back,) = struct.unpack_from("<i", module, table)
    vtable = table - back
    (size,) = struct.unpack_from("<H", module, vtable)
    if vtable < 0 or 4 + 2 * slot >= size:
        raise Damaged
    (offset,) = struct.unpack_from("<H", module, vtable + 4 + 2 * slot)
    if not offset:
        raise Damaged
    return int(table + offset)
