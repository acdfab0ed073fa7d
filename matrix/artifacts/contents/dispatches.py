"""The functions of an executable library, by name: where the code of each dispatch starts and ends.

An executable is an ELF file without a symbol for its dispatches. Its library, which the runtime asks for, has an array
of pointers to the functions and one of pointers to their names (`iree_hal_executable_library_v0_t`). As the file is
loaded at any address, both arrays are in its relocations; so they are read without the layout of the library, which
changes with its version.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from matrix.artifacts.elf import Elf, ElfSection

RELATIVE = {"x86_64": 8, "i386": 8, "aarch64": 1027, "arm": 23, "riscv64": 3, "riscv32": 3}
"""The type of the relocation `base + addend` on each machine, from the ELF supplements."""
MOST_RELOCATIONS = 200_000
LONGEST_STRING = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatch:
    """A function of an executable library; `offset` and `size` are bytes of the ELF file, `thumb` is the other encoding
    of 32-bit Arm."""

    name: str
    offset: int
    size: int
    thumb: bool = False


def relocated_pointers(content: bytes, elf: Elf) -> dict[int, int]:
    """Address of a pointer -> the address it points to, from the file's relative relocations."""
    wanted = RELATIVE.get(elf.machine, -1)
    pointers = {}
    for section in elf.sections:
        if section.name.startswith((".rela", ".rel.")) and section.size:
            for at, kind, addend in islice(_entries(content, elf, section), MOST_RELOCATIONS):
                if kind == wanted:
                    target = _in_place(content, elf, at) if addend is None else addend
                    if target is not None:
                        pointers[at] = target
    return pointers


def _entries(content: bytes, elf: Elf, section: ElfSection) -> Iterator[tuple[int, int, int | None]]:
    """(address, type, addend) of each entry; REL entries have no addend."""
    wide, explicit = elf.bits == 64, section.name.startswith(".rela")
    form = ("<QQq" if explicit else "<QQ") if wide else ("<IIi" if explicit else "<II")
    width = struct.calcsize(form)
    end = section.offset + section.size // width * width
    for row in struct.iter_unpack(form, memoryview(content)[section.offset : end]):
        kind = row[1] & 0xFFFFFFFF if wide else row[1] & 0xFF
        yield row[0], kind, row[2] if explicit else None


def _in_place(content: bytes, elf: Elf, address: int) -> int | None:
    offset = file_offset(elf, address)
    if offset is None or offset + elf.bits // 8 > len(content):
        return None
    return int(struct.unpack_from("<Q" if elf.bits == 64 else "<I", content, offset)[0])


def file_offset(elf: Elf, address: int) -> int | None:
    """Where in the file the byte at an address is, or None."""
    for section in elf.sections:
        if section.address and section.address <= address < section.address + section.size:
            return section.offset + address - section.address
    return None


def text_at(content: bytes, elf: Elf, address: int) -> str:
    """The printable text that ends with a NUL at an address; '' for anything else."""
    offset = file_offset(elf, address)
    if offset is None:
        return ""
    head, found, _ = content[offset : offset + LONGEST_STRING].partition(b"\0")
    return head.decode("ascii") if found and head.isascii() and head.decode("ascii").isprintable() else ""


def read_dispatches(content: bytes, elf: Elf, pointers: Mapping[int, int]) -> tuple[Dispatch, ...]:
    """The functions of the library in the order of their code; none where the file has no such library. A function that
    is called by a dispatch, and is none itself, counts to the dispatch before it."""
    code = [section for section in elf.sections if section.code and section.size]
    starts = {at: target & ~1 if elf.machine == "arm" else target for at, target in pointers.items()}
    inside = {at: target for at, target in starts.items() if any(_in(section, target) for section in code)}
    names = _names(content, elf, pointers, inside)
    ordered = sorted({target: at for at, target in sorted(inside.items(), reverse=True)}.items())
    found = []
    for number, (target, at) in enumerate(ordered):
        section = next(section for section in code if _in(section, target))
        end = section.address + section.size
        if number + 1 < len(ordered):
            end = min(end, ordered[number + 1][0])
        offset = section.offset + target - section.address
        thumb = elf.machine == "arm" and bool(pointers[at] & 1)
        name = names.get(at) or f"dispatch {number}"
        found.append(Dispatch(name=name, offset=offset, size=end - target, thumb=thumb))
    return tuple(found)


def named_entries(content: bytes, elf: Elf) -> dict[str, int]:
    """The address of each function of the library by its name: where code was folded, of several names the same."""
    pointers = relocated_pointers(content, elf)
    code = [section for section in elf.sections if section.code and section.size]
    starts = {at: target & ~1 if elf.machine == "arm" else target for at, target in pointers.items()}
    inside = {at: target for at, target in starts.items() if any(_in(section, target) for section in code)}
    return {name: inside[at] for at, name in _names(content, elf, pointers, inside).items()}


def _in(section: ElfSection, address: int) -> bool:
    return section.address <= address < section.address + section.size


def _names(content: bytes, elf: Elf, pointers: Mapping[int, int], functions: Mapping[int, int]) -> dict[int, str]:
    """Address of a pointer to a function -> the function's name.

    The library points to the array of functions, and a few fields later to an array of as many names.
    """
    width = elf.bits // 8
    names: dict[int, str] = {}
    fields = sorted(pointers)
    for number, field in enumerate(fields):
        first = pointers[field]
        if first not in functions or first - width in functions:
            continue
        array = [first]
        while array[-1] + width in functions:
            array.append(array[-1] + width)
        for later in fields[number + 1 : number + 9]:
            texts = [pointers.get(pointers[later] + width * index) for index in range(len(array))]
            said = [text_at(content, elf, text) if text is not None else "" for text in texts]
            if all(said):
                names.update(zip(array, said, strict=True))
                break
    return names
