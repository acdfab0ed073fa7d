"""A work order carried out on this machine: each job as in a run, confirmed and recorded, and a row told of each."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from matrix.core.records import EnvironmentRequest, Job, JobEnd, JobResult, Outcome
from matrix.run.elsewhere.orders import OrderedJob, WorkOrder, row_text
from matrix.run.executor import (
    EnvironmentKnown,
    EnvironmentRefused,
    Event,
    Executor,
    ExecutorFault,
    Noted,
    Work,
    WorkAnswered,
    WorkFinished,
    WorkStarted,
)
from matrix.run.schedule import Attempts, job_result
from matrix.run.store import Store

WAIT = 0.25
"""Seconds between two looks at whether it is to stop."""


@dataclass(slots=True)
class Heed:
    """How far a run is asked to stop: 1 in order, 2 at once."""

    signals: int = 0


class OrderRun:
    """One order on one executor. Call `carry_out` once."""

    def __init__(
        self, order: WorkOrder, store: Store, executor: Executor, tell: Callable[[str], None], heed: Heed
    ) -> None:
        """`tell` takes each row as a line."""
        self.order, self.store, self.executor, self.tell, self.heed = order, store, executor, tell, heed
        self.attempts = Attempts()
        self.left = {each.job.key: each for each in order.jobs}
        self.unknown = set(order.environments)
        self._ready: list[tuple[int, OrderedJob]] = []
        self._places = {each.job.key: place for place, each in enumerate(order.jobs)}
        self._under_way: dict[str, Work] = {}
        self._stopped = False

    def carry_out(self) -> int:
        """Returns how many jobs did not end. Raises the errors of a run."""
        in_order = False
        try:
            self.executor.prepare(dict.fromkeys(self.order.environments), self._needs)
            while not self._is_over() and self.heed.signals < 2:
                self._submit_ready()
                for event in self.executor.news(WAIT):
                    self._handle(event)
                if self.heed.signals and not self._stopped:
                    self._stopped = True
                    self.executor.stop()
            in_order = self.heed.signals < 2
        finally:
            if in_order:
                self.executor.close()
            else:
                self.executor.terminate()
        self.tell(row_text("over", left=len(self.left)))
        return len(self.left)

    def _is_over(self) -> bool:
        if self._stopped:
            return not self._under_way
        return not (self.left or self.unknown)

    def _needs(self, request: EnvironmentRequest) -> bool:
        return request in self.unknown or any(self._request(each) == request for each in self.left.values())

    def _request(self, ordered: OrderedJob) -> EnvironmentRequest:
        return self.order.environments[ordered.environment]

    def _of(self, request: EnvironmentRequest) -> Iterator[OrderedJob]:
        yield from [each for each in self.left.values() if self._request(each) == request]

    # -- from jobs to work

    def _submit_ready(self) -> None:
        while self._ready and not self._stopped and self.executor.has_room:
            _, ordered = heapq.heappop(self._ready)
            self._begin(ordered)

    def _begin(self, ordered: OrderedJob) -> None:
        job = ordered.job
        if not ordered.again and (known := self.store.result_of(job)):
            self._tell_result(known, reused=True)
            return
        lacking = [name for name, digest in job.inputs if not self.store.obtain(digest)]
        if lacking:
            error = f"{', '.join(lacking)}: not in the store that the machines share"
            self._tell_end(job, JobEnd(key=job.key, end="not_started", error=error))
            return
        if self.attempts.alone(job.key):
            job = replace(job, alone=True)
        request = self._request(ordered)
        again = ordered.again or self.store.result(job.key) is not None
        work = Work(job=job, request=request, rank=(self._places[job.key],), again=again)
        self._under_way[job.key] = work
        self.executor.submit(work)

    def _offer(self, ordered: OrderedJob) -> None:
        heapq.heappush(self._ready, (self._places[ordered.job.key], ordered))

    # -- events

    def _handle(self, event: Event) -> None:
        match event:
            case EnvironmentKnown():
                self._known(event)
            case EnvironmentRefused():
                self.unknown.discard(event.request)
                self._drop(event.request)
                places = self._places_of(event.request)
                self.tell(row_text("refused", places=places, outcome=event.outcome, reason=event.reason))
            case WorkStarted():
                self.tell(row_text("started", key=event.key))
            case WorkFinished():
                self._finished(event)
            case WorkAnswered():
                if self._under_way.pop(event.key, None) and event.key in self.left:
                    self._offer(self.left[event.key])
            case Noted():
                self.tell(row_text("note", text=event.text))
            case ExecutorFault():
                raise event.error
            case _:  # only executors of other processes tell of results
                pass

    def _places_of(self, request: EnvironmentRequest) -> list[int]:
        return [place for place, each in enumerate(self.order.environments) if each == request]

    def _known(self, event: EnvironmentKnown) -> None:
        """Offers the jobs of an environment. Those that were meant for another one are not for this machine."""
        first = event.request in self.unknown
        self.unknown.discard(event.request)
        if first:
            record = self.store.environment_records().get(event.digest, "")
            places = self._places_of(event.request)
            self.tell(row_text("environment", places=places, digest=event.digest, record=record))
        for ordered in self._of(event.request):
            if ordered.job.environment != event.digest:
                self.left.pop(ordered.job.key)
                self._under_way.pop(ordered.job.key, None)
            elif first:
                self._offer(ordered)

    def _drop(self, request: EnvironmentRequest) -> None:
        for ordered in self._of(request):
            self.left.pop(ordered.job.key)
            self._under_way.pop(ordered.job.key, None)

    def _finished(self, event: WorkFinished) -> None:
        work = self._under_way.pop(event.key, None)
        if work is None or event.end.end == "killed":
            return
        result = self.attempts.judged(job_result(work.job, event))
        if result is None:
            self._offer(self.left[event.key])
            return
        if self.heed.signals and result.outcome is not Outcome.PASSED:
            return  # what stops this run may have ended the job too
        if result.outcome is Outcome.INFRASTRUCTURE:
            self._tell_end(work.job, event.end)
            return
        self.store.record(result)
        self._tell_result(result, seconds=event.seconds)

    def _tell_result(self, result: JobResult, *, reused: bool = False, seconds: float = 0.0) -> None:
        self.left.pop(result.key, None)
        self.tell(row_text("result", key=result.key, reused=reused, seconds=seconds, result=result))

    def _tell_end(self, job: Job, end: JobEnd) -> None:
        """Tells of a fault that is not a release's."""
        self.left.pop(job.key, None)
        self.tell(row_text("fault", key=job.key, end=end))
