"""`profile MODEL --times`: how long each dispatch takes, beside what it executes."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Sequence

from matrix.answers.timing.joined import TimedProfile
from matrix.answers.timing.published import timed_profile_of
from matrix.answers.timing.words import timed_comparison, timed_document, timed_lines
from matrix.core.errors import NoAnswer
from matrix.core.text import escape_controls
from matrix.results.measured.profiles import Profile
from matrix.results.run import Run
from matrix.run.store import Store
from matrix.run.stored.dispatch_times import times_of_cell


def times_said(options: Namespace, run: Run, profiles: Sequence[Profile]) -> str:
    """The times of one cell, or two compared by operation. Raises NoAnswer where one has none, and says why."""
    with Store(options.store, read_only=True) as store:
        timed = [
            TimedProfile(profile=profile, times=times_of_cell(cell, run, store))
            for cell, profile in zip(run.cells, profiles, strict=True)
        ]
    return _said(timed, options.format)


def published_times_said(options: Namespace, runs: Sequence[Run], profiles: Sequence[Profile]) -> str:
    """The same of published runs. Raises NoAnswer where a profile has no times."""
    timed = []
    for profile in profiles:
        found = timed_profile_of(profile, runs)
        if found is None:
            name = ", ".join(f"{axis} {label}" for axis, label in profile.axes.items())
            raise NoAnswer(
                f"{name}: these results have no times of its dispatches",
                tip="without --results they are measured; results/profile_times.json has some",
            )
        timed.append(found[1])
    return _said(timed, options.format)


def _said(timed: Sequence[TimedProfile], form: str) -> str:
    if form == "json":
        return json.dumps(timed_document(timed), indent=1)
    return escape_controls("\n".join(timed_comparison(*timed) if len(timed) == 2 else timed_lines(timed[0])))
