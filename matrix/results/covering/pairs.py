"""A run of few cells, which a covering array chose: tables of pairs of values over all other axes, and the values with
which every measured cell fails. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from matrix.core.records import Outcome
from matrix.core.text import counted
from matrix.core.versions import releases_first
from matrix.results.run import Cell, CellTable, Run
from matrix.results.sections import Block, Grid, Section, Words
from matrix.results.square import OUTCOME_MARKS, headings, mark_of, view_of

NOT_CHOSEN = "nc"
NOT_CHOSEN_WORDS = "not chosen: the covering array left the cell out; it was not measured, and nothing is said of it"
FEWEST_ALIKE = 3
"""How many cells have to fail alike before their common values are named."""
MOST_SUSPECTS = 20
LabelledAxes = tuple[tuple[str, str], ...]


def cover_section() -> Section:
    """Of a run whose cells a covering array chose: what was chosen, the pairs, and what always fails."""
    return Section(name="cover", blocks=_blocks)


def _blocks(run: Run) -> Iterator[Block]:
    if run.cover is None:
        return
    yield Words(text=cover_sentence(run))
    for table in run.tables:
        if shown := _pairs(run, table):
            yield Words(
                text=f"{table.rows} down, {table.columns} across: how many of the measured cells with both values "
                f"passed, over all other axes; {OUTCOME_MARKS[Outcome.UNTESTED]}: none was measured"
            )
            yield shown
    for line in suspect_lines(run):
        yield Words(text=line)


def cover_sentence(run: Run) -> str:
    """What was chosen and measured; empty for a run of all cells."""
    if run.cover is None:
        return ""
    measured = sum(1 for cell in run.cells if cell.measured)
    return (
        f"{counted(len(run.cells), 'cell')} of {run.cover.of_cells} possible ones were chosen: {run.cover.words}. "
        f"{measured} of them were measured. Nothing is said of those that were not chosen."
    )


def _pairs(run: Run, table: CellTable) -> Grid | None:
    """The table over all other axes; None where it has one row or column."""
    cells = view_of(run, table)
    rows = releases_first(cell.axes[table.rows] for cell in cells)
    columns = releases_first(cell.axes[table.columns] for cell in cells)
    if min(len(rows), len(columns)) < 2 or run.ties.get(table.rows) == table.columns:
        return None
    found: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        found.setdefault((cell.axes[table.rows], cell.axes[table.columns]), []).append(cell)
    return Grid(
        headings=("", *headings(columns)),
        rows=tuple(
            (short, *(_words(run, found.get((row, column), [])) for column in columns))
            for row, short in zip(rows, headings(rows), strict=True)
        ),
        align=("center",) * (1 + len(columns)),
    )


def _words(run: Run, cells: list[Cell]) -> str:
    """`3/4`: three of four measured cells passed. One mark for all, if they end alike."""
    measured = [cell for cell in cells if cell.measured]
    if not measured:
        return OUTCOME_MARKS[Outcome.UNTESTED] if cells else ""
    marks = {mark_of(run, cell) for cell in measured}
    if len(marks) == 1:
        return marks.pop()
    return f"{sum(1 for cell in measured if cell.passed)}/{len(measured)}"


def suspect_lines(run: Run) -> Iterator[str]:
    """`All 7 measured cells with turbine 2.3 end alike: failed at export`, for the fewest values that say it."""
    found = suspects(run)
    for labels, cells in itertools.islice(found.items(), MOST_SUSPECTS):
        values = " and ".join(f"{axis} {label}" for axis, label in labels)
        yield f"All {len(cells)} measured cells with {values} end alike: {cells[0].words}."
    if len(found) > MOST_SUSPECTS:
        yield f"The same holds of {len(found) - MOST_SUSPECTS} more sets of values."


def suspects(run: Run) -> Mapping[LabelledAxes, list[Cell]]:
    """Values, or pairs of them, with which at least FEWEST_ALIKE cells were measured and all ended with the same fault.
    A pair is left out if one of its values says the same."""
    measured = [cell for cell in run.cells if cell.measured]
    varied = [axis.name for axis in run.axes if len(axis.labels) > 1 and not axis.tied]
    found: dict[LabelledAxes, list[Cell]] = {}
    for count in (1, 2):
        groups: dict[LabelledAxes, list[Cell]] = {}
        for cell in measured:
            for axes in itertools.combinations(varied, count):
                groups.setdefault(tuple((axis, cell.axes[axis]) for axis in axes), []).append(cell)
        for labels, cells in groups.items():
            alike = len({cell.words for cell in cells}) == 1 and cells[0].outcome.red
            smaller = any(part in found for part in itertools.combinations(labels, count - 1))
            if alike and len(cells) >= FEWEST_ALIKE and not smaller:
                found[labels] = cells
    return dict(sorted(found.items(), key=lambda each: (len(each[0]), -len(each[1]))))
