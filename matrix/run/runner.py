"""Runs the graph of jobs: critical path first, no finished job twice, can be stopped and resumed.

It decides what is carried out; an executor does it. Everything happens on the calling thread.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from matrix.core.errors import MatrixError, ModelMissing
from matrix.core.processes import stop_signals
from matrix.core.records import EnvironmentRequest, Job, JobResult, Outcome
from matrix.plan.graph import Plan
from matrix.plan.stages import Node, kinds, make_job
from matrix.run.cost import Pace, stage_seconds
from matrix.run.executor import (
    EnvironmentKnown,
    EnvironmentRefused,
    Event,
    Executor,
    ExecutorFault,
    Flight,
    Flights,
    Noted,
    Work,
    WorkAnswered,
    WorkFinished,
    WorkRecorded,
    WorkStarted,
)
from matrix.run.progress import Progress, Snapshot
from matrix.run.schedule import Attempts, RunSummary, Schedule, job_result, node_rank
from matrix.run.store import Store

TICK = 0.25
"""Seconds between updates of the display, and between checks of other processes."""


class Runner:
    """One run of one plan on one executor. Call `run()` once."""

    def __init__(
        self,
        *,
        plan: Plan,
        store: Store,
        progress: Progress,
        executor: Executor,
        again: Callable[[JobResult], bool] = lambda _: False,
        is_wrong: Callable[[Mapping[str, str]], bool] = lambda _: False,
        deadline: float = math.inf,
    ) -> None:
        """`again` chooses the results of earlier runs that are measured again; `is_wrong` is for the `Schedule`. No job
        starts after the `deadline`, a reading of the monotonic clock."""
        self.plan, self.store, self.progress, self.executor, self._again = plan, store, progress, executor, again
        self.schedule = Schedule(plan, is_wrong)
        self.summary = RunSummary(states=self.schedule.states, disk=executor.disk)
        self.digests: dict[EnvironmentRequest, str] = {}
        self.flights = Flights()
        self.attempts = Attempts()
        self.finished: set[str] = set()
        """The keys of jobs that this run has finished."""
        typical = stage_seconds(plan, store.typical_seconds())
        self.pace = Pace(typical, cores=executor.cores, prefetch=executor.prefetch)
        self.signals = 0
        self.stopping = False
        self.fatal: MatrixError | None = None
        self.deadline = deadline
        self.begun = time.monotonic()

    def run(self) -> RunSummary:
        """Runs what is not in the store. Raises the error that ended it early; finished results are kept."""
        in_order = False
        try:
            with stop_signals(self._note_signal):
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
        if not self.summary.interrupted:
            for node, state in zip(self.plan.nodes, self.schedule.states, strict=True):
                if not state.over:
                    self.summary.faults[node.index] = f"{node.stage}: planned, and never ended"
                elif state.obstacle and state.obstacle[0] is Outcome.INFRASTRUCTURE:
                    self.summary.faults[node.index] = state.obstacle[1]
            places = (self.summary.faults.keys() & {*cell.nodes, *cell.repeats} for cell in self.plan.cells)
            self.summary.faulted_cells = sum(map(bool, places))
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
        elif not self._reuse(node.index, job) and self._inputs_stand(node, job):
            self._submit(node, job, known=self.store.result(job.key) is not None)

    def _submit(self, node: Node, job: Job, *, known: bool) -> None:
        """`known`: it has a result, and is measured again."""
        assert node.request is not None
        if self.attempts.alone(job.key):
            job = replace(job, alone=True)
        nodes = [node.index]

        def waiting() -> list[Node]:
            return [self.plan.nodes[index] for index in nodes]

        work = Work(
            job=job,
            request=node.request,
            rank=node_rank(node),
            again=known,
            machine=node.machine,
            origins=lambda: self.schedule.origins(waiting()),
            compared=lambda: self.schedule.compared(waiting()),
        )
        self.flights[job.key] = Flight(work=work, nodes=nodes)
        self.executor.submit(work)

    def _keep_given(self, node: Node) -> None:
        """Puts the files of a value into the store: later stages read them from there, even if this job has a
        result."""
        for name, path, digest in node.given:
            if not self.store.whole(digest) and self.store.put_copy(path, name).digest != digest:
                raise ModelMissing(f"{path}: it was changed since this run began", tip="run again: the new one is read")

    def _reuse(self, index: int, job: Job) -> bool:
        result = self.store.result_of(job)
        if result is None or (self._again(result) and job.key not in self.finished):
            return False
        looked_into = kinds()[job.stage].looked_into
        if self._drop_damaged(job, [each.digest for each in result.outputs if looked_into(each.name)]):
            return False
        self.summary.jobs_reused += 1
        if job.key in self.finished:
            self.pace.note(job.stage, 0.0)
        self.schedule.finish(index, result)
        return True

    def _inputs_stand(self, node: Node, job: Job) -> bool:
        """Whether a job can start. Where an input is damaged, the job that made it is done again before."""
        if damaged := self._drop_damaged(job, [digest for _, digest in job.inputs]):
            self.schedule.redo(node, damaged)
        return not damaged

    def _drop_damaged(self, job: Job, digests: Iterable[str]) -> list[str]:
        """Removes the damaged ones of these artifacts. Returns them."""
        damaged = [digest for digest in digests if not self.store.whole(digest)]
        for digest in damaged:
            self.store.drop(digest)
            self.progress.note(f"{job.stage} {job.label}: an artifact was damaged on this disk; it is made again")
        for flight in self.flights.values() if damaged else ():
            flight.disturbed |= any(digest in damaged for _, digest in flight.work.job.inputs)
        return damaged

    # -- events

    def _handle(self, event: Event) -> None:
        match event:
            case WorkStarted():
                self.flights.start(event.key)
            case WorkFinished():
                self._finished(event)
            case WorkRecorded() | WorkAnswered():
                self._found(event)
            case EnvironmentKnown():
                self.digests[event.request] = event.digest
                self._land(event.request, still=event.digest)
                self.schedule.unpark(event.request)
            case EnvironmentRefused():
                self._refused(event)
            case Noted():
                self.progress.note(event.text)
            case ExecutorFault():
                if not isinstance(event.error, MatrixError):
                    raise event.error
                self.fatal = self.fatal or event.error

    def _land(self, request: EnvironmentRequest, *, still: str = "") -> None:
        """Drops the work for an environment, except work with the digest `still`: the executor has dropped it."""
        for key, flight in list(self.flights.items()):
            if flight.work.request == request and flight.work.job.environment != still:
                self.flights.land(key)
                self._put_back(flight)

    def _found(self, event: WorkRecorded | WorkAnswered) -> None:
        """The store has a result that another process has made, for this run or for another one."""
        key = event.key if isinstance(event, WorkAnswered) else event.result.key
        if flight := self.flights.land(key):
            if isinstance(event, WorkAnswered):
                self._put_back(flight)
            else:
                self._conclude(flight, event.result, event.seconds)

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
        flight = self.flights.land(event.key)
        if flight is None:
            return
        job = flight.work.job
        if event.end.end == "killed":  # by us: it never happened
            return
        if flight.disturbed:
            self._put_back(flight)
            return
        result = self._judged(job, event)
        if result is None:
            self._put_back(flight)
            return
        if self.signals and result.outcome is not Outcome.PASSED:
            return  # what stops this run may have ended the job too
        try:
            kept = self._record(result)
        except MatrixError as error:
            self.fatal = self.fatal or error
            return
        self._conclude(flight, kept, event.seconds, ended=result)

    def _conclude(self, flight: Flight, kept: JobResult, seconds: float, *, ended: JobResult | None = None) -> None:
        """Takes in what the store has of a job that was carried out; it `ended` so, if that is something else."""
        job, result = flight.work.job, ended or kept
        self.summary.jobs_run += 1
        self.finished.add(job.key)
        self.pace.note(job.stage, seconds, nodes=len(flight.nodes))
        self.summary.tool_cpu_seconds += result.end.cpu_seconds
        for node in map(self.plan.nodes.__getitem__, flight.nodes):
            if not self.schedule.current(node, job.inputs):
                self.schedule.put_back(node)
                continue
            if result.outcome is Outcome.INFRASTRUCTURE:
                self.summary.faults[node.index] = result.end.error or result.end.status
            self.schedule.finish(node.index, kept)

    def _judged(self, job: Job, event: WorkFinished) -> JobResult | None:
        """None if the job must be tried again."""
        result = job_result(job, event)
        judged = self.attempts.judged(result)
        if judged is None and not self.signals:
            then = "tried again" if result.outcome is Outcome.INFRASTRUCTURE else "started once more to confirm it"
            self.progress.note(f"{job.stage} {job.label}: {event.end.error or event.end.status}; {then}")
        return judged

    def _record(self, result: JobResult) -> JobResult:
        """Returns what the store has from now on: a fault of ours does not replace an earlier result."""
        if result.outcome is Outcome.INFRASTRUCTURE and (earlier := self.store.result(result.key)):
            return earlier
        self.store.record(result)
        return result

    # -- signals and progress

    def _heed_signals(self) -> None:
        """The first signal stops in order, as the deadline does, the second at once."""
        self.summary.late = self.summary.late and not self.signals
        if self.signals > 1:
            self.summary.interrupted = True
        elif self.signals and not self.stopping:
            self.stopping = True
            self.executor.stop()
            self.progress.note("stopping: running jobs are finished first; Ctrl-C again stops at once")
        elif not self.stopping and time.monotonic() >= self.deadline:
            self.stopping = self.summary.late = True
            self.executor.stop()
            self.progress.note("the time is over: running jobs are finished first")

    def _note_signal(self) -> None:
        self.signals += 1
        self.executor.wake()

    def _show(self) -> None:
        installing = self.executor.installing
        self.progress.show(
            Snapshot(
                cells=len(self.plan.cells),
                cells_done=self.schedule.cells_done,
                red=self.schedule.cells_red,
                running=self.flights.running,
                given=self.executor.under_way - self.flights.running,
                installing=installing,
                jobs_run=self.summary.jobs_run,
                jobs_reused=self.summary.jobs_reused,
                repeats=self.schedule.repeats,
                repeats_done=self.schedule.repeats_done,
                left=None if installing else self.pace.left(self.schedule.left),
            )
        )
