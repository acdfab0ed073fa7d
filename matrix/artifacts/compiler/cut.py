"""Reads `dispatches.json`, which the stage that cuts a module leaves: its dispatches, and what they take and make."""

from __future__ import annotations

from dataclasses import dataclass

from matrix.artifacts.json_reader import JsonFault, read_json

CUT_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CutDispatch:
    """A dispatch: its place in the order of calls, its `name`, and the `lines` of the module that it computes, that of
    its call first.

    `module` is the number of the file that has it alone, None for one that makes nothing that a file can hold. `takes`
    and `makes` are names of values without a suffix, `beside` the dispatches that its module has too.
    """

    ordinal: int
    name: str
    lines: tuple[int, ...]
    module: int | None
    takes: tuple[str, ...]
    makes: tuple[str, ...]
    beside: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CutModule:
    """A function's dispatches in the order of their calls; `outputs` are the names of its results' values, "" for one
    without a file; `elsewhere` counts dispatches outside of the function."""

    function: str
    outputs: tuple[str, ...]
    elsewhere: int
    dispatches: tuple[CutDispatch, ...]


def read_cut(content: bytes) -> CutModule:
    """The record in a file. Raises JsonFault for one that is damaged."""
    read = read_json(content)
    try:
        if read["format"] != CUT_FORMAT:
            raise JsonFault(f"format: read {read['format']!r}, expected {CUT_FORMAT}")
        return CutModule(
            function=str(read["function"]),
            outputs=tuple(map(str, read["outputs"])),
            elsewhere=int(read["elsewhere"]),
            dispatches=tuple(
                CutDispatch(
                    ordinal=int(row["ordinal"]),
                    name=str(row["name"]),
                    lines=tuple(map(int, row["lines"])),
                    module=row.get("module"),
                    takes=tuple(map(str, row.get("takes", ()))),
                    makes=tuple(map(str, row.get("makes", ()))),
                    beside=tuple(map(int, row.get("with", ()))),
                )
                for row in read["dispatches"]
            ),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise JsonFault(f"{type(error).__name__}: {error}, expected the record of a cut module") from None
