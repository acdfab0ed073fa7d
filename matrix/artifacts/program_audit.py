"""The sizes of a program for a board, section by section, and what it reveals of the machine that built it."""

from __future__ import annotations

import contextlib
import getpass
import re
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from matrix.artifacts.elf import Elf, read_elf

SYSTEM = ("bin", "dev", "etc", "lib", "proc", "sys", "tmp", "usr/bin", "usr/lib", "usr/share", "var", "path/to")
"""Paths of every Linux where a C library searches, and the example in IREE's help. Any other absolute path is of the
machine that built the program."""
SHORT_NAME = 5
LONG_TEXT = 16
"""A name shorter than SHORT_NAME occurs in any megabyte of numbers by chance. It is searched as a whole word, in texts
of this many characters, which do not occur by chance."""
OF_ANY_PROGRAM = frozenset(
    {"admin", "arm", "arm64", "build", "data", "debian", "dev", "git", "host", "iree", "linux", "local", "localhost"}
    | {"main", "max", "node", "root", "runner", "test", "user", "vm", "work", "www"}
)
"""Names that are also words in IREE's runtime or its tools: they reveal nothing in a program. The home folder of such a
user, and any other path, is still found."""
OF_THE_C_LIBRARY = ("keld@dkuug.dk",)
"""The author of ISO's locale data is named in glibc."""
NUMBERS = re.compile(r"\.debug_(?:abbrev|addr|aranges|frame|loc|loclists|ranges|rnglists)|\.eh_frame|\.ARM\.\w+")
"""Sections without texts. As in code, a few bytes in a million look like a text."""
TEXT = re.compile(rb"(?:[\x20-\x7e]|[\xc2-\xf4][\x80-\xbf]{1,3}){5,}")
TEXT_ENDS = b"\0\t\n\r"
"""What may follow a text. Between the names of files in `.debug_line` are numbers, and some look like one."""
LONGER = re.compile(rb"[\x20-\x7e]{%d,}" % LONG_TEXT)
PATH = re.compile(r"(?<![\w.+@~$/:<%-])(?=.{6})(?:/[\w.+@~$-]+){2,}")
TRACES = (
    ("an e-mail address", re.compile(r"[\w.+-]+@[\w-]+\.[a-z]{2,}\b")),
    ("a commit", re.compile(r"\b[0-9a-f]{40}\b")),
    ("version control", re.compile(r"\.git\b|\bgit@|\bsvn://")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramAudit:
    """`sections` are (name, bytes in the file), the largest first; `rest` is headers and padding. `leaks` are lines."""

    size: int
    sections: tuple[tuple[str, int], ...]
    rest: int
    leaks: tuple[str, ...]


def audit_program(content: bytes, place: str, *, words: Iterable[str] = ()) -> ProgramAudit:
    """Audits an ELF program. `words` are names of the machine that built it: host, user, folders.

    Debug sections are searched too: a delivered program must not have them. Code and sections of numbers are only
    searched for `words`. Raises FileFault if it is no ELF.
    """
    elf = read_elf(content, place)
    sizes = sorted(((each.name, each.size) for each in elf.sections if each.size), key=lambda pair: (-pair[1], pair[0]))
    return ProgramAudit(
        size=len(content),
        sections=tuple(sizes),
        rest=len(content) - sum(size for _, size in sizes),
        leaks=tuple(dict.fromkeys((*leaks_in(_texts(content, elf)), *names_in(content, words)))),
    )


def _texts(content: bytes, elf: Elf) -> bytes:
    """The file without code and numbers. Bytes outside of sections are searched."""
    left = bytearray(content)
    for section in elf.sections:
        if section.code or NUMBERS.fullmatch(section.name):
            left[section.offset : section.offset + section.size] = bytes(section.size)
    return bytes(left)


def leaks_in(content: bytes) -> Iterator[str]:
    """What the readable strings of a program reveal, one per line. At the end of the file a text may end too."""
    for match in TEXT.finditer(content):
        if content[match.end() : match.end() + 1] not in TEXT_ENDS:
            continue
        text = match[0].decode("utf-8", errors="replace")
        for path in PATH.findall(text):
            if not any(f"{path}/".startswith(f"/{known}/") for known in SYSTEM):
                yield f"a path: {path}"
        for kind, pattern in TRACES:
            found = pattern.search(text)
            if found and found[0] not in OF_THE_C_LIBRARY:
                yield f"{kind}: {found[0]}"


def names_in(content: bytes, words: Iterable[str]) -> Iterator[str]:
    """The machine's names that occur in a file; short ones as whole words of its longer texts."""
    yield from (f"a name of this machine: {word}" for word in words if _stands_in(content, word.encode()))


def _stands_in(content: bytes, word: bytes) -> bool:
    if len(word) >= SHORT_NAME:
        return word in content
    whole = re.compile(rb"(?<![A-Za-z0-9_])" + re.escape(word) + rb"(?![A-Za-z0-9_])")
    return any(whole.search(text) for text in LONGER.findall(content))


def names_of_this_machine(*places: Path) -> tuple[str, ...]:
    """Host, user and folders as words to search for, without those in any program (OF_ANY_PROGRAM)."""
    said = [socket.gethostname(), *(str(place) for place in places)]
    with contextlib.suppress(OSError, KeyError, RuntimeError):  # a user without a name, as in some containers
        said += [getpass.getuser(), str(Path.home())]
    return tuple(dict.fromkeys(word for word in said if len(word) > 1 and word not in OF_ANY_PROGRAM))
