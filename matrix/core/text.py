"""Text for people, and what they write on a command line.

Text from outside the project is made safe: control characters become visible marks. Pure.

Markup is left alone: the templates escape all values.
"""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from argparse import ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

LONGEST_MESSAGE = 2000
"""How many characters of a message are shown. The whole text is in the data to download."""

PICTURES = 0x2400
"""The first of Unicode's pictures of control characters; U+241B is that of an escape."""

HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

PLAIN = re.compile(r"[ -~]*")
UNUSUAL = re.compile(r"[^ -~\n]")
SHELL_READS = re.compile(r"[^\w@%+=:,./-]")
"""A character that a shell may not leave as it stands."""


def mark_controls(text: str, limit: int = LONGEST_MESSAGE) -> str:
    """The text with control and direction characters as visible marks, cut after `limit` characters."""
    cut = text[:limit]
    rest = f" … ({len(text) - limit} more characters)" if len(text) > limit else ""
    return ("".join(_letter(letter) for letter in cut) if not PLAIN.fullmatch(cut) else cut) + rest


def _letter(letter: str) -> str:
    code = ord(letter)
    if code < 32:
        return chr(PICTURES + code)
    if code == 127:
        return "\u2421"
    return f"⟨U+{code:04X}⟩" if unicodedata.category(letter) in HIDDEN else letter


def counted(number: int, name: str) -> str:
    """`1 cell`, `2 cells`."""
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def escape_controls(text: str) -> str:
    """The whole text, safe for a terminal: control and direction characters become escapes; lines are kept."""
    return UNUSUAL.sub(lambda found: found[0] if found[0].isprintable() else f"\\u{ord(found[0]):04x}", text)


def say(text: str) -> None:
    """Prints to stderr: stdout is for the answer."""
    print(text, file=sys.stderr, flush=True)


def plain_rows(rows: Sequence[Sequence[str]], headers: Sequence[str]) -> str:
    """A small table in plain text."""
    return str(tabulate(rows, headers=headers, tablefmt="plain", disable_numparse=True))


OUR_WORDS = (
    (r"the following arguments are required: (.+)", r"\1: read nothing, expected it"),
    (r"argument (\S+): expected (?:one|at least one) argument", r"\1: read nothing, expected a value"),
    (r"argument (\S+): not allowed with argument (.+)", r"\1: read it beside \2, expected one of them"),
    (r"argument (\S+): invalid \w+ value: (.+)", r"\1: read \2, expected a whole number"),
    (r"ambiguous option: (\S+) could match (.+)", r"read '\1', expected one of \2"),
    (r"argument (\S+): ignored explicit argument (.+)", r"\1: read \2, expected no value"),
    (r"argument (.+)", r"\1"),
)
"""What argparse says -> the place, what was read, what was expected."""


def in_our_words(message: str) -> str:
    for pattern, words in OUR_WORDS:
        if found := re.fullmatch(pattern, message, re.DOTALL):
            return found.expand(words)
    return message


MOST_DAYS = 36500
"""A date before the year 1 is none."""


def gigabytes(text: str) -> int:
    value = _number(text)
    if not 0 < value < 1e9:
        raise ArgumentTypeError(f"read {text!r}, expected gigabytes above 0, such as 12 or 0.5")
    return int(value * 1e9)


def gigabytes_from_none(text: str) -> float:
    value = _number(text)
    if not 0 <= value < 1e9:
        raise ArgumentTypeError(f"read {text!r}, expected gigabytes from 0, such as 12 or 0.5")
    return value


def days(text: str) -> float:
    value = _number(text)
    if not 0 <= value <= MOST_DAYS:
        raise ArgumentTypeError(f"read {text!r}, expected days from 0 to {MOST_DAYS}, such as 30 or 0.5")
    return value


def _number(text: str) -> float:
    """The number, or one that fits nowhere."""
    try:
        return float(text)
    except ValueError:
        return -1.0


def whole_number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,4}", text) or int(text) < 1:
        raise ArgumentTypeError(f"read {text!r}, expected a whole number from 1 to 9999")
    return int(text)


def gpus_said(text: str) -> str:
    """GPUs in the words of `docker run --gpus`."""
    if not re.fullmatch(r"all|[1-9][0-9]{0,2}|device=[\w.:-]+(?:,[\w.:-]+){0,63}", text):
        raise ArgumentTypeError(f"read {text!r}, expected all, a number, or device=ID,ID, as `docker run --gpus`")
    return text


MOST_OF_A_PATH, MOST_OF_A_NAME = 3000, 255
"""Bytes that Linux takes, with room for what the store puts below."""


def absolute_folder(text: str) -> Path:
    """A folder as an absolute path, for commands that run elsewhere."""
    folder = Path(text).absolute()
    if len(os.fsencode(folder)) > MOST_OF_A_PATH or any(
        len(os.fsencode(part)) > MOST_OF_A_NAME for part in folder.parts
    ):
        raise ArgumentTypeError(f"read {text[:80]!r}…, which is too long, expected a folder's path")
    return folder


def shell_characters(path: Path) -> str:
    """The characters of a path that a shell does not leave as they stand, for a message: `' ', '$'`; "": none."""
    return ", ".join(map(repr, dict.fromkeys(SHELL_READS.findall(str(path)))))
