"""What the stage `dispatch_times` calls, keeps and reads: how long each dispatch takes, by one or two tools. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrix.artifacts.timings.dispatch_times import (
    DispatchTimes,
    read_kept_times,
    times_bytes,
    times_of_capture,
    times_of_rows,
)
from matrix.core.errors import FileFault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matrix.core.keys import Json

TIMING_PROGRAM = "dispatch_times.py"
TRACED_FILE, PROFILED_FILE = "traced_dispatches", "profiled_dispatches"
"""By Tracy, which each release's package has, and by the runtime itself, from 3.12 on. Their tools leave files of their
own form under these names; what is kept is JSON."""
TIMED_CALLS = 40
TIMING_WORDS = ("python", TIMING_PROGRAM, str(TIMED_CALLS), TRACED_FILE, PROFILED_FILE, "--")


def keep_times(name: str, content: bytes) -> bytes:
    """Names and nanoseconds of a tool's file. Raises FileFault, NotRunnable."""
    read = times_of_capture if name == TRACED_FILE else times_of_rows
    return times_bytes(read(content, name, TIMED_CALLS))


TIMED = {TRACED_FILE: "traced_times", PROFILED_FILE: "profiled_times"}
"""The measurement of each tool: what all dispatches of a call take, and each of them."""


def read_dispatch_times(outputs: Mapping[str, bytes]) -> Mapping[str, Json]:
    """Seconds of a call in dispatches, by each tool; none where a file is not what was kept."""
    found: dict[str, Json] = {}
    try:
        for name, measurement in TIMED.items():
            if name in outputs:
                times = read_kept_times(outputs[name], name)
                found["dispatches"] = len(times.dispatches)
                found[f"{name}_seconds"] = times.least / 1e9
                found[measurement] = _nanoseconds(times)
    except FileFault:
        return {}
    return found


def _nanoseconds(times: DispatchTimes) -> Json:
    """Of each dispatch: its invocations in a call, the least of each workgroup and of each invocation, the quartiles of
    the calls."""
    return {
        "method": times.method,
        "calls": times.calls,
        "quartiles": [round(each) for each in times.quartiles],
        "dispatches": {
            each.name: [each.invocations, each.least, each.shortest, *map(round, each.quartiles)]
            for each in times.dispatches
        },
    }
