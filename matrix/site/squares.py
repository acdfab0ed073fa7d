"""The squares of a published run: finds their two axes, gives the marks of cells, and answers in words. Pure."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from matrix.answers import predictions
from matrix.core.records import Outcome
from matrix.core.versions import releases_first
from matrix.plan.axes import NONE
from matrix.plan.backends.shared import BACKEND_AXIS, MODEL_AXIS
from matrix.plan.stages import axes as axis_rows
from matrix.plan.stages import backends
from matrix.results import signatures
from matrix.results.run import Cell, Run, kept_with_run
from matrix.results.square import (
    OUTCOME_MARKS,
    LegendRow,
    Square,
    grouped,
    headings,
    legend,
    made_between,
    mark_of,
    outcome_words,
    plural_of,
    square_of,
    tried_words,
)
from matrix.site.harmless import slug

FILLED = 0.6
"""The smallest measured part of a square that makes two axes useful; with less it is a cross of two other squares."""
BIGGEST = 4000
"""The most cells of one square on a page; its rows continue on more pages."""
FIRST = backends()[0].square
"""The axes of the most common question."""
OTHERWISE = "≠"
"""After the mark of a cell for which the gates predict another end."""


def slug_of(square: Square) -> str:
    """`armv6-compiler-runtime-linear-armv6-system`: the question, both axes, the model, and the labels on other axes of
    which the run's cells of its backend have several. So it can be guessed, and a link stays valid when other squares
    are added."""
    run, others = square.run, square.others
    varying = _varying(run)[others.get(BACKEND_AXIS.name, "")]
    several = [axis for axis in others if axis in varying and run.ties.get(axis) not in others]
    varied = [axis for axis in others if axis == MODEL_AXIS.name or axis in several]
    inward = sorted(varied, key=lambda axis: axis != MODEL_AXIS.name)
    labels = [square.others[axis] for axis in inward if square.others[axis] != NONE]
    # A dash in a label that is not the last could be one between two labels.
    unclear = any("-" in label for label in labels[:-1])
    digest = [hashlib.sha256(repr(labels).encode()).hexdigest()[:6]] if unclear else []
    part = square.part.split()[:1]
    return slug("-".join([square.run.preset, square.row_axis, square.column_axis, *labels, *digest, *part]))


@kept_with_run
def _varying(run: Run) -> Mapping[str, frozenset[str]]:
    """Backend -> the axes on which its cells have several labels, and `backend` if the run has several."""
    apart = {BACKEND_AXIS.name} if len(run.axis(BACKEND_AXIS.name).labels) > 1 else set()
    return {
        backend: frozenset(apart | {axis for axis in run.names if len(_labels(cells, axis)) > 1})
        for backend, cells in _by_backend(run).items()
    }


def evidence_of(square: Square, row: str) -> str:
    """The page with the evidence of a row's cells."""
    return f"cell/{slug_of(square)}--{slug(row)}.html"


def distinct_names(tables: Sequence[Square]) -> dict[str, str]:
    """Slug -> what distinguishes the square from the others of its run with the same two axes."""
    found = {}
    for table in tables:
        alike = [each for each in tables if each.run is table.run and _shown(each) == _shown(table)]
        others = [axis for axis in table.others if len({each.others.get(axis) for each in alike}) > 1]
        found[slug_of(table)] = ", ".join(table.others[axis] for axis in others)
    return found


def _shown(table: Square) -> tuple[str, str]:
    return table.row_axis, table.column_axis


def find_squares(run: Run) -> list[Square]:
    """The squares of a run; together they hold every cell. Those of a backend have cells of no other: they share too
    few axes."""
    usual = {backend.name: backend.square[::-1] for backend in backends()}  # of one release of each, what runs it
    return [
        table
        for name, cells in _by_backend(run).items()
        for table in _squares_among(run, cells, usual.get(name, FIRST))
    ]


@kept_with_run
def _by_backend(run: Run) -> Mapping[str, Sequence[Cell]]:
    found: dict[str, list[Cell]] = {}
    for cell in run.cells:
        found.setdefault(cell.axes.get(BACKEND_AXIS.name, ""), []).append(cell)
    return found


def _squares_among(run: Run, cells: Sequence[Cell], usual: Sequence[str]) -> list[Square]:
    ties = _ties(run, cells)
    free = [axis for axis in run.names if len(_labels(cells, axis)) > 1 and axis not in ties]
    found: list[Square] = []
    covered: set[int] = set()
    pairs = _pairs(free, usual)
    candidates = [[*map(_dense, _of_pair(run, pair, ties, cells))] for pair in pairs]
    for tables in sorted(candidates, key=_usefulness):
        for table in tables:
            new = {id(cell) for cell in table.cells.values()} - covered
            if len(pairs) == 1 or (_is_filled(table) and len(new) * 3 >= len(table.cells)):
                found.append(table)
                covered |= new
    left = [cell for cell in cells if id(cell) not in covered]
    found += _of_pair(run, pairs[0], ties, left) if left else []
    return [part for table in found for part in _parts(table)]


def _usefulness(tables: Sequence[Square]) -> tuple[bool, bool, int]:
    """The usual question first, then releases by releases, then models; of these, the ones with few squares."""
    pair = (tables[0].row_axis, tables[0].column_axis)
    return pair != FIRST, "model" in pair, len(tables)


def without_repeats(tables: Iterable[Square]) -> list[Square]:
    """The tables, except those whose cells are all in tables of earlier runs with the same end."""
    kept: list[Square] = []
    seen: set[tuple[object, ...]] = set()
    for table in tables:
        cells = {(*sorted(cell.axes.items()), cell.words) for cell in table.cells.values()}
        if not cells <= seen:
            kept.append(table)
        seen |= cells
    return kept


def mark(run: Run, cell: Cell) -> str:
    """The mark of a cell, as in the tables of the command line; `(ok)` if it is only predicted, `ok≠` if it ended
    differently than predicted."""
    if found := predictions.only_predicted(cell, predictions.committed_predictions()):
        return f"({signatures.codes().get(found.gate, '?') if found.gate else OUTCOME_MARKS[Outcome.PASSED]})"
    return mark_of(run, cell) + (OTHERWISE if predictions.surprising(cell, predictions.committed_predictions()) else "")


def marks_of(square: Square) -> tuple[LegendRow, ...]:
    """Every mark in the square, most frequent first."""
    return legend(square.cells.values(), lambda cell: mark(square.run, cell), _legend_words)


def _legend_words(cell: Cell) -> str:
    known = predictions.committed_predictions()
    if found := predictions.only_predicted(cell, known):
        return f"{cell.words}; {predictions.prediction_words(found)}"
    if predictions.surprising(cell, known):
        return f"{cell.words}; {predictions.compared_words(cell, known)}"
    return meaning(cell)


def meaning(cell: Cell) -> str:
    """An outcome in a few words."""
    if known := signatures.legends().get(cell.signature):
        return known
    return cell.words if cell.passed else outcome_words(cell.words, cell.outcome)


def kind(cell: Cell) -> str:
    """The colour of a cell: `passed`, `red` or `open`; the mark says the same without colour."""
    if cell.outcome is Outcome.PASSED:
        return "passed"
    return "red" if cell.outcome.red else "open"


def edges(table: Square, row: str, column: str) -> str:
    """The sides on which a passed cell ends its island: of `top`, `right`, `bottom`, `left`."""
    down, across = table.rows.index(row), table.columns.index(column)
    beside = {"t": (down - 1, across), "r": (down, across + 1), "b": (down + 1, across), "l": (down, across - 1)}
    return " ".join(side for side, (y, x) in beside.items() if not _passes(table, y, x))


def row_answer(table: Square, row: str) -> str:
    """`Modules of compiler 3.8 load on runtimes 3.8 and 3.9.`"""
    held = [label for label, cell in table.row(row) if cell.outcome is Outcome.PASSED]
    where = labels_text(table, table.column_axis, held)
    if made := made_between(table.row_axis, table.column_axis):
        return f"{_first_up(made)} of {table.row_axis} {table.short_rows[row]} load on {where}."
    return f"{_first_up(table.row_axis)} {table.short_rows[row]} passes with {where}."


def column_answer(table: Square, column: str) -> str:
    """`Runtime 3.9 loads modules of compilers 3.8 and 3.9.`"""
    held = [label for label, cell in table.column(column) if cell.outcome is Outcome.PASSED]
    where = labels_text(table, table.row_axis, held)
    made = made_between(table.row_axis, table.column_axis)
    verb = f"loads {made} of" if made else "passes with"
    return f"{_first_up(table.column_axis)} {table.short_columns[column]} {verb} {where}."


def conclusions(table: Square) -> list[str]:
    """What a square of compilers and runtimes comes to, in sentences; empty for other squares, and for one in which
    the runtimes form no groups of their own."""
    made = made_between(table.row_axis, table.column_axis)
    held = {row: frozenset(label for label, cell in table.row(row) if cell.passed) for row in table.rows}
    groups = {columns for columns in held.values() if columns}
    apart = all(one == other or not one & other for one in groups for other in groups)
    whole = len(table.cells) == len(table.rows) * len(table.columns) and all(c.measured for c in table.cells.values())
    if not made or not whole or not apart or len(groups) < 2:
        return []
    row, column = table.row_axis, table.column_axis
    newest, oldest = table.columns[-1], next(row for row in table.rows if held[row])
    alone = [name for name, columns in held.items() if list(held.values()).count(columns) == len(columns) == 1]
    said = [
        f"The releases form {len(groups)} groups: in each, all {made} run on every {column}, and on no other {column}. "
        f"Ship your {made} with a {column} of the same group, and compile again when you leave it.",
        f"{column_answer(table, newest).removesuffix('.')}: a new {column} does not load old {made}."
        if newest not in held[oldest]
        else column_answer(table, newest),
    ]
    short = [table.short_rows[name] for name in alone]
    if len(short) > 1:
        said.append(f"{_first_up(plural_of(row))} {' and '.join(short)} stand alone, each with one {column}.")
    return said


def labels_text(table: Square, axis: str, labels: Sequence[str]) -> str:
    """`runtimes 3.4 to 3.7`, `compilers 3.8 and 3.9`, `runtime 3.10`, `no runtime tried here`: other squares may have
    others. A span has every release of the run between its ends."""
    if not labels:
        return f"no {axis} tried here"
    known = table.known(axis)
    tried = table.rows if axis == table.row_axis else table.columns
    name = axis if len(labels) == 1 else plural_of(axis)
    if len(labels) == 2 and len(known) == len(tried):
        short = dict(zip(known, headings(known), strict=True))
        return f"{name} {short[labels[0]]} and {short[labels[1]]}"
    return f"{name} {tried_words(labels, tried, known)}"


def ordered(axes: Iterable[str]) -> list[str]:
    """The usual axes in their order, then a spec's own."""
    names = list(dict.fromkeys(axes))
    return [axis for axis in axis_rows() if axis in names] + [axis for axis in names if axis not in axis_rows()]


def _passes(table: Square, down: int, across: int) -> bool:
    if not (0 <= down < len(table.rows) and 0 <= across < len(table.columns)):
        return False
    cell = table.cells.get((table.rows[down], table.columns[across]))
    return cell is not None and cell.outcome is Outcome.PASSED


def _first_up(text: str) -> str:
    return text[:1].upper() + text[1:]


def _labels(cells: Iterable[Cell], axis: str) -> tuple[str, ...]:
    return releases_first(cell.axes.get(axis, "-") for cell in cells)


def _ties(run: Run, cells: Sequence[Cell]) -> dict[str, str]:
    """Axis -> the earlier one whose value it has in every cell, such as `runtime = compiler`."""
    axes = [axis for axis in run.names if len(_labels(cells, axis)) > 1]
    found: dict[str, str] = {}
    for other, axis in itertools.combinations(axes, 2):
        if other not in found and all(cell.axes.get(axis) == cell.axes.get(other) for cell in cells):
            found.setdefault(axis, other)
    return found


def _pairs(free: Sequence[str], usual: Sequence[str]) -> list[tuple[str, str]]:
    """Axes that may make a square, the `usual` ones where too few have several values; each pair is in the order of the
    axes."""
    if len(free) >= 2:
        return list(itertools.combinations(free, 2))
    shown = [*free, *(axis for axis in usual if axis not in free)][:2]
    return [tuple(ordered(shown))]  # type: ignore[list-item]


def _of_pair(run: Run, pair: tuple[str, str], ties: Mapping[str, str], cells: Sequence[Cell]) -> Iterator[Square]:
    followers = {axis: other for axis, other in ties.items() if other in pair and axis not in pair}
    others = [axis for axis in run.names if axis not in pair and axis not in followers]
    for labels, group in grouped(cells, others).items():
        yield square_of(run, pair, group, others=dict(zip(others, labels, strict=True)), ties=followers)


def _dense(table: Square) -> Square:
    """The square without rows and columns that have only one of its cells, if it is mostly empty with them: they are
    lines of another square."""
    if _is_filled(table):
        return table
    rows = Counter(row for row, _ in table.cells)
    columns = Counter(column for _, column in table.cells)
    cells = {place: cell for place, cell in table.cells.items() if rows[place[0]] > 1 and columns[place[1]] > 1}
    smaller = replace(
        table,
        rows=tuple(row for row in table.rows if any(place[0] == row for place in cells)),
        columns=tuple(column for column in table.columns if any(place[1] == column for place in cells)),
        cells=cells,
    )
    return smaller if cells and _is_filled(smaller) else table


def _is_filled(table: Square) -> bool:
    size = len(table.rows) * len(table.columns)
    return min(len(table.rows), len(table.columns)) > 1 and len(table.cells) >= FILLED * size


def _parts(table: Square) -> Iterator[Square]:
    """The square itself, or blocks of its rows if it is too large for a page."""
    if len(table.cells) <= BIGGEST:
        yield table
        return
    height = max(1, BIGGEST // len(table.columns))
    blocks = [table.rows[start : start + height] for start in range(0, len(table.rows), height)]
    for number, rows in enumerate(blocks, start=1):
        cells = {place: cell for place, cell in table.cells.items() if place[0] in rows}
        yield replace(table, rows=rows, cells=cells, part=f"{number} of {len(blocks)}")
