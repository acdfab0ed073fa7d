"""The executor of this machine on an engine that only answers. Real engines: tests/real."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from answering import AnsweringEngine, plan_in

from matrix.core.errors import DiskFull, WorkerLost
from matrix.core.records import EnvironmentRequest, Job, JobEnd, JobResult, Outcome
from matrix.engines.worker import Lost, WorkerEvent
from matrix.plan.graph import Plan
from matrix.plan.stages import Node, make_job
from matrix.run import runner
from matrix.run.cost import disk_cost
from matrix.run.executor import (
    EnvironmentKnown,
    Event,
    ExecutorFault,
    Work,
    WorkAnswered,
    WorkFinished,
)
from matrix.run.local.executor import ALONE, LocalExecutor
from matrix.run.progress import PlainProgress
from matrix.run.runner import Runner
from matrix.run.store import Store

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

    def __init__(self, store: Store, *, kind: type[AnsweringEngine] = AnsweringEngine, cores=2, budget=None) -> None:
        self.store = store
        self.executor = LocalExecutor(
            store=store, cores=cores, machine="m", make_engine=self._make(kind), budget_bytes=budget
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


@pytest.fixture
def local(store: Store, plan: Plan) -> Iterator[Local]:
    made = Local(store)
    made.executor.prepare(plan.environments(), lambda _: True)
    made.until(EnvironmentKnown, len(plan.environments()))
    made.seen.clear()
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


def test_a_lost_worker_takes_its_jobs_along_and_without_any_the_run(local, plan, store):
    work = work_of(plan, store)
    local.engine.start = lambda job, environment, inputs: None
    local.executor.submit(work)
    for jobs in ((work.job.key,), ()):
        gone = Lost(worker="w", reason="ended by itself", exit_status=1, stderr_tail="oops", job_ids=jobs)
        local.engine.on_event(gone)
    (finished,), (fault,) = local.until(WorkFinished), local.until(ExecutorFault)
    assert (finished.end.end, finished.end.error, finished.end.log) == ("lost", "ended by itself", "oops")
    assert isinstance(fault.error, WorkerLost) and "oops" in str(fault.error)


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

    def take(key, original=store.claims.take):
        if key == ALONE and len(refused) < 3:
            refused.append(key)
            return False
        return original(key)

    monkeypatch.setattr(store.claims, "take", take)
    monkeypatch.setattr(runner, "TICK", 0.01)
    assert all(state.result for state in Local(store).carry_out(plan).states)
    assert len(refused) == 3
    assert store.claims.take(ALONE)  # it was given back


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
