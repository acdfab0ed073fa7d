"""Workers that are commands: `python -m matrix work`, here or behind `ssh`."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable, Mapping, Sequence

from matrix.run.elsewhere.attending import Attended
from matrix.run.elsewhere.pool import BatchOver, PoolEvent, RowTold, WorkerFacts


class CommandPool:
    """See `matrix.run.elsewhere.pool.Pool`. A process carries out one order, and a worker is one process at a time."""

    def __init__(self, argvs: Sequence[Sequence[str]], announce: Callable[[PoolEvent], None]) -> None:
        """`argvs`: the command of each worker."""
        self._argvs = {f"worker {place} ({shlex.join(argv[:2])})": argv for place, argv in enumerate(argvs, 1)}
        self._facts = {name: WorkerFacts(machine=name) for name in self._argvs}
        self._turns = {name: threading.Lock() for name in self._argvs}
        self._announce, self._attended = announce, Attended()
        self._threads: list[threading.Thread] = []

    def workers(self) -> Mapping[str, WorkerFacts]:
        return self._facts

    def start(self, batch: int, order: str, worker: str, *, measures: bool = False) -> None:  # noqa: ARG002 - refused before
        thread = threading.Thread(target=self._carry_out, args=(batch, order, worker), name="attends", daemon=True)
        self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()

    def _carry_out(self, batch: int, order: str, worker: str) -> None:
        with self._turns[worker]:
            fault = self._attended.carry_out(
                self._argvs[worker], order, lambda line: self._announce(RowTold(batch, line))
            )
        self._announce(BatchOver(batch, fault))

    def stop(self) -> None:
        self._attended.stop()

    def end(self) -> None:
        self._attended.end()

    def close(self) -> None:
        for thread in self._threads:
            thread.join()
