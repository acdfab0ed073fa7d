"""Runs of a few cells and jobs, made here: what a test says of them, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from matrix.core.records import Outcome
from matrix.results.run import Cell, FinishedJob, Run, RunAxis, RunValue


def finished_job(key: str, stage: str, measurements: Mapping[str, Any], *, machine: str = "") -> FinishedJob:
    """A job that passed in a second."""
    return FinishedJob(
        key=key,
        stage=stage,
        outcome=Outcome.PASSED,
        lock="",
        exit_code=0,
        signal=0,
        seconds=1.0,
        cpu_seconds=1.0,
        machine=machine,
        measurements=measurements,
    )


def run_of(
    cells: Iterable[Cell], jobs: Iterable[FinishedJob], axes: Mapping[str, Iterable[str]], stages: tuple[str, ...]
) -> Run:
    """The run of these cells; they end with the last stage that any of them names."""
    made = tuple(cells)
    return Run(
        preset="sample",
        stages=stages,
        last_stage=max((cell.stage for cell in made), key=stages.index),
        axes=tuple(
            RunAxis(name=name, values=tuple(RunValue(label=label) for label in dict.fromkeys(labels)))
            for name, labels in axes.items()
        ),
        cells=made,
        jobs={job.key: job for job in jobs},
    )
