"""Which node comes next, and what an end means to those behind it."""

from __future__ import annotations

from samples import REFUSED, STAGES, plan_of, result

from matrix.core.records import Outcome
from matrix.plan.stages import Node
from matrix.run.schedule import Schedule

SQUARE = "[axes]\ncompiler = ['2.9.0', '3.0.0']\nruntime = ['2.9.0', '3.0.0', '3.7.0']\n"


def taken(schedule: Schedule) -> list[Node]:
    nodes = []
    while (node := schedule.take()) is not None:
        nodes.append(node)
    return nodes


def test_a_stage_waits_for_the_one_before_it():
    schedule = Schedule(plan_of(SQUARE))
    (export,) = taken(schedule)
    assert (export.stage, schedule.waiting) == ("export", False)
    schedule.finish(export.index, result("export"))
    compiles = taken(schedule)
    assert [node.stage for node in compiles] == ["compile"] * 2
    schedule.finish(compiles[0].index, result("compile"))
    runs = taken(schedule)
    assert [node.stage for node in runs] == ["run"] * 3
    assert {node.above for node in runs} == {(compiles[0].index,)}
    for node in runs:
        schedule.finish(node.index, result())
    assert (schedule.cells_done, schedule.cells_red) == (3, 0)


def test_a_compile_goes_before_a_run():
    schedule = Schedule(plan_of(SQUARE))
    schedule.finish(taken(schedule)[0].index, result("export"))
    first = schedule.take()
    schedule.finish(first.index, result("compile"))
    assert [node.stage for node in taken(schedule)] == ["compile", *["run"] * 3]


def test_what_is_behind_a_failure_is_blocked_and_its_cells_are_red():
    schedule = Schedule(plan_of(SQUARE))
    schedule.finish(taken(schedule)[0].index, result("export"))
    failed, good = taken(schedule)
    schedule.finish(failed.index, result("compile", Outcome.CRASHED))
    assert (schedule.cells_done, schedule.cells_red, schedule.waiting) == (3, 3, False)
    assert schedule.left == {"export": 0, "compile": 1, "run": 3}
    behind = [schedule.states[cell.nodes[2]] for cell in schedule.plan.cells if cell.nodes[1] == failed.index]
    assert {state.obstacle for state in behind} == {(Outcome.BLOCKED, "an earlier stage ended in crashed")}
    schedule.finish(good.index, result("compile"))
    assert len(taken(schedule)) == 3


def test_a_failed_export_ends_all():
    schedule = Schedule(plan_of(SQUARE))
    schedule.finish(taken(schedule)[0].index, result("export", Outcome.TIMED_OUT))
    assert (schedule.cells_done, schedule.cells_red) == (6, 6)
    assert not any(schedule.left.values())
    assert all(state.over for state in schedule.states)


def test_artifacts_are_all_upstream():
    schedule = Schedule(plan_of("[axes]\nmodel = ['linear', 'given']\ncompiler='2.9.0'\nruntime='2.9.0'"))
    first, second = sorted(taken(schedule), key=lambda node: node.stage)[::-1]
    assert schedule.artifacts(first) == {"linear.py": "d1"}
    assert sorted(schedule.artifacts(second)) == ["expected_0.npy", "input_0.npy", "module.mlir"]
    schedule.finish(second.index, result("compile"))
    (run,) = taken(schedule)
    assert sorted(schedule.artifacts(run)) == ["expected_0.npy", "input_0.npy", "module.mlir", "module.vmfb"]


def test_a_parked_node_waits_for_its_environment():
    schedule = Schedule(plan_of(SQUARE))
    (export,) = taken(schedule)
    schedule.park(export)
    assert schedule.waiting
    assert schedule.take() is None
    schedule.unpark(export.request)
    assert schedule.take() is export
    assert not schedule.waiting
    schedule.unpark(export.request)
    assert schedule.take() is None


def test_an_environment_that_can_not_be_made_ends_its_nodes_now_and_later():
    schedule = Schedule(plan_of(SQUARE))
    schedule.finish(taken(schedule)[0].index, result("export"))
    first, second = taken(schedule)
    schedule.finish(first.index, result("compile"))
    runs = taken(schedule)
    schedule.park(runs[0])
    schedule.obstruct(runs[0].request, Outcome.NOT_INSTALLABLE, "no wheels")
    assert schedule.states[runs[0].index].obstacle == (Outcome.NOT_INSTALLABLE, "no wheels")
    assert (schedule.cells_done, schedule.cells_red, schedule.waiting) == (1, 1, False)
    schedule.finish(second.index, result("compile"))
    later = next(node for node in taken(schedule) if node.request == runs[0].request)
    schedule.park(later)
    assert schedule.states[later.index].over
    assert (schedule.cells_done, schedule.cells_red) == (2, 2)


def test_obstacles_of_the_plan_settle_their_cells():
    plan = plan_of(f"[axes]\ntarget = ['x86_64', 'aarch64']\nruntime = ['2.9.0', '{REFUSED}']\ncompiler = '2.9.0'\n")
    schedule = Schedule(plan)
    schedule.finish(taken(schedule)[0].index, result("export"))
    for node in taken(schedule):
        schedule.finish(node.index, result("compile"))
    (run,) = taken(schedule)
    schedule.finish(run.index, result())
    assert (schedule.cells_done, schedule.cells_red) == (4, 2)


def test_excluded_cells_are_done_from_the_start():
    schedule = Schedule(plan_of(SQUARE + "[[exclude]]\nwhen = { runtime = '2.9.0' }\nreason = 'x'\n"))
    assert (schedule.cells_done, schedule.cells_red) == (2, 0)


def test_a_shared_node_settles_all_its_cells():
    schedule = Schedule(plan_of("[axes]\nflags = ['default', 'again']\ncompiler = '2.9.0'\nruntime = '2.9.0'\n"))
    for stage in STAGES:
        (node,) = taken(schedule)
        schedule.finish(node.index, result(stage))
    assert schedule.cells_done == 2


def test_a_job_that_ends_while_its_input_is_made_again_is_not_over():
    """One job found the export's artifact damaged while another still used it."""
    schedule = Schedule(plan_of(SQUARE))
    (export,) = taken(schedule)
    made = result("export")
    schedule.finish(export.index, made)
    first, second = taken(schedule)
    used = [(each.name, each.digest) for each in made.outputs]
    assert used and schedule.current(second, used)
    schedule.redo(first, [digest for _, digest in used])
    assert not schedule.current(second, used)
    assert schedule.compared([second]) == ([None] if second.kind.compared else [])
    schedule.put_back(second)
    assert taken(schedule) == [export]
    schedule.finish(export.index, made)
    assert schedule.current(second, used)
    assert not schedule.current(second, [(name, "another") for name, _ in used])
    assert taken(schedule) == [first, second]
