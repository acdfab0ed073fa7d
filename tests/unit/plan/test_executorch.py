"""The backend ExecuTorch in a plan: one environment of a release converts and runs, with the torch that it is built
for."""

from __future__ import annotations

from collections import Counter

from matrix.plan.graph import make_plan
from matrix.plan.question import Question
from matrix.plan.spec import parse_spec
from matrix.plan.stages import axes
from matrix.run.cost import family
from matrix.run.planning import load_catalogue, plan_of
from matrix.site.releases import product_names, products

GIVEN = """
format = 1
name = "given"
question = "Which releases load this model?"
[axes]
backend = "executorch"
model = "given"
executorch = "latest-minors >=1.0"
[models.given]
pte = "given.pte"
"""


def test_one_environment_of_a_release_converts_and_runs():
    """5.4 GB of torch stand beside each."""
    plan = plan_of(Question(preset="portability_executorch"))
    made, runtimes = (len(plan.axes[axis]) for axis in ("exir", "executorch"))
    assert made == runtimes >= 12
    assert {stage: plan.jobs(stage) for stage in plan.stages} == {"to-pte": made, "executorch-run": made * runtimes}
    assert Counter(request.kind for request in plan.environments()) == {"executorch": runtimes}
    used = {(node.stage, dict(node.request.lock.pins)["executorch"]) for node in plan.nodes if node.request}
    assert len(used) == 2 * runtimes, "each release's own environment, in both stages"


def test_each_release_has_the_torch_that_it_is_built_for():
    requests = plan_of(Question(preset="portability_executorch")).environments()
    torch = {dict(request.lock.pins)["executorch"]: family(request)[1] for request in requests}
    assert len({*torch.values()}) == len(torch)
    assert (torch["0.7.0"], torch["1.0.1"], torch["1.5.1"]) == ("2.8.0", "2.9.1", "2.15.0")


def test_a_pte_is_not_converted(tmp_path):
    (tmp_path / "given.pte").write_bytes(b"its runs say what it is")
    spec = parse_spec(GIVEN, source="given.toml", base=tmp_path)
    plan = make_plan(spec, load_catalogue(spec))
    assert {node.stage for node in plan.nodes} == {"executorch-run"} and len(plan.cells) >= 5


def test_two_axes_of_one_package_are_one_product():
    assert axes()["exir"].package == axes()["executorch"].package
    assert products()["exir"] == products()["executorch"] and product_names()[products()["exir"]] == "ExecuTorch"
