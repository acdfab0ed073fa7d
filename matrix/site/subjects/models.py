"""The page of a model: where it was measured, what its exports made; and what it shares with that of a target. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matrix.plan.axes import NONE
from matrix.plan.backends.shared import MODEL_AXIS, TARGET_AXIS
from matrix.plan.stages import kinds
from matrix.results.run import Cell, FinishedJob
from matrix.results.square import Square
from matrix.site.notices import head_of, join_heads
from matrix.site.squares import row_answer


@dataclass(frozen=True, slots=True, kw_only=True)
class SquareRow:
    """A square on the page of one of its values: the cells of that value by outcome, and its answer if it is a row."""

    table: Square
    counts: tuple[tuple[str, int], ...]
    answer: str


def squares_by_label(tables: Sequence[Square], axis: str) -> Mapping[str, list[Square]]:
    """Value of the axis -> the squares that have it, in their order."""
    found: dict[str, list[Square]] = {}
    for table in tables:
        for label in {cell.axes.get(axis, NONE): None for cell in table.cells.values()}:
            if label != NONE:
                found.setdefault(label, []).append(table)
    return found


def cells_with(table: Square, axis: str, label: str) -> dict[tuple[str, str], Cell]:
    """The cells of a square that have a value, by place."""
    return {place: cell for place, cell in table.cells.items() if cell.axes.get(axis) == label}


def square_row(table: Square, axis: str, label: str) -> SquareRow:
    counts = Counter(cell.words for cell in cells_with(table, axis, label).values())
    answer = row_answer(table, label) if table.row_axis == axis else ""
    return SquareRow(table=table, counts=tuple(counts.most_common()), answer=answer)


def model_view(model: str, tables: Sequence[Square]) -> dict[str, Any]:
    """For each square with the model: its cells by outcome, what its exports made, and the run's notes about it."""
    axis = MODEL_AXIS.name
    questions: dict[str, list[SquareRow]] = {}
    exports: dict[str, FinishedJob] = {}
    first = [kind.name for kind in kinds().values() if not (kind.after or kind.apart)]
    for table in tables:
        for cell in cells_with(table, axis, model).values():
            jobs = [table.run.jobs[key] for key in cell.jobs[:1]]
            exports |= {job.key: job for job in jobs if job.stage in first}
        questions.setdefault(table.run.question, []).append(square_row(table, axis, model))
    notes = {note: None for table in tables if (note := table.run.notes(axis).get(model))}
    heads = (head_of(table.run, {axis: (model,), TARGET_AXIS.name: _targets(table, model)}) for table in tables)
    return {
        "model": model,
        "head": join_heads(heads),
        "questions": questions,
        "notes": list(notes),
        "exports": list(exports.values()),
    }


def _targets(table: Square, model: str) -> tuple[str, ...]:
    """The targets on which a model was measured, those first on which it passed."""
    cells = [cell for cell in cells_with(table, MODEL_AXIS.name, model).values() if cell.measured]
    ordered = sorted(cells, key=lambda cell: not cell.passed)
    return tuple(dict.fromkeys(cell.axes.get(TARGET_AXIS.name, "") for cell in ordered))
