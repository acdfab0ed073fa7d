"""What a run knows of its workers: which are there, which environments each has or cannot make, who measures times.
Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Generic, TypeVar

from matrix.core.records import EnvironmentRequest
from matrix.run.elsewhere.batches import measures_times
from matrix.run.elsewhere.pool import WorkerFacts
from matrix.run.executor import Work

Said = TypeVar("Said")


class Roster(Generic[Said]):
    """The workers of a run. `Said` is what a worker says of an environment that is not for it."""

    def __init__(self) -> None:
        self.workers: Mapping[str, WorkerFacts] = {}
        self._has: dict[str, set[EnvironmentRequest]] = defaultdict(set)
        self._refused: dict[EnvironmentRequest, dict[str, Said]] = defaultdict(dict)
        self._measuring = ""
        """The machine that all times of this run come from, as long as it is there: those of two machines cannot be
        compared."""

    def renew(self, workers: Mapping[str, WorkerFacts]) -> dict[EnvironmentRequest, Said]:
        """Takes in who is there. Returns what is said of the environments that are for none of them."""
        self.workers = workers
        if self._measuring not in {facts.machine for facts in workers.values() if facts.measures}:
            self._measuring = ""
        for_none = [request for request, said in self._refused.items() if workers and not workers.keys() - said.keys()]
        return {request: next(iter(self._refused.pop(request).values())) for request in for_none}

    def has(self, worker: str, request: EnvironmentRequest) -> None:
        self._has[worker].add(request)

    def refuses(self, worker: str, request: EnvironmentRequest, said: Said) -> None:
        self._refused[request][worker] = said

    def settle(self, request: EnvironmentRequest) -> None:
        """What is said of an environment now holds for all workers."""
        self._refused.pop(request, None)

    def known_to(self, worker: str) -> dict[str, set[EnvironmentRequest]]:
        """The environments that a worker has (`here`), that other workers have or had (`elsewhere`), and that it has
        refused."""
        others = {request for other, requests in self._has.items() if other != worker for request in requests}
        refused = {request for request, said in self._refused.items() if worker in said}
        return {"here": self._has[worker], "elsewhere": others, "refused": refused}

    def may_take(self, worker: str, work: Work) -> bool:
        facts = self.workers[worker]
        if work.machine and work.machine != facts.machine_class:
            return False
        return not measures_times(work) or (facts.measures and self._measuring in ("", facts.machine))

    def measures_on(self, machine: str) -> None:
        """From now on times come from there."""
        self._measuring = machine
