"""The executor whose work other processes carry out: it forms batches, and takes in what comes back.

A worker carries out one batch at a time, and has the next one shortly before that is over. It is known by a name, and
may be gone at any moment: what it had not told is work again, and what it had recorded is found before it would run
twice.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import queue
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from matrix.core.errors import EngineMissing, PoolGone
from matrix.core.keys import asked_digest, now
from matrix.core.machine import machine_class
from matrix.core.records import EnvironmentRequest, JobEnd, Outcome
from matrix.core.text import counted
from matrix.engines.contract import Engine
from matrix.run.elsewhere.batches import (
    MOST_OF_A_BATCH,
    Losses,
    RunningBatch,
    WaitingWork,
    choose_environments,
    measures_times,
)
from matrix.run.elsewhere.pool import SAME_AGAIN, BatchOver, Pool, PoolEvent, PoolNoted, RowTold, Woken
from matrix.run.elsewhere.roster import Roster
from matrix.run.executor import (
    Disk,
    EnvironmentKnown,
    EnvironmentRefused,
    Event,
    ExecutorFault,
    Noted,
    Work,
    WorkAnswered,
    WorkFinished,
    WorkRecorded,
    WorkStarted,
)
from matrix.run.local.budget import requests_in_order
from matrix.run.local.provision import is_recent
from matrix.run.schedule import TRIES
from matrix.run.store import ELSEWHERE, KnownEnvironment, Store

FRUITLESS_SECONDS = 300.0
"""How long a run waits for a worker that takes what is left, while none does anything."""
TAKING_SECONDS = 0.5
"""How long it takes work before it looks at its workers again: 50,000 ready jobs would leave them idle for a minute."""
NOT_SHARED = "it told a result, and there is none of this job in the store that the machines share"
NOT_GIVEN = "read the result of {key}…, a job that it was not given: it counts for nothing"


class PoolExecutor:
    """See `matrix.run.executor.Executor`."""

    prefetch = 0

    def __init__(
        self, *, store: Store, engine: Engine, jobs: int, make_pool: Callable[[Callable[[PoolEvent], None]], Pool]
    ) -> None:
        """`engine` knows what this machine has made; those of the workers have its name. Each has `jobs` at a time."""
        self._store, self._looking, self._engine = store, engine, engine.name
        self._raw: queue.SimpleQueue[PoolEvent] = queue.SimpleQueue()
        self._pool = make_pool(self._raw.put)
        self.disk = Disk(budget_bytes=0)
        self._jobs, self.cores = jobs, jobs * max(1, len(self._pool.workers()))
        self._numbers = itertools.count(1)
        self._waiting = WaitingWork()
        self._batches: dict[int, RunningBatch] = {}
        self._wanted: list[EnvironmentRequest] = []
        self._tries: Counter[EnvironmentRequest] = Counter()
        self._roster: Roster[Event] = Roster()
        """`Event`: a worker cannot make an environment, or makes it otherwise."""
        self._needed: Callable[[EnvironmentRequest], bool] = lambda _: True
        self._events: list[Event] = []
        self._stopping = False
        self._losses = Losses()
        self._since = self._looked = time.monotonic()
        """Since when nothing has been under way, and when it last looked for news."""

    @property
    def has_room(self) -> bool:
        return not self._takes_long and len(self._waiting) < MOST_OF_A_BATCH * max(1, len(self._roster.workers))

    @property
    def _takes_long(self) -> bool:
        return time.monotonic() - self._looked > TAKING_SECONDS

    @property
    def under_way(self) -> int:
        return sum(len(batch.works) for batch in self._batches.values())

    @property
    def installing(self) -> int:
        return len(self._wanted) + sum(len(batch.made) for batch in self._batches.values())

    def prepare(self, requests: Iterable[EnvironmentRequest], needed: Callable[[EnvironmentRequest], bool]) -> None:
        self._needed = needed
        for request in requests_in_order(requests):
            recipe = ""
            with contextlib.suppress(EngineMissing):  # a worker may have what this machine lacks
                recipe = self._looking.recipe(request)
            known = next(iter(self._store.environments_known(request, recipe, self._engine)), None)
            if known and known.digest:
                self._events.append(EnvironmentKnown(request=request, digest=known.digest))
            elif known and is_recent(known):
                self._events.append(
                    EnvironmentRefused(request=request, outcome=Outcome.NOT_INSTALLABLE, reason=known.refusal)
                )
            else:
                self._wanted.append(request)

    def submit(self, work: Work) -> None:
        self._waiting.add(work)

    def news(self, seconds: float) -> Sequence[Event]:
        more = self._takes_long  # perhaps there is more to take: no time to wait
        self._assign()
        if not self._events:
            with contextlib.suppress(queue.Empty):
                self._handle(self._raw.get(timeout=0.0 if more else seconds))
                while not self._raw.empty():
                    self._handle(self._raw.get_nowait())
        told, self._events, self._looked = self._events, [], time.monotonic()
        return told

    def wake(self) -> None:
        self._raw.put(Woken())

    def stop(self) -> None:
        self._stopping = True
        for work in self._waiting:
            self._tell(work, JobEnd(key=work.job.key, end="killed"))
        self._waiting, self._wanted = WaitingWork(), []
        self._pool.stop()

    def close(self) -> None:
        self._pool.close()

    def terminate(self) -> None:
        self._pool.end()
        self._pool.close()

    # -- from work to batches

    def _assign(self) -> None:
        if self._stopping:
            return
        for request, said in self._roster.renew(self._pool.workers()).items():
            self._settle(request, said)
        dealt = Counter(batch.worker for batch in self._batches.values())
        idle = [worker for worker in self._roster.workers if not dealt[worker]]
        for place, worker in enumerate(idle):
            self._deal(worker, len(idle) - place)
        for batch in list(self._batches.values()):
            if dealt[batch.worker] == 1 and batch.is_nearly_over(self._jobs) and batch.worker in self._roster.workers:
                self._deal(batch.worker, 1, ahead=True)
        self._wait_for_workers()

    def _deal(self, worker: str, idle: int, *, ahead: bool = False) -> None:
        """Gives a worker its next batch, if there is one; `ahead` of the end of its present one, if there is plenty.
        What has to be alone on its machine waits until the workers there have ended theirs; none of them gets another
        one meanwhile."""
        if ahead and not self._waiting.is_plenty(len(self._roster.workers)):
            return
        machine = self._roster.workers[worker].machine
        beside = [batch for batch in self._batches.values() if batch.machine == machine]
        if any(batch.alone for batch in beside):
            return
        known = self._roster.known_to(worker)
        wanted = [] if ahead else [request for request in self._wanted if self._needed(request)]
        making = any(batch.made for batch in self._batches.values())  # if nobody does, jobs would wait for it later
        made = [] if making else choose_environments(wanted, known["refused"])
        works: list[Work] = []
        if not made:
            takes, workers = partial(self._roster.may_take, worker), len(self._roster.workers)
            works = self._waiting.take_batch(workers=workers, idle=idle, takes=takes, **known)
        if works and works[0].job.alone and beside:
            self._waiting.add(works[0])
        elif works or (made := made or choose_environments(wanted, known["refused"])):
            self._start(worker, works, made)

    def _wait_for_workers(self) -> None:
        """Ends the run where no worker takes what is left: an unknown resource would be waited for for ever."""
        if self._batches or not (self._waiting or self._wanted):
            self._since = time.monotonic()
        elif time.monotonic() - self._since > FRUITLESS_SECONDS:
            self._since = time.monotonic()
            left = f"{counted(len(self._waiting), 'job')} and {counted(len(self._wanted), 'environment')}"
            measured = any(map(measures_times, self._waiting))
            what = f"{left} wait for a worker" + " that may measure times on a machine of this class" * measured
            what += f", and none of {len(self._roster.workers)} takes them for {FRUITLESS_SECONDS:.0f} s"
            self._events.append(ExecutorFault(error=PoolGone(what, tip=SAME_AGAIN)))

    def _start(self, worker: str, works: Sequence[Work], made: Sequence[EnvironmentRequest]) -> None:
        machine, measured = self._roster.workers[worker].machine, any(map(measures_times, works))
        batch = RunningBatch(worker=worker, machine=machine, works={work.job.key: work for work in works}, made=[*made])
        if measured:
            self._roster.measures_on(machine)
        for work in works:
            for _, digest in work.job.inputs:
                self._store.share(digest)
        self._wanted = [request for request in self._wanted if request not in made]
        number = next(self._numbers)
        self._batches[number] = batch
        self._pool.start(number, batch.order_text(self._engine), worker, measures=measured)

    # -- events

    def _handle(self, event: PoolEvent) -> None:
        if isinstance(event, PoolNoted):
            self._events.append(Noted(text=event.text))
        batch = self._batches.get(event.batch) if isinstance(event, RowTold | BatchOver) else None
        if batch is None:
            return
        if isinstance(event, BatchOver):
            self._over(self._batches.pop(event.batch), event)
        elif isinstance(event, RowTold):
            try:
                self._row(batch, json.loads(event.line))
            except (ValueError, KeyError, TypeError, IndexError, AttributeError):
                self._events.append(Noted(text=f"{batch.worker}: read {event.line[:80]!r}, expected a row of `work`"))

    def _row(self, batch: RunningBatch, row: Mapping[str, Any]) -> None:
        match row["row"]:
            case "environment":
                request = batch.requests[row["places"][0]]
                self._environment(batch, request, str(row["digest"]), str(row["record"]))
            case "refused":
                request, outcome = batch.requests[row["places"][0]], Outcome(row["outcome"])
                said = EnvironmentRefused(request=request, outcome=outcome, reason=str(row["reason"]))
                self._refuse(batch, said)
            case "started":
                batch.started.add(str(row["key"]))
                self._events.append(WorkStarted(key=str(row["key"])))
            case "note":
                self._events.append(Noted(text=f"{batch.worker}: {row['text']}"))
            case "result":
                self._result(batch, str(row["key"]), reused=bool(row["reused"]), seconds=float(row["seconds"]))
            case "fault":
                if work := batch.take(str(row["key"])):
                    for _, digest in work.job.inputs:
                        self._store.share(digest, again=True)
                    self._tell(work, JobEnd(**row["end"]))
            case _:  # `over`: the end of the process says the same
                pass

    def _environment(self, batch: RunningBatch, request: EnvironmentRequest, digest: str, record: str) -> None:
        asked = request in batch.made
        if asked:
            batch.made.remove(request)
        if record:
            name = ELSEWHERE.format(request=asked_digest(request, self._engine), digest=digest)
            known = KnownEnvironment(digest=digest, refusal="", record=record)
            self._store.remember_environments([(name, known)])
        meant = {work.job.environment for work in batch.works.values() if work.request == request}
        said = EnvironmentKnown(request=request, digest=digest)
        if meant - {digest}:
            self._put_back(batch, request, said)
            return
        self._roster.has(batch.worker, request)
        if asked:
            self._events.append(said)

    def _refuse(self, batch: RunningBatch, said: EnvironmentRefused) -> None:
        if said.request in batch.made:
            batch.made.remove(said.request)
            self._wanted.append(said.request)
        if said.outcome is Outcome.NOT_INSTALLABLE:
            known = KnownEnvironment(digest="", refusal=said.reason, record=json.dumps({"refused_at": now()}))
            name = ELSEWHERE.format(request=asked_digest(said.request, self._engine), digest="")
            self._store.remember_environments([(name, known)])
            self._settle(said.request, said)
        else:
            self._put_back(batch, said.request, said)

    def _put_back(self, batch: RunningBatch, request: EnvironmentRequest, said: Event) -> None:
        """A worker cannot make an environment, or makes another one: others are asked, and if all say so, that is
        it."""
        for key, work in list(batch.works.items()):
            if work.request == request:
                batch.take(key)
                self._waiting.add(work)
        self._roster.refuses(batch.worker, request, said)

    def _settle(self, request: EnvironmentRequest, said: Event) -> None:
        """What is said of an environment holds for the run: its work is dropped."""
        self._roster.settle(request)
        self._wanted = [each for each in self._wanted if each != request]
        self._waiting.drop(request)
        self._events.append(said)

    def _result(self, batch: RunningBatch, key: str, *, reused: bool, seconds: float) -> None:
        work = batch.take(key)
        if work is None:
            if batch.is_strange(key):
                self._events.append(Noted(text=f"{batch.worker}: {NOT_GIVEN.format(key=key[:12])}"))
            return
        result = self._store.arrived(work.job)
        if result is None:
            self._tell(work, JobEnd(key=key, end="lost", error=f"{batch.worker}: {NOT_SHARED}"))
        elif reused and not work.again:
            self._events.append(WorkAnswered(key=key))
        else:
            self._events.append(WorkRecorded(result=result, seconds=seconds))

    def _over(self, batch: RunningBatch, over: BatchOver) -> None:
        fault = f"{batch.worker}: {over.fault or 'it ended without a word of this job'}"
        if over.lost and not self._stopping:
            which = "of it" if batch.started else "that it had not begun"
            self._events.append(Noted(text=f"{fault}; {counted(len(batch.works), 'job')} {which} are dealt again"))
        for request in batch.made:
            self._tries[request] += 1
            if (over.lost and self._losses.forgives(request, started=True)) or self._tries[request] < TRIES:
                self._wanted.append(request)
            else:
                self._events.append(EnvironmentRefused(request=request, outcome=Outcome.INFRASTRUCTURE, reason=fault))
        for key, work in batch.works.items():
            if self._stopping:
                self._tell(work, JobEnd(key=key, end="killed"))
            elif (result := self._store.arrived(work.job)) and not work.again:  # recorded, and not told any more
                self._events.append(WorkRecorded(result=result, seconds=result.end.seconds))
            elif over.lost and self._losses.forgives(key, started=key in batch.started):
                self._waiting.add(work)
            else:
                self._tell(work, JobEnd(key=key, end="lost", error=fault))

    def _tell(self, work: Work, end: JobEnd) -> None:
        self._events.append(
            WorkFinished(
                key=work.job.key,
                end=end,
                outputs=(),
                environment=work.job.environment,
                engine=self._engine,
                machine=machine_class(),
                seconds=0.0,
            )
        )
