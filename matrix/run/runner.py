"""Runs the graph of jobs: critical path first, no finished job twice, can be stopped and resumed.

It decides what is carried out; an executor does it. Everything happens on the calling thread.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FrameType

from matrix.core.errors import MatrixError, ModelMissing
from matrix.core.keys import now
from matrix.core.records import Disk, EnvironmentRequest, Job, JobResult, Outcome
from matrix.plan.graph import NodeState, Plan
from matrix.plan.stages import Node, complete, make_job
from matrix.results import signatures
from matrix.results.judge import outcome_of
from matrix.run.cost import Pace, stage_seconds
from matrix.run.executor import (
    EnvironmentKnown,
    EnvironmentRefused,
    Event,
    Executor,
    ExecutorFault,
    Work,
    WorkAnswered,
    WorkFinished,
    WorkStarted,
)
from matrix.run.progress import Progress, Snapshot
from matrix.run.schedule import Schedule, node_rank
from matrix.run.store import Store

ATTEMPTS = 2
"""How often a job is tried in one run while the fault is ours."""
TICK = 0.25
"""Seconds between updates of the display, and between checks of other processes."""


@dataclass(slots=True, kw_only=True)
class RunSummary:
    """The result of a run. `states` has an entry for each node of the plan."""

    states: list[NodeState]
    disk: Disk
    jobs_run: int = 0
    jobs_reused: int = 0
    interrupted: bool = False
    seconds: float = 0.0
    tool_cpu_seconds: float = 0.0
    missing: set[str] = field(default_factory=set)


@dataclass(slots=True, kw_only=True)
class Flight:
    """Work that the executor has, and the nodes that wait for it (several: content cutoff)."""

    work: Work
    nodes: list[int]
    started: bool = False


class Runner:
    """One run of one plan on one executor. Call `run()` once."""

    def __init__(self, *, plan: Plan, store: Store, progress: Progress, executor: Executor) -> None:
        self.plan, self.store, self.progress, self.executor = plan, store, progress, executor
        self.schedule = Schedule(plan)
        self.summary = RunSummary(states=self.schedule.states, disk=executor.disk)
        self.digests: dict[EnvironmentRequest, str] = {}
        self.flights: dict[str, Flight] = {}
        self.attempts: dict[str, int] = defaultdict(int)
        self.finished: set[str] = set()
        """The keys of jobs that this run has finished."""
        typical = stage_seconds(plan, store.typical_seconds())
        self.pace = Pace(typical, cores=executor.cores, prefetch=executor.prefetch)
        self.signals = 0
        self.stopping = False
        self.fatal: MatrixError | None = None
        self.begun = time.monotonic()

    def run(self) -> RunSummary:
        """Runs what is not in the store. Raises the error that ended it early; finished results are kept."""
        in_order = False
        try:
            with self._signals():
                self.executor.prepare(self.plan.environments(), self.schedule.needs)
                self._loop()
            in_order = not (self.fatal or self.summary.interrupted)
        finally:
            if in_order:
                self.executor.close()
            else:
                self.executor.terminate()
        self.summary.seconds = time.monotonic() - self.begun
        self._show()
        if self.fatal:
            raise self.fatal
        return self.summary

    def _loop(self) -> None:
        while not (self.fatal or self.summary.interrupted):
            self._dispatch()
            self._show()
            if self._idle():
                return
            for event in self.executor.news(TICK):
                self._handle(event)
            self._heed_signals()

    def _idle(self) -> bool:
        """Whether nothing runs, and nothing can start any more."""
        if self.stopping:
            self.summary.interrupted = self.summary.interrupted or not self.flights
            return not self.flights
        return not (self.flights or self.schedule.waiting)

    # -- from ready nodes to work

    def _dispatch(self) -> None:
        while not self.stopping and self.executor.has_room and (node := self.schedule.take()) is not None:
            self._begin(node)

    def _begin(self, node: Node) -> None:
        """Answers a job from the store, shares it with a node that has the same job, or submits it."""
        assert node.request is not None  # a node without an environment has an obstacle and is never ready
        digest = self.digests.get(node.request)
        if digest is None:
            self.schedule.park(node)
            return
        artifacts = self.schedule.artifacts(node)
        job = make_job(node, environment=digest, artifacts=artifacts)
        self._keep_given(node)
        if job.key in self.flights:
            self.summary.jobs_reused += 1
            self.flights[job.key].nodes.append(node.index)
        elif not self._reuse(node.index, job):
            self._submit(Flight(work=Work(job=job, request=node.request, rank=node_rank(node)), nodes=[node.index]))

    def _submit(self, flight: Flight) -> None:
        self.flights[flight.work.job.key] = flight
        self.attempts[flight.work.job.key] += 1
        self.executor.submit(flight.work)

    def _keep_given(self, node: Node) -> None:
        """Puts the files of a value into the store: later stages read them from there, even if this job has a
        result."""
        for name, path, digest in node.given:
            if not self.store.blob(digest).exists() and self.store.put_copy(path, name).digest != digest:
                raise ModelMissing(f"{path}: it was changed since this run began", tip="run again: the new one is read")

    def _reuse(self, index: int, job: Job) -> bool:
        result = self.store.result(job.key)
        if result is not None:
            self.summary.jobs_reused += 1
            if job.key in self.finished:
                self.pace.note(job.stage, 0.0)
            self.schedule.finish(index, result)
        return result is not None

    # -- events

    def _handle(self, event: Event) -> None:
        match event:
            case WorkStarted():
                if event.key in self.flights:
                    self.flights[event.key].started = True
            case WorkFinished():
                self._finished(event)
            case WorkAnswered():
                if flight := self.flights.pop(event.key, None):
                    self._put_back(flight)
            case EnvironmentKnown():
                self.digests[event.request] = event.digest
                self._land(event.request, still=event.digest)
                self.schedule.unpark(event.request)
            case EnvironmentRefused():
                self._refused(event)
            case ExecutorFault():
                if not isinstance(event.error, MatrixError):
                    raise event.error
                self.fatal = self.fatal or event.error

    def _land(self, request: EnvironmentRequest, *, still: str = "") -> None:
        """Drops the work for an environment, except work with the digest `still`: the executor has dropped it."""
        for key, flight in list(self.flights.items()):
            if flight.work.request == request and flight.work.job.environment != still:
                self._put_back(self.flights.pop(key))

    def _put_back(self, flight: Flight) -> None:
        for index in flight.nodes:
            self.schedule.put_back(self.plan.nodes[index])

    def _refused(self, event: EnvironmentRefused) -> None:
        if event.outcome is Outcome.UNTESTED:
            self.summary.missing.add(event.reason)
        self.digests.pop(event.request, None)
        self._land(event.request)
        self.schedule.obstruct(event.request, event.outcome, event.reason)

    def _finished(self, event: WorkFinished) -> None:
        flight = self.flights.pop(event.key, None)
        if flight is None:
            return
        job = flight.work.job
        if event.end.end == "killed" or (self.stopping and event.end.end == "lost"):  # by us: it never happened
            return
        result = _result(job, event)
        if result.outcome is Outcome.INFRASTRUCTURE and self.attempts[job.key] < ATTEMPTS:
            self.progress.note(f"{job.stage} {job.label}: {event.end.error or event.end.end}; tried again")
            self._put_back(flight)
            return
        try:
            self.store.record(result)
        except MatrixError as error:
            self.fatal = self.fatal or error
            return
        self.summary.jobs_run += 1
        self.finished.add(job.key)
        self.pace.note(job.stage, event.seconds, nodes=len(flight.nodes))
        self.summary.tool_cpu_seconds += event.end.cpu_seconds
        for index in flight.nodes:
            self.schedule.finish(index, result)

    # -- signals and progress

    def _heed_signals(self) -> None:
        """The first signal stops in order, the second at once."""
        if self.signals > 1:
            self.summary.interrupted = True
        elif self.signals and not self.stopping:
            self.stopping = True
            self.executor.stop()
            self.progress.note("stopping: running jobs are finished first; Ctrl-C again stops at once")

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def note(_number: int, _frame: FrameType | None) -> None:
            self.signals += 1
            self.executor.wake()

        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _show(self) -> None:
        running = sum(flight.started for flight in self.flights.values())
        installing = self.executor.installing
        self.progress.show(
            Snapshot(
                cells=len(self.plan.cells),
                cells_done=self.schedule.cells_done,
                red=self.schedule.cells_red,
                running=running,
                given=self.executor.under_way - running,
                installing=installing,
                jobs_run=self.summary.jobs_run,
                jobs_reused=self.summary.jobs_reused,
                repeats=self.schedule.repeats,
                repeats_done=self.schedule.repeats_done,
                left=None if installing else self.pace.left(self.schedule.left),
            )
        )


def _result(job: Job, event: WorkFinished) -> JobResult:
    good = event.end.end == "exited" and event.end.exit_code == 0
    known = None if good else signatures.recognise(event.end.log).outcome
    has_outputs = complete(job, [artifact.name for artifact in event.outputs])
    words = (f"{name}={value}" for name, value in job.arguments if not name.endswith("_file"))
    return JobResult(
        key=job.key,
        stage=job.stage,
        outcome=outcome_of(event.end, has_outputs=has_outputs, recognised=known),
        label=job.label,
        environment=event.environment,
        end=event.end,
        outputs=event.outputs,
        command=job.argv or (job.script, *words),
        inputs=job.inputs,
        finished_at=now(),
        machine=event.machine,
        engine=event.engine,
    )
