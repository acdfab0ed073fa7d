"""Who carries out the jobs of a run: this process, or processes of `work`."""

from __future__ import annotations

import shlex
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from matrix.core.errors import UsageError
from matrix.core.machine import usable_cores
from matrix.engines.choice import lookup_engine
from matrix.plan.graph import Plan
from matrix.plan.stages import Node
from matrix.run.elsewhere.cluster.connecting import checked_address, connect, local_cluster, require_dask
from matrix.run.elsewhere.commands import CommandPool
from matrix.run.elsewhere.executor import PoolExecutor
from matrix.run.elsewhere.pool import Pool, PoolEvent
from matrix.run.store import Store

LOCALLY, BY_COMMAND, BY_DASK = "local", "command", "dask"
TAKES: Mapping[str, tuple[str, ...]] = {
    LOCALLY: (),
    BY_COMMAND: ("--worker", "--workers"),
    BY_DASK: ("--scheduler", "--open-scheduler", "--workers"),
}
"""The executors, and the words that belong to each."""
WORKERS = 2
"""Processes on this machine, where nothing is said of them."""


def refuse_elsewhere(plan: Plan, options: Namespace) -> None:
    """Refuses words that contradict each other, and a plan that only this process can carry out. Raises UsageError."""
    given = {
        "--worker": options.worker,
        "--workers": options.workers,
        "--scheduler": options.scheduler,
        "--open-scheduler": options.open_scheduler,
    }
    if strange := [word for word, value in given.items() if value and word not in TAKES[options.executor]]:
        takers = [name for name, words in TAKES.items() if strange[0] in words]
        raise UsageError(
            f"run --executor {options.executor}: read {strange[0]}, expected no such word",
            tip=f"{strange[0]} belongs to `--executor {' or '.join(takers)}`",
        )
    if options.executor == LOCALLY:
        return
    why = next(filter(None, (_why_here(node, measures=options.executor == BY_DASK) for node in plan.nodes)), "")
    if why:
        raise UsageError(
            f"run --executor {options.executor}: read a spec with {why}, expected one that any machine may carry out",
            tip="run it without --executor, on the machine that is meant",
        )
    if options.scheduler and options.workers:
        raise UsageError(
            "run --workers: read it beside --scheduler, expected one of them",
            tip="without --scheduler, --workers are processes on this machine",
        )
    elsewhere = "--worker" if options.worker else "--scheduler" if options.scheduler else ""
    if elsewhere and not options.remote:
        raise UsageError(
            f"run {elsewhere}: read it without --remote, expected a store that all machines share",
            tip="such as `--remote http://HOST:8080`, or a folder that all of them see",
        )
    if options.scheduler:
        checked_address(options.scheduler, is_open=options.open_scheduler)


def _why_here(node: Node, *, measures: bool) -> str:
    """Why a job is bound to this machine; "": it is not. `measures`: the workers tell of what class their machines are,
    and which of them may measure times."""
    request = node.request
    if (node.kind.rounds or node.kind.alone) and not measures:
        return f"the stage {node.stage}, which measures times"
    if node.machine and not measures:
        return "jobs that depend on the machine's own CPU"
    if request and request.build:
        return "a runtime that is built from source"
    if request and request.platform and request.platform.board:
        return "a board"
    return ""


def executor_elsewhere(store: Store, options: Namespace) -> PoolExecutor:
    """The executor that the options name. Raises UsageError, ExtraMissing, PoolGone."""
    make, jobs = (_by_dask if options.executor == BY_DASK else _by_command)(store, options)
    engine = lookup_engine(options.engine, store.places)
    return PoolExecutor(store=store, engine=engine, jobs=jobs, make_pool=make)


MakePool: TypeAlias = Callable[[Callable[[PoolEvent], None]], Pool]


def _by_command(store: Store, options: Namespace) -> tuple[MakePool, int]:
    """How the pool is made, and how many jobs a worker has at a time."""
    jobs = options.jobs or usable_cores()
    count = options.workers or WORKERS
    share = [] if options.worker else ["--jobs", str(max(1, jobs // count))]
    words = [*work_words(store, options, here=not options.worker), *share]
    argvs = [[*shlex.split(each), *words] for each in options.worker] or [[*THIS_PROGRAM, "work", *words]] * count
    return lambda announce: CommandPool(argvs, announce), max(1, jobs // len(argvs))


def _by_dask(store: Store, options: Namespace) -> tuple[MakePool, int]:
    """As `_by_command`. Workers of a scheduler that is there have a store of their own, and the cores of their
    machines."""
    require_dask()
    from matrix.run.elsewhere.cluster.dask_pool import DaskPool

    here, count = not options.scheduler, options.workers or WORKERS
    jobs = max(1, (options.jobs or usable_cores()) // (count if here else 1))
    share = ["--jobs", str(jobs)] if here or options.jobs else []
    words = [*work_words(store, options, here=here), *share]

    def make(announce: Callable[[PoolEvent], None]) -> Pool:
        address = "" if here else checked_address(options.scheduler, is_open=options.open_scheduler)
        client = local_cluster(count) if here else connect(address)
        try:
            return DaskPool(client, words, announce)
        except BaseException:
            client.close(timeout=1)
            raise

    return make, jobs


THIS_PROGRAM = (sys.executable, "-m", "matrix")


def work_words(store: Store, options: Namespace, *, here: bool) -> Sequence[str]:
    """The words of `work` for a worker; one on this machine has the run's own store."""
    words = ["--attended"]
    words += ["--store", str(store.folder)] if here else ["--remote", options.remote]
    words += ["--disk-budget", f"{options.disk_budget / 1e9}"] if options.disk_budget else []
    return words
