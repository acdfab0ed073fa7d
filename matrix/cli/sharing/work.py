"""The verb `work`: carries out a work order for another process."""

from __future__ import annotations

import sys
import tempfile
import threading
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from matrix.core.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_UNMEASURED, OrderFault, StoreUnusable
from matrix.core.machine import machine_class, usable_cores
from matrix.core.processes import stop_signals
from matrix.engines.choice import engine_maker
from matrix.run.carry_out import budget_of
from matrix.run.cost import environment_costs
from matrix.run.elsewhere.attending import STOP_LINE
from matrix.run.elsewhere.orders import LARGEST_ORDER, WorkOrder, read_order
from matrix.run.elsewhere.working import Heed, OrderRun
from matrix.run.local.executor import LocalExecutor
from matrix.run.remote.places import place_of
from matrix.run.remote.shared import SharedStore
from matrix.run.store import Store


def do_work(options: Namespace) -> int:
    """Reads an order, carries it out, and prints a row of JSON for each thing that happened."""
    text = sys.stdin.readline(LARGEST_ORDER) if options.attended else sys.stdin.read(LARGEST_ORDER)
    place = place_of(options.remote) if options.remote else None
    with tempfile.TemporaryDirectory(prefix="iree-matrix-order-") as folder:
        order = read_order(text, Path(folder))
        with SharedStore(options.store, place) if place else Store(options.store) as store:
            if not store.claims.take_store(alone=False):
                raise StoreUnusable(f"{options.store}: it is being cleaned", tip="run again when that is over")
            return _carried_out(order, store, options)


def _carried_out(order: WorkOrder, store: Store, options: Namespace) -> int:
    executor, heed = _executor(order, store, options), Heed()

    def note(signals: int) -> Callable[[], None]:
        def noted() -> None:
            heed.signals = max(heed.signals + (not signals), signals)
            executor.wake()

        return noted

    if options.attended:
        threading.Thread(target=_attend, args=(note(1), note(2)), name="stdin", daemon=True).start()
    with stop_signals(note(0)):
        left = OrderRun(order, store, executor, _tell, heed).carry_out()
    if heed.signals:
        return EXIT_INTERRUPTED
    return EXIT_UNMEASURED if left else EXIT_OK


def _executor(order: WorkOrder, store: Store, options: Namespace) -> LocalExecutor:
    cores = options.jobs or usable_cores()
    small = environment_costs(order.environments).disk_bytes > budget_of(options, store)
    try:
        make_engine = engine_maker(order.engine, store.places, cores=cores, own_cache=small)
    except StopIteration:
        raise OrderFault(f"work: read the engine {order.engine!r}, expected one of this version") from None
    return LocalExecutor(
        store=store, cores=cores, machine=machine_class(), make_engine=make_engine, budget_bytes=options.disk_budget
    )


def _tell(row: str) -> None:
    print(row, flush=True)


def _attend(stop: Callable[[], None], end: Callable[[], None]) -> None:
    """Heeds what comes after the order: `stop`, and the end of stdin."""
    for line in sys.stdin:
        if line == STOP_LINE:
            stop()
    end()
