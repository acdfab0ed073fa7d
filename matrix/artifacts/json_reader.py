"""Reads JSON that others wrote: files of results, what tools print, what a damaged disk left. Pure.

Python reads more than JSON (`NaN`, `Infinity`), and what it reads may break what comes after: 1e999 is infinite, a
whole number may be too big for a float, half of a surrogate pair cannot be written, a million brackets exhaust the
stack.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

DEEPEST = 64
"""Levels of lists and tables in each other; what this project writes has fewer than 10."""
LONGEST_NUMBER = 40
HALVES = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")


class JsonFault(ValueError):
    """No JSON, or more than a reader can trust. The text is the end of a fault, after its place."""


def read_json(content: bytes | str) -> Any:  # noqa: ANN401 - the caller says what it expects
    """The value in a text. Raises JsonFault, and nothing else."""
    try:
        text = content.decode("utf-8") if isinstance(content, bytes) else content
        value = json.loads(text, parse_constant=_refuse, parse_float=_number, parse_int=_whole_number)
    except JsonFault:
        raise
    except RecursionError:
        raise JsonFault(f"read more than {DEEPEST} levels of lists and tables, expected fewer") from None
    except json.JSONDecodeError as error:
        read = repr(error.doc[error.pos : error.pos + 40]) if error.pos < len(error.doc) else "nothing more"
        said = f"{error.msg[:1].lower()}{error.msg[1:]}"
        raise JsonFault(f"line {error.lineno}: read {read}, expected JSON ({said})") from None
    except UnicodeDecodeError as error:
        raise JsonFault(f"read bytes that are no text, expected UTF-8 ({error.reason})") from None
    except (ValueError, MemoryError) as error:
        raise JsonFault(str(error) or "it does not fit into the memory") from None
    _check_depth(value)
    if HALVES.search(text):
        _check_texts(value)
    return value


def _refuse(word: str) -> NoReturn:
    raise JsonFault(f"read the number {word}, expected a finite one")


def _number(word: str) -> float:
    value = float(word)
    return value if math.isfinite(value) else _refuse(word[:LONGEST_NUMBER])


def _whole_number(word: str) -> int:
    return int(word) if len(word) <= LONGEST_NUMBER else _refuse(f"{word[:LONGEST_NUMBER]}…")


def _check_depth(value: object) -> None:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            each
            for one in level
            if isinstance(one, dict | list)
            for each in (one.values() if isinstance(one, dict) else one)
            if isinstance(each, dict | list)
        ]
        if not level:
            return
    raise JsonFault(f"read more than {DEEPEST} levels of lists and tables, expected fewer")


def _check_texts(value: object) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise JsonFault(f"read half of a surrogate pair (U+{ord(half):04X}), expected whole characters") from None
