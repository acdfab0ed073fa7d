"""Facts of a model's file that are needed before a tool reads it: the packages that a Python file asks for, the entry
points of a `.vmfb`, the opset and the graph's name of an `.onnx`. Weights are skipped, not read; a damaged file has no
facts, and the tools say why."""

from __future__ import annotations

import ast
import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from matrix.errors import FileFault, ModelUnusable
from matrix.packages import fault_of

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""The wire types of protobuf (https://protobuf.dev/programming-guides/encoding)."""
MODEL_GRAPH, MODEL_OPSET, GRAPH_NAME, OPSET_DOMAIN, OPSET_VERSION = 7, 8, 2, 1, 2
GRAPH_WEIGHT, WEIGHT_ELSEWHERE, ENTRY_KEY, ENTRY_VALUE = 5, 13, 1, 2
"""Field numbers of onnx.proto."""


PACKAGES = "PACKAGES"
"""The name in a model file whose value is the requirements that it has beside torch."""


class Damaged(ValueError):
    """The file ends in the middle, or is not of its kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxFacts:
    """`graph` is the name that the importer gives to the function, `opset` such as `17` or `17, ai.onnx.ml 3`,
    `elsewhere` the files beside it that hold weights: torch's exporter leaves an `.onnx.data`."""

    graph: str = ""
    opset: str = ""
    elsewhere: tuple[str, ...] = ()


def packages_of(path: Path) -> tuple[str, ...]:
    """The PACKAGES of a model in Python, read without running it. Raises ModelUnusable where they mean nothing."""
    content = path.read_bytes()
    if PACKAGES.encode() not in content:
        return ()
    try:
        statements = ast.parse(content).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()
    said = [value for statement in statements if (value := _assigned(statement, PACKAGES))]
    if not said:
        return ()
    try:
        read = ast.literal_eval(said[-1])
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        read = ast.unparse(said[-1])
    words = read if isinstance(read, tuple | list) and all(isinstance(word, str) for word in read) else None
    faults = [f"read {read!r}, expected a tuple of texts"] if words is None else [fault_of(word) for word in words]
    if fault := next(filter(None, faults), ""):
        raise ModelUnusable(
            f"{path.name}: {PACKAGES}: {fault}",
            tip='write it out: PACKAGES = ("transformers==4.57.1",); it is read and not run',
        )
    return tuple(words or ())


def _assigned(statement: ast.stmt, name: str) -> ast.expr | None:
    """The value that a statement gives to a name."""
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    else:
        return None
    named = any(isinstance(target, ast.Name) and target.id == name for target in targets)
    return statement.value if named else None


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


def entry_points(path: Path) -> tuple[str, ...]:
    """The functions that a `.vmfb` offers, without IREE's own (`__init`) and the asynchronous twins (`main$async`)."""
    from matrix.vmfb import read_vmfb  # its readers cost each command start-up time, few have such a file

    try:
        names = [function.name for function in read_vmfb(path).exports]
    except FileFault:
        return ()
    return tuple(name for name in names if not name.startswith("__") and "$" not in name)
