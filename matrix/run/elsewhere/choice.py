"""Who carries out the jobs of a run: this process, or processes of `work`."""

from __future__ import annotations

import shlex
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence

from matrix.core.errors import UsageError
from matrix.core.machine import usable_cores
from matrix.engines.choice import lookup_engine
from matrix.plan.graph import Plan
from matrix.plan.stages import Node
from matrix.run.elsewhere.commands import CommandPool
from matrix.run.elsewhere.executor import PoolExecutor
from matrix.run.elsewhere.pool import Pool, PoolEvent
from matrix.run.store import Store

LOCALLY, BY_COMMAND = "local", "command"
EXECUTORS = (LOCALLY, BY_COMMAND)
WORKERS = 2
"""Processes on this machine, where nothing is said of them."""


def refuse_elsewhere(plan: Plan, options: Namespace) -> None:
    """Refuses words that contradict each other, and a plan that only this process can carry out. Raises UsageError."""
    given = {"--worker": options.worker, "--workers": options.workers}
    takes = {LOCALLY: (), BY_COMMAND: ("--worker", "--workers")}[options.executor]
    if strange := [word for word, value in given.items() if value and word not in takes]:
        raise UsageError(
            f"run --executor {options.executor}: read {strange[0]}, expected no such word",
            tip="--workers and --worker belong to `--executor command`",
        )
    if options.executor == LOCALLY:
        return
    why = next(filter(None, map(_why_here, plan.nodes)), "")
    if why:
        raise UsageError(
            f"run --executor {options.executor}: read a spec with {why}, expected one that any machine may carry out",
            tip="run it without --executor, on the machine that is meant",
        )
    if options.worker and not options.remote:
        raise UsageError(
            "run --worker: read it without --remote, expected a store that all machines share",
            tip="such as `--remote http://HOST:8080`, or a folder that all of them see",
        )


def _why_here(node: Node) -> str:
    """Why a job is bound to this machine; "": it is not."""
    request = node.request
    if node.kind.rounds or node.kind.alone:
        return f"the stage {node.stage}, which measures times"
    if node.machine:
        return "jobs that depend on the machine's own CPU"
    if request and request.build:
        return "a runtime that is built from source"
    if request and request.platform and request.platform.board:
        return "a board"
    return ""


def executor_elsewhere(store: Store, options: Namespace) -> PoolExecutor:
    """The executor that the options name. Raises UsageError, PoolGone."""
    jobs = options.jobs or usable_cores()
    count = options.workers or WORKERS
    share = [] if options.worker else ["--jobs", str(max(1, jobs // count))]
    words = [*work_words(store, options, here=not options.worker), *share]
    argvs = [[*shlex.split(each), *words] for each in options.worker] or [[*THIS_PROGRAM, "work", *words]] * count

    def make(announce: Callable[[PoolEvent], None]) -> Pool:
        return CommandPool(argvs, announce)

    engine = lookup_engine(options.engine, store.places)
    return PoolExecutor(store=store, engine=engine, jobs=max(1, jobs // len(argvs)), make_pool=make)


THIS_PROGRAM = (sys.executable, "-m", "matrix")


def work_words(store: Store, options: Namespace, *, here: bool) -> Sequence[str]:
    """The words of `work` for a worker; one on this machine has the run's own store."""
    words = ["--attended"]
    words += ["--store", str(store.folder)] if here else ["--remote", options.remote]
    words += ["--disk-budget", f"{options.disk_budget / 1e9}"] if options.disk_budget else []
    return words
