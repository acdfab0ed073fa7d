"""Small Arm programs, made here."""

from __future__ import annotations

import struct


def program(text: bytes, section: str = ".rodata", flags: int = 0) -> bytes:
    """A 32-bit ELF file for Arm with one section."""
    names = b"\0" + section.encode() + b"\0.shstrtab\0"
    start = 52
    header = struct.pack(
        "<16sHHIIIIIHHHHHH",
        b"\x7fELF\x01\x01\x01",
        2,
        40,
        1,
        0,
        0,
        start + len(text) + len(names),
        0,
        52,
        0,
        0,
        40,
        3,
        2,
    )
    last = (len(section) + 2, 3, 0, start + len(text), len(names))
    rows = [(0, 0, 0, 0, 0), (1, 1, flags, start, len(text)), last]
    table = b"".join(
        struct.pack("<10I", name, kind, flag, 0, at, size, 0, 0, 1, 0) for name, kind, flag, at, size in rows
    )
    return header + text + names + table
