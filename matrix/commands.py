"""The verbs of the command line: each takes the parsed options, prints, and returns the exit status."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from matrix.engines.base import Engine
from matrix.errors import (
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_WORSE_THAN_BASELINE,
    EngineMissing,
    UsageError,
)
from matrix.estimate import estimate
from matrix.execution import carry_out, complain_of_missing, looked_at, resolved, say
from matrix.formats import FORMATS, plain_rows
from matrix.index import NotInstallable
from matrix.plan import Cell, Plan
from matrix.records import Outcome, Stage
from matrix.replay import replay
from matrix.schedule import NodeState, Schedule
from matrix.store import Store
from matrix.workplace import (
    cores_of_machine,
    engine_maker,
    judged,
    plan_of,
    question_of,
    workshop,
)

if TYPE_CHECKING:
    from matrix.assembler import Workshop
    from matrix.locks import LockChange


def run(options: Namespace) -> int:
    """Runs what is missing and prints the table."""
    plan = resolved(lambda: plan_of(question_of(options), options.store))
    with Store(options.store) as store:
        name = " ".join((plan.spec.source, plan.spec.name, *plan.spec.options, *options.only))
        summary = carry_out(plan, store, options, name=name)
        if summary.interrupted:
            return EXIT_INTERRUPTED
        report = replace(judged(plan, summary.states, store), disk=summary.disk if looked_at(summary.disk) else None)
        _write(FORMATS[options.format](report), options.output)
    complain_of_missing(summary)
    return EXIT_OK


def export(options: Namespace) -> int:
    """Exports one model, as a run would, and writes the files."""
    from matrix.exporting import export_plan, keep_files

    plan = resolved(lambda: export_plan(options))
    with Store(options.store) as store:
        summary = carry_out(plan, store, options, name=plan.spec.name)
        if summary.interrupted:
            return EXIT_INTERRUPTED
        complain_of_missing(summary)
        (cell,) = judged(plan, summary.states, store).cells
        for path, size in keep_files(cell, store, options):
            print(f"{path}  {size / 1e6:.1f} MB")
    return EXIT_OK


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
        except NotInstallable:
            continue
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
    """Writes the locks, the bases, the tables of layers and store paths anew; the difference reads as an upgrade."""
    from matrix.locking import lock_all
    from matrix.locks import Change

    with Store(options.store) as store:
        shop = workshop(store)
        changes: list[LockChange] = []
        if not options.nix_only:
            changes += lock_all(shop.images / "locks", shop.index, upgrade=options.upgrade, progress=say)
        if not options.wheels_only:
            changes += _lock_images(shop, upgrade=options.upgrade, nix_only=options.nix_only)
    for change in changes:
        if change.change is not Change.UNCHANGED:
            print(f"{change.change:10} {change.name}  {change.detail}".rstrip())
    same = sum(1 for change in changes if change.change is Change.UNCHANGED)
    print(f"{len(changes)} locks, {same} as they were")
    return EXIT_OK


def _lock_images(shop: Workshop, *, upgrade: bool, nix_only: bool) -> list[LockChange]:
    """What follows from the locks of wheels, and what stands beside them; `nix_only`: the store paths alone."""
    from matrix.armv6.debs import lock_sets, lock_tools
    from matrix.assembler import lock_layers
    from matrix.baselocking import lock_all_bases
    from matrix.nixlocking import lock_nix

    files, armv6 = shop.files.folder, shop.images / "armv6"
    files.mkdir(exist_ok=True)
    if nix_only:
        return list(lock_nix(shop, say, upgrade=upgrade))
    changes = [*lock_all_bases(shop.images / "base", files=files, source=shop.sources, progress=say)]
    changes += lock_layers(shop, say)
    changes += lock_nix(shop, say, upgrade=upgrade)
    changes += lock_sets(armv6, files=files, source=shop.sources, progress=say)
    return [*changes, lock_tools(armv6, shop.index, upgrade=upgrade)]


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
    from matrix import imagecommands, nixcommands

    verbs = nixcommands.SUBVERBS if getattr(options, "engine", "") == "nix" else imagecommands.SUBVERBS
    return verbs[options.subverb](options)


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


def _kept_to(budget: int | None, needed: int) -> str:
    return f", kept to a budget of {budget / 1e9:.1f} GB" if budget and needed > budget else ""


def _done(plan: Plan, schedule: Schedule, stage: Stage) -> int:
    return sum(1 for node in plan.nodes if node.stage is stage and schedule.states[node.index].result)


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
