"""Plans with benchmarks, and reports of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from samples import catalogue, result, spec_of

from matrix.artifacts.vmfb_audit import VmfbAudit
from matrix.core.records import Artifact, Outcome
from matrix.plan.graph import NodeState, Plan, make_plan
from matrix.plan.rounds import is_twin, round_of, with_repeats
from matrix.results.run import Run
from matrix.run.judging import Judge

ONES = (Path(__file__).parents[1] / "data" / "linear_expected.npy").read_bytes()


SPEC = """
stages = ["export", "compile", "run", "benchmark"]
[axes]
model = "linear"
compiler = "2.9.0"
runtime = ["3.7.0", "3.10.0"]
[benchmark]
rounds = 7
passes = 2
baseline = { runtime = "3.7.0" }
"""


def timed_plan(body: str = SPEC) -> Plan:
    return with_repeats(make_plan(spec_of(body), catalogue()), catalogue())


def times(seconds: float) -> bytes:
    row = {"run_type": "iteration", "real_time": seconds, "cpu_time": seconds, "time_unit": "s"}
    return json.dumps({"context": {"load_avg": [0.1]}, "benchmarks": [row]}).encode()


def measured(
    plan: Plan, seconds, *, failed: tuple[str, ...] = (), audit: Callable[[str], VmfbAudit] | None = None
) -> Run:
    """A report in which each round took what `seconds(runtime, round, twin)` says."""
    files, states = {"expected_0.npy": ONES}, []
    for node in plan.nodes:
        if node.obstacle:
            states.append(NodeState(obstacle=node.obstacle))
            continue
        runtime = dict(node.request.lock.pins).get("iree-base-runtime", "")
        outcome = Outcome.FAILED if node.stage == "benchmark" and runtime in failed else Outcome.PASSED
        outputs = None
        if node.stage == "benchmark" and outcome is Outcome.PASSED:
            digest = f"times {node.index}"
            files[digest] = times(seconds(runtime, round_of(node), is_twin(node)))
            outputs = [Artifact(name="benchmark.json", digest=digest, size=1)]
        if node.stage == "compile":
            outputs = [Artifact(name="module.vmfb", digest=" ".join(("module", *node.flags)), size=1)]
        states.append(NodeState(result=result(node.stage, outcome, key=f"k{node.index}", outputs=outputs)))
    return Judge(plan, states, files.__getitem__, {}, size=len, audit=audit).run()
