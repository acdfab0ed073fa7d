"""The backend OpenVINO in a plan: two axes with the releases of one package, an IR of two files, a given .onnx."""

from __future__ import annotations

from collections import Counter

from matrix.plan.graph import make_plan
from matrix.plan.question import Question
from matrix.plan.spec import parse_spec
from matrix.plan.stages import axes
from matrix.run.cost import environment_costs, family
from matrix.run.planning import load_catalogue, plan_of
from matrix.site.releases import product_names, products

GIVEN = """
format = 1
name = "given"
question = "Which releases load this model?"
[axes]
backend = "openvino"
model = "given"
openvino = "latest-minors >=2025"
[models.given]
onnx = "given.onnx"
"""


def test_each_release_converts_once_and_each_runs_what_each_converted():
    plan = plan_of(Question(preset="portability_openvino"))
    models, made, runtimes = (len(plan.axes[axis]) for axis in ("model", "ovc", "openvino"))
    assert made == runtimes >= 20
    assert {stage: plan.jobs(stage) for stage in plan.stages} == {
        "to-ir": models * made,
        "openvino-run": models * made * runtimes,
    }
    assert Counter(request.kind for request in plan.environments()) == {
        "openvino-converter": made,
        "openvino-runtime": runtimes,
    }


def test_a_release_converts_with_a_torch_of_its_time():
    requests = plan_of(Question(preset="portability_openvino")).environments()
    torch = {
        dict(request.lock.pins)["openvino"]: family(request)[1]
        for request in requests
        if request.kind == "openvino-converter"
    }
    assert all(version == ("2.9.1" if release >= "2025" else "2.3.1") for release, version in torch.items())


def test_front_ends_of_several_systems_share_one_torch():
    """5.4 GB of the same files. All of `peers` is to stay within 25 GB."""
    requests = plan_of(Question(preset="peers")).environments()
    same = [request for request in requests if family(request)[:2] == ("torch", "2.9.1")]
    assert {request.kind for request in same} == {
        *("exporter", "onnx-converter", "openvino-converter", "pytorch", "tvm-compiler")
    }
    alone = environment_costs(same[:1]).disk_bytes
    assert alone < environment_costs(same).disk_bytes < 1.2 * alone
    assert environment_costs(requests).disk_bytes < 25e9


def test_an_onnx_is_not_converted(tmp_path):
    (tmp_path / "given.onnx").write_bytes(b"its runs say what it is")
    spec = parse_spec(GIVEN, source="given.toml", base=tmp_path)
    plan = make_plan(spec, load_catalogue(spec))
    assert {node.stage for node in plan.nodes} == {"openvino-run"} and len(plan.cells) >= 5
    assert {request.kind for request in plan.environments()} == {"openvino-runtime"}


def test_two_axes_of_one_package_are_one_product():
    assert axes()["ovc"].package == axes()["openvino"].package
    assert products()["ovc"] == products()["openvino"] and product_names()[products()["ovc"]] == "OpenVINO"
