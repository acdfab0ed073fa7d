"""The page of a target: which models run right there, with what, how large their files are, where more is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matrix.answers.advice import combination, newest_first, newness
from matrix.plan.axes import NONE
from matrix.plan.backends.iree.source_builds import RUNNER
from matrix.plan.backends.shared import MODEL_AXIS, TARGET_AXIS
from matrix.plan.stages import module_of
from matrix.results.measured.counts import count_series, series_words
from matrix.results.run import Cell, Run
from matrix.results.square import Square, placed
from matrix.site.harmless import slug
from matrix.site.notices import head_of, is_emulated_target, join_heads
from matrix.site.squares import evidence_of
from matrix.site.subjects.models import SquareRow, cells_with, square_row

TARGET = TARGET_AXIS.name


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOnTarget:
    """A model on a target in one run. `places` names the values that are right at least once. `newest` is what is right
    of the newest releases, with the run's other choices, `evidence` its page; `module` and `program` are the bytes of
    its files, 0 for one that it does not have. Without a right cell all of them are empty."""

    model: str
    right: int
    measured: int
    places: str = ""
    newest: str = ""
    evidence: str = ""
    module: int = 0
    program: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOnTarget:
    """What one run says of a target. `program` is whether a model has a program of its own there."""

    run: Run
    models: tuple[ModelOnTarget, ...]
    squares: tuple[SquareRow, ...]

    @property
    def program(self) -> bool:
        return any(each.program for each in self.models)


def target_view(target: str, tables: Sequence[Square], runs: Iterable[Run]) -> dict[str, Any]:
    """The values of its page: `tables` are the squares that have it, `runs` all of the site, for their counts."""
    by_run: dict[int, list[Square]] = {}
    for table in tables:
        by_run.setdefault(id(table.run), []).append(table)
    measured = [_on_target(target, squares) for squares in by_run.values()]
    heads = [head_of(each.run, _labels(each.run, target)) for each in measured]
    real = [each.run for each in measured if not is_emulated_target(each.run, target)]  # of an emulator, the head tells
    notes = dict.fromkeys(run.notes(TARGET).get(target, "") for run in real)
    return {
        "target": target,
        "head": join_heads(heads),
        "notes": [note for note in notes if note],
        "measured": measured,
        "counts": list(_counts(target, runs)),
    }


def _on_target(target: str, tables: Sequence[Square]) -> RunOnTarget:
    run = tables[0].run
    models: dict[str, dict[str, tuple[Cell, str]]] = {}
    for table in tables:
        for (row, column), cell in cells_with(table, TARGET, target).items():
            known = models.setdefault(cell.axes.get(MODEL_AXIS.name, NONE), {})
            if cell.name not in known:
                known[cell.name] = cell, f"{evidence_of(table, row)}#{slug(column)}"
    order = [label for label in run.axis(MODEL_AXIS.name).labels if label in models]
    return RunOnTarget(
        run=run,
        models=tuple(_model(run, model, list(models[model].values())) for model in order),
        squares=tuple(square_row(table, TARGET, target) for table in tables),
    )


def _model(run: Run, model: str, cells: Sequence[tuple[Cell, str]]) -> ModelOnTarget:
    measured = sum(cell.measured for cell, _ in cells)
    right = [pair for pair in cells if pair[0].right]
    if not right:
        return ModelOnTarget(model=model, right=0, measured=measured)
    newest, evidence = max(right, key=lambda pair: newness(pair[0]))
    others = {axis.name: axis.labels for axis in run.axes if axis.name not in (MODEL_AXIS.name, TARGET)}
    files = {name: file.bytes for job in run.jobs_of(newest) for name, file in job.artifacts.items()}
    return ModelOnTarget(
        model=model,
        right=len(right),
        measured=measured,
        places=placed([cell.axes for cell, _ in right], others),
        newest=", ".join([combination(newest), *_choices(newest, others)]),
        evidence=evidence,
        module=files.get(module_of(files), 0),
        program=files.get(RUNNER, 0),
    )


def _choices(cell: Cell, others: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """What its run chose besides releases: `route embedded-repaired`."""
    released = newest_first()
    for axis, labels in others.items():
        if axis not in released and len(labels) > 1 and cell.axes.get(axis, NONE) != NONE:
            yield f"{axis} {cell.axes[axis]}"


def _labels(run: Run, target: str) -> dict[str, tuple[str, ...]]:
    """The values with which a run measured a target, without the models: a page lists those."""
    cells = run.by_label.get(TARGET, {}).get(target, ())
    others = [axis for axis in run.names if axis not in (MODEL_AXIS.name, TARGET)]
    used = {axis: {cell.axes.get(axis) for cell in cells if cell.measured} for axis in others}
    known = {axis: tuple(label for label in run.axis(axis).labels if label in used[axis]) for axis in others}
    return {**known, TARGET: (target,)}


def _counts(target: str, runs: Iterable[Run]) -> Iterator[str]:
    """The instructions of a call there, a sentence for each series."""
    for run in runs:
        for series in count_series(run):
            if series.place.get(TARGET) == target:
                yield f"{series.name}: {series_words(series)}"
