"""The backend TVM in a plan: two axes with the releases of one package, libraries that are of a machine, profiles."""

from __future__ import annotations

from collections import Counter

from matrix.plan.stages import axes
from matrix.run.cost import family
from matrix.site.releases import product_names, products

SQUARE = """
format = 1
name = "square"
question = "Which releases of TVM run what which of them compiled?"
stages = ["to-so", "so-run", "so-profile"]
[axes]
backend = "tvm"
model = "linear"
tvm_compiler = "latest-minors"
tvm = "latest-minors"
"""
GIVEN = """
format = 1
name = "given"
question = "Which releases load this model?"
[axes]
backend = "tvm"
model = "given"
tvm = "latest-minors"
[models.given]
so = "given.so"
"""


def test_each_release_compiles_once_and_each_runs_and_times_what_each_compiled(planned):
    plan = planned(SQUARE)
    made, runtimes = (len(plan.axes[axis]) for axis in ("tvm_compiler", "tvm"))
    assert made == runtimes >= 3
    square = made * runtimes
    assert {stage: plan.jobs(stage) for stage in plan.stages} == {"to-so": made, "so-run": square, "so-profile": square}
    assert Counter(request.kind for request in plan.environments()) == {"tvm-compiler": made, "tvm-runtime": runtimes}


def test_a_library_is_of_the_machine_that_compiled_it(planned):
    assert {node.machine for node in planned(SQUARE).nodes if node.stage == "to-so"} == {"one with AVX2"}
    assert {node.machine for node in planned(SQUARE).nodes if node.stage == "so-run"} == {""}


def test_a_compiler_has_the_torch_of_the_others_and_a_linker_and_a_runtime_has_neither(planned):
    for request in planned(SQUARE).environments():
        text = request.lock.path.read_text(encoding="utf-8")
        of_compiler = request.kind == "tvm-compiler"
        assert ("\nziglang==" in text) == ("\ntorch==2.9.1 " in text) == of_compiler
        assert (family(request)[:2] == ("torch", "2.9.1")) == of_compiler


def test_a_library_that_is_given_is_not_compiled(planned, tmp_path):
    (tmp_path / "given.so").write_bytes(b"its runs say what it is")
    plan = planned(GIVEN)
    assert {node.stage for node in plan.nodes} == {"so-run"} and len(plan.cells) >= 3
    assert {request.kind for request in plan.environments()} == {"tvm-runtime"}


def test_two_axes_of_one_package_are_one_product():
    assert axes()["tvm_compiler"].package == axes()["tvm"].package
    assert products()["tvm_compiler"] == products()["tvm"] and product_names()[products()["tvm"]] == "TVM"
