"""A target whose device is not here: what a runtime refuses before the device is a finding, and nothing else is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from reports import PASSED, npy, report_of
from samples import catalogue, result, spec_of

from matrix.core.records import Artifact, JobEnd, JobResult, Outcome
from matrix.plan.graph import Plan, make_plan
from matrix.results.formats import as_table
from matrix.results.run import Cell, Run

BODY = "[axes]\nmodel='given'\ncompiler='3.0.0'\nruntime='3.0.0'\n"
NO_DEVICE = (
    'HAL device `__device_0` not found or unavailable: #hal.device.target<"cuda", [#hal.executable.target<"cuda", '
    '"cuda-nvptx-fb", {}>]>'
)
REFUSED = "bytecode version mismatch; runtime supports 17.0, module has 15.0"


def planned(*, here: bool = False) -> Plan:
    known = catalogue()
    target = replace(known.targets["x86_64"], device="cuda")
    devices = frozenset({"cuda"}) if here else frozenset()
    return make_plan(spec_of(BODY), replace(known, targets={**known.targets, "x86_64": target}, devices=devices))


def loaded(log: str, outcome: Outcome = Outcome.FAILED) -> JobResult:
    return replace(result("run", outcome), end=JobEnd(key="k", end="exited", exit_code=1, log=log))


def judged(plan: Plan, last: JobResult) -> tuple[Cell, Run]:
    module = result("compile", outputs=[Artifact(name="module.vmfb", digest="m", size=1)])
    results = [module if node.stage == "compile" else last for node in plan.nodes]
    run = report_of(plan, results, {"output_0.npy": npy(2)})
    return run.cells[0], run


def test_a_module_that_loads_up_to_its_device_is_untested():
    cell, run = judged(planned(), loaded(NO_DEVICE))
    assert (cell.outcome, cell.reason, cell.signature) == ("untested", "no CUDA device here", "")
    assert "1 untested" in as_table(run)


def test_a_refusal_by_a_gate_is_a_finding_without_a_device():
    cell, _ = judged(planned(), loaded(REFUSED))
    assert (cell.outcome, cell.stage, cell.signature) == ("failed", "run", "vm-bytecode-version")


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.CRASHED, Outcome.TIMED_OUT, Outcome.FLAKY])
def test_whatever_else_happens_on_another_device_says_nothing(outcome: Outcome):
    cell, _ = judged(planned(), loaded("something else", outcome))
    assert (cell.outcome, cell.reason) == ("untested", "no CUDA device here")


def test_numbers_of_another_device_are_not_judged():
    output = Artifact(name="output_0.npy", digest="output_0.npy", size=1)
    wrong = replace(PASSED[2], outputs=(output,))
    assert judged(planned(), wrong)[0].outcome == "untested"
    cell, _ = judged(planned(here=True), wrong)
    assert (cell.outcome, cell.reason) == ("wrong_output", "")


def test_with_the_device_a_module_that_finds_none_is_a_finding():
    cell, _ = judged(planned(here=True), loaded(NO_DEVICE))
    assert (cell.outcome, cell.signature) == ("failed", "device-mismatch")
