"""Reads an `.onnx` file without onnx: its graph's name, its opset and its weight files. Weights are skipped."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""The wire types of protobuf (https://protobuf.dev/programming-guides/encoding)."""
_MODEL_GRAPH, _MODEL_OPSET, _GRAPH_NAME, _OPSET_DOMAIN, _OPSET_VERSION = 7, 8, 2, 1, 2
_GRAPH_WEIGHT, _WEIGHT_LOCATION, _ENTRY_KEY, _ENTRY_VALUE = 5, 13, 1, 2
"""Field numbers of onnx.proto."""
_LONGEST = 1024
"""The bytes of a name, and the characters of all opsets: in a damaged file a name may be the rest of the file."""


class _Damaged(ValueError):
    """The file is cut off, or is no ONNX file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxFacts:
    """`graph` is the name that the importer gives to the function; `opset` is such as `17` or `17, ai.onnx.ml 3`;
    `weight_files` hold weights outside of the file: torch's exporter writes an `.onnx.data`."""

    graph: str = ""
    opset: str = ""
    weight_files: tuple[str, ...] = ()


def onnx_facts(path: Path) -> OnnxFacts:
    """The facts of an `.onnx` file, as far as it can be read: for a damaged file the tools say why."""
    graph, opsets = "", []
    weight_files: tuple[str, ...] = ()
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        try:
            for number, start, length in _fields(file, 0, size):
                if number == _MODEL_GRAPH:
                    graph = _text(file, start, length, _GRAPH_NAME)
                    weight_files = tuple(sorted(_weight_files(file, start, length)))
                elif number == _MODEL_OPSET:
                    version = next(
                        (begin for key, begin, _ in _fields(file, start, length) if key == _OPSET_VERSION), 0
                    )
                    opsets.append(f"{_text(file, start, length, _OPSET_DOMAIN)} {version}".strip())
        except _Damaged:
            pass
    return OnnxFacts(graph=graph, opset=", ".join(opsets)[:_LONGEST], weight_files=weight_files)


def _weight_files(file: IO[bytes], start: int, length: int) -> set[str]:
    """The external files that a graph's weights name."""
    found = set()
    for number, weight, size in _fields(file, start, length):
        if number != _GRAPH_WEIGHT:
            continue
        with contextlib.suppress(_Damaged):
            for key, entry, rest in _fields(file, weight, size):
                if key == _WEIGHT_LOCATION and _text(file, entry, rest, _ENTRY_KEY) == "location":
                    found.add(_text(file, entry, rest, _ENTRY_VALUE))
    return found


def _text(file: IO[bytes], start: int, length: int, wanted: int) -> str:
    for number, begin, size in _fields(file, start, length):
        if number == wanted:
            file.seek(begin)
            return file.read(min(size, _LONGEST)).decode("utf-8", "replace")
    return ""


def _fields(file: IO[bytes], start: int, length: int) -> Iterator[tuple[int, int, int]]:
    """(number, start, length) of each field of a message; for an integer field, its value in place of the start."""
    place, end = start, start + length
    while place < end:
        file.seek(place)
        tag, place = _varint(file, place)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, place = _varint(file, place)
            yield number, value, 0
            continue
        size = {_FIXED64: 8, _FIXED32: 4}.get(wire, -1)
        if wire == _BYTES:
            size, place = _varint(file, place)
        if size < 0 or place + size > end:
            raise _Damaged
        yield number, place, size
        place += size


def _varint(file: IO[bytes], place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise _Damaged
        place += 1
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value, place
    raise _Damaged
