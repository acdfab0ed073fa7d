"""The executors pass one contract, with workers and environments as they are and tools that answer at once."""

from __future__ import annotations

import os
import signal

import pytest
from command_line import processes_of
from dask_here import by_dask, local_scheduler
from executor_contract import ExecutorContract, carried_out, ends, options, plan_at, slow_desk

from matrix.core.machine import machine_class
from matrix.engines.choice import engine_maker
from matrix.run.elsewhere.choice import executor_elsewhere
from matrix.run.local.executor import LocalExecutor


@pytest.fixture(scope="module")
def cluster():
    with local_scheduler() as cluster:
        yield cluster


class TestHere(ExecutorContract):
    def new(self, store):
        make = engine_maker("venv", store.places, cores=2)
        return LocalExecutor(store=store, cores=2, machine=machine_class(), make_engine=make)


class TestByCommand(ExecutorContract):
    def new(self, store):
        return executor_elsewhere(store, options(executor="command"))


class TestByDask(ExecutorContract):
    """Scheduler and workers in this process; `work` and its jobs are processes as ever."""

    @pytest.fixture(autouse=True)
    def _at(self, cluster):
        self.address = cluster.scheduler_address

    def new(self, store):
        return by_dask(store, self.address)


def test_a_worker_that_is_killed_costs_its_batch_and_nothing_is_red(tmp_path, monkeypatch):
    from matrix.run.store import Store

    with Store(tmp_path / "store") as store:
        plan = plan_at(slow_desk(tmp_path / "desk", "+" * 4, 0.3), store)
        executor = executor_elsewhere(store, options(executor="command"))
        news, killed = executor.news, []

        def asked(seconds):
            events = news(seconds)
            works = {pid for pid, line in processes_of(store.folder).items() if "matrix work" in line}
            if executor.under_way and works and len(killed) < 2:
                killed.append(works.pop())
                os.kill(killed[-1], signal.SIGKILL)
            return events

        monkeypatch.setattr(executor, "news", asked)
        summary = carried_out(plan, store, executor)
        assert len(killed) == 2 and set(ends(plan, summary)) == {"passed"} and summary.faults == {}
