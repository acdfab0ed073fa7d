"""The executor of this machine on an engine that only answers. Real engines: tests/real."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from answering import AnsweringEngine, plan_in

from matrix.core.errors import DiskFull, WheelLacking
from matrix.core.records import EnvironmentRequest, Job, JobEnd, JobResult, Outcome
from matrix.engines.worker import Finished, Lost, WorkerEvent
from matrix.plan.graph import Plan
from matrix.plan.stages import Node, make_job
from matrix.run import claims, runner
from matrix.run.carry_out import measured_again
from matrix.run.cost import disk_cost
from matrix.run.executor import (
    EnvironmentKnown,
    Event,
    ExecutorFault,
    Noted,
    Work,
    WorkAnswered,
    WorkFinished,
)
from matrix.run.local.executor import LocalExecutor
from matrix.run.progress import PlainProgress
from matrix.run.runner import Runner
from matrix.run.store import KnownEnvironment, Store

TIMED = """
stages = ["export", "compile", "run", "benchmark"]
[axes]
compiler = ["2.9.0", "3.0.0", "3.7.0"]
runtime = ["2.9.0", "3.0.0"]
[benchmark]
rounds = 2
passes = 1
baseline = { compiler = "2.9.0" }
[repeat]
compile = 2
"""
GIGABYTE = 1_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as opened:
        yield opened


class Local:
    """An executor with its engine, and the events that it told."""

    def __init__(self, store: Store, *, kind=AnsweringEngine, cores=2, budget=None, memory=None) -> None:
        self.store = store
        make = self._make(kind)
        self.executor = LocalExecutor(
            store=store, cores=cores, machine="m", make_engine=make, budget_bytes=budget, memory=memory
        )
        self.engine: AnsweringEngine = self.executor.engine
        self.seen: list[Event] = []

    def _make(self, kind) -> Callable[[Callable[[WorkerEvent], None]], AnsweringEngine]:
        return lambda on_event: kind(self.store.folder.parent / "work", on_event)

    def carry_out(self, plan: Plan):
        with (self.store.folder.parent / "progress").open("w") as stream:
            return Runner(plan=plan, store=self.store, progress=PlainProgress(stream), executor=self.executor).run()

    def until(self, kind: type[Event], count: int = 1) -> list[Event]:
        """Asks for news until so many of a kind came."""
        deadline = time.monotonic() + 5
        while len(found := [event for event in self.seen if isinstance(event, kind)]) < count:
            assert time.monotonic() < deadline, self.seen
            self.seen += self.executor.news(0.02)
        return found


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return plan_in(tmp_path / "models", '[axes]\ncompiler = ["2.9.0", "3.0.0"]\nruntime = "2.9.0"\n')


def prepared(made: Local, plan: Plan) -> Local:
    made.executor.prepare(plan.environments(), lambda _: True)
    made.until(EnvironmentKnown, len(plan.environments()))
    made.seen.clear()
    return made


@pytest.fixture
def local(store: Store, plan: Plan) -> Iterator[Local]:
    made = prepared(Local(store), plan)
    yield made
    made.executor.terminate()


def work_of(plan: Plan, store: Store, *, index: int = 0, environment: str = "") -> Work:
    node: Node = plan.nodes[index]
    (store.places.scratch / "x").write_bytes(b"x")
    module = store.put(store.places.scratch / "x", "module.mlir").digest
    for name, path, _ in node.given:
        store.put_copy(path, name)
    artifacts = {"module.mlir": module, "module.vmfb": module}
    job = make_job(node, environment=environment or node.request.label, artifacts=artifacts)
    return Work(job=job, request=node.request, rank=(index,))


def result_of(work: Work) -> JobResult:
    job: Job = work.job
    return JobResult(
        key=job.key, stage=job.stage, outcome=Outcome.PASSED, label="", environment="", outputs=(), command=(),
        end=JobEnd(key=job.key, end="exited"), inputs=(), finished_at="2026-01-01T00:00:00Z", machine="", engine="",
    )  # fmt: skip


def test_work_goes_in_and_events_come_out(local, plan, store):
    work = work_of(plan, store)
    local.executor.submit(work)
    assert local.executor.under_way == 1
    (finished,) = local.until(WorkFinished)
    assert (finished.key, finished.end.end, finished.machine) == (work.job.key, "exited", "m")
    assert (finished.environment, finished.engine) == (work.request.label, "answering")
    assert {artifact.name for artifact in finished.outputs} >= {"module.mlir", "export.json"}
    assert all(store.blob(artifact.digest).is_file() for artifact in finished.outputs)
    assert local.engine.cleared == [work.job.key]
    assert local.executor.under_way == 0


def test_a_claim_is_held_until_the_end_was_taken_in(local, plan, store):
    work = work_of(plan, store)
    local.executor.submit(work)
    local.until(WorkFinished)
    assert not store.claims.take(work.job.key)
    local.executor.news(0)
    assert store.claims.take(work.job.key)


def test_work_that_another_process_has_waits_and_is_then_answered(local, plan, store):
    work, other = work_of(plan, store, index=1), work_of(plan, store, index=2)
    assert store.claims.take(work.job.key)
    local.executor.submit(work)
    local.executor.submit(other)
    local.until(WorkFinished)
    assert [job.key for job, _ in local.engine.started] == [other.job.key]
    store.record(result_of(work))
    store.claims.release(work.job.key)
    assert local.until(WorkAnswered) == [WorkAnswered(key=work.job.key)]
    assert len(local.engine.started) == 1


def test_stop_ends_what_waits_and_leaves_what_runs(local, plan, store):
    running, waiting = work_of(plan, store, index=1), work_of(plan, store, index=2)
    store.claims.take(waiting.job.key)
    for work in (running, waiting):
        local.executor.submit(work)
    local.executor.stop()
    ends = {event.key: event.end.end for event in local.until(WorkFinished, 2)}
    assert ends == {running.job.key: "exited", waiting.job.key: "killed"}
    assert local.engine.cancelled == [running.job.key]


def test_a_lost_worker_takes_its_jobs_along_and_without_any_nothing(local, plan, store):
    work = work_of(plan, store)
    local.engine.start = lambda job, environment, inputs: None
    local.executor.submit(work)
    for jobs in ((work.job.key,), ()):
        gone = Lost(worker="w", reason="ended by itself", exit_status=1, stderr_tail="oops", job_ids=jobs)
        local.engine.on_event(gone)
    (finished,) = local.until(WorkFinished)
    assert (finished.end.end, finished.end.error, finished.end.log) == ("lost", "ended by itself", "oops")
    assert not local.executor.news(0.05)


def test_a_job_that_was_crowded_out_runs_again_alone(local, plan, store):
    """Two jobs at once needed more memory than the machine has: that is no finding against either."""
    works = [work_of(plan, store, index=index) for index in (1, 2)]
    start = local.engine.start

    def crowded(job, environment, inputs):
        if not job.alone and job.key == works[0].job.key:
            local.engine.started.append((job, []))
            end = JobEnd(key=job.key, end="crowded_out", error="this machine ran out of memory")
            local.engine.on_event(Finished(worker="w", end=end))
        else:
            start(job, environment, inputs)

    local.engine.start = crowded
    for work in works:
        local.executor.submit(work)
    assert {event.end.end for event in local.until(WorkFinished, 2)} == {"exited"}
    (noted,) = local.until(Noted)
    assert "this machine ran out of memory; it runs again, alone" in noted.text
    begun = [(job.key, job.alone, beside) for job, beside in local.engine.started if job.key == works[0].job.key]
    assert begun == [(works[0].job.key, False, []), (works[0].job.key, True, [])]
    assert local.engine.beside_alone == []


def two_exports(plan: Plan, store: Store) -> list[Work]:
    """Of another model each, as far as an executor can see."""
    one = next(work_of(plan, store, index=node.index) for node in plan.nodes if node.stage == "export")
    return [one, replace(one, job=replace(one.job, key="another"))]


def test_two_exports_never_have_more_memory_than_the_machine(store, plan):
    """Each may use 16 GiB by its stage; the machine has 23."""
    exports, local = two_exports(plan, store), prepared(Local(store, memory=23 << 30), plan)
    assert [work.job.limits.memory_bytes for work in exports] == [16 << 30] * 2
    for work in exports:
        local.executor.submit(work)
    local.until(WorkFinished, 2)
    assert {job.key: job.limits.memory_bytes for job, _ in local.engine.started} == {
        work.job.key: 23 << 29 for work in exports
    }


def test_a_job_that_needs_more_than_its_share_gets_its_whole_limit_alone(store, plan):
    """An end by its share is no finding; an end by its own limit is one."""
    (big, other), local = two_exports(plan, store), prepared(Local(store, memory=23 << 30), plan)
    start = local.engine.start

    def hungry(job, environment, inputs):
        if job.key == big.job.key:
            local.engine.started.append((job, sorted(local.engine.under_way.values())))
            local.engine.on_event(Finished(worker="w", end=JobEnd(key=job.key, end="out_of_memory")))
        else:
            start(job, environment, inputs)

    local.engine.start = hungry
    for work in (big, other):
        local.executor.submit(work)
    ends = {event.key: event.end.end for event in local.until(WorkFinished, 2)}
    assert ends == {big.job.key: "out_of_memory", other.job.key: "exited"}
    begun = [(job.limits.memory_bytes >> 20, beside) for job, beside in local.engine.started if job.key == big.job.key]
    assert begun[0][0] == 23 << 9
    assert begun[1:] == [(16 << 10, [])]
    (noted,) = local.until(Noted)
    assert "it needs more than 11776 MiB, its share of this machine's memory; it runs again" in noted.text


def test_a_job_that_cannot_be_laid_out_says_why(local, plan, store):
    def start(*_):
        raise FileNotFoundError(2, "No such file or directory", "blob")

    local.engine.start = start
    local.executor.submit(work_of(plan, store))
    (finished,) = local.until(WorkFinished)
    assert finished.end.end == "not_started"
    assert "FileNotFoundError" in finished.end.error


def test_what_cannot_be_kept_ends_the_run(local, plan, store, monkeypatch):
    def full(*_):
        raise DiskFull("no space", tip="free some")

    work = work_of(plan, store, index=1)
    monkeypatch.setattr(store, "put", full)
    local.executor.submit(work)
    (fault,) = local.until(ExecutorFault)
    assert isinstance(fault.error, DiskFull)


def test_work_for_an_environment_that_is_another_by_now_is_forgotten(local, plan, store):
    work = work_of(plan, store, environment="as it was")
    local.executor.submit(work)
    (known,) = local.until(EnvironmentKnown)
    assert known == EnvironmentKnown(request=work.request, digest=work.request.label)
    assert local.engine.started == []


def test_wake_ends_a_wait(local):
    begun = time.monotonic()
    local.executor.wake()
    assert local.executor.news(5) == []
    assert time.monotonic() - begun < 1


def test_the_engine_sees_a_job_once_and_its_worker_ends_when_nothing_needs_it(store, plan):
    local = Local(store)
    summary = local.carry_out(plan)
    assert [state.result.outcome for state in summary.states] == ["passed"] * 5
    assert len(local.engine.started) == 5
    assert [request.kind for request in local.engine.idle] == ["exporter"]  # only that runs scripts in its worker
    again = Local(store)
    assert (again.carry_out(plan).jobs_run, again.engine.started, again.engine.standing) == (0, [], {})


def test_only_the_environments_of_missing_results_are_made(store, plan, tmp_path):
    Local(store).carry_out(plan)
    more = plan_in(tmp_path / "models", '[axes]\ncompiler = ["2.9.0", "3.0.0"]\nruntime = ["2.9.0", "3.0.0"]\n')
    local = Local(store)
    assert local.carry_out(more).jobs_run == 2
    assert [request.label for request in local.engine.standing] == ["runtime/3.0.0 on Python 3.11"]


def test_what_is_not_installable_is_remembered(store, plan):
    class Refusing(AnsweringEngine):
        refused = ("runtime/2.9.0 on Python 3.11",)

    for engine in (Refusing, AnsweringEngine):
        local = Local(store, kind=engine)
        outcomes = [state.obstacle[0] for state in local.carry_out(plan).states if state.obstacle]
        assert outcomes == [Outcome.NOT_INSTALLABLE] * 2


@pytest.mark.parametrize(("days", "outcome"), [(6, Outcome.NOT_INSTALLABLE), (8, None), (-8, None), (None, None)])
def test_a_refusal_is_asked_again_after_a_week_and_where_it_has_no_date(store, plan, days, outcome):
    """Wheels are published later, too. The week is the same for a clock that was wrong."""

    class Refusing(AnsweringEngine):
        refused = ("runtime/2.9.0 on Python 3.11",)

    Local(store, kind=Refusing).carry_out(plan)
    at = (datetime.now(UTC) - timedelta(days=days)).isoformat() if days is not None else None
    store.remember_environment(
        "runtime/2.9.0 on Python 3.11",
        KnownEnvironment(digest="", refusal="no wheel", record=json.dumps({"refused_at": at} if at else {})),
    )
    states = Local(store).carry_out(plan).states
    assert {state.obstacle[0] for state in states if state.obstacle} == ({outcome} if outcome else set())


@pytest.mark.parametrize(("words", "asked"), [(["not_installable"], True), ([""], True), (["crashed"], False)])
def test_again_asks_the_index_again(store, plan, words, asked):
    class Refusing(AnsweringEngine):
        refused = ("runtime/2.9.0 on Python 3.11",)

    Local(store, kind=Refusing).carry_out(plan)
    measured_again(words, plan, store, "venv")
    assert all(state.result for state in Local(store).carry_out(plan).states) == asked


def test_an_index_that_lacks_wheels_is_no_finding_and_asked_again(store, plan):
    class Lacking(AnsweringEngine):
        def realise(self, request):
            if request.kind == "runtime":
                raise WheelLacking("the index lacks 1 of the 2 wheels", tip="look at the index")
            return super().realise(request)

    states = Local(store, kind=Lacking).carry_out(plan).states
    obstacles = {state.obstacle for state in states if state.obstacle}
    assert obstacles == {(Outcome.INFRASTRUCTURE, "the index lacks 1 of the 2 wheels; look at the index")}
    assert all(state.result for state in Local(store).carry_out(plan).states)


def test_an_environment_that_goes_between_two_jobs_is_made_again(local, plan, store):
    work = work_of(plan, store, index=1)
    local.executor._provision._loaded.clear()
    local.engine.standing.clear()
    local.executor.submit(work)
    local.until(WorkFinished)
    assert [request.label for request in local.engine.standing] == [work.request.label]


def test_a_benchmark_runs_beside_nothing(store, tmp_path):
    plan = plan_in(tmp_path / "models", TIMED)
    local = Local(store)
    summary = local.carry_out(plan)
    assert all(state.result for state in summary.states)
    rounds = [state.result for state in summary.states if state.result.stage == "benchmark"]
    for round_ in rounds:
        assert b"workshop-7" not in store.blob(round_.outputs[0].digest).read_bytes()
        assert round_.end.log == "ok\n"
    started = local.engine.started
    assert {tuple(beside) for job, beside in started if job.alone} == {()}
    assert local.engine.beside_alone == []
    assert any(beside for job, beside in started if not job.alone)
    stages = [job.stage for job, _ in started]
    assert stages.index("benchmark") == len(stages) - len(rounds)
    assert len(rounds) == 2 * 6 + 2 * 2


def test_a_benchmark_waits_for_one_of_another_run(store, tmp_path, monkeypatch):
    plan = plan_in(tmp_path / "models", TIMED.replace('"2.9.0", "3.0.0", "3.7.0"', '"2.9.0"'))
    refused: list[str] = []

    def take(original=store.claims.machine.take):
        if len(refused) < 3:
            refused.append("now")
            return False
        return original()

    monkeypatch.setattr(store.claims.machine, "take", take)
    monkeypatch.setattr(runner, "TICK", 0.01)
    assert all(state.result for state in Local(store).carry_out(plan).states)
    assert len(refused) == 3
    assert store.claims.machine.take()  # it was given back


def alone(work: Work, number: int) -> Work:
    return replace(work, job=replace(work.job, key=f"{number} {work.job.key}", alone=True), rank=(number,))


def test_runs_on_two_stores_measure_in_turns(tmp_path, plan, monkeypatch):
    monkeypatch.setattr(claims, "MACHINE_PLACES", (tmp_path,))
    order, jobs = "", 4
    with Store(tmp_path / "a" / "store") as first, Store(tmp_path / "b" / "store") as second:
        runs = {"a": prepared(Local(first), plan), "b": prepared(Local(second), plan)}
        for local in runs.values():
            for number in range(jobs):
                local.executor.submit(alone(work_of(plan, local.store), number))
        while len(order) < len(runs) * jobs or any(local.executor.under_way for local in runs.values()):
            for name, local in runs.items():
                local.seen += local.executor.news(0.001)
                order += name * (len(local.engine.started) - order.count(name))
            assert sum(len(local.engine.under_way) for local in runs.values()) < 2
        for local in runs.values():
            assert len([event for event in local.seen if isinstance(event, WorkFinished)]) == jobs
            local.executor.terminate()
    assert order == "ab" * jobs


def test_who_cannot_use_its_turn_lets_others_go_first(tmp_path, plan, store, monkeypatch):
    monkeypatch.setattr(claims, "MACHINE_PLACES", (tmp_path,))
    with Store(tmp_path / "other" / "store") as other:
        local, held = prepared(Local(other), plan), claims.MachineTurn([tmp_path])
        assert held.take()
        local.executor.submit(alone(work_of(plan, other), 1))
        third = claims.MachineTurn([tmp_path])
        assert not third.take() and third._next is None, "the run is the next one"
        local.executor.stop()
        local.executor.news(0)
        held.release()
        assert third.take()
        local.executor.terminate()


class Keeping(AnsweringEngine):
    """What it made stays; it knows what that holds."""

    def held_bytes(self, made: EnvironmentRequest | None = None) -> int:
        return 1000 * len(self.standing)

    def free_bytes(self) -> int:
        return 1 << 40


class Removing(Keeping):
    """Its environments hold what they are expected to, and can go."""

    def __init__(self, folder, on_event) -> None:
        super().__init__(folder, on_event)
        self.removed: list[str] = []

    def held_bytes(self, made: EnvironmentRequest | None = None) -> int:
        return sum(disk_cost(request, ()) for request in self.standing.copy())

    def remove(self, request: EnvironmentRequest) -> bool:
        self.removed.append(request.kind)
        return self.standing.pop(request, None) is not None

    def remove_unfinished(self) -> None:
        """Nothing is left."""

    def remove_others(self, keep) -> int:
        return 0


def test_environments_stay_within_the_budget(store, tmp_path):
    """Compilers go when their jobs are over, to make room for the next and for the runtimes."""
    releases = '["2.9.0", "3.0.0", "3.7.0", "3.10.0"]'
    body = f'[axes]\nmodel = "given"\ncompiler = {releases}\nruntime = {releases}\n'
    plan = plan_in(tmp_path / "models", body)
    local = Local(store, kind=Removing, budget=12 * GIGABYTE // 10)
    summary = local.carry_out(plan)
    assert all(state.result for state in summary.states)
    assert summary.disk.budget_bytes == 12 * GIGABYTE // 10
    assert summary.disk.peak_bytes <= summary.disk.budget_bytes
    assert (summary.disk.made, summary.disk.made_again) == (8, [])
    assert local.engine.removed[:2] == ["compiler", "compiler"]
    assert summary.disk.removed == len(local.engine.removed)


def test_a_budget_below_one_environment_ends_the_run(store, plan):
    with pytest.raises(DiskFull, match="no room for exporter"):
        Local(store, kind=Removing, budget=GIGABYTE).carry_out(plan)


def test_an_engine_that_keeps_environments_is_not_stopped_in_mid_run_and_tells_what_it_made(store, plan):
    """What stood before counts as held, not as made; the budget was looked at before."""
    local = Local(store, kind=Keeping, budget=1)
    local.engine.realise(plan.environments()[0])
    disk = local.carry_out(plan).disk
    assert (disk.kept, disk.made, disk.removed) == (True, len(plan.environments()) - 1, 0)
    assert (disk.peak_bytes, disk.budget_bytes) == (1000 * len(plan.environments()), 1)


def test_an_engine_without_a_known_disk_has_no_figures(store, plan):
    disk = Local(store).carry_out(plan).disk
    assert (disk.kept, disk.made, disk.peak_bytes) == (True, len(plan.environments()), 0)
