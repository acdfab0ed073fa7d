"""Runs the graph of jobs: all cores, critical path first, no finished job twice, stoppable, resumable.

Everything happens on the calling thread, but for the making of environments; news arrives as events.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from types import FrameType

from matrix.core.disk import disk_errors
from matrix.core.errors import MatrixError, WorkerLost
from matrix.core.keys import now
from matrix.core.records import Disk, EnvironmentRequest, Job, JobEnd, JobResult, Outcome
from matrix.engines.contract import Engine
from matrix.engines.worker import Finished, Lost, Started, WorkerEvent
from matrix.plan.graph import NodeState, Plan
from matrix.plan.stages import Node, complete, kinds, make_job
from matrix.results import signatures
from matrix.results.judge import outcome_of
from matrix.run.cost import Pace, stage_seconds
from matrix.run.progress import Progress, Snapshot
from matrix.run.provision import Dropped, Provision, Realised, RecipeKnown
from matrix.run.schedule import Schedule
from matrix.run.store import Store

ATTEMPTS = 2
"""How often a job is tried in one run while our own side fails."""
ALONE = "a job that must be alone on the machine"
TICK = 0.25
"""Seconds between looks at what other processes do, and between signs of life."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Ctrl-C or SIGTERM: the first stops in order, the second at once."""


@dataclass(slots=True, kw_only=True)
class RunSummary:
    """What a run came to. `states` has an entry for each node of the plan, `environments` the digests by request."""

    states: list[NodeState]
    disk: Disk
    environments: dict[EnvironmentRequest, str] = field(default_factory=dict)
    jobs_run: int = 0
    jobs_reused: int = 0
    interrupted: bool = False
    seconds: float = 0.0
    tool_cpu_seconds: float = 0.0
    missing: set[str] = field(default_factory=set)


@dataclass(slots=True, kw_only=True)
class Flight:
    """A job that is with a worker, and the nodes that wait for it (more than one: content cutoff)."""

    job: Job
    nodes: list[int]
    begun: float
    started: bool = False


Event = WorkerEvent | RecipeKnown | Realised | Dropped | Stop


class Runner:
    """One run of one plan on one engine. `run()` once."""

    def __init__(
        self,
        *,
        plan: Plan,
        store: Store,
        progress: Progress,
        cores: int,
        machine: str,
        make_engine: Callable[[Callable[[WorkerEvent], None]], Engine],
        budget_bytes: int | None = None,
    ) -> None:
        self.plan, self.store, self.progress, self.cores, self.machine = plan, store, progress, cores, machine
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.engine = make_engine(self.events.put)
        self.provision = Provision(engine=self.engine, store=store, announce=self.events.put, budget_bytes=budget_bytes)
        self.schedule = Schedule(plan)
        self.summary = RunSummary(
            states=self.schedule.states, environments=self.provision.digests, disk=self.provision.disk
        )
        self.flights: dict[str, Flight] = {}
        self.elsewhere: list[tuple[int, Job]] = []
        self.attempts: dict[str, int] = defaultdict(int)
        self.finished: set[str] = set()
        """The keys of jobs that this run has finished."""
        typical = stage_seconds(plan, store.typical_seconds())
        self.pace = Pace(typical, cores=cores, prefetch=self.engine.prefetch)
        self.stopping = False
        self.fatal: MatrixError | None = None
        self.begun = time.monotonic()

    def run(self) -> RunSummary:
        """Runs what is not in the store. Raises the error that ended it early; what was finished is kept."""
        in_order = False
        try:
            with self._signals():
                self.provision.find(self.plan.environments())
                self._loop()
            in_order = not (self.fatal or self.summary.interrupted)
        finally:
            if in_order:
                self.engine.close()
            else:
                self.provision.cancel()
                self.engine.terminate()
            self.provision.close()
        self.summary.seconds = time.monotonic() - self.begun
        self._show()
        if self.fatal:
            raise self.fatal
        return self.summary

    def _loop(self) -> None:
        while not self.fatal and not self.summary.interrupted:
            self._dispatch()
            if not self.stopping:
                self.provision.admit(self.schedule.needs, idle=not (self.flights or self.elsewhere))
            self._show()
            if self._idle():
                return
            with contextlib.suppress(queue.Empty):
                self._handle(self.events.get(timeout=TICK))
                while not self.events.empty():
                    self._handle(self.events.get_nowait())

    def _idle(self) -> bool:
        """Nothing runs, and nothing can start any more."""
        if self.stopping:
            self.summary.interrupted = self.summary.interrupted or not self.flights
            return not self.flights
        return not (self.flights or self.elsewhere or self.schedule.waiting)

    # -- from ready nodes to jobs

    def _dispatch(self) -> None:
        if self.stopping:
            return
        waiting, self.elsewhere = self.elsewhere, []
        for index, job in waiting:
            self._begin(index, job)
        while self._room() and (node := self.schedule.take()) is not None:
            if node.kind.alone and not self._quiet():
                self.schedule.put_back(node)
                return
            assert node.request is not None  # a node without an environment has an obstacle and is never ready
            digest = self.provision.digests.get(node.request)
            if digest is None:
                self.schedule.park(node)
                continue
            job = make_job(
                node,
                environment=digest,
                artifacts=self.schedule.artifacts(node),
                export_digest=self.plan.export_digest,
            )
            self._begin(node.index, job)

    def _quiet(self) -> bool:
        """Nothing of this run is under way that would disturb a time: no job, nothing installed or removed."""
        return not (self.flights or self.elsewhere or self.schedule.parked or self.provision.busy)

    def _room(self) -> bool:
        if any(flight.job.alone for flight in self.flights.values()):
            return False
        exporting = any(flight.job.script for flight in self.flights.values())
        return len(self.flights) < self.cores * (1 if exporting else 1 + self.engine.prefetch)

    def _begin(self, index: int, job: Job) -> None:
        """Answers a job from the store, shares it with a node that came to the same one, or starts it."""
        self._keep_given(self.plan.nodes[index])
        if job.key in self.flights:
            self.summary.jobs_reused += 1
            self.flights[job.key].nodes.append(index)
            return
        if self._reuse(index, job):
            return
        node = self.plan.nodes[index]
        assert node.request is not None
        environment = self.provision.environment(node.request)
        if environment is None:
            self.schedule.park(node)
            self.provision.ask(node.request)
            return
        if not self._claim(job):
            self.elsewhere.append((index, job))
            return
        if self._reuse(index, job):  # finished by another process between the look and the claim
            self._release(job)
            return
        self.flights[job.key] = Flight(job=job, nodes=[index], begun=time.monotonic())
        self.attempts[job.key] += 1
        try:
            self.engine.start(job, environment, {name: self.store.blob(digest) for name, digest in job.inputs})
        except OSError as error:
            self._finished(JobEnd(key=job.key, end="not_started", error=f"{type(error).__name__}: {error}"))

    def _claim(self, job: Job) -> bool:
        """The job is ours to run; one that must be alone also waits for such a job of another run on this store."""
        if job.alone and not self.store.claim(ALONE):
            return False
        if self.store.claim(job.key):
            return True
        self._release(job)
        return False

    def _release(self, job: Job) -> None:
        self.store.release(job.key)
        if job.alone:
            self.store.release(ALONE)

    def _keep_given(self, node: Node) -> None:
        """Later stages read what came with a model from the store, also where this one's job is known already."""
        for name, path, digest in node.given:
            if not self.store.blob(digest).exists():
                self.store.put_copy(path, name)

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
            case Started():
                if event.job_id in self.flights:
                    self.flights[event.job_id].started = True
            case Finished():
                self._finished(event.end)
            case Lost():
                self._lost(event)
            case RecipeKnown():
                self._recipe_known(event)
            case Realised():
                self._realised(event)
            case Dropped():
                if event.error is not None:
                    raise event.error
                self.provision.dropped(event)
            case Stop():
                self._stop()
            case _:  # a worker is ready: what it says of itself stands in the environment's record already
                pass

    def _finished(self, end: JobEnd) -> None:
        flight = self.flights.pop(end.key, None)
        if flight is None:
            return
        job = flight.job
        if end.end == "killed" or (self.stopping and end.end == "lost"):  # by us: it never happened
            self._drop(job)
            return
        try:
            result = self._result(job, end)
            if result.outcome is Outcome.INFRASTRUCTURE and self.attempts[job.key] < ATTEMPTS:
                self.progress.note(f"{job.stage} {job.label}: {end.error or end.end}; tried again")
                self._drop(job)
                for index in flight.nodes:
                    self._begin(index, job)
                return
            self.store.record(result)
        except MatrixError as error:
            self.fatal = self.fatal or error
            return
        self._drop(job)
        self.summary.jobs_run += 1
        self.finished.add(job.key)
        self.pace.note(job.stage, time.monotonic() - flight.begun, nodes=len(flight.nodes))
        self.summary.tool_cpu_seconds += end.cpu_seconds
        for index in flight.nodes:
            self.schedule.finish(index, result)
        request = self.plan.nodes[flight.nodes[0]].request
        if job.script and request and not self.schedule.needs(request):
            self.provision.rest(request)

    def _drop(self, job: Job) -> None:
        self.engine.discard(job)
        self._release(job)

    def _result(self, job: Job, end: JobEnd) -> JobResult:
        good = end.end == "exited" and end.exit_code == 0
        files = self.engine.collect(job) if good else {}
        if strip := kinds()[job.stage].strip:
            for path in files.values():
                stripped = strip(path.read_bytes())
                with disk_errors(path.parent):
                    path.unlink()  # the file may be that of a container's user, the folder is ours
                    path.write_bytes(stripped)
            end = replace(end, log=strip(end.log.encode()).decode())
        known = None if good else signatures.recognise(end.log).outcome
        return JobResult(
            key=job.key,
            stage=job.stage,
            outcome=outcome_of(end, has_outputs=complete(job, files), recognised=known),
            label=job.label,
            environment=job.environment,
            end=end,
            outputs=tuple(self.store.put(path, name) for name, path in sorted(files.items())),
            command=job.argv
            or (job.script, *(f"{name}={value}" for name, value in job.arguments if name != "model_file")),
            inputs=job.inputs,
            finished_at=now(),
            machine=self.machine,
            engine=self.engine.name,
        )

    def _lost(self, event: Lost) -> None:
        if not event.job_ids:
            self.fatal = self.fatal or WorkerLost(
                f"worker {event.worker}: {event.reason}\n{event.stderr_tail}".strip(),
                tip="`python -m matrix doctor` looks at this machine",
            )
        for key in event.job_ids:
            self._finished(JobEnd(key=key, end="lost", error=event.reason, log=event.stderr_tail))

    def _recipe_known(self, event: RecipeKnown) -> None:
        self.provision.answered(event.request)
        if self.stopping:
            return
        if event.missing:
            self.summary.missing.add(event.missing)
            self._obstruct(event.request, Outcome.UNTESTED, event.missing)
            return
        known = self.provision.known(event)
        if known is None:
            self.provision.ask(event.request)
        elif known.refusal:
            self._obstruct(event.request, Outcome.NOT_INSTALLABLE, known.refusal)
        else:
            self.schedule.unpark(event.request)

    def _realised(self, event: Realised) -> None:
        if event.error is not None and self.stopping:
            return  # we ended it ourselves
        if isinstance(event.error, MatrixError):
            self.fatal = self.fatal or event.error
        elif event.error is not None:
            raise event.error
        elif event.refusal:
            self.provision.remember(event)
            self._obstruct(event.request, Outcome.NOT_INSTALLABLE, event.refusal)
        else:
            self.provision.remember(event)
            self.schedule.unpark(event.request)

    def _stop(self) -> None:
        if self.stopping:
            self.summary.interrupted = True
            return
        self.stopping = True
        self.provision.cancel()
        for key in self.flights:
            self.engine.drop(key)
        self.progress.note("stopping: running jobs are finished first; Ctrl-C again stops at once")

    def _obstruct(self, request: EnvironmentRequest, outcome: Outcome, reason: str) -> None:
        self.schedule.obstruct(request, outcome, reason)

    # -- signals and progress

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def note(_number: int, _frame: FrameType | None) -> None:
            self.events.put(Stop())

        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _show(self) -> None:
        self.progress.show(
            Snapshot(
                cells=len(self.plan.cells),
                cells_done=self.schedule.cells_done,
                red=self.schedule.cells_red,
                running=sum(flight.started for flight in self.flights.values()),
                given=sum(not flight.started for flight in self.flights.values()),
                installing=self.provision.making,
                jobs_run=self.summary.jobs_run,
                jobs_reused=self.summary.jobs_reused,
                repeats=self.schedule.repeats,
                repeats_done=self.schedule.repeats_done,
                left=None if self.provision.making else self.pace.left(self.schedule.left),
            )
        )
