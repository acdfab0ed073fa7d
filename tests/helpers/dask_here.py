"""Dask for tests: a scheduler and workers in this process, and executors on them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from distributed import Client, LocalCluster
from executor_contract import options

from matrix.engines.choice import lookup_engine
from matrix.run.elsewhere.choice import work_words
from matrix.run.elsewhere.cluster.dask_pool import DaskPool
from matrix.run.elsewhere.executor import PoolExecutor
from matrix.run.store import Store


@contextmanager
def local_scheduler(workers: int = 2) -> Iterator[LocalCluster]:
    with LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=False,
        protocol="tcp",
        dashboard_address="127.0.0.1:0",
        memory_limit=0,
    ) as cluster:
        yield cluster


def by_dask(store: Store, address: str) -> PoolExecutor:
    """An executor whose workers have its own store, as those of `--executor dask` without a scheduler."""
    words = [*work_words(store, options(), here=True), "--jobs", "1"]
    return PoolExecutor(
        store=store,
        engine=lookup_engine("venv", store.places),
        jobs=1,
        make_pool=lambda announce: DaskPool(Client(address, set_as_default=False), words, announce),
    )
