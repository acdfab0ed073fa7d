"""Carries out a plan for a verb: resolves missing locks, runs it, and reports the result on stderr."""

from __future__ import annotations

import contextlib
import math
import shutil
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from matrix.core.errors import DiskFull, NotAllMeasured, RunFaulted, StoreUnusable, UsageError
from matrix.core.machine import machine_class, usable_cores
from matrix.core.records import RED, JobResult, Outcome
from matrix.core.text import say
from matrix.core.versions import did_you_mean
from matrix.engines.choice import engine_maker, lookup_engine
from matrix.engines.contract import Engine
from matrix.engines.worker import WorkerEvent
from matrix.plan.graph import Plan
from matrix.plan.question import Question, question_text
from matrix.results.measured.figures import DiskUse
from matrix.results.run import Cell
from matrix.run.cost import environment_costs
from matrix.run.elsewhere.choice import LOCALLY, executor_elsewhere
from matrix.run.evidence import judge_of, judged_cells, no_result, replay
from matrix.run.executor import Disk, Executor
from matrix.run.local.disk import refuse_beyond, share_of
from matrix.run.local.executor import LocalExecutor
from matrix.run.progress import make_progress
from matrix.run.runner import Runner
from matrix.run.schedule import RunSummary
from matrix.run.store import Store

MOST_REASONS = 5
"""How many reasons of faults are told."""
ENDS_OF_JOBS = (Outcome.PASSED, Outcome.FLAKY, *sorted(RED))
"""What `--again` can choose."""


def resolved(make: Callable[[], Plan]) -> Plan:
    """A plan with all its locks: the packages of users' models are resolved first."""
    from matrix.environments.index import configured_index
    from matrix.environments.resolving import resolve_missing

    plan = make()
    refused = {node.request.lock for node in plan.nodes if node.request and node.request.lock.refusal}
    if again := [lock for lock in refused if lock.places]:  # what a user's own place lacked, it may have today
        for lock in again:
            lock.path.unlink(missing_ok=True)
        plan = make()
    return make() if resolve_missing(plan.environments(), configured_index(), say) else plan


def carry_out(
    plan: Plan,
    store: Store,
    options: Namespace,
    *,
    words: Sequence[str] = (),
    again: Callable[[JobResult], bool] = no_result,
    question: Question | None = None,
    deadline: float = math.inf,
) -> RunSummary:
    """Runs the missing jobs of a plan, and reports on stderr. `options` has `engine`, `jobs`, `disk_budget` and
    `store`; `words` distinguish its table from others of the same spec and options; `again` chooses the results that
    are measured again; the store keeps the `question` for those who look for results of a model. No job starts after
    the `deadline`, a reading of the monotonic clock.

    Raises DiskFull, StoreUnusable and the errors of a run."""
    cores = options.jobs or usable_cores()
    own_cache, gpus = not _fits(plan, options, store), getattr(options, "gpus", None) or ""
    make_engine = engine_maker(options.engine, store.places, cores=cores, own_cache=own_cache, gpus=gpus)
    if not store.claims.take_store(alone=False):
        raise StoreUnusable(f"{options.store}: it is being cleaned", tip="run again when that is over")
    asked = question_text(question, options.engine) if question else ""
    store.begin_table(table_name(plan, words, options.engine), question=asked)
    progress = make_progress()
    progress.note(f"{plan.spec.name}: {_size(plan)}; store {options.store}")
    try:
        is_wrong = judge_of(plan, (), store).is_wrong
        if getattr(options, "executor", LOCALLY) != LOCALLY:
            executor: Executor = executor_elsewhere(store, options)
        else:
            executor = local = _local_executor(store, options, make_engine, is_wrong)
            _refuse(options.disk_budget, plan, store, local.engine, again)
        summary = Runner(
            plan=plan,
            store=store,
            progress=progress,
            executor=executor,
            again=again,
            is_wrong=is_wrong,
            deadline=deadline,
        ).run()
    finally:
        progress.close()
    store.remember_shown([state.result.key for state in summary.states if state.result], whole=is_whole(plan, summary))
    _tell(summary)
    if summary.interrupted and not summary.late:
        print("interrupted; what was finished is kept, the same command continues from there", file=sys.stderr)
    return summary


def _local_executor(
    store: Store,
    options: Namespace,
    make_engine: Callable[[Callable[[WorkerEvent], None]], Engine],
    is_wrong: Callable[[Mapping[str, str]], bool],
) -> LocalExecutor:
    return LocalExecutor(
        store=store,
        cores=options.jobs or usable_cores(),
        machine=machine_class(),
        make_engine=make_engine,
        budget_bytes=options.disk_budget,
        is_wrong=is_wrong,
    )


def table_name(plan: Plan, words: Sequence[str], engine: str) -> str:
    """The name of a table in the store: the same for the same question. Files have their absolute paths: `spec.toml` is
    another one in another folder."""
    asked = (plan.spec.source, plan.spec.name, *plan.spec.options, *words)
    return " ".join([*map(_absolute, asked), "--engine", engine])


def _absolute(word: str) -> str:
    with contextlib.suppress(OSError, ValueError):  # no word that is too long for a path is one
        return str(Path(word).absolute()) if Path(word).is_file() else word
    return word


OURS = (Outcome.UNTESTED, Outcome.INFRASTRUCTURE)


def is_whole(plan: Plan, summary: RunSummary) -> bool:
    """Whether each node came to its end: no interruption, no fault and nothing that this machine lacked today stands
    between a cell and its results."""
    return not summary.interrupted and all(
        state.result.outcome is not Outcome.INFRASTRUCTURE
        if state.result
        else node.obstacle or (state.obstacle and state.obstacle[0] not in OURS)
        for node, state in zip(plan.nodes, summary.states, strict=True)
    )


def measured_again(chosen: Sequence[str], plan: Plan, store: Store, engine: str) -> Callable[[JobResult], bool]:
    """The results that a run measures again, by outcomes; "" is all of them. `wrong_output` is an outcome of cells
    only: it means the jobs whose outputs were compared. For `not_installable` the index is asked again. Raises
    UsageError."""
    for word in chosen:
        if word not in ("", *ENDS_OF_JOBS):
            raise UsageError(
                f"--again: read {word!r}, expected one of {', '.join(ENDS_OF_JOBS)}{did_you_mean(word, ENDS_OF_JOBS)}",
                tip="a preset stands before it: `run quick --again`; without an outcome all is measured again",
            )
    if {"", Outcome.NOT_INSTALLABLE} & {*chosen}:
        store.forget_refusals()
    if "" in chosen:
        return lambda _: True
    outcomes, keys = {Outcome(word) for word in chosen}, set[str]()
    if Outcome.WRONG_OUTPUT in outcomes:
        states = replay(plan, store, lookup_engine(engine, store.places)).states
        cells = judged_cells(plan, states, store).cells
        keys = {cell.jobs[-1] for cell in cells if cell.outcome is Outcome.WRONG_OUTPUT}
    return lambda result: result.outcome in outcomes or result.key in keys


def report_gaps(summary: RunSummary, cells: Sequence[Cell] = ()) -> None:
    """Raises RunFaulted if something was not measured because of a fault that is not a release's, else NotAllMeasured
    if cells stay untested because this machine lacks something. `cells` are judged: their outputs may be damaged."""
    damaged = [cell.said for cell in cells if cell.outcome is Outcome.INFRASTRUCTURE]
    lacks = "some cells stay untested: " + "\n".join(sorted(summary.missing)) if summary.missing else ""
    if summary.faults or damaged:
        faults = [*summary.faults.values()] or damaged
        reasons = Counter(reason.strip().partition("\n")[0] for reason in faults)
        lines = [f"  {count} x {reason}" for reason, count in reasons.most_common(MOST_REASONS)]
        lines += ["  and others"] if len(reasons) > MOST_REASONS else []
        what = f"{len(faults)} jobs of {max(summary.faulted_cells, len(damaged))} cells were not measured"
        raise RunFaulted(
            "\n".join([f"{what}, and no release is to blame:", *lines, *([lacks] if lacks else [])]),
            tip="the same command tries them again, and keeps what was measured; `doctor` looks at this machine",
        )
    if lacks:
        raise NotAllMeasured(
            lacks, tip="install what is missing and run again: what was measured is kept; `doctor` lists what is there"
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


def budget_of(options: Namespace, store: Store) -> int:
    """The space for environments, as far as it is known before the run."""
    return options.disk_budget or share_of(shutil.disk_usage(store.folder).free)


def _fits(plan: Plan, options: Namespace, store: Store) -> bool:
    """Whether all environments of a plan fit at the same time."""
    return environment_costs(plan.environments()).disk_bytes <= budget_of(options, store)


def _refuse(budget: int | None, plan: Plan, store: Store, engine: Engine, again: Callable[[JobResult], bool]) -> None:
    """Checks the space before the run; environments of finished jobs do not count. Raises DiskFull."""
    try:
        try:
            refuse_beyond(budget, plan.environments(), engine)
        except DiskFull:
            states = replay(plan, store, engine, again=again).states
            left = (node.request for node in plan.nodes if node.request and not states[node.index].over)
            refuse_beyond(budget, tuple(dict.fromkeys(left)), engine)
    except BaseException:
        engine.terminate()
        raise
