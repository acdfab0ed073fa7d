"""Every shipped preset can be read and planned, and says what it asks."""

from __future__ import annotations

import re

import pytest

from matrix.core.data import DATA, PACKAGE_FOLDER, presets
from matrix.core.errors import MatrixEmpty
from matrix.plan.question import Question
from matrix.plan.stages import kinds
from matrix.run.planning import load_spec, plan_of
from matrix.run.schedule import Schedule


def test_there_are_presets():
    assert {"portability", "quick", "field"} <= set(presets())


NO_FILES_NEEDED = [name for name in presets() if name != "field"]


def test_the_field_asks_for_files(tmp_path):
    with pytest.raises(MatrixEmpty, match="read none, expected at least one") as caught:
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
    before = [stage for stage in plan.stages if not kinds()[stage].compared]
    assert sum(map(plan.jobs, before)) > 0, "a front end or a compiler has something to do"
    assert all(cell.nodes or cell.excluded for cell in plan.cells)
    assert Schedule(plan).waiting


def test_history_compiles_with_the_packages_and_flags_of_each_release():
    plan = plan_of(Question(preset="history"))
    assert (len(plan.cells), plan.jobs("compile"), plan.jobs("run")) == (961, 31, 961)
    compiles = {node.request.lock.name: node for node in plan.nodes if node.stage == "compile" and node.request}
    flags = {name.partition("/")[2]: node.flags[-1] for name, node in compiles.items()}
    assert flags["20230228.444"] == "--iree-llvm-target-cpu=x86-64-v3"
    assert flags["20230404.479"] == flags["3.13.0"] == "--iree-llvmcpu-target-cpu=x86-64-v3"
    assert compiles["compiler/20241104.1068"].request.lock.pins == (("iree-compiler", "20241104.1068"),)
    assert compiles["compiler/2.9.0"].request.lock.pins == (("iree-base-compiler", "2.9.0"),)


@pytest.mark.parametrize("name", [name for name in NO_FILES_NEEDED if name != "history"])
def test_a_dated_release_is_in_no_other_preset(name):
    """A keyword or a specifier of numbers means the numbered releases."""
    labels = {label for cell in plan_of(Question(preset=name)).cells for label in cell.labels.values()}
    assert not {label for label in labels if re.match(r"20\d{6}\.", label)}


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
