"""Tables as descriptions: a column has a title and a value for each row, a section has the columns and rows of a table.
Text, Markdown, HTML, CSV, JSON and the site are made from the same description. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from matrix.core.records import Outcome
from matrix.core.text import counted
from matrix.plan.axes import NONE
from matrix.plan.backends.iree.counting import COUNT_FIGURES
from matrix.results.run import Cell, Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column. `key` is its name in CSV and JSON, empty if it is only in tables; `title` is its heading in tables,
    empty if it is only in data.

    `value` gives the value for a row, None if there is none; `text` makes the words of a table from it.
    """

    key: str = ""
    title: str = ""
    value: Callable[[Any], Any]
    text: Callable[[Any], str] = str
    align: str = "right"

    def shown(self, row: object) -> str:
        value = self.value(row)
        return "" if value is None else self.text(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A line of text. `heading` is one for the next block, which only plain text needs."""

    text: str
    heading: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Sentences: a list with `bullets` or, in HTML, paragraphs. `rigid` keeps the line breaks in HTML."""

    lines: tuple[str, ...]
    bullets: bool = True
    rigid: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table with its texts. `ruled` is false for one that needs no lines in plain text."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    align: tuple[str, ...]
    ruled: bool = True


Block = Words | Lines | Grid


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What a run says on one topic: `blocks` for people, and for data the `columns` of those cells that `rows` has by
    name. A section of another topic says nothing of a run."""

    name: str
    blocks: Callable[[Run], Iterable[Block]]
    columns: tuple[Column, ...] = ()
    rows: Callable[[Run], Mapping[str, Any]] | None = None
    on_site: bool = True
    """The site has it on the run's page of tables; it shows squares and their legends in its own way."""

    def data(self, run: Run) -> tuple[list[str], dict[str, list[Any]]]:
        """The names of the columns, and their values by the name of the cell; empty for a run without such rows."""
        found = self.rows(run) if self.rows else {}
        columns = [column for column in self.columns if column.key]
        return [each.key for each in columns if found], {
            name: [column.value(row) for column in columns] for name, row in found.items()
        }


def grid(columns: Sequence[Column], rows: Iterable[object], *, ruled: bool = True) -> Grid:
    """The columns with a title, for these rows."""
    shown = [column for column in columns if column.title]
    return Grid(
        headings=tuple(column.title for column in shown),
        rows=tuple(tuple(column.shown(row) for column in shown) for row in rows),
        align=tuple(column.align for column in shown),
        ruled=ruled,
    )


def by_axes(axes: Iterable[str], of: Callable[[Any], Mapping[str, str]]) -> list[Column]:
    """A column for each axis; `of` gives the labels of a row."""
    return [Column(title=axis, value=partial(_label, of, axis), align="left") for axis in axes]


def _label(of: Callable[[Any], Mapping[str, str]], axis: str, row: object) -> str:
    return of(row).get(axis, NONE)


def differing(axes: Iterable[str], rows: Sequence[Mapping[str, str]], *, always: str) -> list[str]:
    """The axes that distinguish the rows, without those that repeat an earlier one; and the one that is `always`
    there."""
    columns: dict[tuple[str, ...], str] = {}
    for axis in axes:
        labels = tuple(row.get(axis, NONE) for row in rows)
        if len(set(labels)) > 1 or axis == always:
            columns.setdefault(labels, axis)
    return list(columns.values())


# -- the measurements of stages


def _count_of(name: str) -> Column:
    """A whole number of a call of a module. How long it takes is another figure."""
    return Column(key=name, title=name, value=lambda found: found.get(name), text="{:,}".format)


MEASURES: tuple[Column, ...] = tuple(map(_count_of, COUNT_FIGURES))
"""Columns for the measurements of stages: `value` gets the measurements of a cell's jobs together, by name. Those of a
benchmark have their own section."""


def _measured(run: Run) -> dict[str, Mapping[str, Any]]:
    """The measurements of each cell by its name, without those in which no column finds a value."""
    found = {cell.name: run.measurements_of(cell) for cell in run.cells if MEASURES}
    return {name: each for name, each in found.items() if any(column.value(each) is not None for column in MEASURES)}


def _second(value: Callable[[Any], Any], row: tuple[Cell, Mapping[str, Any]]) -> object:
    return value(row[1])


def _measures(run: Run) -> Iterator[Block]:
    """Cells that share their measuring jobs share a row. A figure that an older run has nowhere has no column."""
    measured = _measured(run)
    rows: dict[tuple[str, ...], tuple[Cell, Mapping[str, Any]]] = {}
    for cell in run.cells:
        if cell.name in measured:
            jobs = tuple(key for key in cell.evidence if run.jobs[key].measurements)
            rows.setdefault(jobs, (cell, measured[cell.name]))
    if rows:
        axes = differing(run.names, [cell.axes for cell, _ in rows.values()], always=run.axes[0].name)
        figures = [each for _, each in rows.values()]
        found = [each for each in MEASURES if any(each.value(row) is not None for row in figures)]
        columns = [replace(each, value=partial(_second, each.value)) for each in found]
        yield Words(text="what the stages measured")
        yield grid([*by_axes(axes, lambda row: row[0].axes), *columns], rows.values())
    lacking = Counter(
        cell.reason for cell in run.cells if cell.outcome is Outcome.PASSED and cell.compared and cell.reason
    )
    if lacking:
        yield Lines(lines=tuple(f"{counted(count, 'cell')}: {reason}" for reason, count in lacking.items()))


def measures() -> Section:
    """A section with the current columns."""
    return Section(name="measures", blocks=_measures, columns=MEASURES, rows=_measured)
