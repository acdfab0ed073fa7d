"""Every shipped preset can be read and planned, and says what it asks."""

from __future__ import annotations

import pytest

from matrix.catalogue import PACKAGE, presets
from matrix.records import Stage
from matrix.schedule import Schedule
from matrix.workplace import Question, load_spec, plan_of


def test_there_are_presets():
    assert {"portability", "quick"} <= set(presets())


@pytest.mark.parametrize("name", presets())
def test_a_preset_plans(name):
    plan = plan_of(Question(preset=name))
    assert plan.spec.name == name
    assert plan.spec.question.endswith("?")
    assert plan.jobs(Stage.EXPORT) + plan.jobs(Stage.COMPILE) > 0
    assert all(cell.nodes or cell.excluded for cell in plan.cells)
    assert Schedule(plan).waiting


@pytest.mark.parametrize("name", presets())
def test_a_preset_by_its_path_is_the_same(name):
    by_path = load_spec(str(PACKAGE / "presets" / f"{name}.toml"))
    assert by_path.axes == load_spec(name).axes
