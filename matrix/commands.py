"""The verbs of the command line: each takes the parsed options, prints, and returns the exit status."""

from __future__ import annotations

import shutil
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from matrix.engines.base import Engine
from matrix.errors import (
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_WORSE_THAN_BASELINE,
    DiskFull,
    EngineMissing,
    StoreUnusable,
    UsageError,
)
from matrix.estimate import environment_costs, estimate
from matrix.formats import FORMATS, disk_words, plain_rows
from matrix.plan import Cell, Plan
from matrix.progress import make_progress
from matrix.provision import share_of
from matrix.records import Outcome, Stage
from matrix.replay import replay
from matrix.runner import Runner, RunSummary
from matrix.schedule import NodeState, Schedule
from matrix.store import Store
from matrix.workplace import (
    cores_of_machine,
    engine_maker,
    judged,
    machine_class,
    plan_of,
    question_of,
    workshop,
)


def run(options: Namespace) -> int:
    """Runs what is missing and prints the table."""
    plan = _resolved(lambda: plan_of(question_of(options), options.store))
    with Store(options.store) as store:
        name = " ".join((plan.spec.source, plan.spec.name, *plan.spec.options, *options.only))
        summary = _carry_out(plan, store, options, name=name)
        if summary.interrupted:
            return EXIT_INTERRUPTED
        report = replace(judged(plan, summary.states, store), disk=summary.disk if summary.disk.made else None)
        _write(FORMATS[options.format](report), options.output)
    _complain_of_missing(summary)
    return EXIT_OK


def export(options: Namespace) -> int:
    """Exports one model, as a run would, and writes the files."""
    from matrix.exporting import export_plan, keep_files

    plan = _resolved(lambda: export_plan(options))
    with Store(options.store) as store:
        summary = _carry_out(plan, store, options, name=plan.spec.name)
        if summary.interrupted:
            return EXIT_INTERRUPTED
        _complain_of_missing(summary)
        (cell,) = judged(plan, summary.states, store).cells
        for path, size in keep_files(cell, store, options):
            print(f"{path}  {size / 1e6:.1f} MB")
    return EXIT_OK


def _resolved(make: Callable[[], Plan]) -> Plan:
    """A plan all of whose locks are there: what models of one's own ask for beside torch is resolved first."""
    from matrix.extending import resolve_missing
    from matrix.index import configured

    plan = make()
    return make() if resolve_missing(plan.environments(), configured(), _say) else plan


def _carry_out(plan: Plan, store: Store, options: Namespace, *, name: str) -> RunSummary:
    """Runs what is missing of a plan, and says so."""
    cores = options.jobs or cores_of_machine()
    make_engine = engine_maker(options.engine, store, cores=cores, own_cache=not _fits(plan, options, store))
    if not store.hold(alone=False):
        raise StoreUnusable(f"{options.store}: it is being cleaned", tip="run again when that is over")
    progress = make_progress()
    progress.note(f"{plan.spec.name}: {_size(plan)}; store {options.store}")
    try:
        runner = Runner(
            plan=plan,
            store=store,
            progress=progress,
            cores=cores,
            machine=machine_class(),
            make_engine=make_engine,
            budget_bytes=options.disk_budget,
        )
        _refuse_beyond(options.disk_budget, plan, runner.engine)
        summary = runner.run()
    finally:
        progress.close()
    store.remember_run(name, [state.result.key for state in summary.states if state.result])
    _tell(summary)
    if summary.interrupted:
        print("interrupted; what was finished is kept, the same command goes on from there", file=sys.stderr)
    return summary


def _complain_of_missing(summary: RunSummary) -> None:
    if summary.missing:
        raise EngineMissing(
            "some cells stay untested: " + "\n".join(sorted(summary.missing)),
            tip="install what is missing and run again: what was measured is kept; `doctor` lists what is there",
        )


def plan(options: Namespace) -> int:
    """Says what a run would do, at most, and touches nothing."""
    planned = plan_of(question_of(options), options.store)
    schedule, standing, missing, seconds = Schedule(planned), 0, dict[str, int](), {}
    if (options.store / "store.sqlite").is_file():
        with Store(options.store, read_only=True) as store:
            engine = _looking(options, store)
            schedule = replay(planned, store, engine)
            standing, missing = _standing(engine, planned)
            seconds = store.typical_seconds()
    requests = planned.environments()
    done = {stage: _done(planned, schedule, stage) for stage in planned.stages}
    decided = Counter(filter(None, (_decided(cell, schedule.states) for cell in planned.cells)))
    cost = estimate(planned, done=done, standing=standing, seconds=seconds, cores=options.jobs or cores_of_machine())
    rows = [
        ["question", planned.spec.question],
        ["cells", ", ".join([str(len(planned.cells)), f"{decided['done']} done", *_staying(decided)])],
        *([f"{stage} jobs", f"at most {planned.jobs(stage)}, {done[stage]} done"] for stage in planned.stages),
        ["environments", f"{len(requests)}, {standing} ready"],
        *(["missing", f"{reason}: {count} environments stay untested"] for reason, count in missing.items()),
        ["download", f"at most {cost.download_bytes / 1e9:.1f} GB"],
        ["disk", f"at most {cost.disk_bytes / 1e9:.1f} GB{_kept_to(options.disk_budget, cost.disk_bytes)}"],
        ["time", f"about {cost.seconds:.0f} s"],
    ]
    print(plain_rows(rows, headers=()))
    return EXIT_OK


def _decided(cell: Cell, states: Sequence[NodeState]) -> str:
    """`done`, or `untested` where this machine cannot, or empty where jobs are left."""
    obstacles = {state.obstacle[0] for state in (states[node] for node in cell.nodes) if state.obstacle}
    if Outcome.UNTESTED in obstacles:
        return "untested"
    return "done" if cell.excluded or obstacles or all(states[node].result for node in cell.nodes) else ""


def _staying(decided: Mapping[str, int]) -> list[str]:
    return [f"{decided['untested']} stay untested"] if decided["untested"] else []


def _standing(engine: Engine, planned: Plan) -> tuple[int, dict[str, int]]:
    """How many environments stand, and how many cannot be made on this machine, by reason."""
    standing, missing = 0, Counter[str]()
    for request in planned.environments():
        try:
            standing += engine.load(request) is not None
        except EngineMissing as error:
            missing[str(error)] += 1
    return standing, missing


def show(options: Namespace) -> int:
    """Prints the table of what is in the store."""
    planned = plan_of(question_of(options), options.store)
    with Store(options.store, read_only=True) as store:
        schedule = replay(planned, store, _looking(options, store))
        _write(FORMATS[options.format](judged(planned, schedule.states, store)), options.output)
    return EXIT_OK


def compare(options: Namespace) -> int:
    """Compares two runs and prints what differs."""
    from matrix.comparing import compare_runs, words
    from matrix.results import read_run

    compared = compare_runs(read_run(options.before), read_run(options.after))
    print("\n".join(words(compared)))
    return EXIT_WORSE_THAN_BASELINE if compared.unexplained else EXIT_OK


def doctor(options: Namespace) -> int:
    """Looks at the machine and says what to install for the rest."""
    from matrix.doctor import examine

    findings = examine(options.store)
    rows = [[finding.state, finding.name, finding.found, finding.advice] for finding in findings]
    print(plain_rows(rows, headers=("state", "what", "found", "what to do")))
    return EXIT_OK


def lock(options: Namespace) -> int:
    """Writes the locks, the bases and the tables of layers anew; the difference reads as an upgrade."""
    from matrix.armv6.debs import lock_sets, lock_tools
    from matrix.assembler import lock_layers
    from matrix.baselocking import lock_all_bases
    from matrix.locking import lock_all
    from matrix.locks import Change

    with Store(options.store) as store:
        shop = workshop(store)
        changes = list(lock_all(shop.images / "locks", shop.index, upgrade=options.upgrade, progress=_say))
        if not options.wheels_only:
            shop.files.folder.mkdir(exist_ok=True)
            changes += lock_all_bases(shop.images / "base", files=shop.files.folder, source=shop.sources, progress=_say)
            changes += lock_layers(shop, _say)
            armv6, files = shop.images / "armv6", shop.files.folder
            changes += lock_sets(armv6, files=files, source=shop.sources, progress=_say)
            changes.append(lock_tools(armv6, shop.index, upgrade=options.upgrade))
    for change in changes:
        if change.change is not Change.UNCHANGED:
            print(f"{change.change:10} {change.name}  {change.detail}".rstrip())
    same = sum(1 for change in changes if change.change is Change.UNCHANGED)
    print(f"{len(changes)} locks, {same} as they were")
    return EXIT_OK


def armv6_smoke(options: Namespace) -> int:
    from matrix.armv6 import verbs

    return verbs.armv6_smoke(options)


def bundle(options: Namespace) -> int:
    """Exports the model unless it is MLIR already, then makes the folder for the board."""
    import tempfile

    from matrix.armv6 import verbs

    verbs.check_bundle(options)
    given = Path(options.model)
    if given.suffix == ".mlir":
        return verbs.bundle(options, given)
    with tempfile.TemporaryDirectory() as scratch:
        mlir = Path(scratch) / f"{given.stem}.mlir"
        status = export(Namespace(**{**vars(options), "output": mlir, "arrays": True, "parameters": None}))
        return status or verbs.bundle(options, mlir)


def armv6_lld(options: Namespace) -> int:
    from matrix.armv6 import verbs

    return verbs.armv6_lld(options)


def image(options: Namespace) -> int:
    """The verbs below `image`. Their module brings an HTTP client and archive readers: 0.1 s others need not pay."""
    from matrix.imagecommands import SUBVERBS

    return SUBVERBS[options.subverb](options)


def clean(options: Namespace) -> int:
    """Frees space, and keeps what a shown table needs."""
    from matrix.cleaning import clean_store

    with Store(options.store, create=False) as store:
        freed = clean_store(
            store,
            older_than_days=options.older_than,
            max_bytes=None if options.max_size is None else int(options.max_size * 1e9),
            environments=options.environments,
        )
    print(plain_rows([[part, f"{size / 1e6:.1f} MB"] for part, size in freed.items()], headers=("removed", "freed")))
    return EXIT_OK


def _looking(options: Namespace, store: Store) -> Engine:
    """An engine for looking things up: it never downloads and starts no worker."""
    return engine_maker(options.engine, store, cores=1, offline=True)(lambda _: None)


def _size(plan: Plan) -> str:
    jobs = sum(plan.jobs(stage) for stage in plan.stages)
    return f"{len(plan.cells)} cells, at most {jobs} jobs, {len(plan.environments())} environments"


def _kept_to(budget: int | None, needed: int) -> str:
    return f", kept to a budget of {budget / 1e9:.1f} GB" if budget and needed > budget else ""


def _done(plan: Plan, schedule: Schedule, stage: Stage) -> int:
    return sum(1 for node in plan.nodes if node.stage is stage and schedule.states[node.index].result)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _tell(summary: RunSummary) -> None:
    print(
        f"{summary.jobs_run} jobs run, {summary.jobs_reused} reused, {summary.seconds:.1f} s, "
        f"{summary.tool_cpu_seconds:.1f} s of it CPU time of the tools",
        file=sys.stderr,
    )
    if summary.disk.made:
        print(disk_words(summary.disk), file=sys.stderr)


def _budget(options: Namespace, store: Store) -> int:
    """What environments may hold, as far as it is known before one is looked at."""
    return options.disk_budget or share_of(shutil.disk_usage(store.folder).free)


def _fits(plan: Plan, options: Namespace, store: Store) -> bool:
    """All environments of a plan find room at the same time."""
    return environment_costs(plan.environments()).disk_bytes <= _budget(options, store)


def _refuse_beyond(budget: int | None, plan: Plan, engine: Engine) -> None:
    """An engine that keeps what it made says so before it begins. Raises DiskFull."""
    limit = budget or share_of(engine.free_bytes())
    if engine.droppable or environment_costs(plan.environments()).disk_bytes <= limit:
        return
    missing = [request for request in plan.environments() if engine.load(request) is None]
    needed = environment_costs(missing).disk_bytes
    if needed > limit:
        engine.terminate()
        raise DiskFull(
            f"the engine {engine.name} keeps its images, and those that are missing need about {needed / 1e9:.0f} GB "
            f"of {limit / 1e9:.0f} GB",
            tip="give more with --disk-budget, cut the run down with --only, or take --engine venv, which drops "
            "environments when their jobs are over",
        )


def _write(text: str, output: Path | None) -> None:
    if output is None:
        sys.stdout.write(text)
    else:
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            output.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UsageError(
                f"--output: {output} cannot be written: {error.strerror}",
                tip="nothing is lost: `show` with the same words prints the table again",
            ) from None
