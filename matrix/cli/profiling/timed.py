"""`profile MODEL --times`: how long each dispatch takes, beside what it executes."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Sequence

from matrix.answers.timing.joined import TimedProfile
from matrix.answers.timing.words import timed_comparison, timed_document, timed_lines
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
    if options.format == "json":
        return json.dumps(timed_document(timed), indent=1)
    return escape_controls("\n".join(timed_comparison(*timed) if len(timed) == 2 else timed_lines(timed[0])))
