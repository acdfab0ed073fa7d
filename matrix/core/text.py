"""Text for people. Text from outside the project is made safe: control characters become visible marks. Pure.

Markup is left alone: the templates escape all values.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Sequence

from tabulate import tabulate

LONGEST_MESSAGE = 2000
"""How many characters of a message are shown. The whole text is in the data to download."""

PICTURES = 0x2400
"""The first of Unicode's pictures of control characters; U+241B is that of an escape."""

HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

PLAIN = re.compile(r"[ -~]*")


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


def escape_controls(text: str) -> str:
    """The whole text, safe for a terminal: control and direction characters become escapes; lines are kept."""
    return "".join(each if each.isprintable() or each == "\n" else f"\\u{ord(each):04x}" for each in text)


def say(text: str) -> None:
    """Prints to stderr: stdout is for the answer."""
    print(text, file=sys.stderr, flush=True)


def plain_rows(rows: Sequence[Sequence[str]], headers: Sequence[str]) -> str:
    """A small table in plain text."""
    return str(tabulate(rows, headers=headers, tablefmt="plain", disable_numparse=True))
