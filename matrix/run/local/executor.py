"""The executor for this machine: an engine, its environments, and claims on jobs against other processes."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import queue
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from matrix.core.errors import MatrixError
from matrix.core.machine import memory_bytes
from matrix.core.records import Artifact, Environment, EnvironmentRequest, JobEnd, Outcome
from matrix.engines.contract import Engine
from matrix.engines.worker import Finished, Lost, Started, WorkerEvent
from matrix.run.executor import (
    EnvironmentKnown,
    EnvironmentRefused,
    Event,
    ExecutorFault,
    Noted,
    Rank,
    Work,
    WorkAnswered,
    WorkFinished,
    WorkStarted,
)
from matrix.run.local.collecting import Collected, Collector
from matrix.run.local.memory import Memory
from matrix.run.local.provision import (
    Damaged,
    Provision,
    ProvisionEvent,
    ProvisionFault,
    Realised,
    RecipeKnown,
    Removed,
)
from matrix.run.local.verifying import OF_THE_JOB, EndVerifier, Verified
from matrix.run.store import Store


@dataclass(frozen=True, slots=True)
class _Wake:
    """Nothing happened: ends a wait for news."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Active:
    """Work that a worker has, and since when (monotonic clock). `damage`: what its environment was found to have
    meanwhile."""

    work: Work
    begun: float
    damage: str = ""


_Raw: TypeAlias = WorkerEvent | ProvisionEvent | Collected | Verified | _Wake


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
        is_wrong: Callable[[Mapping[str, str]], bool] = lambda _: False,
        memory: int | None = None,
    ) -> None:
        """`machine` is the class of this machine; `budget_bytes` is the limit for environments (see
        `EnvironmentDisk`); `is_wrong` tells of the artifacts of a cell that ran whether its outputs are. `memory`: the
        bytes that all jobs may use together, by default this machine's."""
        self._store, self._machine = store, machine
        self._raw: queue.SimpleQueue[_Raw] = queue.SimpleQueue()
        self.engine = make_engine(self._raw.put)
        self.cores, self.prefetch = cores, self.engine.prefetch
        self._provision = Provision(engine=self.engine, store=store, announce=self._raw.put, budget_bytes=budget_bytes)
        self._verifier = EndVerifier(store, self._provision, self._raw.put, is_wrong)
        self._collector = Collector(store, self._raw.put)
        self._memory = Memory(memory_bytes() if memory is None else memory, cores)
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
        return len(jobs) < self.cores * (1 if any(job.script for job in jobs) else 1 + self.prefetch)

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
        if not any(work.job.alone for work in self._elsewhere):  # none of them waits for its turn
            self._store.claims.machine.stand_back()
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
            job, others = entry[-1].job, [active.work.job for active in self._active.values()]
            if (job.alone and not self._quiet) or not self._memory.fits(job, others):
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
        elif not self._store.claims.take_job(work.job):
            self._elsewhere.append(work)
        elif not work.again and self._store.result(work.job.key):  # another process was faster: it had the claim
            self._store.claims.release_job(work.job)
            self._events.append(WorkAnswered(key=work.job.key))
        else:
            self._start(work, environment)

    def _start(self, work: Work, environment: Environment) -> None:
        job = replace(work.job, limits=replace(work.job.limits, memory_bytes=self._memory.limit(work.job)))
        self._active[job.key] = _Active(work=work, begun=time.monotonic())
        try:
            self.engine.start(job, environment, {name: self._store.blob(digest) for name, digest in job.inputs})
        except OSError as error:
            self._finished(JobEnd(key=job.key, end="not_started", error=f"{type(error).__name__}: {error}"))

    def _release_told(self) -> None:
        for work in self._told:
            self._store.claims.release_job(work.job)
        self._told = []

    # -- events

    def _handle(self, event: _Raw) -> None:
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
            case Collected():
                self._collected(event)
            case Verified():
                self._verified(event)
            case Damaged():
                self._events.append(Noted(text=f"{event.request.label}: {event.damage}; it is made again"))
            case Removed():
                self._provision.disk.note_removed(event.request, event.held_bytes, gone=event.gone)
            case ProvisionFault():
                if not self._stopping:  # else this executor ended it
                    self._events.append(ExecutorFault(error=event.error))
            case _:  # a worker is ready: the environment's record already has its facts
                pass

    def _finished(self, end: JobEnd) -> None:
        active = self._active.get(end.key)
        if active is None:
            return
        job = active.work.job
        if end.end == "crowded_out" and not (job.alone or self._stopping):
            self._again(replace(active.work, job=replace(job, alone=True)), f"{end.error}; it runs again, alone")
        elif (why := self._memory.needs_more(job, end)) and not self._stopping:
            self._again(active.work, f"{why}; it runs again, as soon as there is more")
        elif (end.end, end.exit_code) == ("exited", 0):
            try:
                self._collector.take(active.work, end, self.engine.collect(active.work.job))
            except MatrixError as error:
                self._collected(Collected(end=end, fault=error))
        else:
            self._collected(Collected(end=end))

    def _collected(self, event: Collected) -> None:
        if event.fault:
            self._events.append(ExecutorFault(error=event.fault))
        elif self._verifier.doubts(work := self._active[event.end.key].work, event.end, event.outputs):
            self._verifier.look(work, event.end, event.outputs)
        else:
            self._conclude(event.end, event.outputs)

    def _again(self, work: Work, why: str) -> None:
        """Starts a job again: together with others it needed more memory than this machine has."""
        self.engine.clear(work.job)
        self._store.claims.release_job(self._active.pop(work.job.key).work.job)
        self._events.append(Noted(text=f"{work.job.stage} {work.job.label}: {why}"))
        self._elsewhere.append(work)

    def _verified(self, event: Verified) -> None:
        """Takes away what is damaged: then the end says nothing about a release."""
        if event.fault:
            self._events.append(ExecutorFault(error=event.fault))
            return
        found = self._active[event.end.key]
        known = {found.work.request} if found.damage else set()  # another job found it, and it is made again already
        event = replace(event, environments={key: how for key, how in event.environments.items() if key not in known})
        for request in event.environments:
            self._provision.discard(request)
            self._warm.discard(request)
        for digest in (*event.inputs, *event.suspect):
            self._store.drop(digest)
        for key, active in self._active.items():
            if key != event.end.key and (damage := event.concerns(active.work)):
                self._active[key] = replace(active, damage=damage)
        self._conclude(event.end_of(found.work), event.outputs)

    def _conclude(self, end: JobEnd, outputs: tuple[Artifact, ...]) -> None:
        active = self._active.pop(end.key)
        job = active.work.job
        if active.damage and end.end in OF_THE_JOB:
            end, outputs = JobEnd(key=end.key, end="lost", error=active.damage, log=end.log), ()
        self.engine.clear(job)
        if job.script and end.end != "lost":
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
                machine=self._provision.board(work.request) or self._machine,
                seconds=seconds,
            )
        )

    def _lost(self, event: Lost) -> None:
        """A worker that had no job is not missed: the next job gets a new one."""
        for key in event.job_ids:
            self._finished(JobEnd(key=key, end="lost", error=event.reason, log=event.stderr_tail))

    def _recipe_known(self, event: RecipeKnown) -> None:
        known = self._provision.known(event)
        if self._stopping:
            return
        if known and known.refusal:
            self._refuse(event.request, Outcome.NOT_INSTALLABLE, known.refusal)
        elif known:
            self._events.append(EnvironmentKnown(request=event.request, digest=known.digest))
        elif event.missing:
            self._refuse(event.request, Outcome.UNTESTED, event.missing)
        else:
            self._provision.ask(event.request)

    def _realised(self, event: Realised) -> None:
        self._provision.remember(event)
        if event.environment is None:
            self._refuse(event.request, *event.obstacle)
            return
        for work in self._parked.pop(event.request, []):
            if work.job.environment == event.environment.digest:
                heapq.heappush(self._waiting, (work.rank, next(self._count), work))
        self._events.append(EnvironmentKnown(request=event.request, digest=event.environment.digest))

    def _refuse(self, request: EnvironmentRequest, outcome: Outcome, reason: str) -> None:
        self._parked.pop(request, None)
        self._events.append(EnvironmentRefused(request=request, outcome=outcome, reason=reason))
