"""Workers of Dask: one task is one order, for the worker that was chosen for it. Which jobs go where is decided by the
run: it knows which environments a worker has, and deals again what a worker was lost with.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matrix.core.data import data_root
from matrix.core.errors import PoolGone
from matrix.core.text import escape_controls
from matrix.run.elsewhere.cluster.tasks import RESOURCE, TOPIC, carry_order, forget, heed, worker_facts
from matrix.run.elsewhere.orders import scripts_digest
from matrix.run.elsewhere.pool import SAME_AGAIN, BatchOver, PoolEvent, PoolNoted, RowTold, WorkerFacts

if TYPE_CHECKING:
    from distributed import Client, Future

RENEW_SECONDS = 1.0
"""Between two looks at which workers are there."""
ANSWER_SECONDS = 30.0
"""How long an answer of the scheduler or a worker may take."""


@dataclass(slots=True, kw_only=True)
class _Order:
    worker: str
    future: Future[list[str]]
    rows: int = 0
    """How many of its rows are told."""


class DaskPool:
    """See `matrix.run.elsewhere.pool.Pool`."""

    carry: Callable[..., list[str]] = staticmethod(carry_order)
    """What a worker does with an order."""

    def __init__(self, client: Client, words: Sequence[str], announce: Callable[[PoolEvent], None]) -> None:
        """`words`: those of `work` on each worker."""
        self._client, self._words, self._announce = client, words, announce
        self._run = secrets.token_hex(8)
        self._lock = threading.Lock()
        self._orders: dict[int, _Order] = {}
        self._workers: dict[str, WorkerFacts] = {}
        self._left_out: set[str] = set()
        self._gone = ""
        self._closing = threading.Event()
        self._connected = False
        self._look()
        self._looking = threading.Thread(target=self._keep_looking, name="looks at workers", daemon=True)
        self._looking.start()

    def workers(self) -> Mapping[str, WorkerFacts]:
        if self._gone:
            raise PoolGone(self._gone, tip=SAME_AGAIN)
        return self._workers

    def start(self, batch: int, order: str, worker: str, *, measures: bool = False) -> None:
        key = f"iree-matrix-{self._run}-{batch}"
        arguments = (self._run, batch, key, order, self._words)
        placed = {"workers": [worker], "allow_other_workers": False, "pure": False}
        resources = {RESOURCE: 1} if measures else None
        try:
            future = self._client.submit(self.carry, *arguments, key=key, resources=resources, **placed)
        except Exception as error:  # noqa: BLE001 - the scheduler is gone, as the next look will tell
            self._announce(BatchOver(batch, escape_controls(str(error)), lost=True))
            return
        with self._lock:
            self._orders[batch] = _Order(worker=worker, future=future)
        future.add_done_callback(lambda done: self._over(batch, done))

    def stop(self) -> None:
        self._heed(at_once=False)

    def end(self) -> None:
        self._heed(at_once=True)

    def close(self) -> None:
        self._closing.set()
        with self._lock:
            orders, self._orders = list(self._orders.values()), {}
        with contextlib.suppress(Exception):  # what is gone needs no farewell
            self._client.cancel([each.future for each in orders])
            self._ask(forget, self._run, workers=list(self._workers))
        self._looking.join()
        with contextlib.suppress(Exception):
            self._client.close(timeout=ANSWER_SECONDS)
        if self._client.cluster is not None:
            self._client.cluster.close()

    def _heed(self, *, at_once: bool) -> None:
        with self._lock:
            busy = [*dict.fromkeys(each.worker for each in self._orders.values())]
        with contextlib.suppress(Exception):  # a worker that is gone has ended its orders
            if busy:
                self._ask(heed, self._run, workers=busy, at_once=at_once)

    def _ask(
        self, function: Callable[..., Any], *words: object, workers: Sequence[str], **more: object
    ) -> dict[str, Any]:
        """What each of these workers answers, also while it is busy: an exception, if it cannot. Raises what Dask
        raises."""
        settings: dict[str, Any] = {**more, "callback_timeout": ANSWER_SECONDS}  # for all answers together
        answers = self._client.run(function, *words, workers=list(workers), on_error="return", **settings)
        return dict(answers)

    # -- orders

    def _take(self, told: Mapping[str, Any]) -> None:
        if told.get("of") == self._run:
            self._tell_rows(told["batch"], told["first"], told["rows"])

    def _tell_rows(self, batch: int, first: int, rows: Sequence[str]) -> None:
        with self._lock:
            order = self._orders.get(batch)
            if order is None:
                return
            news = rows[max(0, order.rows - first) :]
            order.rows = max(order.rows, first + len(rows))
        for row in news:
            self._announce(RowTold(batch, row))

    def _over(self, batch: int, future: Future[list[str]]) -> None:
        """The task has ended, by itself or with its worker; called from another thread."""
        try:
            *rows, fault = future.result(timeout=ANSWER_SECONDS)
            over = BatchOver(batch, fault)
        except Exception as error:  # noqa: BLE001 - whatever a worker raises, and all that Dask can say of it
            rows, lost = [], future.status in ("cancelled", "lost") or type(error).__name__ == "KilledWorker"
            over = BatchOver(batch, escape_controls(f"{type(error).__name__}: {error}"), lost=lost)
        self._tell_rows(batch, 0, rows)
        self._end_of(over)

    def _end_of(self, over: BatchOver) -> None:
        with self._lock:
            order = self._orders.pop(over.batch, None)
            if order is not None and over.lost:  # the next look finds it again, if it is there
                self._workers = {name: facts for name, facts in self._workers.items() if name != order.worker}
        if order is not None:
            self._announce(over)

    # -- workers

    def _keep_looking(self) -> None:
        while not self._closing.wait(RENEW_SECONDS):
            try:
                self._look()
            except Exception as error:  # noqa: BLE001 - all that Dask can say of a scheduler or a worker
                self._without_answer(escape_controls(str(error) or type(error).__name__))
                if self._client.status == "closed" or self._closing.is_set():
                    return

    def _without_answer(self, said: str) -> None:
        """Its client connects again by itself for a while; a scheduler has forgotten then what it was asked for."""
        status, self._workers = self._client.status, {}
        if self._closing.is_set() or status == "running":
            return
        if status == "closed":
            self._gone = f"the scheduler does not answer any more: {said}"
        for batch in list(self._orders):
            self._end_of(BatchOver(batch, "the scheduler does not answer", lost=True))
        self._connected = False

    def _look(self) -> None:
        if self._client.status != "running":
            raise OSError("its connection is closed")
        if not self._connected:
            self._client.subscribe_topic(TOPIC, lambda event: self._take(event[1]))
            self._connected = True
        there = set(self._client.nthreads(callback_timeout=ANSWER_SECONDS))
        known = {name: facts for name, facts in self._workers.items() if name in there}
        self._workers = dict(known)  # before a batch is over: it would be dealt to who is gone
        for batch, order in list(self._orders.items()):
            if order.worker not in there:
                self._end_of(BatchOver(batch, f"{order.worker}: it is gone", lost=True))
                self._client.cancel([order.future], force=True)
        new = there - known.keys() - self._left_out
        for name, said in self._ask(worker_facts, workers=sorted(new)).items() if new else ():
            if facts := self._usable(name, said):
                known[name] = facts
        self._workers = known

    def _usable(self, name: str, said: object) -> WorkerFacts | None:
        if isinstance(said, OSError):  # gone again
            return None
        if isinstance(said, dict) and said.get("scripts") == scripts_digest(data_root()):
            return WorkerFacts(
                machine=str(said["machine"]), machine_class=str(said["machine_class"]), measures=bool(said["measures"])
            )
        has = "another version" if isinstance(said, dict) else f"none that works ({escape_controls(str(said))})"
        self._left_out.add(name)
        self._announce(PoolNoted(f"{name}: left out: its iree-matrix is {has}, expected the version of this machine"))
        return None
