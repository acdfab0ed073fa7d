"""Text of strangers, made harmless to look at: what it says stays readable, what it does is gone. Pure.

Markup is not this module's business: the templates escape all that they fill in.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Sequence

from tabulate import tabulate

TEXT = 2000
"""Characters of a message that are shown; the whole one is in the data to download."""

PICTURES = 0x2400
"""Unicode's pictures of the control characters: U+241B stands for an escape."""

HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

PLAIN = re.compile(r"[ -~]*")


def visible(text: str, limit: int = TEXT) -> str:
    """The text with control and direction characters as visible marks, cut where it is too long to read."""
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


def inert(text: str) -> str:
    """For a terminal, lines kept: what moves its cursor or turns its text is shown as an escape, nothing is cut."""
    return "".join(each if each.isprintable() or each == "\n" else f"\\u{ord(each):04x}" for each in text)


def say(text: str) -> None:
    """To stderr: stdout has the answer."""
    print(text, file=sys.stderr, flush=True)


def plain_rows(rows: Sequence[Sequence[str]], headers: Sequence[str]) -> str:
    """A small table of a command's own words."""
    return str(tabulate(rows, headers=headers, tablefmt="plain", disable_numparse=True))
