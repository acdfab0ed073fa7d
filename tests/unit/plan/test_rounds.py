"""Rounds and second compiles as nodes: how many, with which numbers, in which order, in which keys."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from modules import module
from samples import catalogue, lock, result, spec_of

from matrix.answers.modules.comparison import compare_modules
from matrix.core.errors import SpecError
from matrix.core.records import Artifact, Outcome, Stage
from matrix.plan.catalogue import Model
from matrix.plan.graph import NodeState, Plan, make_plan
from matrix.plan.rounds import is_twin, round_of, with_repeats
from matrix.plan.stages import make_job, rank_of
from matrix.results.sentences import recompiled
from matrix.run.judging import Judge
from matrix.run.schedule import Schedule

TIMED = """
stages = ["export", "compile", "run", "benchmark"]
[axes]
model = ["linear", "given"]
compiler = "2.9.0"
runtime = ["3.0.0", "3.7.0", "3.10.0"]
[benchmark]
rounds = 3
passes = 2
baseline = { runtime = "3.0.0" }
"""
TWICE = "[axes]\ncompiler = ['2.9.0', '3.10.0']\nruntime = ['3.0.0', '3.7.0']\n[repeat]\ncompile = 2\n"


def plan_of(body: str, machine_class: str = "a machine") -> Plan:
    known = replace(catalogue(), machine_class=machine_class)
    return with_repeats(make_plan(spec_of(body), known), known)


def passed(schedule: Schedule) -> list[int]:
    """Lets every job pass. The order in which they were taken."""
    order = []
    while (node := schedule.take()) is not None:
        schedule.finish(node.index, result(node.stage))
        order.append(node.index)
    return order


def test_each_release_has_its_rounds_and_the_baseline_a_twin():
    plan = plan_of(TIMED)
    rounds = [node for node in plan.nodes if node.stage == "benchmark"]
    assert len(rounds) == 6 * 6 + 2 * 6
    for cell in plan.cells:
        numbers = [plan.nodes[index].repeat for index in cell.repeats]
        series = [2, 4, 6, 8, 10, 12]
        twin = [3, 5, 7, 9, 11, 13] if cell.labels["runtime"] == "3.0.0" else []
        assert numbers == series + twin
    assert {plan.nodes[above].stage for node in rounds for above in node.above} == {"run"}


def test_rounds_come_last_and_are_interleaved():
    plan = plan_of(TIMED)
    schedule = Schedule(plan)
    order = [plan.nodes[index] for index in passed(schedule)]
    stages = [node.stage for node in order]
    assert stages == sorted(stages, key=rank_of)
    rounds = [node for node in order if node.stage == "benchmark"]
    assert [round_of(node) for node in rounds] == [number for number in range(1, 7) for _ in range(8)]

    def releases(number):
        return [(node.above, is_twin(node)) for node in rounds if round_of(node) == number]

    assert releases(1) == releases(3)
    assert releases(2) == releases(1)[::-1]
    assert [twin for _, twin in releases(1)] == [False, False, False, True] * 2
    assert (schedule.repeats_done, schedule.repeats) == (48, 48)


def test_a_model_that_is_imported_is_timed_after_all_else():
    given = (("model.onnx", Path("m.onnx"), "o"),)
    net = Model(name="net", form="onnx", artifacts=given, function="main")
    known = catalogue()
    locks = (*known.locks.locks, lock("importer", {"iree-base-compiler": "2.9.0"}))
    known = replace(known, models={"net": net}, locks=replace(known.locks, locks=locks))
    body = TIMED.replace('["linear", "given"]', '"net"') + "[repeat]\ncompile = 2\n"
    plan = with_repeats(make_plan(spec_of(body), known), known)
    order = [plan.nodes[index].stage for index in passed(Schedule(plan))]
    assert plan.stages == ("export", "import", "compile", "run", "benchmark")
    assert order[:6] == ["import", "compile", *["run"] * 3, "compile"]
    assert order[6:] == ["benchmark"] * (3 * 6 + 6)


def test_rounds_behind_a_failed_run_are_over_and_count_as_done():
    plan = plan_of(TIMED)
    schedule = Schedule(plan)
    while (node := schedule.take()) is not None:
        outcome = Outcome.FAILED if node.stage == "run" else Outcome.PASSED
        schedule.finish(node.index, result(node.stage, outcome))
    assert (schedule.repeats_done, schedule.cells_done, schedule.cells_red) == (48, 6, 6)


def keys(plan: Plan, stage: Stage) -> set[str]:
    artifacts = {"module.mlir": "m", "module.vmfb": "v", "input_0.npy": "i", "expected_0.npy": "e", "phases.py": "p"}
    return {make_job(node, environment="env", artifacts=artifacts).key for node in plan.nodes if node.stage == stage}


def test_the_round_and_the_machine_are_in_the_key():
    here, there = plan_of(TIMED), plan_of(TIMED, "another machine")
    assert len(keys(here, "benchmark")) == 2 * 12  # 2 models, 6 rounds, 2 series; the environment is one here
    assert not keys(here, "benchmark") & keys(there, "benchmark")
    assert keys(here, "run") == keys(there, "run")
    assert keys(here, "compile") == keys(there, "compile")


def test_more_rounds_keep_those_that_are_measured():
    assert keys(plan_of(TIMED), "benchmark") < keys(plan_of(TIMED.replace("passes = 2", "passes = 3")), "benchmark")


def test_without_a_table_nothing_is_added():
    plan = plan_of("[axes]\nruntime = ['3.0.0', '3.7.0']\n")
    assert all(not cell.repeats for cell in plan.cells)
    assert {node.stage for node in plan.nodes} == {"export", "compile", "run"}


@pytest.mark.parametrize(
    ("baseline", "fault"),
    [
        ("", "benchmark.baseline: is missing"),
        ("baseline = { runtime = '3.9.9' }", "benchmark.baseline.runtime: "),
        ("baseline = { runtime = '>=3.0' }", "benchmark.baseline.runtime: '>=3.0' means 3.0.0, 3.7.0, 3.7.1, 3.10.0"),
        ("baseline = { runtimes = '3.0.0' }", "benchmark.baseline.runtimes: unknown axis 'runtimes'"),
        ("baseline = { runtime = '3.0.0' }\nrounds = 0", "benchmark.rounds: read 0, expected a whole number from 1"),
        ("baseline = { runtime = '3.0.0' }\npasses = true", "benchmark.passes: read True, expected a whole number"),
        ("baseline = { runtime = '3.0.0' }\n[repeat]\nrun = 2", "repeat.run: unknown key 'run'"),
    ],
)
def test_a_fault_names_its_place(baseline, fault):
    body = TIMED[: TIMED.index("rounds = ")] + baseline
    with pytest.raises(SpecError) as raised:
        plan_of(body)
    assert any(text.startswith(fault) for text in raised.value.faults), raised.value.faults


def test_a_second_compile_is_a_job_of_its_own_and_is_not_waited_for():
    plan = plan_of(TWICE)
    compiles = [node for node in plan.nodes if node.stage == "compile"]
    assert [node.repeat for node in compiles] == [0, 0, 1, 1]
    assert len(keys(plan, "compile")) == 2  # one environment here: the first and the second compile
    order = [plan.nodes[index] for index in passed(Schedule(plan))]
    assert [(node.stage, node.repeat) for node in order[-2:]] == [("compile", 1)] * 2


def test_a_compiler_that_writes_other_bytes_is_named():
    plan = plan_of(TWICE)
    states = []
    for node in plan.nodes:
        release = dict(node.request.lock.pins).get("iree-base-compiler")
        digest = f"{release} {node.repeat}" if release == "3.10.0" else f"{release}"
        module = [Artifact(name="module.vmfb", digest=digest, size=1)]
        outputs = module if node.stage == "compile" else None
        states.append(NodeState(result=result(node.stage, key=f"k{node.index}", outputs=outputs)))
    report = Judge(plan, states, lambda _: b"x", {}).run()
    steady, other = report.compiled_again
    assert (steady.compiler, steady.modules, steady.unequal) == ("2.9.0", 1, 0)
    assert (other.compiler, other.modules, other.unequal, other.ends) == ("3.10.0", 1, 1, 0)
    assert recompiled(report) == (
        "compiler 3.10.0 is not deterministic: 1 of 1 modules came out with other bytes when compiled again",
        "compiled again, the same bytes: all 1 modules of 2.9.0",
    )


def test_in_what_the_modules_of_such_a_compiler_differ_is_said():
    """Real modules: of a compiler that is not deterministic, compiled twice."""
    plan = plan_of(TWICE)
    states = []
    for node in plan.nodes:
        release = dict(node.request.lock.pins).get("iree-base-compiler")
        name = f"again-3.10.0-{node.repeat + 1}" if release == "3.10.0" else "plain-3.13.0"
        outputs = [Artifact(name="module.vmfb", digest=name, size=1)] if node.stage == "compile" else None
        states.append(NodeState(result=result(node.stage, key=f"k{node.index}", outputs=outputs)))

    def differ(first: str, second: str) -> tuple[str, ...]:
        return compare_modules(module(first), module(second)).classes

    report = Judge(plan, states, lambda _: b"x", {}, differ=differ).run()
    assert [row.differing for row in report.compiled_again] == [{}, {"container": 1, "VM bytecode": 1}]
    assert recompiled(report)[0].endswith("when compiled again: VM bytecode in 1, container in 1")


def test_a_round_beside_other_releases_is_another_job():
    fewer = plan_of(TIMED.replace('["3.0.0", "3.7.0", "3.10.0"]', '["3.0.0", "3.7.0"]'))
    assert not keys(plan_of(TIMED), "benchmark") & keys(fewer, "benchmark")
    assert keys(fewer, "run") <= keys(plan_of(TIMED), "run")


PHASED = "stages = ['export', 'compile', 'phases']\n[axes]\ncompiler = ['2.9.0', '3.10.0']\n"


def test_stages_in_turns_are_interleaved_and_know_what_is_beside_them():
    plan = plan_of(PHASED)
    schedule = Schedule(plan)
    order = [plan.nodes[index] for index in passed(schedule)]
    phases = [node for node in order if node.stage == "phases"]
    assert order[-10:] == phases and len(phases) == 2 * 5
    assert [node.repeat for node in phases] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    first, second = (node.label for node in phases[:2])
    assert [node.label for node in phases] == [*(first, second, second, first) * 2, first, second]
    assert len({node.beside for node in phases}) == 1 and phases[0].beside
    (one, other) = ([plan.nodes[index].repeat for index in cell.repeats] for cell in plan.cells)
    assert one == other == [0, 1, 2, 3, 4]


def test_one_compiler_alone_takes_no_turns_and_has_keys_of_its_own():
    alone = plan_of(PHASED.replace(", '3.10.0'", ""))
    both = plan_of(PHASED)
    assert len(keys(alone, "phases")) == 5
    assert not keys(alone, "phases") & keys(both, "phases"), "a compile of another hour is not compared"
    assert keys(alone, "compile") == keys(both, "compile")


def test_what_has_no_phases_ends_once():
    plan = plan_of(PHASED)
    schedule = Schedule(plan)
    taken = []
    while (node := schedule.take()) is not None:
        failed = node.stage == "phases" and "2.9.0" in node.label
        taken.append((node.label, node.stage))
        schedule.finish(node.index, result(node.stage, Outcome.FAILED if failed else Outcome.PASSED))
    assert sum(stage == "phases" for _, stage in taken) == 1 + 5
    assert schedule.repeats_done == schedule.repeats == 8
