"""Every shipped preset can be read and planned, and says what it asks."""

from __future__ import annotations

import re

import pytest

from matrix.core.data import DATA, PACKAGE_FOLDER, presets
from matrix.core.errors import MatrixEmpty
from matrix.plan.question import Question
from matrix.run.planning import load_spec, plan_of
from matrix.run.schedule import Schedule


def test_there_are_presets():
    assert {"portability", "quick", "field"} <= set(presets())


NO_FILES_NEEDED = [name for name in presets() if name != "field"]


def test_the_field_asks_for_files(tmp_path):
    with pytest.raises(MatrixEmpty, match="no model is named") as caught:
        plan_of(Question(preset="field"))
    assert "--model" in caught.value.tip
    (tmp_path / "old.vmfb").write_bytes(b"not one, which its runs say")
    plan = plan_of(Question(models=(str(tmp_path / "old.vmfb"),)))
    assert plan.spec.name == "field"
    assert plan.jobs("run") == len(plan.cells) == 15
    assert {cell.labels["compiler"] for cell in plan.cells} == {"-"}


@pytest.mark.parametrize("name", NO_FILES_NEEDED)
def test_a_preset_plans(name):
    plan = plan_of(Question(preset=name))
    assert plan.spec.name == name
    assert plan.spec.question.endswith("?")
    assert plan.jobs("export") + plan.jobs("compile") > 0
    assert all(cell.nodes or cell.excluded for cell in plan.cells)
    assert Schedule(plan).waiting


def test_the_documents_list_every_preset_with_its_question_and_time():
    page = (PACKAGE_FOLDER.parent / "docs" / "running.md").read_text(encoding="utf-8")
    table = page.partition("\n## Presets\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if "| `" in line]
    assert {name.strip("`"): question for name, question, _, _ in rows} == {
        name: load_spec(name).question for name in presets()
    }
    times = {name: time for name, _, _, time in rows}
    assert all(re.match(r"-$|\d+ (s|min|h)\b", time) for time in times.values()), times


@pytest.mark.parametrize("name", presets())
def test_a_preset_by_its_path_is_the_same(name):
    by_path = load_spec(str(DATA / "presets" / f"{name}.toml"))
    assert by_path.axes == load_spec(name).axes
