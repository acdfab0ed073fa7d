"""What an `.onnx` file says of itself, read without onnx: its opset and the files that hold its weights."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from matrix.artifacts.model_file import (
    BYTES,
    ENTRY_KEY,
    ENTRY_VALUE,
    FIXED32,
    FIXED64,
    GRAPH_NAME,
    GRAPH_WEIGHT,
    MODEL_GRAPH,
    MODEL_OPSET,
    OPSET_DOMAIN,
    OPSET_VERSION,
    VARINT,
    WEIGHT_ELSEWHERE,
)


class Damaged(ValueError):
    """The file ends in the middle, or is not of its kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxFacts:
    """`graph` is the name that the importer gives to the function, `opset` such as `17` or `17, ai.onnx.ml 3`,
    `elsewhere` the files beside it that hold weights: torch's exporter leaves an `.onnx.data`."""

    graph: str = ""
    opset: str = ""
    elsewhere: tuple[str, ...] = ()


def onnx_facts(path: Path) -> OnnxFacts:
    """What a `.onnx` file says of itself; as far as it can be read."""
    graph, opsets = "", []
    elsewhere: tuple[str, ...] = ()
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        try:
            for number, start, length in _fields(file, 0, size):
                if number == MODEL_GRAPH:
                    graph = _text(file, start, length, GRAPH_NAME)
                    elsewhere = tuple(sorted(_elsewhere(file, start, length)))
                elif number == MODEL_OPSET:
                    version = next((begin for key, begin, _ in _fields(file, start, length) if key == OPSET_VERSION), 0)
                    opsets.append(f"{_text(file, start, length, OPSET_DOMAIN)} {version}".strip())
        except Damaged:
            pass
    return OnnxFacts(graph=graph, opset=", ".join(opsets), elsewhere=elsewhere)


def _elsewhere(file: IO[bytes], start: int, length: int) -> set[str]:
    """The places that a graph's weights name."""
    found = set()
    for number, weight, size in _fields(file, start, length):
        if number != GRAPH_WEIGHT:
            continue
        with contextlib.suppress(Damaged):
            for key, entry, rest in _fields(file, weight, size):
                if key == WEIGHT_ELSEWHERE and _text(file, entry, rest, ENTRY_KEY) == "location":
                    found.add(_text(file, entry, rest, ENTRY_VALUE))
    return found


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
