"""What runs in a worker of Dask: an order carried out by a process of `work`, and what the worker says of its machine.

The process is the worker's child, and ends with it. It also ends when the run no longer asks for the order: its client
is gone, or the scheduler.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matrix.core.data import data_root
from matrix.core.machine import machine_identity
from matrix.run.elsewhere.attending import Attended
from matrix.run.elsewhere.orders import scripts_digest

if TYPE_CHECKING:
    from distributed import Worker

TOPIC = "iree-matrix-rows"
"""The rows of all runs: what the scheduler keeps of one topic is bounded."""
RESOURCE = "alone"
"""What a worker offers that may measure times: `--resources alone=1`."""
TELL_SECONDS, WANTED_SECONDS = 0.2, 0.5
"""Between two tellings of rows, and between two looks at whether the order is still wanted."""
BOOT = Path("/proc/sys/kernel/random/boot_id")
_RUNS: dict[tuple[str, str], list[Attended]] = {}
"""The orders of each run that a worker of this process carries out, by run and worker."""
_STOPPED: set[str] = set()
"""Runs that begin no further order."""


def worker_facts(dask_worker: Worker) -> dict[str, str | bool]:
    """This machine, as containers on it see it too, its class, which checkout the worker has, and what it offers. Dask
    gives the worker by the parameter's name."""
    return {
        "machine": BOOT.read_text(encoding="ascii").strip(),
        "machine_class": machine_identity(),
        "scripts": scripts_digest(data_root()),
        "measures": dask_worker.state.total_resources.get(RESOURCE, 0) >= 1,
    }


def carry_order(run: str, batch: int, key: str, order: str, words: Sequence[str]) -> list[str]:
    """Carries an order out, and returns its rows, then why it ended early or "". `key` is the name of this task."""
    from distributed import get_worker

    worker = get_worker()
    attended = Attended()
    _RUNS.setdefault((run, worker.address), []).append(attended)
    if run in _STOPPED:
        return [""]
    rows = _Rows(lambda first, lines: _publish(worker, run, batch, first, lines))
    ended = threading.Event()
    threads = [
        threading.Thread(target=rows.tell_until, args=(ended,), daemon=True),
        threading.Thread(target=_watch, args=(worker, key, attended, ended), daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        fault = attended.carry_out([sys.executable, "-m", "matrix", "work", *words], order, rows.take)
    finally:
        ended.set()
        _RUNS.get((run, worker.address), [attended]).remove(attended)
    return [*rows.lines, fault]


def heed(run: str, *, at_once: bool, dask_worker: Worker) -> None:
    """Ends the orders of a run, in order or at once. It waits for nothing."""
    _STOPPED.add(run)
    for attended in [*_RUNS.get((run, dask_worker.address), ())]:
        call = attended.end if at_once else attended.stop
        threading.Thread(target=call, name="ends orders", daemon=True).start()


def forget(run: str, dask_worker: Worker) -> None:
    """The run is over."""
    _RUNS.pop((run, dask_worker.address), None)
    _STOPPED.discard(run)


class _Rows:
    """The rows of an order so far. They are told together, a few times in a second."""

    def __init__(self, publish: Callable[[int, list[str]], None]) -> None:
        self.lines: list[str] = []
        self._publish, self._told = publish, 0

    def take(self, line: str) -> None:
        self.lines.append(_by_key(line))

    def tell_until(self, ended: threading.Event) -> None:
        while not ended.wait(TELL_SECONDS):
            if len(self.lines) > self._told:
                news = self.lines[self._told :]
                self._publish(self._told, news)
                self._told += len(news)


def _by_key(line: str) -> str:
    """The row without what the shared store has under its key."""
    try:
        row = json.loads(line)
    except ValueError:
        return line
    return json.dumps({name: value for name, value in row.items() if name != "result"})


def _publish(worker: Worker, run: str, batch: int, first: int, lines: list[str]) -> None:
    worker.log_event(TOPIC, {"of": run, "batch": batch, "first": first, "rows": lines})


def _watch(worker: Worker, key: str, attended: Attended, ended: threading.Event) -> None:
    while not ended.wait(WANTED_SECONDS):
        if not _is_wanted(worker, key):
            attended.end()
            return


def _is_wanted(worker: Worker, key: str) -> bool:
    task = worker.state.tasks.get(key)
    return worker.status.name == "running" and task is not None and task.state != "cancelled"
