"""Workers as the executor of other processes sees them: orders go there, rows and ends are announced."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol, TypeAlias

SAME_AGAIN = "what is finished is kept: the same command goes on from there"


@dataclass(frozen=True, slots=True)
class RowTold:
    """A line of a batch's `work`."""

    batch: int
    line: str


@dataclass(frozen=True, slots=True)
class BatchOver:
    """No more rows come of a batch. `fault`: why it ended early. `gone`: no worker can be reached any more."""

    batch: int
    fault: str = ""
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Woken:
    """Ends a wait for news."""


PoolEvent: TypeAlias = RowTold | BatchOver | Woken


class Pool(Protocol):
    """Workers that carry out orders. Rows and ends are announced, from any thread."""

    def workers(self) -> Collection[str]:
        """The names of the workers that are there now. Raises PoolGone."""

    def start(self, batch: int, order: str, worker: str) -> None:
        """Gives a worker an order. If it is gone before it begins, another one may take it."""

    def stop(self) -> None:
        """Asks for the end of all batches; running jobs finish."""

    def end(self) -> None:
        """Ends all batches at once."""

    def close(self) -> None:
        """Leaves the workers."""
