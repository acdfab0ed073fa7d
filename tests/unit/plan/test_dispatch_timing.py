"""The stage `dispatch_times`: where it runs, what is in its key, and what is refused before anything starts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from samples import catalogue, spec_of
from tracy_files import capture

from matrix.core.records import Outcome
from matrix.plan.backends.iree.timing import PROFILED_FILE, TIMED_CALLS, TRACED_FILE, keep_times, read_dispatch_times
from matrix.plan.graph import Plan, make_plan
from matrix.plan.spec import parse_spec
from matrix.plan.stages import Node, make_job
from matrix.run.planning import load_catalogue

STAGES = 'stages = ["export", "compile", "run", "dispatch_times"]\n'
CALLS = [[("main$async_dispatch_0", [5, 6])]] * TIMED_CALLS


def planned(body: str = "", *, machine: str = "x86_64, a CPU") -> Plan:
    spec = parse_spec(f'format=1\nname="t"\nquestion="?"\n{STAGES}{body}', source="t.toml", base=Path("/specs"))
    shipped = load_catalogue(spec_of())
    targets = {**shipped.targets, **spec.targets}
    return make_plan(
        spec, dataclasses.replace(catalogue(), targets=targets, programs=shipped.programs, machine_class=machine)
    )


def node_of(plan: Plan) -> Node:
    (node,) = [node for node in plan.nodes if node.stage == "dispatch_times"]
    return node


def key_of(plan: Plan) -> str:
    return make_job(node_of(plan), environment="e", artifacts={"module.vmfb": "1", "dispatch_times.py": "2"}).key


def test_it_runs_alone_with_a_loopback_and_without_an_emulator():
    node = node_of(planned())
    job = make_job(node, environment="e", artifacts={"module.vmfb": "1", "input_0.npy": "3", "dispatch_times.py": "2"})
    assert job.argv[:3] == ("python", "dispatch_times.py", str(TIMED_CALLS))
    assert "iree-benchmark-module" in job.argv
    assert job.alone and job.loopback
    assert node.obstacle is None and node.request and node.request.platform is None


def test_the_class_of_the_machine_is_in_its_key():
    assert key_of(planned()) == key_of(planned())
    assert key_of(planned()) != key_of(planned(machine="x86_64, another CPU"))


def test_an_emulated_target_is_not_timed():
    outcome, reason = node_of(planned('[axes]\ntarget = "aarch64"\n')).obstacle or (None, "")
    assert outcome is Outcome.UNTESTED
    assert "an emulator's times are not the machine's" in reason


def test_a_board_is_not_timed():
    table = '[axes]\ntarget = "board"\n[targets.board]\nssh = "pi"\ntriple = "x86_64-linux-gnu"\n'
    outcome, reason = node_of(planned(table)).obstacle or (None, "")
    assert outcome is Outcome.UNTESTED
    assert "only a release's package has the tools for it, and they run on this machine" in reason


def test_what_is_kept_of_a_capture_is_read_as_seconds():
    kept = keep_times(TRACED_FILE, capture(CALLS))
    assert read_dispatch_times({TRACED_FILE: kept}) == {
        "dispatches": 1,
        "traced_dispatches_seconds": 11e-9,
        "traced_times": {
            "method": "tracy 0.11.2",
            "calls": TIMED_CALLS,
            "quartiles": [11, 11, 11],
            "dispatches": {"main$async_dispatch_0": [1, 11, 11, 11, 11, 11]},
        },
    }
    assert read_dispatch_times({TRACED_FILE: kept[:-9]}) == {}
    assert read_dispatch_times({TRACED_FILE: kept, PROFILED_FILE: b"{}"}) == {}
