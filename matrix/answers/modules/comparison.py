"""Two modules compared, byte by byte: every byte that differs is in one class, which says what differs in it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
import numpy.typing as npt

from matrix.artifacts.contents.instructions import disassemble, disassembles, shapes
from matrix.artifacts.contents.regions import CLASSES, Region, read_regions
from matrix.artifacts.vmfb import Function, Vmfb
from matrix.artifacts.vmfb_archive import Container, open_container
from matrix.core.text import escape_controls, plain_rows

COMPARISON_FORMAT = 1
CHUNK = 1 << 20
MOST_SHOWN = 8
"""The most parts of a class, and the most facts of a kind, that the text lists."""
ADDRESSES_ONLY = "the same instructions; only addresses differ"
MOVED = "the same values in other places"
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedPart:
    """A part of two modules: its name and size in each ('' and 0 where it is not there), and how many bytes of each
    differ. In parts of one size that is position by position; else all between their common beginning and end."""

    part: str
    name: str
    other_name: str
    sizes: tuple[int, int]
    differing: tuple[int, int]
    note: str = ""

    @property
    def equal(self) -> bool:
        return self.differing == (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedModules:
    """`facts` are differences in what the modules say of themselves, a line each."""

    sizes: tuple[int, int]
    parts: tuple[ComparedPart, ...]
    facts: tuple[str, ...]

    @property
    def differing(self) -> tuple[int, int]:
        return sum(each.differing[0] for each in self.parts), sum(each.differing[1] for each in self.parts)

    @property
    def classes(self) -> tuple[str, ...]:
        """Those in which bytes differ."""
        return tuple(name for name in CLASSES if any(not each.equal for each in self.of_class(name)))

    def of_class(self, name: str) -> list[ComparedPart]:
        return [each for each in self.parts if each.part == name]


def compare_modules(before: Path, after: Path) -> ComparedModules:
    """Raises FileFault for a file that is not a whole `.vmfb`."""
    with open_container(before) as first, open_container(after) as second:
        (module, regions), (other, others) = read_regions(first), read_regions(second)
        pairs = _paired(_contents(first, regions), _contents(second, others))
        return ComparedModules(
            sizes=(module.size, other.size),
            parts=tuple(_compared(old, new) for old, new in pairs),
            facts=tuple(_facts(module, other)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    """The regions of one name, as one content."""

    container: Container
    regions: tuple[Region, ...]

    @property
    def size(self) -> int:
        return sum(each.size for each in self.regions)

    @property
    def words(self) -> str:
        first = self.regions[0]
        return f"{first.owner}: {first.name}" if first.owner else first.name

    def read(self, at: int, size: int) -> Bytes:
        """The bytes of a range, of at most CHUNK."""
        found = b""
        for each in self.regions:
            if at < each.size and size > len(found):
                found += self.container.read(each.offset + at, min(each.size - at, size - len(found)))
                at = 0
            else:
                at -= min(each.size, at)
        return np.frombuffer(found, dtype=np.uint8)


def _contents(container: Container, regions: Sequence[Region]) -> dict[tuple[str, str, str], _Content]:
    """(class, executable, name) -> its regions; gaps between other parts have one name and are one content."""
    found: dict[tuple[str, str, str], list[Region]] = {}
    for each in regions:
        found.setdefault((each.part, each.owner, each.name), []).append(each)
    return {key: _Content(container=container, regions=tuple(each)) for key, each in found.items()}


def _paired(
    before: dict[tuple[str, str, str], _Content], after: dict[tuple[str, str, str], _Content]
) -> Iterator[tuple[_Content | None, _Content | None]]:
    """By executable and name; what is left of a class in a pair of executables, in its order."""
    owners = _partners([key[1] for key in before], [key[1] for key in after])
    left: dict[tuple[str, str], tuple[list[_Content], list[_Content]]] = {}
    named = {(part, owners.get(owner, owner), name): content for (part, owner, name), content in before.items()}
    for key, content in named.items():
        if key in after:
            yield content, after[key]
        else:
            left.setdefault(key[:2], ([], []))[0].append(content)
    for key, content in after.items():
        if key not in named:
            left.setdefault(key[:2], ([], []))[1].append(content)
    for old, new in left.values():
        yield from zip_longest(old, new)


def _partners(before: Iterable[str], after: Iterable[str]) -> dict[str, str]:
    """An executable of the first module -> that of the second: of the same name, else in their order."""
    first, second = dict.fromkeys(before), dict.fromkeys(after)
    alone = [name for name in second if name not in first]
    return dict(zip([name for name in first if name not in second], alone, strict=False))


def _compared(old: _Content | None, new: _Content | None) -> ComparedPart:
    content = old or new
    assert content is not None
    part = content.regions[0].part
    if old is None or new is None:
        sizes = (old.size if old else 0, new.size if new else 0)
        return ComparedPart(
            part=part, name=old.words if old else "", other_name=new.words if new else "", sizes=sizes, differing=sizes
        )
    differing = _differing(old, new)
    return ComparedPart(
        part=part,
        name=old.words,
        other_name=new.words,
        sizes=(old.size, new.size),
        differing=differing,
        note=_note(old, new) if any(differing) else "",
    )


def _differing(old: _Content, new: _Content) -> tuple[int, int]:
    if old.size == new.size:
        count = sum(int(np.count_nonzero(a != b)) for a, b in _chunks(old, new, old.size))
        return count, count
    shorter = min(old.size, new.size)
    same = _common(old, new, shorter)
    same += _common(old, new, shorter - same, backwards=True)
    return old.size - same, new.size - same


def _chunks(old: _Content, new: _Content, size: int) -> Iterator[tuple[Bytes, Bytes]]:
    for at in range(0, size, CHUNK):
        yield old.read(at, min(CHUNK, size - at)), new.read(at, min(CHUNK, size - at))


def _common(old: _Content, new: _Content, most: int, *, backwards: bool = False) -> int:
    """The length of the common beginning, or end, of at most `most` bytes."""
    for at in range(0, most, CHUNK):
        size = min(CHUNK, most - at)
        first = old.read(old.size - at - size if backwards else at, size)
        second = new.read(new.size - at - size if backwards else at, size)
        unequal = np.flatnonzero(first != second)
        if len(unequal):
            return at + int(size - 1 - unequal[-1] if backwards else unequal[0])
    return most


def _note(old: _Content, new: _Content) -> str:
    first, second = old.regions[0], new.regions[0]
    if first.part == "strings":
        return f"{first.name!r} -> {second.name!r}" if first.name != second.name else ""
    if first.machine and first.machine == second.machine and disassembles(first.machine):
        return _code_note(old, new)
    if old.size == new.size <= CHUNK:
        a, b = old.read(0, old.size), new.read(0, new.size)
        if np.array_equal(np.sort(a[a != b]), np.sort(b[a != b])):
            return MOVED
    return ""


def _code_note(old: _Content, new: _Content) -> str:
    texts = []
    for content in (old, new):
        region = content.regions[0]
        code = bytes(content.container.read(region.offset, region.size))
        texts.append(shapes(disassemble(region.machine, code, region.address)))
    if texts[0] == texts[1]:
        return ADDRESSES_ONLY
    return f"{len(texts[0])} instructions -> {len(texts[1])}"


def _facts(before: Vmfb, after: Vmfb) -> Iterator[str]:
    for what, old, new in (
        ("VM bytecode", before.bytecode, after.bytecode),
        ("features", ", ".join(before.feature_names), ", ".join(after.feature_names)),
        ("modules", *(", ".join(f"{name} from {least}" for name, least in each.modules) for each in (before, after))),
        ("target CPU", ", ".join(before.cpus), ", ".join(after.cpus)),
        ("library ABI", *(_abis(each) for each in (before, after))),
        ("wrapping", *("zip" if each.zipped else "bare FlatBuffer" for each in (before, after))),
    ):
        if old != new:
            yield f"{what}: {old or 'none'} -> {new or 'none'}"
    yield from _functions("imported function", before.imports, after.imports)
    yield from _functions("entry point", before.exports, after.exports)


def _abis(module: Vmfb) -> str:
    return ", ".join(sorted({str(each.library_abi) for each in module.executables if each.library_abi is not None}))


def _functions(what: str, before: Iterable[Function], after: Iterable[Function]) -> Iterator[str]:
    old, new = ({each.name: each.signature for each in functions} for functions in (before, after))
    for name in (*old, *(name for name in new if name not in old)):
        if name not in new or name not in old:
            yield f"{what} {name}: only {'before' if name in old else 'after'}"
        elif old[name] != new[name]:
            yield f"{what} {name}: {old[name]} -> {new[name]}"


def comparison_json(before: str, after: str, found: ComparedModules) -> str:
    """Everything as JSON: bytes in pairs, before and after; a part of one module only has '' as the other name."""
    classes = [
        {
            "class": name,
            "meaning": meaning,
            "sizes": [sum(each.sizes[side] for each in parts) for side in (0, 1)],
            "differing": [sum(each.differing[side] for each in parts) for side in (0, 1)],
            "parts": [{key: value for key, value in asdict(each).items() if key != "part"} for each in parts],
        }
        for name, meaning in CLASSES.items()
        if (parts := found.of_class(name))
    ]
    content = {
        "format": COMPARISON_FORMAT,
        "before": before,
        "after": after,
        "equal": found.differing == (0, 0),
        "sizes": found.sizes,
        "differing": found.differing,
        "classes": classes,
        "facts": found.facts,
    }
    return json.dumps(content, indent=1) + "\n"


def comparison_text(before: str, after: str, found: ComparedModules) -> str:
    """The text for people: the classes, then in each the parts that differ, then what the modules say."""
    rows = []
    for name, meaning in CLASSES.items():
        parts = found.of_class(name)
        if parts:
            differing = [sum(each.differing[side] for each in parts) for side in (0, 1)]
            sizes = [sum(each.sizes[side] for each in parts) for side in (0, 1)]
            rows.append([name, *map(str, sizes), *map(str, differing), meaning])
    rows.append(["all", *map(str, found.sizes), *map(str, found.differing), ""])
    heading = ("class", "bytes before", "after", "differ before", "after", "what is in it")
    blocks = [plain_rows([["before", before], ["after", after]], headers=()), plain_rows(rows, headers=heading)]
    if details := list(_details(found)):
        blocks.append("\n".join(details))
    if found.facts:
        more = [f"and {len(found.facts) - 4 * MOST_SHOWN} more"] if len(found.facts) > 4 * MOST_SHOWN else []
        blocks.append("\n".join(["what the modules say", *(f"  {f}" for f in (*found.facts[: 4 * MOST_SHOWN], *more))]))
    blocks.append("equal: every byte" if found.differing == (0, 0) else _total(found))
    return escape_controls("\n\n".join(blocks)) + "\n"


def _total(found: ComparedModules) -> str:
    same = [name for name in CLASSES if found.of_class(name) and name not in found.classes]
    equal = f"; equal: {', '.join(same)}" if same else ""
    return (
        f"{found.differing[0]} bytes before and {found.differing[1]} after differ, in {', '.join(found.classes)}{equal}"
    )


def _details(found: ComparedModules) -> Iterator[str]:
    for name in CLASSES:
        parts = sorted((each for each in found.of_class(name) if not each.equal), key=lambda each: -max(each.differing))
        if not parts:
            continue
        yield name
        for each in parts[:MOST_SHOWN]:
            yield f"  {_words(each)}"
        if len(parts) > MOST_SHOWN:
            yield f"  and {len(parts) - MOST_SHOWN} more parts"


def _words(part: ComparedPart) -> str:
    if not part.name or not part.other_name:
        side = "before" if part.name else "after"
        return f"only {side}: {part.name or part.other_name}, {max(part.sizes)} bytes"
    renamed = part.name != part.other_name and part.part != "strings"
    name = f"{part.name} -> {part.other_name}" if renamed else part.name
    sizes = f"{part.sizes[0]}" if part.sizes[0] == part.sizes[1] else f"{part.sizes[0]} -> {part.sizes[1]}"
    note = f": {part.note}" if part.note else ""
    return f"{name}, {max(part.differing)} of {sizes} bytes{note}"
