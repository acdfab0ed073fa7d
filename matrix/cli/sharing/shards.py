"""The verbs `shards` and `merge`."""

from __future__ import annotations

from argparse import Namespace

from matrix.cli.output import give_answer
from matrix.core.errors import EXIT_OK, ShardFault
from matrix.core.records import DEFAULT_ENGINE
from matrix.core.text import counted, escape_controls, plain_rows, say
from matrix.plan.graph import Plan
from matrix.run.planning import plan_of, question_of
from matrix.run.shards.dealing import deal, jobs_by_stage
from matrix.run.shards.merging import MOST_TOLD, Merged, finding_lines, merge, open_bundles
from matrix.run.shards.scripts import script_text
from matrix.run.store import Store


def do_shards(options: Namespace) -> int:
    """Prints how a run is dealt, or the file that carries it out elsewhere; changes nothing."""
    question = question_of(options)
    plan = plan_of(question, options.store)
    if options.format == "text":
        text = _dealt(plan, options.shards)
    else:
        only = [word for each in options.only for word in ("--only", each)]
        engine = [] if options.engine == DEFAULT_ENGINE else ["--engine", options.engine]
        words = [question.spec_name, *only, *question.options, *engine]
        text = script_text(options.format, plan, options.shards, words, budget=options.disk_budget)
    give_answer(text, options.output)
    return EXIT_OK


def _dealt(plan: Plan, shards: int) -> str:
    rows = [
        [
            f"{number}",
            f"{place}/{shards}",
            jobs_by_stage(plan, shard),
            str(len(shard.requests)),
            f"{shard.download_bytes / 1e9:.1f} GB",
            f"{shard.disk_bytes / 1e9:.1f} GB",
            f"{shard.seconds:.0f} s",
        ]
        for number, wave in enumerate(deal(plan, shards), 1)
        for place, shard in enumerate(wave, 1)
    ]
    headers = ("wave", "shard", "jobs, at most", "environments", "download", "disk", "time of one core")
    return plain_rows(rows, headers=headers) + "\n"


def do_merge(options: Namespace) -> int:
    """Puts bundles into the store, and says what it found."""
    bundles = open_bundles(options.bundles)
    try:
        with Store(options.store) as store:
            merged = merge(store, bundles)
    finally:
        for bundle in bundles:
            bundle.close()
    spec = bundles[0].manifest.spec
    say(
        f"{counted(len(bundles), 'bundle')} of {spec}: {counted(merged.results, 'result')}, {merged.new} of them new; "
        f"{counted(merged.environments, 'environment')}, {counted(merged.blobs, 'new artifact')}; store {options.store}"
    )
    for line in (*finding_lines(merged), *_missing(merged)):
        say(escape_controls(line))
    if merged.damaged:
        more = len(merged.damaged) - MOST_TOLD
        lines = merged.damaged[:MOST_TOLD] + [f"and {counted(more, 'more artifact')}"] * (more > 0)
        raise ShardFault(
            "\n".join(lines),
            tip="all else was merged; copy that bundle again, or run its shard again, and merge it",
        )
    return EXIT_OK


def _missing(merged: Merged) -> list[str]:
    lacking = merged.missing[:MOST_TOLD]
    more = len(merged.missing) - len(lacking)
    return [f"no bundle of {', '.join(lacking)}{f' and {more} more' if more else ''} among them"] if lacking else []
