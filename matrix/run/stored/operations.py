"""The times of operations that profiled cells of a run left in the store."""

from __future__ import annotations

from matrix.answers.peers.operations import SystemTimes
from matrix.artifacts.runtimes.operation_times import read_operation_times
from matrix.core.blobs import read_exactly
from matrix.plan.backends.converting import OPERATION_TIMES
from matrix.results.run import Cell, Run
from matrix.run.store import Store


def system_times(run: Run, store: Store) -> tuple[SystemTimes, ...]:
    """Those of the cells that have them, in the order of the run."""
    return tuple(found for cell in run.cells if (found := _times_of(cell, run, store)))


def without_times(run: Run) -> tuple[Cell, ...]:
    """The cells of systems with a profiler that have no times of operations: each says why."""
    return tuple(cell for cell in run.cells if not _digest(cell, run))


def _times_of(cell: Cell, run: Run, store: Store) -> SystemTimes | None:
    digest = _digest(cell, run)
    if not digest:
        return None
    content = read_exactly(store.blob(digest), digest)
    return SystemTimes(axes=cell.axes, times=read_operation_times(content, f"{cell.name}: {OPERATION_TIMES}"))


def _digest(cell: Cell, run: Run) -> str:
    made = (run.jobs[key].artifacts.get(OPERATION_TIMES) for key in cell.evidence)
    return next((each.sha256 for each in made if each), "")
