"""The stage `count`: what its file must hold, where it runs, and what is refused before anything starts."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from samples import catalogue, spec_of

from matrix.core.errors import SpecError
from matrix.core.records import Outcome, Platform
from matrix.plan.backends.iree.counting import COUNTED_CALLS, COUNTS_FILE, read_counts, read_profiled, strip_log
from matrix.plan.graph import Plan, make_plan
from matrix.plan.spec import parse_spec
from matrix.plan.stages import Node, make_job
from matrix.run.planning import load_catalogue

ROOT = Path(__file__).parents[3]
COUNTER = ("qemu-x86_64", "-cpu", "max", "-plugin", "{counter}", "-L", "{sysroot}")
WHOLE = [[25671, 4720, 12473], [25207, 4489, 12367], [25351, 4519, 12362], [25247, 4516, 12342], [106, 35, 18]]
STAGES = 'stages = ["export", "compile", "run", "count"]\n'


def counts(calls: object, **more: object) -> dict[str, bytes]:
    return {COUNTS_FILE: json.dumps({"machine": "x86_64", "calls": calls, **more}).encode()}


def planned(body: str, *, stages: str = STAGES) -> Plan:
    spec = parse_spec(f'format=1\nname="c"\nquestion="?"\n{stages}{body}', source="c.toml", base=Path("/specs"))
    shipped = load_catalogue(spec_of()).targets
    return make_plan(spec, dataclasses.replace(catalogue(), targets={**shipped, **spec.targets}))


def count_node(plan: Plan) -> Node:
    (node,) = [node for node in plan.nodes if node.stage == "count"]
    return node


def test_the_fourth_call_counts_without_the_clock():
    assert read_counts(counts(WHOLE)) == {"instructions": 25141, "loads": 4481, "stores": 12324}


def test_the_misses_are_those_of_the_last_call_and_need_not_be_there():
    figures = {"instructions": 25141, "loads": 4481, "stores": 12324}
    assert read_counts(counts(WHOLE, d1_misses=[291])) == {**figures, "d1_misses": 291}
    assert read_profiled(counts(WHOLE, d1_misses=[291])) == {"profiled_instructions": 25141}


@pytest.mark.parametrize("misses", [[], [1, 2], 291, None, "291", ["291"], [-1], [1.5], [True], {"a": 1}])
def test_misses_that_are_something_else_are_no_number(misses):
    assert read_counts(counts(WHOLE, d1_misses=misses)) == {}


@pytest.mark.parametrize("calls", [
    [], WHOLE[:4], [*WHOLE, WHOLE[0]], None, 3, [[1, 2]] * 5, [["1", "2", "3"]] * 5, [[1.5, 2, 3]] * 5,
    [*WHOLE[:3], [5, 5, 5], [106, 35, 18]], [[True, True, True]] * 4 + [[0.0, 0, 0]],
])  # fmt: skip
def test_a_file_that_holds_something_else_is_no_number(calls):
    assert read_counts(counts(calls)) == {}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff", b'{"calls": [[1,2,3],[1,2,3]'])
def test_a_torn_file_is_no_number(content):
    assert read_counts({COUNTS_FILE: content}) == {}


def test_the_plugin_and_the_reader_agree_on_the_number_of_calls():
    source = (ROOT / "images" / "counter" / "plugin.h").read_text()
    assert re.findall(r"enum \{ CALLS = (\d+),", source) == [str(COUNTED_CALLS)]


def test_the_log_loses_paths_and_the_counts_nothing():
    content = counts(WHOLE)[COUNTS_FILE]
    assert strip_log(content) == content
    assert b"/store/env" not in strip_log(b"Running /store/env/iree-benchmark-module\nRun on (2 X 100 MHz CPU s)\n")


def test_it_runs_under_the_counter_on_the_machine_itself_and_the_run_does_not():
    plan = planned('[axes]\nmodel="given"\ntarget="x86_64"')
    (run,) = [node for node in plan.nodes if node.stage == "run"]
    node = count_node(plan)
    assert run.request and run.request.platform is None
    assert node.request and node.request.platform == Platform(machine="x86_64", emulator=COUNTER)
    assert node.request.lock == run.request.lock
    job = make_job(node, environment="e", artifacts={"module.vmfb": "v", "input_0.npy": "i"})
    assert job.argv == (*COUNTER, "iree-benchmark-module", "--module=module.vmfb", "--function=forward",
                        "--input=@input_0.npy", "--benchmark_min_time=4x", "--device=local-sync")  # fmt: skip
    assert plan.cells[0].nodes[-1] == run.index
    assert plan.cells[0].repeats == (node.index,)


def test_the_flags_of_a_run_are_those_of_its_count():
    body = '[axes]\nmodel="given"\nhow="task"\n[axis.how.task]\nrun=["--device=local-task"]'
    assert count_node(planned(body)).flags == ("--device=local-task",)


def test_a_target_without_a_counter_is_untested_with_the_reason():
    node = count_node(planned('[targets.old]\ncpu="x86-64"\n[axes]\nmodel="given"\ntarget="old"'))
    assert node.obstacle and node.obstacle[0] is Outcome.UNTESTED
    assert "the target names no `counter`" in node.obstacle[1]


@pytest.mark.parametrize(("table", "said"), [
    ("machine='m'\ncounter=['qemu-m', '-cpu']", "targets.b.counter: read ['qemu-m', '-cpu'], expected a locked"),
    ("machine='m'\ncounter=['/bin/qemu-m', '{counter}']", "targets.b.counter: read ['/bin/qemu-m'"),
    ("counter=['qemu-m', '{counter}']", "targets.b.counter: read ['qemu-m', '{counter}'] without `machine`"),
])  # fmt: skip
def test_faults_of_a_counter_name_their_place(table, said):
    with pytest.raises(SpecError) as caught:
        planned(f'[targets.b]\n{table}\n[axes]\nmodel="given"')
    assert said in str(caught.value)


def test_a_profile_is_the_same_call_under_the_profiler():
    plan = planned('[axes]\nmodel="given"\ntarget="x86_64"', stages=STAGES.replace('"count"', '"count", "profile"'))
    count, profile = (next(node for node in plan.nodes if node.stage == name) for name in ("count", "profile"))
    assert profile.request and profile.request.platform
    assert profile.request.platform.emulator == tuple(word.replace("{counter}", "{profiler}") for word in COUNTER)
    given = {"module.vmfb": "v", "input_0.npy": "i"}
    jobs = [make_job(node, environment="e", artifacts=given) for node in (count, profile)]
    assert jobs[1].argv[len(COUNTER) :] == jobs[0].argv[len(COUNTER) :]
    assert jobs[0].key != jobs[1].key


def test_a_profile_has_its_instructions_under_a_name_of_its_own():
    assert read_profiled(counts(WHOLE)) == {"profiled_instructions": 25141}
    assert read_profiled(counts(WHOLE[:4])) == {}
