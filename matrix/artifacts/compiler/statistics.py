"""The statistics that `iree-compile` writes of a module with `--iree-scheduling-dump-statistics-format=csv`. Pure.

The file has comment lines that begin with `;`, a table of totals (a row of names and a row of numbers), and a table of
commands for each function, with a blank line behind each. Releases since 20230209.425 write it; those of 2023 lack the
column `Async Calls`.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass

_COLUMNS = {
    "Constants": "constant_count",
    "Constant Size": "constant_bytes",
    "Variables": "variable_count",
    "Variable Size": "variable_bytes",
    "Awaits": "await_count",
    "Submissions": "submission_count",
    "Transient Size": "transient_bytes",
    "Fills": "fill_count",
    "Copies": "copy_count",
    "Dispatches": "dispatch_count",
    "Executables": "executable_count",
}
"""A column of the file -> the field that holds it."""
FIGURES = {
    "dispatch_count": "dispatches",
    "executable_count": "executables",
    "transient_bytes": "transient bytes",
    "constant_bytes": "constant bytes",
    "variable_bytes": "variable bytes",
    "fill_count": "fills",
    "copy_count": "copies",
    "submission_count": "submissions",
    "await_count": "awaits",
}
"""A figure of `CompileStatistics` -> its name in a sentence, in this order."""
_FIRST = '"Constants",'
_LONGEST = 20
"""Digits of the largest number of 64 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileStatistics:
    """The totals of a module, counted in the program and not while it runs: a command in a loop counts once.

    `dispatch_count` are the places that start a kernel, `executable_count` the kernels' executables. `constant_bytes`
    are in the module, `transient_bytes` hold intermediate results of a call, `variable_bytes` live from call to call.
    `fill_count` and `copy_count` are commands on buffers; commands are handed to the device in submissions.
    """

    constant_count: int
    constant_bytes: int
    variable_count: int
    variable_bytes: int
    await_count: int
    submission_count: int
    transient_bytes: int
    fill_count: int
    copy_count: int
    dispatch_count: int
    executable_count: int


def read_statistics(content: bytes) -> CompileStatistics | None:
    """The totals in a file; None if it is not whole: no number is taken from a file that was cut off."""
    if not content.endswith(b"\n\n"):
        return None
    lines = content.decode(errors="replace").split("\n")
    starts = [number for number, line in enumerate(lines) if line.startswith(_FIRST)]
    if len(starts) != 1:
        return None
    try:
        names, values, *rest = csv.reader(lines[starts[0] : starts[0] + 3], strict=True)
    except (csv.Error, ValueError):
        return None
    row = dict(zip(names, values, strict=False))
    whole = len(names) == len(values) == len(row) and rest == [[]]
    found = {field: row.get(name, "") for name, field in _COLUMNS.items()}
    numbers = all(each.isascii() and each.isdigit() and len(each) <= _LONGEST for each in found.values())
    return CompileStatistics(**{field: int(each) for field, each in found.items()}) if whole and numbers else None


def option_word(figure: str) -> str:
    """The name of a figure as a word of the command line: `transient-bytes`."""
    return figure.replace(" ", "-")
