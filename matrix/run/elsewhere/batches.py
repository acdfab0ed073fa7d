"""Jobs that wait for a worker, and which of them go to it together: a batch is of one environment where that is enough
work. Pure."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from matrix.core.records import EnvironmentRequest
from matrix.plan.stages import kinds
from matrix.run.cost import environment_costs
from matrix.run.elsewhere.orders import OrderedJob, work_order_text
from matrix.run.executor import Rank, Work

LEAST_SECONDS, MOST_SECONDS, MOST_OF_A_BATCH = 10.0, 60.0, 1000
BATCH_SHARE = 4
"""A batch is this part of what a worker would have in all: the last ones then end together."""
AHEAD_SECONDS = 5.0
"""A worker that is to be free so soon has its next batch already: it waits for nobody."""
WORTH_SECONDS = 2.0
"""Work that is worth a process of its own, which takes about half a second to start."""
FORGIVEN = 10
"""How often a job may lose its worker before it is `lost`; once counts twice if the job had been started, and then it
may be the reason."""


@dataclass(slots=True, kw_only=True)
class RunningBatch:
    """What a worker of a machine has been given: works by the keys of their jobs, those that it has started, and
    environments that it is to make and whose digests it has not told."""

    worker: str
    machine: str
    works: dict[str, Work]
    made: list[EnvironmentRequest]
    started: set[str] = field(default_factory=set)
    alone: bool = False
    requests: list[EnvironmentRequest] = field(default_factory=list)
    """All environments of it, in the order of its rows."""
    _given: frozenset[str] = field(init=False)
    _left: float = field(init=False)
    """The seconds that its jobs take together, as far as they have not ended."""

    def __post_init__(self) -> None:
        self.alone = any(work.job.alone for work in self.works.values())
        self.requests = list(dict.fromkeys((*(work.request for work in self.works.values()), *self.made)))
        self._given, self._left = frozenset(self.works), sum(map(_seconds, self.works.values()))

    def take(self, key: str) -> Work | None:
        """Takes a work out of it, if it has that."""
        work = self.works.pop(key, None)
        self._left -= _seconds(work) if work else 0.0
        return work

    def is_strange(self, key: str) -> bool:
        """Whether it never had such a job. That is told once."""
        strange, self._given = key not in self._given, self._given | {key}
        return strange

    def is_nearly_over(self, jobs: int) -> bool:
        """Whether its worker, with so many jobs at a time, is soon to be free."""
        return not self.made and self._left <= AHEAD_SECONDS * jobs

    def order_text(self, engine: str) -> str:
        places = {request: place for place, request in enumerate(self.requests)}
        jobs = [
            OrderedJob(job=work.job, environment=places[work.request], again=work.again) for work in self.works.values()
        ]
        return work_order_text(engine, self.requests, jobs)


class Losses:
    """How often jobs and environments have lost their workers."""

    def __init__(self) -> None:
        self._of: Counter[str | EnvironmentRequest] = Counter()

    def forgives(self, what: str | EnvironmentRequest, *, started: bool) -> bool:
        """Notes a loss. Whether it is dealt again as if it had never been dealt."""
        self._of[what] += 2 if started else 1
        return self._of[what] <= FORGIVEN


def measures_times(work: Work) -> bool:
    """Whether the work measures times: a worker has to offer that."""
    kind = kinds()[work.job.stage]
    return kind.rounds or kind.alone


def batch_seconds(total: float, workers: int, idle: int) -> float:
    """The length of a batch: long enough for its overhead, short enough that all idle workers have one."""
    usual = min(max(total / (BATCH_SHARE * workers), LEAST_SECONDS), MOST_SECONDS)
    return min(usual, max(total / idle, WORTH_SECONDS))


class WaitingWork:
    """Works by their environments, those with the lowest rank first. To choose a batch costs as much as it is long, and
    not as many as wait."""

    def __init__(self, works: Iterable[Work] = ()) -> None:
        self._works: dict[str, Work] = {}
        self._groups: dict[tuple[EnvironmentRequest, str, bool], list[tuple[Rank, int, Work]]] = {}
        """By environment, class of machine and whether times are measured. Works that are gone stay in them until they
        come up."""
        self._count, self._seconds = itertools.count(), 0.0
        for work in works:
            self.add(work)

    def __len__(self) -> int:
        return len(self._works)

    def is_plenty(self, workers: int) -> bool:
        """Whether there is a batch for each worker: then none of them has one ahead that another one lacks."""
        return self._seconds > workers * LEAST_SECONDS

    def __iter__(self) -> Iterator[Work]:
        return iter([*self._works.values()])

    def add(self, work: Work) -> None:
        self._works[work.job.key] = work
        self._seconds += _seconds(work)
        group = self._groups.setdefault((work.request, work.machine, measures_times(work)), [])
        heapq.heappush(group, (work.rank, next(self._count), work))

    def drop(self, request: EnvironmentRequest) -> None:
        """The works of an environment are none any more."""
        for work in self:
            if work.request == request:
                self._remove(work)

    def take_batch(
        self,
        *,
        workers: int,
        idle: int,
        here: Collection[EnvironmentRequest] = (),
        elsewhere: Collection[EnvironmentRequest] = (),
        refused: Collection[EnvironmentRequest] = (),
        takes: Callable[[Work], bool] = lambda _: True,
    ) -> list[Work]:
        """The works of the next batch for a worker that has the environments `here`; other workers have those
        `elsewhere`, it has refused some, and `takes` work or not. They no longer wait.

        The critical path is first, except before a whole batch of short works that waits: 50,000 runs of 0.03 s at the
        end would be over sooner than they can be dealt."""
        heads = [(head, group) for group in list(self._groups) if (head := self._head(group)) is not None]
        ordered = sorted(
            ((head, group) for head, group in heads if head.request not in refused and takes(head)),
            key=lambda each: (not self._is_full(*each), *_order(each[0], here, elsewhere)),
        )
        longest = batch_seconds(self._seconds, workers, idle)
        chosen: list[Work] = []
        seconds = 0.0
        for _, group in ordered:
            while group in self._groups and (work := self._head(group)) is not None:
                if chosen and (work.job.alone or seconds + _seconds(work) > longest or len(chosen) >= MOST_OF_A_BATCH):
                    return chosen
                self._remove(work)
                chosen.append(work)
                seconds += _seconds(work)
                if work.job.alone:
                    return chosen
        return chosen

    def _is_full(self, head: Work, group: tuple[EnvironmentRequest, str, bool]) -> bool:
        """Whether a whole batch of one environment waits that its number ends and not its length, and that measures no
        times: these are last."""
        short = MOST_OF_A_BATCH * _seconds(head) <= MOST_SECONDS
        return short and not group[2] and len(self._groups[group]) >= MOST_OF_A_BATCH

    def _head(self, group: tuple[EnvironmentRequest, str, bool]) -> Work | None:
        entries = self._groups[group]
        while entries and self._works.get(entries[0][-1].job.key) is not entries[0][-1]:
            heapq.heappop(entries)
        if not entries:
            del self._groups[group]
            return None
        return entries[0][-1]

    def _remove(self, work: Work) -> None:
        del self._works[work.job.key]
        self._seconds -= _seconds(work)


def _order(
    head: Work, here: Collection[EnvironmentRequest], elsewhere: Collection[EnvironmentRequest]
) -> tuple[Rank, bool, bool, Rank]:
    return head.rank[:2], head.request not in here, head.request in elsewhere, head.rank


def choose_environments(
    wanted: Sequence[EnvironmentRequest], refused: Collection[EnvironmentRequest] = ()
) -> list[EnvironmentRequest]:
    """Environments that a worker makes next, so that their digests are known: the first ones of `wanted`."""
    chosen: list[EnvironmentRequest] = []
    for request in (each for each in wanted if each not in refused):
        if chosen and environment_costs([*chosen, request]).seconds > LEAST_SECONDS:
            break
        chosen.append(request)
    return chosen


def _seconds(work: Work) -> float:
    return kinds()[work.job.stage].typical_seconds
