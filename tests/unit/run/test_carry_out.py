"""Whose results a run's are: the name of its table in the store, and whether it came to its end for all cells."""

from __future__ import annotations

from dataclasses import replace

import pytest
from answering import plan_in
from samples import result

from matrix.core.errors import NotAllMeasured, RunFaulted
from matrix.core.records import Outcome
from matrix.plan.graph import NodeState
from matrix.results.run import Cell
from matrix.run.carry_out import is_whole, report_gaps, table_name
from matrix.run.executor import Disk
from matrix.run.schedule import RunSummary


@pytest.fixture
def plan(tmp_path):
    return plan_in(tmp_path / "models", '[axes]\ncompiler = ["2.9.0", "3.0.0"]\nruntime = "2.9.0"\n')


def test_each_engine_and_each_question_has_its_own_table(plan):
    other = replace(plan, spec=replace(plan.spec, options=("--model", "copy")))
    names = {
        table_name(plan, [], "venv"),
        table_name(plan, [], "docker"),
        table_name(plan, ["compiler=3.0.0"], "venv"),
        table_name(other, [], "venv"),
    }
    assert len(names) == 4


def test_a_spec_of_the_same_name_in_another_folder_has_its_own_table(plan, tmp_path, monkeypatch):
    names = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / plan.spec.source).touch()
        monkeypatch.chdir(tmp_path / name)
        names.add(table_name(plan, [], "venv"))
    monkeypatch.chdir(tmp_path)
    names.add(table_name(replace(plan, spec=replace(plan.spec, source="two/small.toml")), [], "venv"))
    assert len(names) == 2


def summary(plan, *, interrupted: bool = False, **changed: NodeState) -> RunSummary:
    states = [NodeState(result=result()) for _ in plan.nodes]
    for index, state in changed.items():
        states[int(index.removeprefix("node"))] = state
    return RunSummary(states=states, disk=Disk(budget_bytes=0), interrupted=interrupted)


def test_only_a_run_whose_nodes_all_came_to_their_end_is_whole(plan):
    assert is_whole(plan, summary(plan))
    assert is_whole(plan, summary(plan, node0=NodeState(result=result(outcome=Outcome.CRASHED))))
    assert is_whole(plan, summary(plan, node0=NodeState(obstacle=(Outcome.NOT_INSTALLABLE, "no wheel"))))
    assert is_whole(plan, summary(plan, node0=NodeState(obstacle=(Outcome.BLOCKED, "an earlier stage crashed"))))
    assert not is_whole(plan, summary(plan, interrupted=True))
    assert not is_whole(plan, summary(plan, node0=NodeState()))
    assert not is_whole(plan, summary(plan, node0=NodeState(result=result(outcome=Outcome.INFRASTRUCTURE))))
    assert not is_whole(plan, summary(plan, node0=NodeState(obstacle=(Outcome.UNTESTED, "no daemon today"))))


def ends(plan, *, faults=(), missing=(), cells=()):
    summary = RunSummary(states=[], disk=Disk(budget_bytes=0), missing=set(missing), faults=dict(enumerate(faults)))
    summary.faulted_cells = len(faults)
    report_gaps(summary, cells)


def test_the_status_of_a_table_with_gaps_says_whose_they_are(plan):
    ends(plan, cells=[Cell(axes={}, outcome=Outcome.CRASHED, reason="it died")])
    with pytest.raises(NotAllMeasured, match="some cells stay untested: no Python"):
        ends(plan, missing=["no Python 3.9"])
    with pytest.raises(RunFaulted) as faulted:
        ends(plan, missing=["no Python 3.9"], faults=["gone\nmore", "gone", "another"])
    assert str(faulted.value).splitlines() == [
        "3 jobs of 3 cells were not measured, and no release is to blame:",
        "  2 x gone",
        "  1 x another",
        "some cells stay untested: no Python 3.9",
    ]
    with pytest.raises(RunFaulted, match="1 x its bytes changed"):
        ends(plan, cells=[Cell(axes={}, outcome=Outcome.INFRASTRUCTURE, reason="its bytes changed")])
