"""The operations on lines of an MLIR file: what the debug information of a module points to."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

LONGEST_MLIR_LINE = 4096
"""Of a line the first so many bytes are looked at: a constant on it may have a gigabyte."""
_RESULTS = r"(?:%[\w$.#-]+(?::\d+)?(?:\s*,\s*%[\w$.#-]+(?::\d+)?)*\s*=\s*)?"
_OPERATION = re.compile(rf"\s*{_RESULTS}\"?(?P<name>[A-Za-z_][\w$]*\.[\w$.]+)\"?(?:\s+\"(?P<foreign>[\w.:-]+)\")?")
_AROUND = frozenset({"func.func", "util.func", "builtin.module", "util.initializer"})
"""They have operations inside and compute nothing themselves."""
_SHAPED = re.compile(r"[!\w.]*<\[?(?P<shape>[\dx?,]*?)[\],x]*(?P<element>[a-z]+\d*)>")


@dataclass(frozen=True, slots=True, kw_only=True)
class MlirOperation:
    """An operation on a line: `name` as `torch.aten.linear` or `onnx.Conv`, `result` as `4x32xf32`, `text` its line."""

    line: int
    name: str
    result: str
    text: str


def operations_at(path: Path, lines: Collection[int]) -> dict[int, MlirOperation]:
    """The operations on these lines, as far as there are any; none for a file that cannot be read or is bytecode."""
    last, found = max(lines, default=0), {}
    try:
        with path.open("rb") as file:
            for number in range(1, last + 1):
                content = file.readline(LONGEST_MLIR_LINE)
                if not content:
                    break
                rest = content
                while not rest.endswith(b"\n") and (rest := file.readline(1 << 20)):
                    pass
                if number in lines and (operation := _operation(number, content)):
                    found[number] = operation
    except OSError:
        return {}
    return found


def _operation(number: int, content: bytes) -> MlirOperation | None:
    text = content.decode("utf-8", errors="replace").strip()
    matched = _OPERATION.match(text)
    if not matched or matched["name"] in _AROUND:
        return None
    return MlirOperation(line=number, name=matched["foreign"] or matched["name"], result=_result(text), text=text)


def _result(text: str) -> str:
    """The shape and the type of the first result, "" where the line has none."""
    _, arrow, after = text.rpartition("->")
    shaped = _SHAPED.search(after if arrow else text.rpartition(" : ")[2])
    if not shaped:
        return ""
    sizes = [size for size in re.split(r"[x,]", shaped["shape"]) if size]
    return "x".join([*sizes, shaped["element"]])
