"""Carries out a plan for a verb: resolves missing locks, runs it, and reports the result on stderr."""

from __future__ import annotations

import shutil
import sys
from argparse import Namespace
from collections.abc import Callable

from matrix.core.errors import DiskFull, NotAllMeasured, StoreUnusable
from matrix.core.machine import machine_class, usable_cores
from matrix.core.records import Disk
from matrix.core.text import say
from matrix.engines.choice import engine_maker
from matrix.engines.contract import Engine
from matrix.plan.graph import Plan
from matrix.results.run import DiskUse
from matrix.run.cost import environment_costs
from matrix.run.evidence import replay
from matrix.run.local.disk import refuse_beyond, share_of
from matrix.run.local.executor import LocalExecutor
from matrix.run.progress import make_progress
from matrix.run.runner import Runner, RunSummary
from matrix.run.store import Store


def resolved(make: Callable[[], Plan]) -> Plan:
    """A plan with all its locks: the packages of users' models are resolved first."""
    from matrix.environments.index import configured_index
    from matrix.environments.resolving import resolve_missing

    plan = make()
    return make() if resolve_missing(plan.environments(), configured_index(), say) else plan


def carry_out(plan: Plan, store: Store, options: Namespace, *, name: str) -> RunSummary:
    """Runs the missing jobs of a plan, and reports on stderr. `options` has `engine`, `jobs`, `disk_budget` and
    `store`; `name` is the name of the run in the store. Raises DiskFull, StoreUnusable and the errors of a run."""
    cores = options.jobs or usable_cores()
    make_engine = engine_maker(options.engine, store.places, cores=cores, own_cache=not _fits(plan, options, store))
    if not store.claims.take_store(alone=False):
        raise StoreUnusable(f"{options.store}: it is being cleaned", tip="run again when that is over")
    progress = make_progress()
    progress.note(f"{plan.spec.name}: {_size(plan)}; store {options.store}")
    try:
        executor = LocalExecutor(
            store=store,
            cores=cores,
            machine=machine_class(),
            make_engine=make_engine,
            budget_bytes=options.disk_budget,
        )
        _refuse(options.disk_budget, plan, store, executor.engine)
        summary = Runner(plan=plan, store=store, progress=progress, executor=executor).run()
    finally:
        progress.close()
    store.remember_run(name, [state.result.key for state in summary.states if state.result])
    _tell(summary)
    if summary.interrupted:
        print("interrupted; what was finished is kept, the same command continues from there", file=sys.stderr)
    return summary


def report_missing(summary: RunSummary) -> None:
    """Raises NotAllMeasured if cells stay untested because this machine lacks something."""
    if summary.missing:
        raise NotAllMeasured(
            "some cells stay untested: " + "\n".join(sorted(summary.missing)),
            tip="install what is missing and run again: what was measured is kept; `doctor` lists what is there",
        )


def _size(plan: Plan) -> str:
    jobs = sum(plan.jobs(stage) for stage in plan.stages)
    return f"{len(plan.cells)} cells, at most {jobs} jobs, {len(plan.environments())} environments"


def _tell(summary: RunSummary) -> None:
    print(
        f"{summary.jobs_run} jobs run, {summary.jobs_reused} reused, {summary.seconds:.1f} s, "
        f"{summary.tool_cpu_seconds:.1f} s of it CPU time of the tools",
        file=sys.stderr,
    )
    if disk_use(summary.disk):
        print(disk_words(summary.disk), file=sys.stderr)


def disk_words(disk: Disk) -> str:
    """`disk: peak 14.2 GB of a budget of 20.0 GB; 31 environments made, 4 removed`."""
    budget = f" of a budget of {disk.budget_bytes / 1e9:.1f} GB" if disk.budget_bytes else ""
    if disk.kept:
        return (
            f"disk: the environments of this run hold {disk.peak_bytes / 1e9:.1f} GB{budget} where the engine keeps "
            f"them, what they share counted once; {disk.made} made, and they stay"
        )
    again = f"; made again: {', '.join(disk.made_again)}" if disk.made_again else ""
    return (
        f"disk: peak {disk.peak_bytes / 1e9:.1f} GB{budget}; "
        f"{disk.made} environments made, {disk.removed} removed{again}"
    )


def disk_use(disk: Disk) -> DiskUse | None:
    """The disk use for results; None if no environment was made and a new store would have found none either."""
    if not (disk.made or (disk.kept and disk.peak_bytes)):
        return None
    return DiskUse(
        measured="the run's environments, where the engine keeps them"
        if disk.kept
        else "environments and their wheels",
        peak_bytes=disk.peak_bytes,
        budget_bytes=disk.budget_bytes or None,
        environments_made=disk.made,
        environments_dropped=disk.removed,
        made_again=tuple(disk.made_again),
    )


def _budget(options: Namespace, store: Store) -> int:
    """The space for environments, as far as it is known before the run."""
    return options.disk_budget or share_of(shutil.disk_usage(store.folder).free)


def _fits(plan: Plan, options: Namespace, store: Store) -> bool:
    """Whether all environments of a plan fit at the same time."""
    return environment_costs(plan.environments()).disk_bytes <= _budget(options, store)


def _refuse(budget: int | None, plan: Plan, store: Store, engine: Engine) -> None:
    """Checks the space before the run; environments of finished jobs do not count. Raises DiskFull."""
    try:
        try:
            refuse_beyond(budget, plan.environments(), engine)
        except DiskFull:
            states = replay(plan, store, engine).states
            left = (node.request for node in plan.nodes if node.request and not states[node.index].over)
            refuse_beyond(budget, tuple(dict.fromkeys(left)), engine)
    except BaseException:
        engine.terminate()
        raise
