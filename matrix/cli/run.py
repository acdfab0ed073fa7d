"""The verbs that plan, run, show and compare. Each takes the options, prints, returns the exit status."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from matrix.core.disk import write_output
from matrix.core.errors import (
    EXIT_INTERRUPTED,
    EXIT_NO,
    EXIT_OK,
    EngineMissing,
    NotInstallable,
    UsageError,
)
from matrix.core.machine import usable_cores
from matrix.core.records import EnvironmentRequest, Outcome, Stage
from matrix.core.text import escape_controls, plain_rows, say
from matrix.engines.choice import lookup_engine
from matrix.engines.contract import Engine
from matrix.plan.graph import NodeState, Plan, PlannedCell
from matrix.plan.question import Question
from matrix.results.files import read_run
from matrix.results.formats import FORMATS
from matrix.results.written.pieces import PIECES
from matrix.run.carry_out import carry_out, disk_use, measured_again, report_gaps, resolved
from matrix.run.cost import estimate
from matrix.run.covering.known import covered_plan, denser_cells
from matrix.run.elsewhere.choice import refuse_elsewhere
from matrix.run.evidence import judged_cells, no_result, replay
from matrix.run.planning import plan_of, question_of
from matrix.run.remote.places import SharedPlace, place_of
from matrix.run.remote.shared import SharedStore
from matrix.run.schedule import Schedule
from matrix.run.shards.carrying import is_sharded, run_shard
from matrix.run.store import Store
from matrix.run.stored.one_by_one import OneByOne, is_large


def remembering(options: Namespace, place: SharedPlace | None) -> Store:
    """The store of a run, which asks a shared one if there is one."""
    return SharedStore(options.store, place, checked_percent=options.remote_check) if place else Store(options.store)


def do_run(options: Namespace) -> int:
    """Runs what is missing and prints the table; of a shard it writes a bundle."""
    question = question_of(options)
    sharded = is_sharded(options)  # shards plan alike, whatever their stores have
    place = place_of(options.remote) if options.remote else None
    planned = partial(covered_plan, engine=options.engine) if not sharded else plan_of
    plan = resolved(lambda: planned(question, options.store))
    refuse_elsewhere(plan, options)
    if options.remote_check and not place:
        raise UsageError("--remote-check: expected --remote URL beside it: what is found there is measured again")
    with remembering(options, place) as store:
        again = measured_again(options.again, plan, store, options.engine) if options.again else no_result
        if sharded:
            return run_shard(plan, store, options, question, again)
        summary = carry_out(plan, store, options, words=options.only, again=again, question=question)
        report = judged_cells(plan, summary.states, store)
        most = len(plan.cells) + (plan.spec.cover.densify if plan.spec.cover else 0)
        while not summary.interrupted and (first := denser_cells(plan, report, most - len(plan.cells))):
            say(f"densify: {len(first) - len(plan.cells)} cells more, between and around those that end differently")
            plan = resolved(partial(plan_of, question, options.store, first=first))
            summary = carry_out(plan, store, options, words=options.only, question=question)
            report = judged_cells(plan, summary.states, store)
        if summary.interrupted:
            return EXIT_INTERRUPTED
        report = replace(report, disk=disk_use(summary.disk))
        _write(FORMATS[options.format](report), options.output)
    report_gaps(summary, report.cells)
    return EXIT_OK


def do_plan(options: Namespace) -> int:
    """Prints what a run would do, as an upper bound, and changes nothing."""
    planned = covered_plan(question_of(options), options.store, options.engine)
    schedule, standing, lacking, seconds = Schedule(planned), set[EnvironmentRequest](), dict[str, int](), {}
    if (options.store / "store.sqlite").is_file():
        with Store(options.store, read_only=True) as store:
            engine = lookup_engine(options.engine, store.places)
            schedule = replay(planned, store, engine)
            standing, lacking = _standing(engine, planned)
            seconds = store.typical_seconds()
    requests = planned.environments()
    done = {stage: _done(planned, schedule, stage) for stage in planned.stages}
    decided = Counter(filter(None, (_decided(cell, schedule.states) for cell in planned.cells)))
    missing = [request for request in requests if request not in standing and schedule.needs(request)]
    cost = estimate(planned, done=done, missing=missing, seconds=seconds, cores=options.jobs or usable_cores())
    rows = [
        ["question", planned.spec.question],
        ["cells", ", ".join([_chosen(planned), f"{decided['done']} done", *_staying(decided)])],
        *([["cover", planned.chosen.facts.words]] if planned.chosen else []),
        *([f"{stage} jobs", f"at most {planned.jobs(stage)}, {done[stage]} done"] for stage in planned.stages),
        ["environments", f"{len(requests)}, {len(standing)} ready, {len(missing)} to be made"],
        *(["missing", f"{reason}: {count} environments stay untested"] for reason, count in lacking.items()),
        ["download", f"at most {cost.download_bytes / 1e9:.1f} GB"],
        ["disk", f"at most {cost.disk_bytes / 1e9:.1f} GB{_kept_to(options.disk_budget, cost.disk_bytes)}"],
        ["time", f"about {cost.seconds:.0f} s"],
    ]
    print(plain_rows(rows, headers=()))
    return EXIT_OK


def _chosen(planned: Plan) -> str:
    count = str(len(planned.cells))
    return f"{count} chosen of {planned.chosen.facts.of_cells}" if planned.chosen else count


def _decided(cell: PlannedCell, states: Sequence[NodeState]) -> str:
    """`done`, or `untested` if this machine cannot run it, or empty if jobs remain."""
    obstacles = {state.obstacle[0] for state in (states[node] for node in cell.nodes) if state.obstacle}
    if Outcome.UNTESTED in obstacles:
        return "untested"
    return "done" if cell.excluded or obstacles or all(states[node].result for node in cell.nodes) else ""


def _staying(decided: Mapping[str, int]) -> list[str]:
    return [f"{decided['untested']} stay untested"] if decided["untested"] else []


def _standing(engine: Engine, planned: Plan) -> tuple[set[EnvironmentRequest], dict[str, int]]:
    """The environments that exist, and how many cannot be made on this machine, by reason."""
    standing, lacking = set[EnvironmentRequest](), Counter[str]()
    for request in planned.environments():
        try:
            if engine.load(request) is not None:
                standing.add(request)
        except EngineMissing as error:
            lacking[str(error)] += 1
        except NotInstallable:
            continue
    return standing, lacking


def do_show(options: Namespace) -> int:
    """Prints the table of the results in the store, or of a results file."""
    asked = question_of(options)
    if asked.preset.endswith(".json"):
        if asked != Question(preset=asked.preset, torch_variant=asked.torch_variant):
            more = " ".join((*(f"--only {word}" for word in asked.only), *asked.options))
            raise UsageError(
                f"show {asked.preset}: read {more} beside it, expected a results file alone",
                tip="a preset in its place takes --only and axes",
            )
        _write(FORMATS[options.format](read_run(Path(asked.preset))), options.output)
        return EXIT_OK
    planned = covered_plan(asked, options.store, options.engine)
    with Store(options.store, read_only=True) as store:
        engine = lookup_engine(options.engine, store.places)
        if options.format in PIECES and is_large(planned):
            found = OneByOne(planned, store, engine)
            _write(PIECES[options.format](found, found.head), options.output)
        else:
            states = replay(planned, store, engine).states
            _write(FORMATS[options.format](judged_cells(planned, states, store)), options.output)
    return EXIT_OK


def do_compare(options: Namespace) -> int:
    """Compares two runs and prints the differences."""
    from matrix.answers.equality import compare_runs, comparison_lines

    compared = compare_runs(read_run(options.before), read_run(options.after))
    print(escape_controls("\n".join(comparison_lines(compared))))
    return EXIT_NO if compared.unexplained else EXIT_OK


def _kept_to(budget: int | None, needed: int) -> str:
    return f", kept to a budget of {budget / 1e9:.1f} GB" if budget and needed > budget else ""


def _done(plan: Plan, schedule: Schedule, stage: Stage) -> int:
    return sum(1 for node in plan.nodes if node.stage == stage and schedule.states[node.index].result)


def _write(text: str | Iterable[str], output: Path | None) -> None:
    if output is None:
        sys.stdout.writelines([text] if isinstance(text, str) else text)
    else:
        write_output(output, text, tip="nothing is lost: the same command writes it, and nothing runs again")
