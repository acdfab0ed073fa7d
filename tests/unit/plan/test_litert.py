"""The backend LiteRT in a plan: what converts, what runs, which torch stands beside a converter."""

from __future__ import annotations

from collections import Counter

from matrix.core.data import DATA
from matrix.core.records import EnvironmentRequest
from matrix.plan.graph import Plan, make_plan
from matrix.plan.question import Question
from matrix.plan.spec import parse_spec
from matrix.results.signatures import recognise
from matrix.run.cost import environment_costs, family
from matrix.run.planning import load_catalogue, plan_of

GIVEN = """
format = 1
name = "given"
question = "Which releases load this model?"
[axes]
backend = "litert"
model = "given"
litert = "latest-minors >=1.2"
[models.given]
tflite = "given.tflite"
"""


def converters(plan: Plan) -> list[EnvironmentRequest]:
    return [request for request in plan.environments() if request.kind == "litert-converter"]


def test_each_converter_converts_once_and_each_runtime_runs_what_each_converted():
    plan = plan_of(Question(preset="portability_litert"))
    made, runtimes = (len(plan.axes[axis]) for axis in ("litert_torch", "litert"))
    assert made >= 5 and runtimes >= 5
    assert {stage: plan.jobs(stage) for stage in plan.stages} == {"to-tflite": made, "litert-run": made * runtimes}
    assert Counter(request.kind for request in plan.environments()) == {
        "litert-converter": made,
        "litert-runtime": runtimes,
    }


def test_converters_with_the_same_torch_cost_it_once():
    requests = converters(plan_of(Question(preset="portability_litert")))
    families = Counter(family(request) for request in requests)
    assert {torch: count for (_, torch, *_), count in families.items()} == {"2.9.1": 2, "2.12.1": 5}
    alone = environment_costs(requests[:1]).download_bytes
    assert environment_costs(requests).download_bytes < (len(families) + 1) * alone


def test_a_tflite_is_not_converted(tmp_path):
    (tmp_path / "given.tflite").write_bytes(b"its runs say what it is")
    spec = parse_spec(GIVEN, source="given.toml", base=tmp_path)
    plan = make_plan(spec, load_catalogue(spec))
    assert {node.stage for node in plan.nodes} == {"litert-run"}
    assert not converters(plan) and len(plan.cells) >= 5


def test_a_refusal_of_its_own_is_told_before_what_any_python_says():
    said = "ValueError: Model provided is schema version 4 not equal to supported version 3."
    assert recognise(said, "litert-run").name == "tflite-schema"


def test_the_runtimes_scripts_share_one_clock():
    """Times of two runtimes are compared: both scripts measure alike."""
    scripts = DATA.parents[1] / "scripts"
    for name in ("run_onnx.py", "run_litert.py", "run_openvino.py"):
        text = (scripts / name).read_text(encoding="utf-8")
        assert "from timed_calls import write_times" in text and "perf_counter" not in text
