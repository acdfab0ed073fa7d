"""What a program for a board weighs, section by section, and what it gives away of the machine that made it."""

from __future__ import annotations

import contextlib
import getpass
import re
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from matrix.elf import read_elf

SYSTEM = ("bin", "dev", "etc", "lib", "proc", "sys", "tmp", "usr/bin", "usr/lib", "usr/share", "var", "path/to")
"""Where every Linux has what a C library looks for, and the example in IREE's help. Any other absolute path is of the
machine that built the program."""
SHORTEST_NAME = 5
OF_THE_C_LIBRARY = ("keld@dkuug.dk",)
"""The author of ISO's locale data stands in glibc."""
TEXT = re.compile(rb"[\x20-\x7e]{5,}")
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
    """Audit an ELF program. `words` are names of the machine that built it: host, user, folders.

    Debug sections are looked through too: what is delivered must not have them. Raises FileFault where it is no ELF.
    """
    elf = read_elf(content, place)
    sizes = sorted(((each.name, each.size) for each in elf.sections if each.size), key=lambda pair: (-pair[1], pair[0]))
    return ProgramAudit(
        size=len(content),
        sections=tuple(sizes),
        rest=len(content) - sum(size for _, size in sizes),
        leaks=tuple(dict.fromkeys(leaks_in(content, words))),
    )


def leaks_in(content: bytes, words: Iterable[str] = ()) -> Iterator[str]:
    """What the readable strings of a program give away, a line each."""
    for match in TEXT.finditer(content):
        text = match[0].decode("ascii")
        for path in PATH.findall(text):
            if not any(f"{path}/".startswith(f"/{known}/") for known in SYSTEM):
                yield f"a path: {path}"
        for kind, pattern in TRACES:
            found = pattern.search(text)
            if found and found[0] not in OF_THE_C_LIBRARY:
                yield f"{kind}: {found[0]}"
    yield from names_in(content, words)


def names_in(content: bytes, words: Iterable[str]) -> Iterator[str]:
    """Which of a machine's names stand anywhere in a file."""
    yield from (f"a name of this machine: {word}" for word in words if word.encode() in content)


def names_of_this_machine(*places: Path) -> tuple[str, ...]:
    """Host, user and folders as words to look for. A short word (`root`) stands in any program, so it is no trace."""
    said = [socket.gethostname(), *(str(place) for place in places)]
    with contextlib.suppress(OSError, KeyError, RuntimeError):  # a user without a name, as in some containers
        said += [getpass.getuser(), str(Path.home())]
    return tuple(dict.fromkeys(word for word in said if len(word) >= SHORTEST_NAME and word != "localhost"))
