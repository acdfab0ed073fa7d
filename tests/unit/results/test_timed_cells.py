"""Times of dispatches as a run has them: the least, the median with its quartiles, by each tool; what are none."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from counted_runs import counted_run
from profiled_runs import profiled_run

from matrix.answers.timing.published import timed_profile_of
from matrix.answers.timing.words import timed_lines
from matrix.artifacts.timings.dispatch_times import DispatchTimes, Invocation, times_bytes
from matrix.plan.backends.iree.timing import PROFILED_FILE, TIMED, TRACED_FILE, read_dispatch_times
from matrix.results.files import parse_run
from matrix.results.formats import FORMATS
from matrix.results.measured.dispatch_times import timed_cells
from matrix.results.measured.profiles import profiled_cells
from matrix.results.run import Run

PLACES = [("net", "x86_64", release) for release in ("3.8.0", "3.13.0")]
PROFILED = {
    place: {"dispatch_0_conv": {"torch.aten.conv2d": 9_000}, "dispatch_1": {"torch.aten.relu": 1_000}}
    for place in PLACES
}


def measured(*rows: tuple[str, tuple[int, ...]], method: str = "tracy 0.11.2") -> bytes:
    """A dispatch a row, with its nanoseconds in four calls."""
    made = [Invocation(name=f"main$async_{name}", nanoseconds=spent, least=min(spent) - 10) for name, spent in rows]
    return times_bytes(DispatchTimes(method=method, calls=4, invocations=tuple(made)))


CONV, RELU, FOLDED = (
    ("dispatch_0_conv", (1_000, 1_100, 1_200, 9_000)),
    ("dispatch_1", (4_000, 4_000, 4_400, 4_400)),
    ("dispatch_9", (100, 200, 300, 400)),
)
OUTPUTS = {TRACED_FILE: measured(CONV, RELU, FOLDED), PROFILED_FILE: measured(CONV, RELU, method="iree-profile")}


def timed_run(outputs: dict[str, bytes] = OUTPUTS) -> Run:
    run = counted_run(dict.fromkeys(PLACES))
    figures = read_dispatch_times(outputs)
    jobs = {key: replace(job, measurements=figures) if job.stage == "count" else job for key, job in run.jobs.items()}
    return replace(run, preset="profile_times", jobs=jobs)


def test_the_figures_of_each_dispatch_and_of_the_whole_call():
    run = timed_run()
    (first, _) = timed_cells(parse_run(json.loads(FORMATS["json"](run)), source="it")).values()
    relu, conv, _ = first.traced.dispatches
    assert (relu.name, relu.invocations, relu.least, relu.shortest) == ("main$async_dispatch_1", 1, 3_990, 4_000)
    assert conv.quartiles == (1_075, 1_150, 3_150)
    assert first.traced.quartiles == (5_250, 5_600, 7_875)
    assert first.traced.least == 3_990 + 990 + 90
    assert first.profiled is not None and first.profiled.method == "iree-profile"


def test_the_table_has_the_median_with_its_spread_and_the_longest():
    said = FORMATS["markdown"](timed_run())
    assert "| 5.6 us (5.25 us to 7.88 us)" in said
    assert "dispatch_1 79 %, dispatch_0_conv 20 %, dispatch_9 2 %" in said
    assert "by tracy 0.11.2, 4 calls: the least is" in said
    table = FORMATS["csv"](timed_run()).splitlines()
    assert "dispatch_seconds,dispatch_median_seconds" in table[0] and "5.07e-06,5.6e-06" in table[1]
    assert "dispatch_seconds" not in FORMATS["csv"](counted_run(dict.fromkeys(PLACES)))


def test_medians_far_above_the_least_say_that_the_machine_was_busy():
    assert "other programs had the processor" not in FORMATS["table"](timed_run())
    busy = {TRACED_FILE: measured(("dispatch_1", (4_000, 40_000, 50_000, 60_000)))}
    said = FORMATS["table"](timed_run(busy))
    assert "2 of 2 medians are more than 2 times the least, up to 11 times: other programs had the processor" in said


def test_published_times_stand_beside_the_instructions_of_the_same_cell():
    profiles, times = profiled_run(PROFILED), timed_run()
    (profile, _) = profiled_cells(profiles).values()
    found = timed_profile_of(profile, [profiles, times])
    assert found is not None and found[0] is times
    slow, fast = found[1].dispatches
    assert (slow.name, slow.time.least) == ("main$async_dispatch_1", 3_990 + 90), "with what was folded into it"
    assert slow.time.quartiles == (4_000 + 175, 4_200 + 250, 4_400 + 325)
    assert fast.rate > 20 * slow.rate
    lines = timed_lines(found[1])
    assert any("iree-profile, 4 calls more" in line for line in lines)
    other = replace(profile, axes={**profile.axes, "compiler": "3.9.0"})
    assert timed_profile_of(other, [profiles, times]) is None
    assert timed_profile_of(profile, [profiles]) is None


@pytest.mark.parametrize("found", [
    None, 3, {}, {"method": "t", "calls": 4, "quartiles": [1, 2, 3], "dispatches": {}},
    {"method": "t", "calls": 4, "quartiles": [1, 2], "dispatches": {"d": [1, 2, 3, 4, 5, 6]}},
    {"method": "t", "calls": 4, "quartiles": [1, 2, 3], "dispatches": {"d": [1, 2, 3, 4, 5]}},
    {"method": "t", "calls": 4, "quartiles": [1, 2, 3], "dispatches": {"d": [1, -2, 3, 4, 5, 6]}},
    {"method": "t", "calls": "many", "quartiles": [1, 2, 3], "dispatches": {"d": [1, 2, 3, 4, 5, 6]}},
    {"method": "t", "calls": 4, "quartiles": [1, 2, 3], "dispatches": {"d": [1, 2, 3, 4, 5, "nan"]}},
])  # fmt: skip
def test_what_are_no_times_gives_no_number(found):
    run = timed_run()
    jobs = {key: replace(job, measurements={TIMED[TRACED_FILE]: found}) for key, job in run.jobs.items()}
    assert timed_cells(replace(run, jobs=jobs)) == {}
