"""Reads the header and the section table of an ELF file. Nothing is mapped, relocated or run.

It needs three fields of the header and the list of sections, from files that may be hostile. So it uses `struct` on
checked offsets. (pyelftools takes 6 ms for a file, and trusts the counts in the file.)
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from matrix.core.errors import FileFault

ELF_MAGIC = b"\x7fELF"
MOST_ELF_SECTIONS = 1024
LONGEST_NAME = 256
NO_BITS = 8
EXECUTABLE = 0x4

ELF_MACHINES = {3: "i386", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv", 258: "loongarch", 247: "bpf"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ElfSection:
    """`offset` and `size` in bytes of the file; a section without bytes in the file has size 0. `address` is where it
    is in memory, relative to where the file is loaded."""

    name: str
    offset: int
    size: int
    code: bool
    address: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Elf:
    """`machine` is one of ELF_MACHINES, with bits for RISC-V (`riscv64`); `float_abi` is hard, soft, double … or ''."""

    machine: str
    bits: int
    float_abi: str
    sections: tuple[ElfSection, ...]

    def section(self, name: str) -> ElfSection | None:
        return next((section for section in self.sections if section.name == name), None)


def read_elf(content: bytes, place: str) -> Elf:
    """Raises FileFault, naming `place`, where an offset leads out of `content`."""
    if content[:4] != ELF_MAGIC or len(content) < 52 or content[4] not in (1, 2) or content[5] not in (1, 2):
        raise _fault(place, "no ELF header")
    wide, order = content[4] == 2, "<" if content[5] == 1 else ">"
    try:
        (number,) = struct.unpack_from(order + "H", content, 18)
        (table,) = struct.unpack_from(order + ("Q" if wide else "I"), content, 40 if wide else 32)
        (flags,) = struct.unpack_from(order + "I", content, 48 if wide else 36)
        width, count, names = struct.unpack_from(order + "HHH", content, 58 if wide else 46)
        if not count:
            sections: tuple[ElfSection, ...] = ()
        elif width != (64 if wide else 40) or count > MOST_ELF_SECTIONS or table + width * count > len(content):
            raise _fault(place, f"{count} sections of {width} bytes at {table}")
        else:
            rows = [_row(content, order, wide, table + width * index) for index in range(count)]
            sections = _sections(content, rows, names, place)
    except struct.error as error:
        raise _fault(place, f"a header that is cut off ({error})") from error
    machine = ELF_MACHINES.get(number, f"machine {number}")
    return Elf(
        machine=f"riscv{64 if wide else 32}" if machine == "riscv" else machine,
        bits=64 if wide else 32,
        float_abi=_float_abi(machine, flags),
        sections=sections,
    )


def _row(content: bytes, order: str, wide: bool, at: int) -> tuple[int, int, int, int, int, int]:
    """(name, type, flags, address, offset, size) of one section."""
    name, kind, flags, address, offset, size = struct.unpack_from(order + ("IIQQQQ" if wide else "IIIIII"), content, at)
    return name, kind, flags, address, offset, size


def _sections(
    content: bytes, rows: list[tuple[int, int, int, int, int, int]], names: int, place: str
) -> tuple[ElfSection, ...]:
    if names >= len(rows):
        raise _fault(place, f"section {names} as the one of names, of {len(rows)}")
    start, end = rows[names][4], rows[names][4] + rows[names][5]
    found = []
    for name, kind, flags, address, offset, size in rows:
        room = 0 if kind in (0, NO_BITS) else size
        if room and offset + room > len(content):
            raise _fault(place, f"a section of {room} bytes at {offset}, of {len(content)}")
        text = content[start + name : min(end, start + name + LONGEST_NAME)].partition(b"\0")[0]
        decoded = text.decode("ascii", errors="replace")
        code = bool(flags & EXECUTABLE)
        found.append(ElfSection(name=decoded, offset=offset, size=room, code=code, address=address))
    return tuple(found)


def _float_abi(machine: str, flags: int) -> str:
    """From the flags of the ELF supplements for ARM (EF_ARM_ABI_FLOAT_*) and RISC-V (EF_RISCV_FLOAT_ABI)."""
    if machine == "arm":
        return "hard" if flags & 0x400 else "soft" if flags & 0x200 else ""
    if machine == "riscv":
        return ("soft", "single", "double", "quad")[flags >> 1 & 3]
    return ""


def _fault(place: str, read: str) -> FileFault:
    return FileFault(
        f"{place}: read {read}, expected an ELF file", tip="the file is damaged or not a module: compile it again"
    )
