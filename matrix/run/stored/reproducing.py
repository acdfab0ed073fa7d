"""The command that a cell's evidence has, by which anybody measures it again. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from matrix.core.records import DEFAULT_ENGINE
from matrix.plan.axes import NONE
from matrix.plan.graph import Plan, PlannedCell
from matrix.results.run import FinishedJob


def reproduce_command(plan: Plan, cell: PlannedCell, jobs: Sequence[FinishedJob]) -> str:
    """The command that measures the cell again, on any machine with this project."""
    labels = cell.labels
    only = " ".join(
        f"--only {axis}={labels[axis]}"
        for axis, values in plan.axes.items()
        if labels[axis] != NONE
        and (len(values) > 1 or labels[axis] != values[0].label)  # the latter: added by an [[include]]
    )
    options = shlex.join(plan.spec.options)
    engine = next((f"--engine {job.engine}" for job in jobs if job.engine != DEFAULT_ENGINE), "")
    return " ".join(f"python -m matrix run {shlex.quote(plan.spec.source)} {options} {only} {engine}".split())
