"""What to pin for a model, a target and a Python: the answer of `advise` with its requirements, or the nearest. Reads
the committed locks, nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matrix.answers.advice import Advice, KnownCells, advice_rows, combination, find_advice
from matrix.answers.causes import Move
from matrix.answers.pins.requirements import (
    LockedEnvironment,
    RequirementsFile,
    environments_of,
    requirements_files,
    requirements_text,
)
from matrix.core.errors import LockFault, NoAnswer
from matrix.plan.axes import NONE
from matrix.plan.backends.shared import MODEL_AXIS, PYTHON_AXIS, TARGET_AXIS
from matrix.results.run import Cell

QUESTION_AXES = (MODEL_AXIS.name, TARGET_AXIS.name, PYTHON_AXIS.name)
"""The axes of a question: what a user has, and does not pin."""
MOST_QUESTIONS = 1000
"""Up to so many, every model has a page for every target and Python; beyond, for those that were measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """The answer to one question. Without an `advice`, `said` is why and `nearest` are the ways to a cell that is
    right. `unlocked` says why there are no requirements."""

    wanted: Mapping[str, str]
    advice: Advice | None = None
    rows: tuple[tuple[str, str], ...] = ()
    environments: tuple[LockedEnvironment, ...] = ()
    unlocked: str = ""
    said: str = ""
    nearest: tuple[Move, ...] = ()

    @property
    def pins(self) -> dict[str, str]:
        """Axis -> release, without those of the question."""
        axes = self.advice.cell.axes if self.advice else {}
        return {axis: label for axis, label in axes.items() if axis not in QUESTION_AXES and label != NONE}

    @property
    def files(self) -> tuple[RequirementsFile, ...]:
        return requirements_files(self.environments)

    def requirements(self) -> list[tuple[RequirementsFile, str, str]]:
        """The files with their names and texts: what runs the model first."""
        return [
            (file, name, requirements_text(file, heading=heading_of(self.advice), name=name))
            for index, file in enumerate(self.files)
            for name in ("requirements.txt" if index == 0 else f"requirements-{file.name}.txt",)
            if self.advice
        ]


def recommend(known: KnownCells, wanted: Mapping[str, str], images: Path) -> Recommendation:
    """Never raises: a question without an answer has the nearest one."""
    try:
        advice = find_advice(known, wanted)
    except NoAnswer as none:
        return Recommendation(wanted=wanted, said=str(none), nearest=known.nearest(wanted))
    environments: tuple[LockedEnvironment, ...] = ()
    unlocked = ""
    try:
        environments = environments_of(advice.run, advice.cell, images)
    except LockFault as fault:
        unlocked = str(fault)
    rows = recommendation_rows(advice, wanted, environments)
    return Recommendation(wanted=wanted, advice=advice, rows=tuple(rows), environments=environments, unlocked=unlocked)


def recommendation_rows(
    advice: Advice, wanted: Mapping[str, str], environments: Sequence[LockedEnvironment]
) -> list[tuple[str, str]]:
    """The rows of the answer, and which Python the tools were run on, if it is another one than the requested."""
    rows = advice_rows(advice, wanted)
    notes = [(axis, label, advice.run.notes(axis).get(label)) for axis, label in advice.cell.axes.items()]
    rows += [("about", f"{axis} {label}: {note}") for axis, label, note in notes if note]
    python = PYTHON_AXIS.name
    pythons = {each.request.python for each in environments} - {advice.cell.axes.get(python, "")}
    if pythons and python in wanted:
        said = f"the tools on Python {wanted[python]}: they were run on {', '.join(sorted(pythons))}"
        rows.append(("not tested", said))
    return rows


def heading_of(advice: Advice) -> list[str]:
    """The first lines of a requirements file."""
    tested = [f"tested: {text}" for heading, text in advice_rows(advice, {}) if heading == "tested"]
    return [f"{combination(advice.cell)}; model {advice.cell.axes[MODEL_AXIS.name]}", *tested]


def questions(known: KnownCells) -> Iterator[dict[str, str]]:
    """Each model with each target and each Python of these results; only measured ones if there are too many."""
    axes = [axis for axis in QUESTION_AXES if any(label != NONE for label in known.labels.get(axis, ()))]
    every: list[dict[str, str]] = [{}]
    for axis in axes:
        every = [{**one, axis: label} for one in every for label in known.labels[axis] if label != NONE]
        if len(every) > MOST_QUESTIONS:
            yield from _measured(known.cells, axes)
            return
    yield from every


def _measured(cells: Sequence[Cell], axes: Sequence[str]) -> list[dict[str, str]]:
    found = dict.fromkeys(tuple(cell.axes.get(axis, NONE) for axis in axes) for cell in cells if cell.measured)
    return [dict(zip(axes, labels, strict=True)) for labels in found if NONE not in labels]
