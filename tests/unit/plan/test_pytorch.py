"""The backend torch in a plan: one environment of a release exports, compiles and runs; inductor's code is of a
machine."""

from __future__ import annotations

from collections import Counter

from matrix.plan.stages import axes
from matrix.site.releases import product_names, products

BOTH = """
format = 1
name = "both"
question = "Which releases of torch run what which of them made?"
[axes]
backend = "torch"
model = "linear"
torch = ["2.6.0", "2.15.0"]
torch_mode = "all"
torch_runtime = ["2.6.0", "2.9.1", "2.15.0"]
"""
GIVEN = """
format = 1
name = "given"
question = "Which releases load this model?"
[axes]
backend = "torch"
model = "given"
torch_runtime = "latest-minors >=2.6"
[models.given]
pt2 = "given.pt2"
"""


def test_each_way_of_each_release_makes_a_file_and_each_release_runs_it(planned):
    plan = planned(BOTH)
    assert {stage: plan.jobs(stage) for stage in plan.stages} == {"to-pt2": 2 * 2, "pt2-run": 2 * 2 * 3}
    assert Counter(request.kind for request in plan.environments()) == {"pytorch": 3}
    assert {cell.labels["torch_mode"] for cell in plan.cells} == {"eager", "inductor"}


def test_only_what_inductor_compiles_is_of_this_machine(planned):
    found = {}
    for node in planned(BOTH).nodes:
        if node.stage == "to-pt2":
            found.setdefault(dict(node.parameters).get("mode", "eager"), set()).add(bool(node.machine))
    assert found == {"eager": {False}, "inductor": {True}}


def test_a_pt2_is_not_converted(planned, tmp_path):
    (tmp_path / "given.pt2").write_bytes(b"its runs say what it is")
    plan = planned(GIVEN)
    assert {node.stage for node in plan.nodes} == {"pt2-run"} and len(plan.cells) >= 10
    assert {cell.labels["torch_mode"] for cell in plan.cells} == {"-"}


def test_each_release_has_a_compiler_in_its_lock(planned):
    for request in planned(BOTH).environments():
        assert "\nziglang==" in request.lock.path.read_text(encoding="utf-8")


def test_two_axes_of_one_package_are_one_product():
    assert axes()["torch"].package == axes()["torch_runtime"].package
    assert products()["torch"] == products()["torch_runtime"] and product_names()[products()["torch"]] == "torch"
