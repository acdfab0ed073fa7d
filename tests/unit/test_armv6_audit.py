"""What a program gives away is found, and what every C library holds is not taken for it."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from matrix.armv6.audit import audit_program, leaks_in, names_of_this_machine
from matrix.errors import FileFault


def program(text: bytes) -> bytes:
    """A 32-bit ELF file for Arm with one section of data."""
    names = b"\0.rodata\0.shstrtab\0"
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
    rows = [(0, 0, 0, 0), (1, 1, start, len(text)), (9, 3, start + len(text), len(names))]
    table = b"".join(struct.pack("<10I", name, kind, 0, 0, at, size, 0, 0, 1, 0) for name, kind, at, size in rows)
    return header + text + names + table


@pytest.mark.parametrize(
    ("text", "leak"),
    [
        (b"\0assert /build/iree/runtime/vm.c:12\0", "a path: /build/iree/runtime/vm.c"),
        (b"\0/opt/zig/lib/libc\0", "a path: /opt/zig/lib/libc"),
        (b"\0built by someone@example.org\0", "an e-mail address: someone@example.org"),
        (b"\0commit 0123456789abcdef0123456789abcdef01234567\0", "a commit: 0123456789abcdef0123456789abcdef01234567"),
        (b"\0fetched from iree.git here\0", "version control: .git"),
        (b"\0\xff\xfebuilder-seven\0", "a name of this machine: builder-seven"),
    ],
)
def test_a_leak_is_named(text: bytes, leak: str) -> None:
    assert audit_program(program(text), "p", words=("builder-seven",)).leaks == (leak,)


@pytest.mark.parametrize(
    "text",
    [
        b"/usr/lib/locale",
        b"/proc/self/exe",
        b"/dev/null",
        b"/path/to/model.vmfb",
        b"a/b/c",
        b"keld@dkuug.dk",
        b"n/a /x",
    ],
)
def test_what_every_program_holds_is_no_leak(text: bytes) -> None:
    assert list(leaks_in(b"\0" + text + b"\0")) == []


def test_sections_and_the_rest_are_the_whole_file() -> None:
    content = program(b"x" * 100)
    audit = audit_program(content, "p")
    assert audit.sections[0] == (".rodata", 100)
    assert sum(size for _, size in audit.sections) + audit.rest == audit.size == len(content)


def test_what_is_no_program_is_refused() -> None:
    with pytest.raises(FileFault, match=r"runner: read no ELF header"):
        audit_program(b"#!/bin/sh\n", "runner")


def test_the_names_of_this_machine_are_no_common_words() -> None:
    words = names_of_this_machine(Path("/some/store"))
    assert "/some/store" in words
    assert not {"root", "localhost", ""} & set(words)
