"""A .tflite in a plan of IREE: its importer is an axis of the specs alone that have such a model."""

from __future__ import annotations

from matrix.plan.graph import make_plan
from matrix.plan.question import Question
from matrix.plan.spec import parse_spec
from matrix.run.planning import load_catalogue, plan_of

GIVEN = """
format = 1
name = "given"
question = "Which compilers take this model?"
[axes]
model = "given"
compiler = ["3.6.0", "3.13.0"]
runtime = "3.13.0"
{axis}
[models.given]
{form} = "given.{form}"
"""


def planned(folder, form: str, axis: str = ""):
    (folder / f"given.{form}").write_bytes(b"its import says what it is")
    spec = parse_spec(GIVEN.format(form=form, axis=axis), source="given.toml", base=folder)
    return make_plan(spec, load_catalogue(spec))


def test_it_is_imported_once_for_all_compilers(tmp_path):
    plan = planned(tmp_path, "tflite")
    assert {stage: plan.jobs(stage) for stage in ("tosa-import", "compile", "run")} == {
        "tosa-import": 1,
        "compile": 2,
        "run": 2,
    }
    assert {node.stage for node in plan.nodes} == {"tosa-import", "compile", "run"}
    assert {cell.labels["tosa"] for cell in plan.cells} == {"2026.2.0"}


def test_its_importer_is_no_axis_of_other_models(tmp_path):
    plan = planned(tmp_path, "mlir")
    assert "tosa" not in plan.axes and all("tosa" not in cell.labels for cell in plan.cells)
    named = planned(tmp_path, "mlir", 'tosa = "2025.11.0"')
    assert {cell.labels["tosa"] for cell in named.cells} == {"-"}


def test_its_importer_is_chosen_by_the_command_line(tmp_path):
    (tmp_path / "my.tflite").write_bytes(b"its import says what it is")
    plan = plan_of(Question(models=(str(tmp_path / "my.tflite"),), axes={"tosa": ("all",), "compiler": ("3.13.0",)}))
    assert {cell.labels["tosa"] for cell in plan.cells} == {"2025.11.0", "2026.2.0"}
    assert plan.jobs("tosa-import") == 2
