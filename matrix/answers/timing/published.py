"""Times of dispatches in published runs, beside the profiles of the same cells. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from matrix.answers.timing.joined import CellTimes, TimedProfile
from matrix.results.measured.dispatch_times import timed_cells
from matrix.results.measured.profiles import Profile
from matrix.results.run import Run


def timed_profile_of(profile: Profile, runs: Iterable[Run]) -> tuple[Run, TimedProfile] | None:
    """The profile with the times of the same cell, and the run that has them. None where no run has any with the names
    of its dispatches."""
    names = {name for each in profile.code.dispatches for name in (each.name, *each.folded)}
    for run in runs:
        for cell in timed_cells(run).values():
            same = dict(cell.axes) == dict(profile.axes)
            if same and any(each.name in names for each in cell.traced.dispatches):
                return run, TimedProfile(profile=profile, times=CellTimes(traced=cell.traced, profiled=cell.profiled))
    return None
