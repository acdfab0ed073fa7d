"""The sizes of the parts of a `.vmfb`, and its strings that reveal the machine or the model that it came from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from matrix.artifacts.vmfb import LoadedExecutable, Vmfb, read_container
from matrix.artifacts.vmfb_archive import Container, open_container

MOST_SCANNED = 4 << 20
MOST_TEXTS = 200_000
"""The most bytes and strings that are scanned; the audit reports how much was not."""

LARGEST_DATA = 4096
"""Read-only data of the module above this size is constants; below it, it may hold messages and names."""

LEAK_EXAMPLES = 5

_TEXT = re.compile(rb"[\x20-\x7e]{3,2048}")
_SUFFIXES = "mlirbc|mlir|py|onnx|irpa|safetensors|gguf|pth|pt|cpp|cc|c|hpp|h|ll|bc|o"
_PATTERNS = (
    ("absolute path", "/", re.compile(r"(?<![\w.+@~$/:<-])(?=.{6})(?:/[\w.+@~$-]+){2,}")),
    ("absolute path", ":\\", re.compile(r"(?<!\w)[A-Za-z]:\\[\w.+@~$\\-]{3,}")),
    ("file name", ".", re.compile(rf"(?<![\w.+$/\\-])[\w+$-][\w.+$-]*\.(?:{_SUFFIXES})\b(?!\.)")),
    ("dispatch name", "_dispatch_", re.compile(r"(?<![\w$])[A-Za-z_][\w$]*_dispatch_\d+\w*")),
    ("library name", "_linked", re.compile(r"(?<![\w$-])(?!module_linked)[A-Za-z_][\w$-]*_linked(?![\w$-])")),
)
"""Kind, a substring that every match has, pattern. No pattern can match inside a run of its own characters, so a
file of near-matches takes linear time."""

_PRODUCER = re.compile(r"IREE$|.*\b(?:LLD|LLVM|clang|GCC)\b.{0,60}\d")
_IDENTIFIER = re.compile(r"[A-Za-z_][\w$.]{2,}")

LEAK_KINDS = ("absolute path", "file name", "dispatch name", "library name", "function name", "producer")
"""`library name`: a linked executable is named after the compiled file. `function name`: a private function of the
module, from its debug database; the entry points are the module's interface and no leak."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """The strings of one kind: their number, how many are distinct, examples, and the parts of the file with them."""

    kind: str
    count: int
    distinct: int
    examples: tuple[str, ...]
    places: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VmfbAudit:
    """`parts` are (name, bytes) pairs whose sum is `size`; `unscanned` bytes were not searched for strings."""

    size: int
    parts: tuple[tuple[str, int], ...]
    debug_database: bool
    leaks: tuple[Leak, ...]
    unscanned: int

    def count(self, kind: str) -> int:
        """The number of strings of a kind."""
        return sum(leak.count for leak in self.leaks if leak.kind == kind)


def audit(path: Path) -> VmfbAudit:
    """Audits a file. Raises FileFault for a file that is not a whole `.vmfb`."""
    with open_container(path) as container:
        return audit_container(container)[1]


def audit_container(container: Container) -> tuple[Vmfb, VmfbAudit]:
    """The module and its audit, from one reading of the file."""
    module, loaded, debug = read_container(container)
    regions = list(_regions(container, module, loaded, debug))
    found = _Findings(entry_points={export.name for export in module.exports})
    left, unscanned = MOST_SCANNED, 0
    for place, content in regions:
        scanned = min(left, len(content))
        left -= scanned
        unscanned += len(content) - scanned
        found.scan(place, content[:scanned])
    for entry in container.entries[:MOST_TEXTS]:
        found.match("zip entry", entry.name[:2048])
    leaks = tuple(leak for kind in LEAK_KINDS if (leak := found.leak(kind)))
    return module, VmfbAudit(
        size=module.size,
        parts=module.parts,
        debug_database=module.debug_database,
        leaks=leaks,
        unscanned=unscanned + found.unscanned,
    )


def _regions(
    container: Container, module: Vmfb, loaded: tuple[LoadedExecutable, ...], debug: range
) -> Iterator[tuple[str, bytes]]:
    """(name, content) of the parts that may hold strings: all but code and constants."""
    content = container.module
    holes = [(each.offset, each.size) for each in module.segments if not each.external and each.size > LARGEST_DATA]
    start = 0
    for offset, size in sorted([*holes, (debug.start, len(debug)), (len(content), 0)]):
        if offset > start:
            yield "VM module", content[start:offset]
        start = max(start, offset + size)
    yield "VM debug", content[debug.start : debug.stop]
    for each in loaded:
        if not each.elf:
            yield each.executable.format, each.content
            continue
        for section in each.elf.sections:
            if section.size and not section.code:
                yield section.name, each.content[section.offset : section.offset + section.size]


class _Findings:
    """Collects the found strings by kind."""

    def __init__(self, entry_points: set[str]) -> None:
        self.unscanned = 0
        self._entry_points = entry_points
        self._found: dict[str, Counter[str]] = {kind: Counter() for kind in LEAK_KINDS}
        self._places: dict[str, set[str]] = {kind: set() for kind in LEAK_KINDS}
        self._left = MOST_TEXTS

    def scan(self, place: str, content: bytes) -> None:
        for match in _TEXT.finditer(content):
            self._left -= 1
            if self._left < 0:
                self.unscanned += len(content) - match.start()
                return
            self.match(place, match[0].decode("ascii"))

    def match(self, place: str, text: str) -> None:
        named = False
        for kind, needed, pattern in _PATTERNS:
            if needed in text:
                for match in pattern.finditer(text):
                    self._add(kind, place, match[0])
                    named = True
        if place in (".comment", ".debug_str") and _PRODUCER.match(text):
            self._add("producer", place, text)
        elif place == "VM debug" and not named and _IDENTIFIER.fullmatch(text) and text not in self._entry_points:
            self._add("function name", place, text)

    def _add(self, kind: str, place: str, text: str) -> None:
        self._found[kind][text] += 1
        self._places[kind].add(place)

    def leak(self, kind: str) -> Leak | None:
        found = self._found[kind]
        if not found:
            return None
        return Leak(
            kind=kind,
            count=found.total(),
            distinct=len(found),
            examples=tuple(sorted(found)[:LEAK_EXAMPLES]),
            places=tuple(sorted(self._places[kind])),
        )
