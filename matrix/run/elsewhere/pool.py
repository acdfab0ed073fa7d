"""Workers as the executor of other processes sees them: orders go there, rows and ends are announced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

SAME_AGAIN = "what is finished is kept: the same command goes on from there"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFacts:
    """`machine` is the same for all workers of one machine, and `machine_class` as jobs' keys have it. `measures`: it
    takes what must be alone on a machine because it measures times."""

    machine: str
    machine_class: str = ""
    measures: bool = False


@dataclass(frozen=True, slots=True)
class RowTold:
    """A line of a batch's `work`."""

    batch: int
    line: str


@dataclass(frozen=True, slots=True)
class BatchOver:
    """No more rows come of a batch. `fault`: why it ended early. `lost`: its worker is gone, whatever it did."""

    batch: int
    fault: str = ""
    lost: bool = False


@dataclass(frozen=True, slots=True)
class PoolNoted:
    """Something about workers that people should know."""

    text: str


@dataclass(frozen=True, slots=True)
class Woken:
    """Ends a wait for news."""


PoolEvent: TypeAlias = RowTold | BatchOver | PoolNoted | Woken


class Pool(Protocol):
    """Workers that carry out orders. Rows and ends are announced, from any thread."""

    def workers(self) -> Mapping[str, WorkerFacts]:
        """The workers that are there now, by name. Raises PoolGone."""

    def start(self, batch: int, order: str, worker: str, *, measures: bool = False) -> None:
        """Gives a worker an order, which it begins when it has ended the one before. `measures`: nothing else may run
        on its machine."""

    def stop(self) -> None:
        """Asks for the end of all batches; running jobs finish."""

    def end(self) -> None:
        """Ends all batches at once."""

    def close(self) -> None:
        """Leaves the workers."""
