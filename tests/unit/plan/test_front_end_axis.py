"""Front ends of other systems in a plan: each writes a Python model by its own stages, and compilers take that."""

from __future__ import annotations

import pytest

from matrix.plan.question import Question
from matrix.run.planning import plan_of

STAGES = {
    "turbine": ("export", "compile", "run"),
    "onnx-dynamo": ("onnx-export", "import", "compile", "run"),
    "onnx-torchscript": ("onnx-export", "import", "compile", "run"),
    "litert": ("save-tflite", "tosa-import", "compile", "run"),
}
CROSS = """
format = 1
name = "cross"
question = "Which front ends write what which compilers take?"
[axes]
model = "linear"
front_end = "all"
torch = "2.9.1"
turbine = "3.9.0"
litert_torch = "0.9.0"  # and the importer of what it writes is the newest
compiler = ["3.8.0", "3.13.0"]
runtime = "= compiler"
"""


def test_each_front_end_has_its_own_stages_and_all_have_the_rest(planned):
    plan = planned(CROSS)
    found = {cell.labels["front_end"]: tuple(plan.nodes[node].stage for node in cell.nodes) for cell in plan.cells}
    assert found == STAGES and len(plan.cells) == 4 * 2
    jobs = {stage: plan.jobs(stage) for stage in plan.stages}
    assert (jobs["export"], jobs["onnx-export"], jobs["save-tflite"]) == (1, 2, 1)
    assert (jobs["import"], jobs["tosa-import"]) == (2 * 2, 1), "an .onnx is imported by each release, a .tflite once"


def test_the_two_ways_of_torch_onnx_differ_by_a_parameter(planned):
    nodes = [node for node in planned(CROSS).nodes if node.stage == "onnx-export"]
    assert {dict(node.parameters)["dynamo"] for node in nodes} == {"true", "false"}
    assert len({node.request for node in nodes}) == 1


def test_an_axis_of_another_front_end_has_no_value(planned):
    cells = {cell.labels["front_end"]: cell.labels for cell in planned(CROSS).cells}
    shown = {
        name: tuple(labels[axis] for axis in ("torch", "turbine", "litert_torch")) for name, labels in cells.items()
    }
    assert shown == {
        "turbine": ("2.9.1", "3.9.0", "-"),
        "onnx-dynamo": ("2.9.1", "-", "-"),
        "onnx-torchscript": ("2.9.1", "-", "-"),
        "litert": ("-", "-", "0.9.0"),
    }


def test_a_model_that_is_a_file_goes_through_none_and_comes_once(planned, tmp_path):
    (tmp_path / "given.onnx").write_bytes(b"its import says what it is")
    plan = planned(CROSS.replace('"linear"', '"given"') + '[models.given]\nonnx = "given.onnx"\n')
    assert [cell.labels["front_end"] for cell in plan.cells] == ["-", "-"]
    assert {node.stage for node in plan.nodes} == {"import", "compile", "run"}


def test_a_spec_that_names_no_front_end_has_the_axes_and_stages_of_before():
    plan = plan_of(Question(preset="quick"))
    assert not {"front_end", "litert_torch"} & plan.axes.keys()
    assert set(plan.stages) == {"export", "compile", "run"}


def test_an_unknown_front_end_names_the_known_ones(planned):
    with pytest.raises(
        Exception, match="unknown front_end 'jax', expected one of turbine, onnx-dynamo, onnx-torchscript"
    ):
        planned(CROSS.replace('"all"', '"jax"'))


def test_the_preset_asks_each_front_end_of_each_release():
    plan = plan_of(Question(preset="front_ends"))
    models, front_ends, compilers = (len(plan.axes[axis]) for axis in ("model", "front_end", "compiler"))
    assert len(plan.cells) == models * front_ends * compilers and front_ends == 4 and compilers >= 15
    torch = {request.kind: dict(request.lock.pins).get("torch") for request in plan.environments()}
    assert torch["exporter"] == torch["onnx-converter"] == "2.9.1"
