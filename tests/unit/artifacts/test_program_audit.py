"""What a program gives away is found, and what every C library holds is not taken for it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from arm_programs import program

from matrix.artifacts.program_audit import audit_program, leaks_in, names_in, names_of_this_machine
from matrix.core.errors import FileFault


@pytest.mark.parametrize(
    ("text", "leak"),
    [
        (b"\0assert /build/iree/runtime/vm.c:12\0", "a path: /build/iree/runtime/vm.c"),
        (b"\0/opt/zig/lib/libc\0", "a path: /opt/zig/lib/libc"),
        ("\0/srv/j\u00fcrgen/iree\0".encode(), "a path: /srv/j\u00fcrgen/iree"),
        (b"\x01a line: /opt/zig/lib\n\0", "a path: /opt/zig/lib"),
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
        b"\x01\x06/.KgK-/~\x06.",  # of the line numbers in a `.debug_line`
    ],
)
def test_what_every_program_holds_is_no_leak(text: bytes) -> None:
    assert list(leaks_in(b"\0" + text + b"\0")) == []


@pytest.mark.parametrize(
    ("section", "flags"), [(".text", 4), (".init_of_ones_own", 4), (".debug_loclists", 0), (".ARM.exidx", 0)]
)
def test_bytes_of_code_and_tables_are_no_paths_and_names_in_them_are_found(section: str, flags: int) -> None:
    content = program(b"\x02/.KgK-/~\x11 x@y.de builder-seven", section, flags)
    assert audit_program(content, "p", words=("builder-seven",)).leaks == ("a name of this machine: builder-seven",)


@pytest.mark.parametrize("section", [".debug_str", ".debug_line_str", ".debug_line", ".comment", ".strtab", ".mine"])
def test_any_other_section_may_hold_texts(section: str) -> None:
    assert audit_program(program(b"\0/opt/zig/lib\0", section), "p").leaks == ("a path: /opt/zig/lib",)


def test_what_is_in_no_section_is_looked_through() -> None:
    assert audit_program(program(b"x") + b"/opt/zig/lib", "p").leaks == ("a path: /opt/zig/lib",)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"\0compiled by bob on a machine\0", True),
        (b"\0the folder is bob/iree/runtime\0", True),
        (b"\0the sources are bobbin and kebob\0", False),
        (b"\0their names are a_bob and bob_a\0", False),
        (b"\x01 bob \x02", False),
    ],
)
def test_a_short_name_is_looked_for_as_a_word_of_a_text(content: bytes, *, found: bool) -> None:
    assert bool(list(names_in(content, ("bob",)))) is found


def test_short_names_do_not_stand_in_numbers() -> None:
    numbers = random.Random(1).randbytes(4 << 20)
    assert b"pi" in numbers
    assert list(names_in(numbers, ("pi", "bob", "jane"))) == []


def test_sections_and_the_rest_are_the_whole_file() -> None:
    content = program(b"x" * 100)
    audit = audit_program(content, "p")
    assert audit.sections[0] == (".rodata", 100)
    assert sum(size for _, size in audit.sections) + audit.rest == audit.size == len(content)


def test_what_is_no_program_is_refused() -> None:
    with pytest.raises(FileFault, match=r"runner: read no ELF header"):
        audit_program(b"#!/bin/sh\n", "runner")


def test_the_names_of_this_machine_are_no_common_words(monkeypatch: pytest.MonkeyPatch) -> None:
    words = names_of_this_machine(Path("/some/store"))
    assert "/some/store" in words
    assert not {"root", "localhost", ""} & set(words)
    monkeypatch.setattr("socket.gethostname", lambda: "main")
    monkeypatch.setattr("getpass.getuser", lambda: "bob")
    assert names_of_this_machine() == ("bob", str(Path.home()))
