"""The times of dispatches that a run's cells left in the store."""

from __future__ import annotations

from matrix.answers.timing.joined import CellTimes, TimedProfile
from matrix.artifacts.timings.dispatch_times import DispatchTimes, read_kept_times
from matrix.core.blobs import read_exactly
from matrix.core.errors import NoAnswer
from matrix.plan.backends.iree.timing import PROFILED_FILE, TRACED_FILE
from matrix.results.measured.profiles import profiled_cells
from matrix.results.run import Cell, FinishedJob, Run
from matrix.run.store import Store

TIMES_TIP = "`profile` without --times counts instructions alone; `why` with the same words says more"


def times_of_cell(cell: Cell, run: Run, store: Store) -> CellTimes:
    """Raises NoAnswer where it has none, and says why; BlobDamaged, FileFault."""
    job = next((job for key in cell.evidence if TRACED_FILE in (job := run.jobs[key]).artifacts), None)
    if job is None or not job.measurements:
        reason = cell.reason or cell.said or cell.words
        raise NoAnswer(f"{cell.name}: no times: {reason}", tip=run.next_step(cell.signature) or TIMES_TIP)
    return CellTimes(
        traced=_times(cell, job, TRACED_FILE, store),
        profiled=_times(cell, job, PROFILED_FILE, store) if PROFILED_FILE in job.artifacts else None,
    )


def _times(cell: Cell, job: FinishedJob, name: str, store: Store) -> DispatchTimes:
    digest = job.artifacts[name].sha256
    return read_kept_times(read_exactly(store.blob(digest), digest), f"{cell.name}: {name}")


def timed_profiles(run: Run, store: Store) -> dict[str, TimedProfile]:
    """Those of the cells that have a profile and times, by the name of the cell."""
    found = {}
    for cell in run.cells:
        profile = profiled_cells(run).get(cell.name)
        if profile and any(TRACED_FILE in run.jobs[key].artifacts for key in cell.evidence):
            found[cell.name] = TimedProfile(profile=profile, times=times_of_cell(cell, run, store))
    return found
