"""One shard of a plan carried out on this machine, and what it measured written as a bundle."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterable
from pathlib import Path

from matrix.core.errors import EXIT_INTERRUPTED, EXIT_OK, EngineMissing, ShardFault, UsageError
from matrix.core.keys import asked_digest
from matrix.core.records import EnvironmentRequest, JobResult, Outcome
from matrix.core.text import counted, say
from matrix.engines.choice import lookup_engine
from matrix.engines.contract import Engine
from matrix.plan.graph import NodeState, Plan
from matrix.plan.question import Question, question_text
from matrix.run.carry_out import OURS, carry_out, report_gaps, table_name
from matrix.run.evidence import replay
from matrix.run.shards.bundles import BundleHead, EnvironmentRow, save_bundle
from matrix.run.shards.dealing import (
    WAVES,
    Shard,
    above_of,
    busy_shards,
    deal,
    jobs_by_stage,
    part_of,
    plan_digest,
)
from matrix.run.store import Store


def is_sharded(options: Namespace) -> bool:
    """Whether one shard is asked for. Raises UsageError where a word of it is missing, or is one of a whole run."""
    words = {"--shard": options.shard, "--wave": options.wave, "--bundle": options.bundle}
    given = [name for name, value in words.items() if value]
    if given and len(given) < len(words):
        lacking = " and ".join(name for name in words if name not in given)
        raise UsageError(
            f"run: read {' and '.join(given)} without {lacking}, expected all three",
            tip="such as `--wave 1 --shard 3/16 --bundle 1-3.zip`; `shards SPEC` shows what each would run",
        )
    if given and (options.output or options.format != "table"):
        raise UsageError(
            "run --shard: read --format or --output, expected --bundle alone: a shard has no table",
            tip="put all bundles together with `merge`, then `show` prints it",
        )
    return bool(given)


def run_shard(
    plan: Plan, store: Store, options: Namespace, question: Question, again: Callable[[JobResult], bool]
) -> int:
    """Runs the shard that `options` name (`shard`, `wave`, `bundle`), and writes its bundle, also if it was stopped or
    has no job. Returns the exit status.

    Raises ShardFault where the store lacks the wave before, and the errors of a run."""
    number, count = options.shard
    wave = deal(plan, count)[options.wave - 1]
    shard = wave[number - 1]
    say(f"wave {options.wave}/{WAVES}, shard {number}/{count}: {jobs_by_stage(plan, shard)}")
    summary, states, lacking = None, list[NodeState](), 0
    if shard.nodes:
        standing, lacking = _standing(plan, shard, store, options)
        part, places = part_of(plan, shard.nodes, standing)
        words = (*options.only, f"--shard {number}/{count}", f"--wave {options.wave}")
        summary = carry_out(part, store, options, words=words, again=again)
        states = [summary.states[place] for place in places]
    head = {
        "plan": plan_digest(plan, options.engine),
        "spec": plan.spec.name,
        "shard": number,
        "shards": count,
        "wave": options.wave,
        "waves": WAVES,
        "busy": busy_shards(wave),
        "table": table_name(plan, options.only, options.engine),
        "question": question_text(question, options.engine),
        "left": sum(not _ended(state) for state in states),
    }
    results = list({state.result.key: state.result for state in states if state.result}.values())
    environments = _environments(shard.requests, store, lookup_engine(options.engine, store.places))
    manifest = save_bundle(options.bundle, store, results=results, environments=environments, head=head)
    say(_told(options.bundle, manifest))
    if summary is None:
        return EXIT_OK
    if summary.interrupted:
        return EXIT_INTERRUPTED
    if lacking:
        summary.missing.add(f"{counted(lacking, 'job')} of wave {options.wave - 1}: this store has no result of it")
    report_gaps(summary)
    return EXIT_OK


def _standing(plan: Plan, shard: Shard, store: Store, options: Namespace) -> tuple[set[int], int]:
    """The nodes above a shard's that are over in this store, and how many others there are. Raises ShardFault if none
    is."""
    needed = {index for index in above_of(plan, shard.nodes) if not plan.nodes[index].obstacle}
    if not needed:
        return set(), 0
    states = replay(plan, store, lookup_engine(options.engine, store.places)).states
    standing = {index for index in needed if _ended(states[index])}
    if not standing:
        raise ShardFault(
            f"--wave {options.wave}: the store {options.store} has no result of the {counted(len(needed), 'job')} that "
            f"this shard builds on, expected those of wave {options.wave - 1}",
            tip="put the bundles of that wave into it first: `merge BUNDLE... --store FOLDER`",
        )
    return standing, len(needed) - len(standing)


def _ended(state: NodeState) -> bool:
    """Whether a node came to an end that is no fault of ours."""
    if state.result:
        return state.result.outcome is not Outcome.INFRASTRUCTURE
    return state.obstacle is not None and state.obstacle[0] not in OURS


def _environments(requests: Iterable[EnvironmentRequest], store: Store, engine: Engine) -> list[EnvironmentRow]:
    """What this store knows of environments."""
    found = []
    for request in requests:
        try:
            recipe = engine.recipe(request)
        except EngineMissing:
            continue
        if known := store.environment(recipe):
            found.append(EnvironmentRow(request=asked_digest(request, engine.name), recipe=recipe, known=known))
    return found


def _told(path: Path, manifest: BundleHead) -> str:
    blobs = f"{counted(len(manifest.blobs), 'artifact')} of {sum(manifest.blobs.values()) / 1e6:.1f} MB"
    left = f"; {counted(manifest.left, 'job')} did not end: the same command tries them again" if manifest.left else ""
    return f"{path}: {counted(manifest.results, 'result')}, {blobs}{left}"
