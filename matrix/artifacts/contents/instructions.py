"""Machine code as instructions, by capstone. Nothing of it is run.

capstone takes 20 µs for all that it knows of an instruction and 2 µs for its text. So its groups are asked for once for
each kind of instruction.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

LONGEST_CODE = 4 << 20
"""The most bytes that are disassembled at once."""

_MODES = {
    "x86_64": ("CS_ARCH_X86", "CS_MODE_64"),
    "i386": ("CS_ARCH_X86", "CS_MODE_32"),
    "aarch64": ("CS_ARCH_ARM64", "CS_MODE_ARM"),
    "arm": ("CS_ARCH_ARM", "CS_MODE_ARM"),
    "thumb": ("CS_ARCH_ARM", "CS_MODE_THUMB"),
}
_NUMBER = re.compile(r"(?<!\.)(?:0x[0-9a-f]+|\d+)")
"""Not the 8 of `.8h`: eight numbers of 16 bits."""
_RELATIVE = re.compile(r"(?<=rip )[+-] (?:0x)?[0-9a-f]+|#?-?0x[0-9a-f]{2,}$")
_OFFSET = re.compile(r"#0x[0-9a-f]+|#\d+")
_JUMPS = frozenset({"jump", "call", "branch_relative"})
_PAGES = frozenset({"adr", "adrp"})
_DATA = ".byte"


@dataclass(frozen=True, slots=True)
class Instruction:
    """`text` is '' for `size` bytes that are no known instruction. `kind` is the text with 0 for each number; `groups`
    are capstone's, in lower case, with `vex` and `evex`."""

    text: str
    kind: str
    size: int
    groups: frozenset[str]

    @property
    def mnemonic(self) -> str:
        return self.text.partition(" ")[0]


def disassembles(machine: str) -> bool:
    """Whether code of this machine can be disassembled."""
    return machine in _MODES


def disassemble(machine: str, code: bytes, address: int) -> Iterator[Instruction]:
    """The instructions of code that begins at `address`, as far as LONGEST_CODE."""
    import capstone  # 0.1 s, for two verbs

    engine = capstone.Cs(*(getattr(capstone, name) for name in _MODES[machine]))
    engine.skipdata = True
    known: dict[tuple[str, frozenset[str]], frozenset[str]] = {}
    for start, size, mnemonic, words in engine.disasm_lite(code[:LONGEST_CODE], address):
        if mnemonic == _DATA:
            yield Instruction("", "", size, frozenset())
            continue
        text = f"{mnemonic} {words}".strip()
        encoded = code[start - address : start - address + size]
        key = _NUMBER.sub("0", text), _prefix(encoded) if machine == "x86_64" else frozenset()
        if key not in known:
            known[key] = key[1] | _groups(engine, encoded, start)
        yield Instruction(text, key[0], size, known[key])


def _groups(engine: Any, encoded: bytes, address: int) -> frozenset[str]:  # noqa: ANN401 - capstone has no types
    engine.detail = True
    found = frozenset(
        each.group_name(group).lower() for each in engine.disasm(encoded, address, 1) for group in each.groups
    )
    engine.detail = False
    return found


_LEGACY_PREFIXES = frozenset(b"\x66\xf2\xf3\x2e\x36\x3e\x26\x64\x65\x67\xf0")


def _prefix(encoded: bytes) -> frozenset[str]:
    """`evex` or `vex`, the prefixes that only AVX-512 and AVX use on x86-64; capstone groups not all that have them."""
    first = next((byte for byte in encoded if byte not in _LEGACY_PREFIXES), 0)
    return frozenset({"evex"} if first == 0x62 else {"vex"} if first in (0xC4, 0xC5) else ())


def shapes(instructions: Iterable[Instruction]) -> list[str]:
    """The texts without addresses: two functions of the same shapes differ at most in where code and data are."""
    found = []
    paged: set[str] = set()  # registers with the page of an address, of which the low bits come next
    for each in instructions:
        mnemonic, _, words = each.text.partition(" ")
        shape = words
        if _JUMPS & each.groups or "rip " in words or mnemonic in _PAGES:
            shape = _RELATIVE.sub("ADDRESS", words)
        elif any(register in words for register in paged):
            shape = _OFFSET.sub("ADDRESS", words)
        first = words.partition(",")[0]
        paged = {first} if mnemonic == "adrp" else paged & {first}
        found.append(f"{mnemonic} {shape}".strip())
    return found
