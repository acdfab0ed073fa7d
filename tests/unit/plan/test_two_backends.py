"""Two shipped backends in one spec: what they share, and what each has of its own."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from matrix.core.data import DATA
from matrix.core.errors import SpecError
from matrix.plan.backends.iree.record import IREE
from matrix.plan.backends.onnxruntime import ONNXRUNTIME
from matrix.plan.graph import Plan, make_plan
from matrix.plan.locks import kind_of, load_locks, lock_name
from matrix.plan.question import Question
from matrix.plan.rounds import is_twin, round_of, with_repeats
from matrix.plan.spec import parse_spec
from matrix.run.planning import load_catalogue, plan_of
from matrix.run.schedule import node_rank

GIVEN = Path(__file__).parents[2] / "data" / "onnx"
LOCKS = DATA.parents[1] / "images" / "locks"
BOTH = """
format = 1
name = "both"
question = "Do both give the numbers of torch?"
[axes]
backend = ["iree", "onnxruntime"]
model = "linear"
torch = ["2.9.1", "2.2.2"]
turbine = "3.9.0"
compiler = "3.13.0"
runtime = "3.13.0"
onnxruntime = "1.32.0"
"""


def planned(text: str, folder) -> Plan:
    spec = parse_spec(text, source="both.toml", base=folder)
    return make_plan(spec, load_catalogue(spec))


def test_each_torch_converts_once_and_each_runtime_runs_what_each_converted():
    plan = plan_of(Question(preset="portability_onnxruntime"))
    torch, runtimes = (len(plan.axes[axis]) for axis in ("torch", "onnxruntime"))
    assert torch >= 5 and runtimes >= 5
    assert {stage: plan.jobs(stage) for stage in plan.stages} == {"to-onnx": torch, "onnx-run": torch * runtimes}
    assert Counter(request.kind for request in plan.environments()) == {
        "onnx-converter": torch,
        "onnx-runtime": runtimes,
    }


def test_the_cells_of_both_have_the_same_torch_and_a_pair_without_a_lock_says_so(tmp_path):
    plan = planned(BOTH, tmp_path)
    ends = {
        (cell.labels["backend"], cell.labels["torch"]): [
            plan.nodes[index].obstacle for index in cell.nodes if plan.nodes[index].obstacle
        ]
        for cell in plan.cells
    }
    assert {place for place, obstacles in ends.items() if not obstacles} == {
        ("iree", "2.9.1"),
        ("onnxruntime", "2.9.1"),
        ("onnxruntime", "2.2.2"),
    }
    ((_, reason),) = ends["iree", "2.2.2"]
    assert reason.startswith("no lock for torch 2.2.2 with iree-turbine 3.9.0: add the row")


def test_an_axis_that_backends_share_has_the_releases_of_the_backends_that_are_asked():
    locks = load_locks(LOCKS)
    of_iree, of_onnx = (set(locks.releases("torch", (backend,))) for backend in (IREE, ONNXRUNTIME))
    assert "2.2.2" in of_onnx - of_iree
    assert set(locks.releases("torch")) == of_iree | of_onnx
    assert not [cell for cell in plan_of(Question(preset="exporters")).cells if cell.labels["torch"] == "2.2.2"]


def test_a_model_that_comes_as_onnx_is_not_converted():
    given = '[models.mine]\nonnx = "linear.onnx"\ninputs = "input_0.npy"\nexpected = "expected_0.npy"\n'
    alone = BOTH.replace('"linear"', '"mine"').replace('["iree", "onnxruntime"]', '"onnxruntime"')
    alone = "\n".join(line for line in alone.splitlines() if not line.startswith(("turbine", "compiler", "runtime")))
    plan = planned(f"{alone}\n{given}", GIVEN)
    assert {node.stage for node in plan.nodes} == {"onnx-run"}


def test_packages_of_a_model_extend_the_lock_of_the_backend_that_needs_them():
    locks = load_locks(LOCKS)
    base = locks.find("onnx-converter", {"torch": "2.9.1"})
    assert base is not None
    extended = locks.with_packages(base, ("torchvision==0.24.1",), "3.11")
    assert (kind_of(extended), extended.extends) == ("onnx-converter", base), "no exporter of IREE has its place"
    pins = {"torch": "2.9.1", "torchvision": "0.24.1"}
    assert lock_name("onnx-converter", pins) == "onnx-converter/2.9.1+torchvision-0.24.1"


TIMED = """
[axes]
backend = ["iree", "onnxruntime", "litert"]
model = ["linear", "mobilenet_v2"]
torch = "2.9.1"
turbine = "3.9.0"
compiler = "= runtime"
runtime = ["3.8.0", "3.13.0"]
onnxruntime = "1.32.0"
litert_torch = "0.10.0"
litert = "2.3.0"
[benchmark]
rounds = 3
passes = 2
"""
STAGES = (
    'format = 1\nname = "peers"\nquestion = "Who?"\nstages = ["export", "compile", "run", "benchmark", "to-onnx", '
    '"onnx-run", "onnx-benchmark", "to-tflite", "litert-run", "litert-benchmark"]\n'
)


def timed(baseline: str, folder) -> Plan:
    spec = parse_spec(f"{STAGES}{TIMED}baseline = {{ {baseline} }}", source="peers.toml", base=folder)
    catalogue = load_catalogue(spec)
    return with_repeats(make_plan(spec, catalogue), catalogue)


def test_a_baseline_of_one_backend_is_that_of_all_and_each_has_the_rounds_of_its_own_stage(tmp_path):
    plan = timed('backend = "iree", compiler = "3.13.0", runtime = "3.13.0"', tmp_path)
    assert plan.baseline == {"backend": "iree", "compiler": "3.13.0", "runtime": "3.13.0"}
    assert set(plan.apart) == {"turbine", "torch", "flags", "onnxruntime", "litert_torch", "litert"}
    rounds = [node for node in plan.nodes if node.kind.rounds]
    assert len({node.beside for node in rounds}) == 2, "all systems of a model are compared with one another"
    stages = Counter(node.stage for node in rounds if not is_twin(node))
    assert stages == {"benchmark": 2 * 2 * 6, "onnx-benchmark": 2 * 6, "litert-benchmark": 2 * 6}
    assert Counter(node.stage for node in rounds if is_twin(node)) == {"benchmark": 2 * 6}
    for cell in plan.cells:
        made = {plan.nodes[index].stage for index in cell.repeats}
        above = {plan.nodes[place].stage for index in cell.repeats for place in plan.nodes[index].above}
        assert (made, above) in (
            ({"benchmark"}, {"run"}),
            ({"onnx-benchmark"}, {"onnx-run"}),
            ({"litert-benchmark"}, {"litert-run"}),
        )


def test_rounds_of_all_backends_are_interleaved(tmp_path):
    plan = timed('backend = "iree", compiler = "3.13.0", runtime = "3.13.0"', tmp_path)
    order = [node for node in sorted(plan.nodes, key=node_rank) if node.kind.rounds]
    assert [round_of(node) for node in order] == [number for number in range(1, 7) for _ in range(2 * 5)]
    first, second = ([node.stage for node in order if round_of(node) == number] for number in (1, 2))
    assert set(first) == {"benchmark", "onnx-benchmark", "litert-benchmark"} and first == second[::-1]


def test_a_baseline_that_leaves_an_axis_of_its_backend_open_says_so(tmp_path):
    with pytest.raises(SpecError, match=r"benchmark\.baseline: compiler has 3\.8\.0, 3\.13\.0, expected one of them"):
        timed('backend = "iree", runtime = "3.13.0"', tmp_path)


def test_a_baseline_without_a_backend_compares_within_each(tmp_path):
    plan = timed('compiler = "3.13.0", runtime = "3.13.0"', tmp_path)
    assert plan.baseline == {"compiler": "3.13.0", "runtime": "3.13.0"}
    assert len({node.beside for node in plan.nodes if node.kind.rounds}) == 2 * 3


def test_times_of_operations_are_of_this_machine_and_of_nothing_emulated(tmp_path):
    text = (DATA / "presets" / "profile_peers.toml").read_text(encoding="utf-8")
    spec = parse_spec(text, source="peers.toml", base=tmp_path)
    here = make_plan(spec, load_catalogue(spec, machine_class="a machine"))
    timed = [node for node in here.nodes if node.stage.endswith("-profile")]
    assert {node.stage for node in timed} == {"onnx-profile", "openvino-profile", "so-profile"}
    assert all(node.machine and node.kind.alone and not node.obstacle for node in timed)
    foreign = parse_spec(text.replace('target = "x86_64"', 'target = "aarch64"'), source="peers.toml", base=tmp_path)
    elsewhere = make_plan(foreign, load_catalogue(foreign))
    obstacles = [node.obstacle for node in elsewhere.nodes if node.stage.endswith("-profile")]
    assert obstacles and all(found and "emulator's times are not the machine's" in found[1] for found in obstacles)
