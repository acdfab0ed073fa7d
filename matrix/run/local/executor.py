"""The executor for this machine: an engine, its environments, and claims on jobs against other processes."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import queue
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from matrix.core.disk import disk_errors
from matrix.core.errors import MatrixError, WorkerLost
from matrix.core.records import Artifact, Environment, EnvironmentRequest, JobEnd, Outcome
from matrix.engines.contract import Engine
from matrix.engines.worker import Finished, Lost, Started, WorkerEvent
from matrix.plan.stages import kinds
from matrix.run.executor import (
    EnvironmentKnown,
    EnvironmentRefused,
    Event,
    ExecutorFault,
    Rank,
    Work,
    WorkAnswered,
    WorkFinished,
    WorkStarted,
)
from matrix.run.local.provision import Provision, ProvisionEvent, ProvisionFault, Realised, RecipeKnown, Removed
from matrix.run.store import Store

ALONE = "a job that must be alone on the machine"


@dataclass(frozen=True, slots=True)
class _Wake:
    """Nothing happened: ends a wait for news."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Active:
    """Work that a worker has, and since when (monotonic clock)."""

    work: Work
    begun: float


class LocalExecutor:
    """See `matrix.run.executor.Executor`."""

    def __init__(
        self,
        *,
        store: Store,
        cores: int,
        machine: str,
        make_engine: Callable[[Callable[[WorkerEvent], None]], Engine],
        budget_bytes: int | None = None,
    ) -> None:
        """`machine` is the class of this machine; `budget_bytes` is the limit for environments (see
        `EnvironmentDisk`)."""
        self._store, self._machine = store, machine
        self._raw: queue.SimpleQueue[WorkerEvent | ProvisionEvent | _Wake] = queue.SimpleQueue()
        self.engine = make_engine(self._raw.put)
        self.cores, self.prefetch = cores, self.engine.prefetch
        self._provision = Provision(engine=self.engine, store=store, announce=self._raw.put, budget_bytes=budget_bytes)
        self.disk = self._provision.disk.record
        self._needed: Callable[[EnvironmentRequest], bool] = lambda _: True
        self._count = itertools.count()
        self._waiting: list[tuple[Rank, int, Work]] = []
        self._parked: dict[EnvironmentRequest, list[Work]] = defaultdict(list)
        self._elsewhere: list[Work] = []
        self._active: dict[str, _Active] = {}
        self._warm: set[EnvironmentRequest] = set()
        self._told: list[Work] = []
        self._events: list[Event] = []
        self._stopping = False

    @property
    def has_room(self) -> bool:
        jobs = [active.work.job for active in self._active.values()]
        if any(job.alone for job in jobs):
            return False
        exporting = any(job.script for job in jobs)
        return len(jobs) < self.cores * (1 if exporting else 1 + self.prefetch)

    @property
    def under_way(self) -> int:
        return len(self._active)

    @property
    def installing(self) -> int:
        return self._provision.making

    def prepare(self, requests: Iterable[EnvironmentRequest], needed: Callable[[EnvironmentRequest], bool]) -> None:
        self._needed = needed
        self._provision.find(requests)

    def submit(self, work: Work) -> None:
        heapq.heappush(self._waiting, (work.rank, next(self._count), work))
        self._start_waiting()

    def news(self, seconds: float) -> Sequence[Event]:
        self._release_told()
        if not self._stopping:
            self._advance()
        if not self._events:
            with contextlib.suppress(queue.Empty):
                self._handle(self._raw.get(timeout=seconds))
                while not self._raw.empty():
                    self._handle(self._raw.get_nowait())
        told, self._events = self._events, []
        return told

    def wake(self) -> None:
        self._raw.put(_Wake())

    def stop(self) -> None:
        self._stopping = True
        self._provision.cancel()
        for key in self._active:
            self.engine.cancel(key)
        parked = [work for works in self._parked.values() for work in works]
        for work in (*(work for _, _, work in self._waiting), *parked, *self._elsewhere):
            self._tell(work, JobEnd(key=work.job.key, end="killed"))
        self._waiting, self._elsewhere = [], []
        self._parked.clear()

    def close(self) -> None:
        self._release_told()
        self.engine.close()
        self._provision.close()

    def terminate(self) -> None:
        self._provision.cancel()
        self.engine.terminate()
        self._provision.close()

    # -- from work to jobs

    def _advance(self) -> None:
        for work in self._elsewhere:
            heapq.heappush(self._waiting, (work.rank, next(self._count), work))
        self._elsewhere = []
        self._start_waiting()
        for request in [request for request in self._warm if not self._needed(request)]:
            self._warm.discard(request)
            self._provision.close_worker(request)
        self._provision.admit(self._needed, idle=not (self._active or self._elsewhere))

    def _start_waiting(self) -> None:
        while self._waiting and self.has_room:
            entry = heapq.heappop(self._waiting)
            if entry[-1].job.alone and not self._quiet:
                heapq.heappush(self._waiting, entry)
                return
            self._begin(entry[-1])

    @property
    def _quiet(self) -> bool:
        """Whether nothing of this run would disturb a time measurement: no job runs, nothing is installed or
        removed."""
        return not (self._active or self._elsewhere or self._parked or self._provision.busy)

    def _begin(self, work: Work) -> None:
        environment = None if work.request in self._parked else self._provision.environment(work.request)
        if environment is None:
            self._parked[work.request].append(work)
            self._provision.ask(work.request)
        elif environment.digest != work.job.environment:
            self._events.append(EnvironmentKnown(request=work.request, digest=environment.digest))
        elif not self._claim(work):
            self._elsewhere.append(work)
        elif self._store.result(work.job.key):  # another process finished it between the check and the claim
            self._release(work)
            self._events.append(WorkAnswered(key=work.job.key))
        else:
            self._start(work, environment)

    def _start(self, work: Work, environment: Environment) -> None:
        job = work.job
        self._active[job.key] = _Active(work=work, begun=time.monotonic())
        try:
            self.engine.start(job, environment, {name: self._store.blob(digest) for name, digest in job.inputs})
        except OSError as error:
            self._finished(JobEnd(key=job.key, end="not_started", error=f"{type(error).__name__}: {error}"))

    def _claim(self, work: Work) -> bool:
        """Claims a job. One that must run alone also waits for such a job of another run on this store."""
        if work.job.alone and not self._store.claims.take(ALONE):
            return False
        if self._store.claims.take(work.job.key):
            return True
        if work.job.alone:
            self._store.claims.release(ALONE)
        return False

    def _release(self, work: Work) -> None:
        self._store.claims.release(work.job.key)
        if work.job.alone:
            self._store.claims.release(ALONE)

    def _release_told(self) -> None:
        for work in self._told:
            self._release(work)
        self._told = []

    # -- events

    def _handle(self, event: WorkerEvent | ProvisionEvent | _Wake) -> None:
        match event:
            case Started():
                self._events.append(WorkStarted(key=event.job_id))
            case Finished():
                self._finished(event.end)
            case Lost():
                self._lost(event)
            case RecipeKnown():
                self._recipe_known(event)
            case Realised():
                self._realised(event)
            case Removed():
                self._provision.disk.note_removed(event.request, event.held_bytes, gone=event.gone)
            case ProvisionFault():
                if not self._stopping:  # else this executor ended it
                    self._events.append(ExecutorFault(error=event.error))
            case _:  # a worker is ready: the environment's record already has its facts
                pass

    def _finished(self, end: JobEnd) -> None:
        active = self._active.pop(end.key, None)
        if active is None:
            return
        job = active.work.job
        try:
            end, outputs = self._collected(active.work, end)
        except MatrixError as error:
            self._events.append(ExecutorFault(error=error))
            return
        self.engine.clear(job)
        if job.script:
            self._warm.add(active.work.request)
        self._told.append(active.work)
        self._tell(active.work, end, outputs, seconds=time.monotonic() - active.begun)

    def _tell(self, work: Work, end: JobEnd, outputs: tuple[Artifact, ...] = (), *, seconds: float = 0.0) -> None:
        self._events.append(
            WorkFinished(
                key=work.job.key,
                end=end,
                outputs=outputs,
                environment=work.job.environment,
                engine=self.engine.name,
                machine=self._machine,
                seconds=seconds,
            )
        )

    def _collected(self, work: Work, end: JobEnd) -> tuple[JobEnd, tuple[Artifact, ...]]:
        """Puts the output files of a passed job into the store, without what the stage strips."""
        good = end.end == "exited" and end.exit_code == 0
        files = self.engine.collect(work.job) if good else {}
        if strip := kinds()[work.job.stage].strip:
            for path in files.values():
                stripped = strip(path.read_bytes())
                with disk_errors(path.parent):
                    path.unlink()  # the file may belong to a container's user, the folder is ours
                    path.write_bytes(stripped)
            end = replace(end, log=strip(end.log.encode()).decode())
        return end, tuple(self._store.put(path, name) for name, path in sorted(files.items()))

    def _lost(self, event: Lost) -> None:
        if not event.job_ids:
            text = f"worker {event.worker}: {event.reason}\n{event.stderr_tail}".strip()
            lost = WorkerLost(text, tip="`python -m matrix doctor` looks at this machine")
            self._events.append(ExecutorFault(error=lost))
        for key in event.job_ids:
            self._finished(JobEnd(key=key, end="lost", error=event.reason, log=event.stderr_tail))

    def _recipe_known(self, event: RecipeKnown) -> None:
        known = self._provision.known(event)
        if self._stopping:
            return
        if event.missing:
            self._refuse(event.request, Outcome.UNTESTED, event.missing)
        elif known is None:
            self._provision.ask(event.request)
        elif known.refusal:
            self._refuse(event.request, Outcome.NOT_INSTALLABLE, known.refusal)
        else:
            self._events.append(EnvironmentKnown(request=event.request, digest=known.digest))

    def _realised(self, event: Realised) -> None:
        self._provision.remember(event)
        if event.environment is None:
            self._refuse(event.request, Outcome.NOT_INSTALLABLE, event.refusal)
            return
        for work in self._parked.pop(event.request, []):
            if work.job.environment == event.environment.digest:
                heapq.heappush(self._waiting, (work.rank, next(self._count), work))
        self._events.append(EnvironmentKnown(request=event.request, digest=event.environment.digest))

    def _refuse(self, request: EnvironmentRequest, outcome: Outcome, reason: str) -> None:
        self._parked.pop(request, None)
        self._events.append(EnvironmentRefused(request=request, outcome=outcome, reason=reason))
