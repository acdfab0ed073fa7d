"""How the executor of other processes deals work: who may take it, what is alone, what a lost worker costs.

The pool is a list of what was started; nothing runs.
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from answering import plan_in
from sharded import SQUARE, ElsewhereEngine

from matrix.plan.stages import make_job
from matrix.run.elsewhere import executor as module
from matrix.run.elsewhere.batches import FORGIVEN, Losses
from matrix.run.elsewhere.executor import PoolExecutor
from matrix.run.elsewhere.pool import BatchOver, RowTold, WorkerFacts
from matrix.run.executor import ExecutorFault, Work, WorkFinished
from matrix.run.store import Store

HERE, THERE = WorkerFacts(machine="m1"), WorkerFacts(machine="m2", machine_class="c", measures=True)


class ListedPool:
    def __init__(self, announce, workers):
        self.announce, self.there, self.started = announce, workers, {}

    def workers(self):
        return self.there

    def start(self, batch, order, worker, *, measures=False):
        keys = [each["job"]["key"] for each in json.loads(order)["jobs"]]
        self.started[batch] = (worker, keys, measures)

    def end_all(self, **over):
        for batch in list(self.started):
            self.started.pop(batch)
            self.announce(BatchOver(batch, **over))


@pytest.fixture
def make(tmp_path):
    """An executor for some workers, its pool, and 3 compiles."""
    plan = plan_in(tmp_path / "models", SQUARE)
    works = []
    for node in plan.nodes[1:4]:
        job = make_job(node, environment="e", artifacts={"module.mlir": "a" * 64})
        works.append(Work(job=replace(job, key=f"{node.index}", inputs=()), request=node.request, rank=(0, node.index)))
    with Store(tmp_path / "store") as store:

        def made(**workers):
            pools = []

            def make_pool(announce):
                pools.append(ListedPool(announce, workers))
                return pools[0]

            return PoolExecutor(store=store, engine=ElsewhereEngine("m"), jobs=1, make_pool=make_pool), pools[0], works

        yield made


def timed(work: Work, number: int) -> Work:
    """A round of times of the class of machine c."""
    job = replace(work.job, key=f"t{number}", stage="benchmark", alone=True)
    return replace(work, job=job, machine="c", rank=(1, number))


def test_times_go_to_who_offers_it_in_the_class_of_the_key(make):
    other = WorkerFacts(machine="m3", machine_class="d", measures=True)
    executor, pool, works = make(a=HERE, b=THERE, c=other)
    for number in (1, 2):
        executor.submit(timed(works[0], number))
    executor.news(0)
    assert list(pool.started.values()) == [("b", ["t1"], True)]
    pool.end_all()
    executor.news(0)
    executor.news(0)
    assert list(pool.started.values()) == [("b", ["t2"], True)]


def test_times_of_a_run_come_from_one_machine_as_long_as_it_is_there(make):
    again = WorkerFacts(machine="m4", machine_class="c", measures=True)
    executor, pool, works = make(b=THERE, d=again)
    for number in (1, 2, 3):
        executor.submit(timed(works[0], number))
    executor.news(0)
    assert [worker for worker, *_ in pool.started.values()] == ["b"], "one at a time, on one of the two"
    pool.there = {"d": again}
    pool.end_all(fault="gone", lost=True)
    executor.news(0)
    executor.news(0)
    assert [worker for worker, *_ in pool.started.values()] == ["d"]


def test_what_is_alone_has_its_machine_to_itself(make):
    beside = replace(THERE, measures=False)
    executor, pool, works = make(b=THERE, e=beside)
    executor.submit(works[0])
    executor.news(0)
    ((worker, *_),) = pool.started.values()
    executor.submit(timed(works[0], 1))
    executor.news(0)
    assert len(pool.started) == 1, f"{worker} still works on that machine"
    pool.end_all()
    executor.news(0)
    executor.news(0)
    assert ("b", ["t1"], True) in pool.started.values()
    executor.submit(works[1])
    executor.news(0)
    assert [keys for _, keys, _ in pool.started.values() if works[1].job.key in keys] == []


def many(works: list[Work], count: int) -> list[Work]:
    """So many compiles; one takes a second."""
    first = works[0]
    return [replace(first, job=replace(first.job, key=f"m{place:03}"), rank=(0, place)) for place in range(count)]


def test_a_worker_has_its_next_batch_before_the_present_one_is_over(make):
    executor, pool, works = make(a=HERE)
    for work in many(works, 60):
        executor.submit(work)
    executor.news(0)
    ((batch, (_, keys, _)),) = pool.started.items()
    assert len(keys) == 15

    def told(count):
        for key in keys[:count]:
            pool.announce(RowTold(batch, json.dumps({"row": "result", "key": key, "reused": False, "seconds": 1.0})))
        executor.news(0)
        executor.news(0)

    told(9)
    assert len(pool.started) == 1, "it has 6 s of work"
    told(10)
    executor.news(0)
    assert [worker for worker, *_ in pool.started.values()] == ["a", "a"]
    told(15)
    assert len(pool.started) == 2, "the next one has not begun yet, and has enough"


def test_nobody_has_a_batch_ahead_that_another_worker_lacks(make):
    executor, pool, works = make(a=HERE)
    for work in many(works, 22):
        executor.submit(work)
    executor.news(0)
    ((batch, (_, keys, _)),) = pool.started.items()
    assert len(keys) == 10
    for key in keys[:8]:
        pool.announce(RowTold(batch, json.dumps({"row": "result", "key": key, "reused": False, "seconds": 1.0})))
    pool.there = {"a": HERE, "b": replace(HERE, machine="m5")}
    executor.news(0)
    executor.news(0)
    assert [worker for worker, *_ in pool.started.values()] == ["a", "b"]


def test_what_is_alone_is_not_dealt_ahead(make):
    executor, pool, works = make(b=THERE)
    executor.submit(works[0])
    executor.news(0)
    executor.submit(timed(works[0], 1))
    for work in many(works, 60):
        executor.submit(replace(work, rank=(2, *work.rank)))
    executor.news(0)
    assert [keys for _, keys, _ in pool.started.values()] == [[works[0].job.key]]
    pool.end_all()
    executor.news(0)
    executor.news(0)
    assert list(pool.started.values()) == [("b", ["t1"], True)], "and nothing behind it"


def test_a_lost_worker_costs_its_batch_and_no_try(make):
    executor, pool, works = make(a=HERE)
    for work in works:
        executor.submit(work)
    executor.news(0)
    ((batch, (_, keys, _)),) = pool.started.items()
    assert len(keys) == 3
    pool.announce(RowTold(batch, json.dumps({"row": "started", "key": keys[0]})))
    pool.end_all(fault="gone", lost=True)
    events = executor.news(0)
    assert not [event for event in events if isinstance(event, WorkFinished)]
    executor.news(0)
    assert [{*keys} for _, keys, _ in pool.started.values()] == [{work.job.key for work in works}]
    pool.end_all(fault="it said no")
    assert {event.end.end for event in executor.news(0) if isinstance(event, WorkFinished)} == {"lost"}


def test_what_loses_its_worker_again_and_again_is_lost():
    losses = Losses()
    assert [losses.forgives("k", started=True) for _ in range(6)] == [True] * (FORGIVEN // 2) + [False]
    assert [losses.forgives("n", started=False) for _ in range(11)] == [True] * FORGIVEN + [False]


def test_what_no_worker_takes_is_not_waited_for_for_ever(make, monkeypatch):
    executor, _, works = make(a=HERE)
    executor.submit(timed(works[0], 1))
    assert executor.news(0) == []
    monkeypatch.setattr(module, "FRUITLESS_SECONDS", -1.0)
    (fault,) = executor.news(0)
    assert isinstance(fault, ExecutorFault) and "may measure times on a machine of this class" in str(fault.error)
    assert "the same command goes on" in fault.error.tip
