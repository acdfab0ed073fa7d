"""Which CPU a module's code needs at least: each instruction is looked up in `matrix/data/extensions.toml`.

It is about all code of the module: code behind a check of the CPU counts too. What the compiler was told (`target CPU`)
does not count: a module for x86-64-v3 may hold no instruction that x86-64 lacks.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from matrix.artifacts.contents.instructions import Instruction, disassemble, disassembles
from matrix.artifacts.contents.regions import Region
from matrix.artifacts.vmfb_archive import Container
from matrix.core.data import DATA

MOST_INSTRUCTIONS = 80_000
"""The most that are looked at, code that occurs twice once: a third of a MiB in half a second."""
BASELINES = {"x86_64": "x86-64", "aarch64": "Armv8.0-A", "arm": "Armv4T", "i386": "i386"}
"""What every CPU of a machine has, the least level."""
_LEVELS = (
    *("Armv4T", "Armv5T", "Armv5TE", "Armv6", "Armv6T2", "Armv7-A", "Armv8-A"),
    *("Armv8.0-A", "Armv8.1-A", "Armv8.2-A", "Armv8.3-A", "Armv9.0-A", "Armv9.2-A"),
    *("i386", "x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4"),
)
_VARIANTS = {"thumb": "arm"}


@dataclass(frozen=True, slots=True, kw_only=True)
class NeededExtension:
    """An extension that instructions belong to: how many, one of them, and the dispatch that it is in. `extra`: it
    comes with no level."""

    name: str
    level: str
    extra: bool
    instructions: int
    example: str
    dispatch: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuNeeds:
    """What the code for one machine needs: `least` is an x86-64 level or an Arm version, `extensions` the needed ones,
    the highest level first. `unknown` bytes are no instruction that the disassembler knows, `unseen` were not looked
    at: with either, more may be needed."""

    machine: str
    least: str
    extensions: tuple[NeededExtension, ...]
    unknown: int
    unseen: int

    @property
    def words(self) -> str:
        """`x86-64-v4 with AVX512-VNNI`."""
        brought = {name for row in _extensions(self.machine) for name in row.includes if row.name in self._names}
        extra = [each.name for each in self.extensions if each.extra and each.name not in brought]
        return self.least + (f" with {', '.join(extra)}" if extra else "")

    @property
    def _names(self) -> set[str]:
        return {each.name for each in self.extensions}

    @property
    def certain(self) -> bool:
        """Whether all code was looked at and known."""
        return not self.unknown and not self.unseen


@dataclass(frozen=True, slots=True, kw_only=True)
class _Extension:
    name: str
    level: str
    extra: bool
    includes: tuple[str, ...]
    groups: frozenset[str]
    mnemonics: re.Pattern[str] | None
    operands: re.Pattern[str] | None

    def fits(self, found: Instruction) -> bool:
        if self.groups & found.groups:
            return True
        if self.mnemonics and not self.mnemonics.fullmatch(found.mnemonic):
            return False
        if self.operands and not self.operands.search(found.kind.partition(" ")[2]):
            return False
        return bool(self.mnemonics or self.operands)


@functools.cache
def _extensions(machine: str) -> tuple[_Extension, ...]:
    rows: list[dict[str, Any]] = tomllib.loads((DATA / "extensions.toml").read_text(encoding="utf-8"))["extension"]
    return tuple(
        _Extension(
            name=row["name"],
            level=row["level"],
            extra=row.get("extra", False),
            includes=tuple(row.get("includes", ())),
            groups=frozenset(row.get("groups", ())),
            mnemonics=re.compile(row["mnemonics"]) if "mnemonics" in row else None,
            operands=re.compile(row["operands"]) if "operands" in row else None,
        )
        for row in rows
        if row["machine"] == machine
    )


def cpu_needs(container: Container, regions: Sequence[Region]) -> tuple[CpuNeeds, ...]:
    """One record for each machine that the module has code for. Code that occurs twice is looked at once."""
    found: dict[str, _Needs] = {}
    looked: set[bytes] = set()
    for region in regions:
        machine = _VARIANTS.get(region.machine, region.machine)
        if machine not in BASELINES or not disassembles(region.machine):
            continue
        needs = found.setdefault(machine, _Needs(machine))
        code = container.read(region.offset, region.size)
        if code not in looked:
            looked.add(code)
            needs.look(region, code)
    return tuple(needs.record() for needs in found.values())


class _Needs:
    """Collects the needs of the code for one machine."""

    def __init__(self, machine: str) -> None:
        self.machine = machine
        self._left, self._unknown, self._unseen = MOST_INSTRUCTIONS, 0, 0
        self._counts: dict[tuple[str, str, bool], int] = {}
        self._first: dict[tuple[str, str, bool], tuple[str, str]] = {}
        self._kinds: dict[tuple[str, frozenset[str]], _Extension | None] = {}

    def look(self, region: Region, code: bytes) -> None:
        self._unseen += len(code)
        for found in islice(_without_data(region, code), self._left):
            self._left -= 1
            self._unseen -= found.size
            if not found.text:
                self._unknown += found.size
                continue
            kind = found.kind, found.groups
            if kind not in self._kinds:
                self._kinds[kind] = next((row for row in _extensions(self.machine) if row.fits(found)), None)
            if row := self._kinds[kind]:
                key = row.name, row.level, row.extra
                self._counts[key] = self._counts.get(key, 0) + 1
                self._first.setdefault(key, (found.text, region.name))

    def record(self) -> CpuNeeds:
        levels = [BASELINES[self.machine], *(level for _, level, _ in self._counts)]
        extensions = [
            NeededExtension(
                name=name,
                level=level,
                extra=extra,
                instructions=count,
                example=self._first[name, level, extra][0],
                dispatch=self._first[name, level, extra][1],
            )
            for (name, level, extra), count in self._counts.items()
        ]
        return CpuNeeds(
            machine=self.machine,
            least=max(levels, key=_LEVELS.index),
            extensions=tuple(sorted(extensions, key=lambda each: (-_LEVELS.index(each.level), each.name))),
            unknown=self._unknown,
            unseen=self._unseen,
        )


_LITERAL = re.compile(r"\[pc(?:, #(-?)(?:0x([0-9a-f]+)|(\d+)))?\]")


def _without_data(region: Region, code: bytes) -> Iterator[Instruction]:
    """The instructions. On 32-bit Arm numbers stand between them: what is loaded relative to an instruction counts as
    one that does nothing."""
    found_in_order = disassemble(region.machine, code, region.address)
    if _VARIANTS.get(region.machine, region.machine) != "arm":
        yield from found_in_order
        return
    every = list(islice(found_in_order, MOST_INSTRUCTIONS))
    ahead = 4 if region.machine == "thumb" else 8
    numbers: set[int] = set()
    at = 0
    for found in every:
        if match := _LITERAL.search(found.text):
            distance = int(match[2], 16) if match[2] else int(match[3] or 0)
            start = (at + ahead & ~3) + (-distance if match[1] else distance)
            numbers.update(range(start, start + (8 if re.search(r"\bd\d+,", found.text) else 4)))
        at += found.size
    at = 0
    for found in every:
        yield Instruction("nop", "nop", found.size, frozenset()) if at in numbers else found
        at += found.size
