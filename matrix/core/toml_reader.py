"""Reads a TOML table field by field and collects all faults, each with its place and the nearest valid spelling."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from matrix.core.errors import LockFault
from matrix.core.versions import did_you_mean

LONGEST_TOML_LINE, LONGEST_TOML, LONGEST_SHOWN = 8192, 1 << 20, 80
"""Characters of a line, of a file, and of a line in a message: a key of thousands of parts would take minutes."""


LONGEST_TOML_FAULT = 2000
"""Characters."""
MOST_OF_A_LIMIT = 1e12
"""Where a number of seconds or of MiB ends."""


class TomlFault(ValueError):
    """No TOML. The text is the end of a fault, after the name of the file."""


def parse_toml(text: str) -> dict[str, Any]:
    """The tables of a text. Raises TomlFault with the line, what was read there and what was expected."""
    lines = text.splitlines() or [""]
    number = next((index for index, line in enumerate(lines, 1) if len(line) > LONGEST_TOML_LINE), 0)
    try:
        if not number and len(text) <= LONGEST_TOML:
            return tomllib.loads(text)
        reason = f"{len(lines[number - 1])} characters in a line" if number else f"{len(text)} characters"
    except tomllib.TOMLDecodeError as error:
        found = _AT.search(str(error))
        number = int(found[1]) if found else len(lines)
        reason = str(error).replace(found[0], "") if found else str(error).replace("at end of document", "at the end")
    except (RecursionError, ValueError) as error:
        reason = "too many lists in each other" if isinstance(error, RecursionError) else str(error)
    number = max(1, number)
    read = lines[number - 1][:LONGEST_SHOWN]
    raise TomlFault(f"line {number}: read {read!r}, not TOML: {reason}; expected KEY = VALUE or [TABLE]")


_AT = re.compile(r"\s*\(at line (\d+), column \d+\)")


class Table:
    """One table of a file. After a fault every reader returns a usable default, so that reading goes on."""

    def __init__(self, content: Mapping[str, Any], place: str, faults: list[str]) -> None:
        self.content = content
        self.place = place
        self.faults = faults

    def at(self, key: str) -> str:
        return f"{self.place}.{key}" if self.place else key

    def fault(self, key: str, text: str) -> None:
        """A fault at a key. Of a long text its ends: what was read, and what was expected."""
        if len(text) > LONGEST_TOML_FAULT:
            text = f"{text[: LONGEST_TOML_FAULT // 2]} … {text[-LONGEST_TOML_FAULT // 2 :]}"
        self.faults.append(f"{self.at(key)}: {text}")

    def only(self, known: Iterable[str], *, kind: str = "key") -> None:
        """Reports unknown keys."""
        names = list(known)
        for key in self.content:
            if key not in names:
                self.fault(key, f"unknown {kind} {key!r}, expected one of {', '.join(names)}{did_you_mean(key, names)}")

    def table(self, key: str) -> Table:
        value = self.content.get(key, {})
        if not isinstance(value, Mapping):
            self.fault(key, f"read {value!r}, expected a table")
            value = {}
        return Table(value, self.at(key), self.faults)

    def tables(self, key: str) -> list[Table]:
        """An array of tables, `[[key]]`."""
        value = self.content.get(key, [])
        if not isinstance(value, list) or not all(isinstance(row, Mapping) for row in value):
            self.fault(key, f"read {value!r}, expected an array of tables ([[{key}]])")
            return []
        return [Table(row, f"{self.at(key)}[{index}]", self.faults) for index, row in enumerate(value)]

    def text(self, key: str, default: str = "", *, required: bool = False) -> str:
        value = self.content.get(key, None)
        if value is None:
            if required:
                self.fault(key, "is missing, expected a text")
            return default
        if not isinstance(value, str) or (required and not value.strip()):
            self.fault(key, f"read {value!r}, expected a text")
            return default
        return value

    def texts(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """A text or a list of texts. A number is a fault: TOML reads 3.10 as 3.1."""
        value = self.content.get(key, None)
        if value is None:
            return default
        values = value if isinstance(value, list) else [value]
        good: list[str] = []
        for index, item in enumerate(values):
            place = f"{key}[{index}]" if isinstance(value, list) else key
            if isinstance(item, str) and item.strip():
                good.append(item)
            elif isinstance(item, int | float) and not isinstance(item, bool):
                self.fault(place, f'read the number {item!r}, expected a text: write "{item}" in quotes')
            else:
                self.fault(place, f"read {item!r}, expected a text")
        return tuple(good)

    def choice(self, key: str, known: Iterable[str], default: str) -> str:
        names = list(known)
        value = self.text(key, default)
        if value not in names:
            self.fault(key, f"read {value!r}, expected one of {', '.join(names)}{did_you_mean(value, names)}")
            return default
        return value

    def matching(self, key: str, pattern: re.Pattern[str], expected: str) -> str:
        """A required text that matches a pattern."""
        faults = len(self.faults)
        value = self.text(key, required=True)
        if len(self.faults) == faults and not pattern.match(value):
            self.fault(key, f"read {value!r}, expected {expected}")
        return value

    def flag(self, key: str) -> bool:
        value = self.content.get(key, False)
        if not isinstance(value, bool):
            self.fault(key, f"read {value!r}, expected true or false")
        return value is True

    def positive(self, key: str, default: float) -> float:
        value = self.content.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < MOST_OF_A_LIMIT:
            self.fault(key, f"read {value!r}, expected a number above 0, below {MOST_OF_A_LIMIT:g}")
            return default
        return float(value)

    def count(self, key: str, default: int) -> int:
        value = self.content.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            self.fault(key, f"read {value!r}, expected a whole number from 1")
            return default
        return value

    def raise_faults(self, name: str, *, tip: str) -> None:
        """Raises LockFault with all faults, if there are any; `name` is the file's place in the checkout."""
        if self.faults:
            count = f"{len(self.faults)} faults" if len(self.faults) > 1 else "1 fault"
            raise LockFault(f"{name}: {count}\n" + "\n".join(f"  {fault}" for fault in self.faults), tip=tip)


def read_toml(path: Path, name: str, *, file_format: int, tip: str) -> Table:
    """The top table of a committed file. `name` is its place in the checkout. A wrong `format` is a fault.

    Raises LockFault where the file cannot be read.
    """
    try:
        table = Table(parse_toml(path.read_text(encoding="utf-8")), "", [])
    except OSError as error:
        raise LockFault(f"{name}: cannot be read ({error.strerror}), expected TOML", tip=tip) from error
    except UnicodeDecodeError as error:
        raise LockFault(f"{name}: read bytes that are no text ({error}), expected TOML in UTF-8", tip=tip) from error
    except TomlFault as error:
        raise LockFault(f"{name}: {error}", tip=tip) from error
    if table.content.get("format") != file_format:
        said = f"read {table.content['format']!r}" if "format" in table.content else "is missing"
        table.fault("format", f"{said}, expected {file_format}")
    return table
