"""What every executor must do: one class of tests, on a desk whose tools are scripts; all else is real."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_line import wait_until_gone
from own_tools import COMPILER, make_desk

from matrix.core.records import JobResult, Outcome
from matrix.plan.graph import Plan
from matrix.plan.question import Question
from matrix.run.evidence import judge_of, no_result, replay
from matrix.run.executor import Event, Executor, WorkFinished, WorkRecorded, WorkStarted
from matrix.run.planning import plan_of
from matrix.run.progress import PlainProgress
from matrix.run.runner import Runner
from matrix.run.schedule import RunSummary
from matrix.run.store import Store

SECONDS = 120.0
"""How long news may take, on a machine that does much else."""


def options(**more: object) -> Namespace:
    """The options of `run` that choose an executor."""
    words = {
        "engine": "venv",
        "executor": "local",
        "worker": [],
        "workers": 2,
        "scheduler": "",
        "open_scheduler": False,
        "jobs": 2,
        "disk_budget": None,
        "remote": "",
    }
    return Namespace(**{**words, **more})


def slow_desk(folder: Path, levels: str, seconds: float) -> Path:
    """A desk whose compiler takes a while."""
    desk = make_desk(folder, levels)
    (desk / "kit" / "iree-compile").write_text(COMPILER.replace('*) cp "$1"', f'*) sleep {seconds}; cp "$1"'))
    return desk


def plan_at(desk: Path, store: Store) -> Plan:
    return plan_of(Question(preset=str(desk / "mine.toml")), store.folder)


def carried_out(
    plan: Plan, store: Store, executor: Executor, again: Callable[[JobResult], bool] = no_result
) -> RunSummary:
    with (store.folder.parent / "progress").open("a") as stream:
        progress = PlainProgress(stream)
        is_wrong = judge_of(plan, (), store).is_wrong
        runner = Runner(plan=plan, store=store, progress=progress, executor=executor, again=again, is_wrong=is_wrong)
        return runner.run()


def ends(plan: Plan, summary: RunSummary) -> list[str]:
    """How the cells of a plan ended: the last result of each."""
    return [
        next(
            str(state.result.outcome)
            for state in reversed([summary.states[node] for node in cell.nodes])
            if state.result
        )
        for cell in plan.cells
    ]


class ExecutorContract:
    """A subclass makes the executor."""

    def new(self, store: Store) -> Executor:
        raise NotImplementedError

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        with Store(tmp_path / "store") as opened:
            yield opened

    def test_all_is_carried_out_once_confirmed_and_found_again(self, tmp_path: Path, store: Store) -> None:
        plan = plan_at(make_desk(tmp_path / "desk", "+ab"), store)
        summary = carried_out(plan, store, self.new(store))
        assert ends(plan, summary) == ["passed", "failed", "failed"] * 2
        assert (summary.jobs_run, summary.faults, summary.missing) == (7, {}, set())
        failed = next(state.result for state in summary.states if state.result and state.result.outcome.red)
        assert "error: old syntax" in failed.end.log
        engine = replay(plan, store, _looking(store))
        assert [state.result for state in engine.states] == [state.result for state in summary.states]
        records = store.environment_records()
        assert all(records[state.result.environment] for state in summary.states if state.result)
        again = carried_out(plan, store, self.new(store))
        assert (again.jobs_run, ends(plan, again)) == (0, ends(plan, summary))
        wait_until_gone(store.folder)

    def test_what_is_chosen_is_measured_again(self, tmp_path: Path, store: Store) -> None:
        plan = plan_at(make_desk(tmp_path / "desk", "+a"), store)
        carried_out(plan, store, self.new(store))
        summary = carried_out(plan, store, self.new(store), again=lambda result: result.outcome is Outcome.FAILED)
        assert (summary.jobs_run, ends(plan, summary)) == (2, ["passed", "failed"] * 2)

    def test_a_stop_lets_running_jobs_finish_and_starts_no_other(self, tmp_path: Path, store: Store) -> None:
        plan = plan_at(slow_desk(tmp_path / "desk", "+" * 6, 0.5), store)
        seen, runner = Seen(), self._runner(plan, store)
        runner.executor.news = seen.through(runner.executor.news, runner._note_signal)
        summary = runner.run()
        assert summary.interrupted and 1 <= summary.jobs_run < 12
        assert {state.result.outcome for state in summary.states if state.result} == {"passed"}
        assert carried_out(plan, store, self.new(store)).jobs_run == 6 * 2 + 1 - summary.jobs_run

    def test_an_end_at_once_leaves_no_process_and_no_finding(self, tmp_path: Path, store: Store) -> None:
        plan = plan_at(slow_desk(tmp_path / "desk", "+" * 6, 30), store)
        seen, runner = Seen(), self._runner(plan, store)
        runner.executor.news = seen.through(runner.executor.news, lambda: [runner._note_signal() for _ in range(2)])
        assert runner.run().interrupted
        wait_until_gone(store.folder, seconds=SECONDS)
        assert list(store.all_records()) == []

    def _runner(self, plan: Plan, store: Store) -> Runner:
        progress = PlainProgress((store.folder.parent / "progress").open("a"))
        return Runner(plan=plan, store=store, progress=progress, executor=self.new(store))


class Seen:
    """Calls something once, when a job has started."""

    def __init__(self) -> None:
        self.called = False

    def through(
        self, news: Callable[[float], list[Event]], call: Callable[[], object]
    ) -> Callable[[float], list[Event]]:
        begun = time.monotonic()

        def asked(seconds: float) -> list[Event]:
            events = news(seconds)
            assert time.monotonic() - begun < SECONDS, "no job started"
            if not self.called and any(isinstance(each, WorkStarted | WorkFinished | WorkRecorded) for each in events):
                self.called = True
                call()
            return events

        return asked


def _looking(store: Store):
    from matrix.engines.choice import lookup_engine

    return lookup_engine("venv", store.places)
