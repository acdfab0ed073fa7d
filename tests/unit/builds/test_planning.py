"""A runtime built from source as a value of the axis: its stage, its place in the graph, its jobs."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from samples import result, spec_of
from user_builds import USER_BUILD, plan_of_user_build

from matrix.builds.planning import OF_THE_BUILD, SOURCES, WHEELS
from matrix.core.data import data_root
from matrix.core.errors import MatrixError, SpecError, ToolchainFault
from matrix.core.records import Job, Outcome, Stage
from matrix.plan.backends.iree.source_builds import places_in, read_cross_toolchains
from matrix.plan.graph import Plan, make_plan
from matrix.plan.rounds import with_repeats
from matrix.plan.stages import make_job
from matrix.run.planning import load_catalogue, load_spec
from matrix.run.schedule import Schedule

IMAGES = data_root() / "images" / "armv6"
BUILDS = """
[axes]
model = "linear"
compiler = ["3.12.0", "3.13.0"]
runtime = ["board", "other"]
target = "armv6"
[builds.board]
source = "3.13.0"
toolchain = "zig-static"
[builds.other]
source = "3.13.0"
toolchain = "armel-static"
options = ["-DIREE_HAL_DRIVER_LOCAL_TASK=ON"]
"""


def planned(body: str = BUILDS) -> Plan:
    spec = spec_of(body)
    return make_plan(spec, load_catalogue(spec))


def job_of(plan: Plan, stage: Stage, artifacts: dict[str, str]) -> Job:
    node = next(node for node in plan.nodes if node.stage == stage)
    given = {name: digest for name, _, digest in node.given}
    return make_job(node, environment="e", artifacts={**given, **artifacts})


def test_every_runtime_is_built_once_and_every_run_of_it_waits_for_that() -> None:
    plan = planned()
    assert [plan.jobs(stage) for stage in ("export", "compile", "build", "run")] == [1, 2, 2, 4]
    assert plan.stages == ("export", "compile", "build", "run")
    for cell in plan.cells:
        export, compiled, built, ran = (plan.nodes[index] for index in cell.nodes)
        assert (export.stage, compiled.stage, built.stage) == ("export", "compile", "build")
        assert ran.above == (compiled.index, built.index)
        assert built.label == f"runtime={cell.labels['runtime']}"


def test_a_spec_of_releases_has_no_build() -> None:
    plan = planned('[axes]\nmodel = "linear"\n')
    assert "build" not in plan.stages
    assert all(len(node.above) < 2 for node in plan.nodes)


def test_a_run_starts_what_was_built_behind_the_emulator() -> None:
    plan = planned()
    artifacts = {"module.vmfb": "v", "input_0.npy": "i", "expected_0.npy": "e", "iree-run-module": "r"}
    job = job_of(plan, "run", artifacts)
    assert job.argv[:6] == ("qemu-arm-static", "-cpu", "arm1176", "-L", "{sysroot}", "./iree-run-module")
    assert ("iree-run-module", "r") in job.inputs
    other = job_of(plan, "run", {**artifacts, "iree-run-module": "r2"})
    assert other.key != job.key


def test_a_build_has_its_commands_and_options_in_its_key_and_no_place() -> None:
    jobs = [job_of(planned(BUILDS.replace("TASK=ON", word)), "build", {}) for word in ("TASK=ON", "TASK=OFF")]
    assert jobs[0].key == jobs[1].key, "the first build of the plan is the other one"
    plan = planned(BUILDS.replace('runtime = ["board", "other"]', 'runtime = "other"'))
    job = job_of(plan, "build", {})
    assert job.argv[:2] == ("python", "steps.py")
    assert "-DIREE_HAL_DRIVER_LOCAL_TASK=ON" in job.argv
    assert "iree-run-module" in job.outputs
    assert "iree-benchmark-module" not in job.argv
    assert not any(str(data_root()) in word for word in job.argv)


def timed(toolchain: str, target: str) -> Plan:
    body = BUILDS.replace("[axes]", 'stages = ["export", "compile", "run", "benchmark"]\n[axes]')
    body = body.replace('["3.12.0", "3.13.0"]', '"3.13.0"').replace('["board", "other"]', '"board"')
    body += '[benchmark]\nrounds = 4\nbaseline = { runtime = "board" }\n'
    plan = planned(body.replace("zig-static", toolchain).replace('target = "armv6"', f'target = "{target}"'))
    return with_repeats(plan, load_catalogue(plan.spec))


def test_a_runtime_for_this_machine_is_built_with_what_measures_it() -> None:
    plan = timed("native", "x86_64")
    built, rounds = plan.nodes[plan.cells[0].nodes[2]], [node for node in plan.nodes if node.stage == "benchmark"]
    assert {"iree-benchmark-module", "-DIREE_BUILD_BENCHMARKS=ON"} <= set(built.flags)
    assert {built.index in plan.nodes[node.above[0]].above for node in rounds} == {True}
    assert not any(node.obstacle for node in rounds)
    artifacts = {"module.vmfb": "v", "input_0.npy": "i", "iree-run-module": "r", "iree-benchmark-module": "b"}
    job = job_of(plan, "benchmark", artifacts)
    assert job.argv[0] == "./iree-benchmark-module"
    assert ("iree-benchmark-module", "b") in job.inputs
    assert job.key != job_of(plan, "benchmark", {**artifacts, "iree-benchmark-module": "b2"}).key
    plain = planned(BUILDS.replace("zig-static", "native").replace("armv6", "x86_64"))
    assert "iree-benchmark-module" not in plain.nodes[plain.cells[0].nodes[2]].flags


def test_a_runtime_for_another_machine_is_not_timed() -> None:
    plan = timed("zig-static", "armv6")
    assert "iree-benchmark-module" not in plan.nodes[plan.cells[0].nodes[2]].flags
    (obstacle,) = {node.obstacle for node in plan.nodes if node.stage == "benchmark"}
    assert obstacle == (Outcome.UNTESTED, "no times: iree-benchmark-module is built for this machine only")


def counted(toolchain: str) -> Plan:
    body = BUILDS.replace("[axes]", 'stages = ["export", "compile", "run", "count"]\n[axes]')
    body = body.replace('["3.12.0", "3.13.0"]', '"3.13.0"').replace('["board", "other"]', '"board"')
    return planned(body.replace("zig-static", toolchain))


def test_a_runtime_for_another_machine_is_built_with_what_is_counted() -> None:
    plan = counted("armel-static")
    built, counting = plan.nodes[plan.cells[0].nodes[2]], plan.nodes[plan.cells[0].repeats[0]]
    assert {"iree-benchmark-module", "-DIREE_BUILD_BENCHMARKS=ON"} <= set(built.flags)
    assert counting.stage == "count" and counting.obstacle is None
    artifacts = {"module.vmfb": "v", "input_0.npy": "i", "iree-run-module": "r", "iree-benchmark-module": "b"}
    job = job_of(plan, "count", artifacts)
    assert job.argv[:6] == ("qemu-arm", "-cpu", "arm1176", "-plugin", "{counter}", "-L")
    assert "./iree-benchmark-module" in job.argv


def test_a_toolchain_without_a_cxx_library_counts_nothing() -> None:
    plan = counted("zig-static")
    assert "iree-benchmark-module" not in plan.nodes[plan.cells[0].nodes[2]].flags
    obstacle = plan.nodes[plan.cells[0].repeats[0]].obstacle
    assert obstacle is not None and obstacle[0] is Outcome.UNTESTED
    assert "builds.board has no iree-benchmark-module" in obstacle[1]


def test_all_that_the_commands_speak_of_is_there() -> None:
    for name in read_cross_toolchains(IMAGES / "toolchains.toml"):
        plan = planned(BUILDS.replace('"zig-static"', f'"{name}"'))
        node = next(node for node in plan.nodes if node.stage == "build")
        assert node.request is not None
        assert node.request.build is not None
        known = {*SOURCES, *WHEELS, *OF_THE_BUILD, *node.request.build.sets}
        assert set(places_in((node.flags,))) <= known
        assert not [word for word in node.flags if re.search(r"\{[^}]*[^a-z}-]", word)], "a place that nothing fills in"
        assert all((IMAGES / f"debian-{each}.toml").is_file() for each in node.request.build.sets)


def test_the_targets_of_the_smoke_test_are_that_of_the_matrix_with_less_on_the_board() -> None:
    spec = load_spec("armv6-smoke")
    target, own = load_catalogue(spec).targets["armv6"], spec.targets
    assert replace(own["armv6-libc"], name="armv6", counter=target.counter) == target
    assert own["armv6-bare"].flags["compile"] == target.flags["compile"]
    for bare in (own["armv6-bare"], own["armv6-hard"]):
        assert (bare.emulator, bare.packages) == (target.emulator[:3], "")
    hard = {flag for flag in own["armv6-hard"].flags["compile"] if flag not in target.flags["compile"]}
    assert hard == {"--iree-llvmcpu-target-triple=armv6-linux-gnueabihf", "--iree-llvmcpu-target-float-abi=hard"}


@pytest.mark.parametrize(("stage", "other"), [("build", "compile"), ("compile", "build")])
def test_a_cell_whose_build_or_compile_fails_is_red_once(stage: Stage, other: Stage) -> None:
    schedule = Schedule(
        planned(BUILDS.replace('["3.12.0", "3.13.0"]', '"3.13.0"').replace('["board", "other"]', '"board"'))
    )
    ready = {}
    while (node := schedule.take()) is not None:
        ready[node.stage] = node
        if node.stage == "export":
            schedule.finish(node.index, result("export"))
    schedule.finish(ready[stage].index, result(stage, Outcome.FAILED))
    assert (schedule.cells_done, schedule.cells_red, schedule.waiting) == (1, 1, False)
    schedule.finish(ready[other].index, result(other, Outcome.FAILED))
    assert (schedule.cells_done, schedule.cells_red, schedule.waiting) == (1, 1, False)
    (ran,) = (node for node in schedule.plan.nodes if node.stage == "run")
    assert schedule.states[ran.index].obstacle == (Outcome.BLOCKED, "an earlier stage ended in failed")
    assert not ran.request or not schedule.needs(ran.request)


def test_a_run_waits_for_its_compile_and_for_its_build() -> None:
    schedule = Schedule(
        planned(BUILDS.replace('["3.12.0", "3.13.0"]', '"3.13.0"').replace('["board", "other"]', '"board"'))
    )
    first = [schedule.take(), schedule.take()]
    assert sorted(node.stage for node in first if node) == ["build", "export"]
    for stage in ("export", "build"):
        node = next(node for node in first if node and node.stage == stage)
        schedule.finish(node.index, result(stage))
    compiled = schedule.take()
    assert compiled is not None
    assert schedule.take() is None
    schedule.finish(compiled.index, result("compile"))
    ran = schedule.take()
    assert ran is not None
    assert {"module.vmfb", "iree-run-module", "input_0.npy"} <= schedule.artifacts(ran).keys()


def test_a_runtime_for_another_machine_is_not_tested() -> None:
    plan = planned(BUILDS.replace('target = "armv6"', 'target = "x86_64"'))
    reasons = {node.obstacle for node in plan.nodes if node.stage == "run"}
    assert {outcome for outcome, _ in reasons if outcome} == {Outcome.UNTESTED}
    assert all("for arm, and the target runs" in reason for _, reason in reasons)


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        (('toolchain = "zig-static"', 'toolchain = "zig"'), ToolchainFault, "builds.board.toolchain: read 'zig'"),
        (
            ('source = "3.13.0"\ntoolchain = "zig', 'source = "../none"\ntoolchain = "zig'),
            ToolchainFault,
            "builds.board",
        ),
        (("-DIREE_HAL", "IREE_HAL"), SpecError, "builds.other.options[0]: read 'IREE_HAL"),
        (('source = "3.13.0"\ntoolchain = "armel', 'toolchain = "armel'), SpecError, "builds.other.source: is missing"),
        (("[builds.other]", "[builds.9x]"), SpecError, "builds.9x: read '9x', a release"),
        (("[builds.other]", "[toolchains.board]\npath = 'x'\n[builds.other]"), SpecError, "builds.board: read 'board'"),
    ],
)
def test_a_wrong_word_is_named(change: tuple[str, str], kind: type[MatrixError], says: str) -> None:
    with pytest.raises(kind) as raised:
        planned(BUILDS.replace(*change))
    assert says in str(raised.value)


def test_a_tree_of_ones_own_is_known_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "runtime" / "src" / "iree").mkdir(parents=True)
    (tmp_path / "CMakeLists.txt").write_text("project(IREE)")
    body = BUILDS.replace('source = "3.13.0"\ntoolchain = "zig', f'source = "{tmp_path}"\ntoolchain = "zig')
    digests = []
    for text in ("project(IREE)", "project(IREE C)"):
        (tmp_path / "CMakeLists.txt").write_text(text)
        node = next(node for node in planned(body).nodes if node.stage == "build")
        assert node.request is not None
        digests.append(node.request.lock.digest)
    assert digests[0] != digests[1]


def test_a_target_brings_its_own_toolchain(tmp_path: Path) -> None:
    plan = plan_of_user_build(tmp_path)
    (node,) = (node for node in plan.nodes if node.stage == "build")
    assert node.request is not None
    build = node.request.build
    assert build is not None
    assert (build.machine, build.path, build.sets) == ("riscv64", tmp_path / "cross", ("native",))
    assert build.programs == tuple(f"{{toolchain}}/bin/rv-{name}" for name in ("gcc", "g++", "ar", "strip"))
    assert not [word for word in node.flags if str(tmp_path) in word]
    assert node.flags[0] == "LD_LIBRARY_PATH={toolchain}/lib:{native}/usr/lib/x86_64-linux-gnu"
    compilers = [word for word in node.flags if word.startswith("-DCMAKE_C_COMPILER=")]
    assert compilers[1] == "-DCMAKE_C_COMPILER={toolchain}/bin/rv-gcc;-mabi=lp64d"
    processors = [word for word in node.flags if word.startswith("-DCMAKE_SYSTEM_PROCESSOR")]
    assert processors == ["-DCMAKE_SYSTEM_PROCESSOR=riscv64", "-DCMAKE_SYSTEM_PROCESSOR="]
    (ran,) = (node for node in plan.nodes if node.stage == "run")
    assert ran.obstacle is None
    assert ran.request is not None
    assert ran.request.platform is not None


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        (
            ("cxx =", "cpp ="),
            SpecError,
            "targets.board.toolchain.cpp: unknown key 'cpp', expected one of path, cc, cxx",
        ),
        (("cxx =", "cpp ="), SpecError, "targets.board.toolchain.cxx: is missing, expected the command line of a comp"),
        (('path = "cross"', ""), SpecError, "targets.board.toolchain.path: expected the folder that {toolchain} in cc"),
        (
            ("{toolchain}/bin/rv-gcc", "{armel}/gcc"),
            SpecError,
            "targets.board.toolchain.path: expected the folder that",
        ),
        (
            ("{toolchain}/bin/rv-gcc", "/opt/gcc"),
            SpecError,
            "targets.board.toolchain.cc: read '/opt/gcc', expected a n",
        ),
        (
            ('toolchain = "board"', 'toolchain = "bord"'),
            ToolchainFault,
            "native, cortex-m4, cortex-m4-small; did you mean 'board'?",
        ),
        (("binutils =", "# binutils ="), SpecError, "targets.board.toolchain.binutils: is missing, expected a text"),
    ],
)
def test_a_wrong_word_of_a_toolchain_is_named(
    change: tuple[str, str], kind: type[MatrixError], says: str, tmp_path: Path
) -> None:
    with pytest.raises(kind) as raised:
        plan_of_user_build(tmp_path, USER_BUILD.replace(*change))
    assert says in str(raised.value)
