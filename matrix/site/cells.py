"""A cell on the page of its evidence: what it is in a heading, since when it ends so, and the nearest that pass. Pure.

Only its own square is looked at, so that a page of a large site costs no more than its row and columns.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matrix.answers.causes import Step, Stretch, stretch_words
from matrix.core.records import Outcome
from matrix.core.versions import is_version
from matrix.results import signatures
from matrix.results.run import Cell, Run
from matrix.results.square import Square
from matrix.site.harmless import slug
from matrix.site.squares import FIRST, evidence_of

MOST_SEARCHED = 900
"""The most cells of a square in which the nearest pass is looked for beyond the cell's row and column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NearPass:
    """A cell that passes: what moves to it, as `runtime 3.9.0 (2 down)`, and its evidence."""

    words: str
    link: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CellWords:
    """`heading` as `compiled by 3.8, run on 3.11: refused`; `since` a sentence for each axis with an order; `near` is
    empty for a cell that passed, and where none of the square passes."""

    heading: str
    since: tuple[str, ...]
    near: tuple[NearPass, ...]


class CellTexts:
    """The words of the cells of one square."""

    def __init__(self, table: Square) -> None:
        self._table = table
        self._short = (table.short_rows, table.short_columns)
        self._lines: dict[tuple[bool, str], list[tuple[str, Cell]]] = {}
        self._steps = {
            axis: {label: place for place, label in enumerate(labels)}
            for axis, labels in ((table.row_axis, table.rows), (table.column_axis, table.columns))
        }
        self._passed = [place for place, cell in table.cells.items() if cell.passed]

    def of(self, row: str, column: str, cell: Cell) -> CellWords:
        table = self._table
        return CellWords(
            heading=f"{self._pair(row, column)}: {ended(cell)}",
            since=tuple(
                stretch_words(stretch)
                for axis, label, line in (
                    (table.column_axis, column, self._line(False, row)),
                    (table.row_axis, row, self._line(True, column)),
                )
                if (stretch := _stretch(axis, label, line))
            ),
            near=() if cell.passed else self._near(row, column),
        )

    def _pair(self, row: str, column: str) -> str:
        """`compiled by 3.8, run on 3.11`; `torch 2.5, compiler 3.8`."""
        down, across = self._short[0][row], self._short[1][column]
        if (self._table.row_axis, self._table.column_axis) == FIRST:
            return f"compiled by {down}, run on {across}"
        return f"{self._table.row_axis} {down}, {self._table.column_axis} {across}"

    def _line(self, down: bool, label: str) -> list[tuple[str, Cell]]:
        """The measured cells of a column (down) or of a row."""
        if (down, label) not in self._lines:
            cells = self._table.column(label) if down else self._table.row(label)
            self._lines[down, label] = [(other, cell) for other, cell in cells if cell.measured]
        return self._lines[down, label]

    def _near(self, row: str, column: str) -> tuple[NearPass, ...]:
        """The nearest of its row and of its column in each direction; if there is none, the nearest of the square."""
        places = [(row, other) for other, cell in self._line(False, row) if cell.passed]
        places += [(other, column) for other, cell in self._line(True, column) if cell.passed]
        if not places and len(self._table.cells) <= MOST_SEARCHED:
            places = sorted(self._passed, key=lambda place: self._distance((row, column), place))[:1]
        best: dict[tuple[int, int], tuple[str, str]] = {}
        for place in sorted(places, key=lambda place: self._distance((row, column), place)):
            down, across = self._moves((row, column), place)
            best.setdefault((_sign(down), _sign(across)), place)
        return tuple(self._near_pass((row, column), place) for place in best.values())

    def _moves(self, here: tuple[str, str], there: tuple[str, str]) -> tuple[int, int]:
        rows, columns = self._steps[self._table.row_axis], self._steps[self._table.column_axis]
        return rows[there[0]] - rows[here[0]], columns[there[1]] - columns[here[1]]

    def _distance(self, here: tuple[str, str], there: tuple[str, str]) -> tuple[int, tuple[int, int]]:
        moves = self._moves(here, there)
        return sum(map(abs, moves)), moves

    def _near_pass(self, here: tuple[str, str], there: tuple[str, str]) -> NearPass:
        axes = (self._table.row_axis, self._table.column_axis)
        moves = self._moves(here, there)
        said = [
            Step(axis=axis, before=before, after=after, steps=steps if is_version(before) and is_version(after) else 0)
            for axis, before, after, steps in zip(axes, here, there, moves, strict=True)
            if before != after
        ]
        return NearPass(
            words=", ".join(_step_words(step) for step in said),
            link=f"{evidence_of(self._table, there[0])}#{slug(there[1])}",
        )


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)


def _step_words(step: Step) -> str:
    away = f" ({abs(step.steps)} {'newer' if step.steps > 0 else 'older'})" if step.steps else ""
    return f"{step.axis} {step.after}{away}"


def _stretch(axis: str, label: str, line: Sequence[tuple[str, Cell]]) -> Stretch | None:
    """The neighbouring releases that end like the cell; None for builds, and where there is only one release."""
    ordered = [(name, cell) for name, cell in line if is_version(name)]
    names = [name for name, _ in ordered]
    if label not in names or len(names) < 2:
        return None
    words = [cell.words for _, cell in ordered]
    here = first = last = names.index(label)
    while first > 0 and words[first - 1] == words[here]:
        first -= 1
    while last + 1 < len(names) and words[last + 1] == words[here]:
        last += 1
    return Stretch(
        axis=axis,
        words=words[here],
        first=names[first],
        last=names[last],
        before=(names[first - 1], words[first - 1]) if first else None,
        after=(names[last + 1], words[last + 1]) if last + 1 < len(names) else None,
    )


def ended(cell: Cell) -> str:
    """How a cell ended, in a word or a few: `refused` where a gate of the module's format did it."""
    if cell.signature in refusals():
        return "refused"
    if cell.passed or cell.outcome is Outcome.WRONG_OUTPUT or not cell.stage:
        return cell.words.replace("_", " ")
    return f"{cell.outcome} at {cell.stage}".replace("_", " ")


@functools.cache
def refusals() -> Mapping[str, str]:
    """The signatures of messages with which a runtime refuses a module, each with its gate."""
    return signatures.gates()


def same_bytes(run: Run, cell: Cell) -> str:
    """Why a job of the cell is dated before the one that wrote its input: another, or an earlier run of it, had written
    the same bytes, and what reads them runs once. Empty where the dates follow each other."""
    jobs = run.jobs_of(cell)
    for first, then in itertools.pairwise(jobs):
        read = {file.sha256 for file in first.artifacts.values()} & set(then.inputs.values())
        if read and first.finished_at > then.finished_at:
            return (
                f"Its {then.stage} is dated before its {first.stage}: another {first.stage}, or an earlier run of it, "
                f"had written the same bytes, and the {then.stage} of equal bytes runs once."
            )
    return ""
