"""`profile MODEL --peers`: what each operation takes with IREE and with the systems beside it that have a profiler."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Mapping, Sequence

from matrix.answers.peers.joining import Worked
from matrix.answers.peers.losses import loss_lines, losses_document
from matrix.answers.peers.operations import HOW_TIMED, SystemTimes, system_lines, systems_document
from matrix.answers.peers.sides import worked_by_dispatches, worked_by_system
from matrix.answers.timing.joined import TimedProfile
from matrix.answers.timing.words import timed_lines
from matrix.cli.output import give_answer
from matrix.core.errors import EXIT_INTERRUPTED, EXIT_OK, NoAnswer
from matrix.core.text import escape_controls
from matrix.plan.backends.shared import BACKEND_AXIS
from matrix.plan.stages import backends
from matrix.results.run import Cell
from matrix.run.carry_out import carry_out, report_gaps, resolved
from matrix.run.evidence import judged_cells
from matrix.run.planning import plan_of, question_of
from matrix.run.store import Store
from matrix.run.stored.dispatch_times import timed_profiles
from matrix.run.stored.operations import system_times, without_times


def profile_peers(options: Namespace) -> int:
    """Runs what is missing, and prints the operations of each system. Raises NoAnswer where no system has any."""
    question = question_of(options)
    plan = resolved(lambda: plan_of(question, options.store))
    with Store(options.store) as store:
        summary = carry_out(plan, store, options, words=[options.verb, *options.only], question=question)
        if summary.interrupted:
            return EXIT_INTERRUPTED
        run = judged_cells(plan, summary.states, store)
        report_gaps(summary, run.cells)
        timed, found = timed_profiles(run, store), system_times(run, store)
        lacking = [cell for cell in without_times(run) if cell.name not in timed]
    if not found and not timed:
        first = lacking[0]
        tip = run.next_step(first.signature) or "`why` with the same words says more"
        raise NoAnswer(f"{first.name}: no times of operations: {_reason(first)}", tip=tip)
    own = [*timed.values()]
    said = json.dumps(_document(own, found), indent=1) if options.format == "json" else _told(own, found, lacking)
    give_answer(said + "\n", options.output)
    return EXIT_OK


def _others(found: Sequence[SystemTimes]) -> Mapping[str, Sequence[Worked]]:
    return {each.system: worked_by_system(each) for each in found}


def _told(own: Sequence[TimedProfile], found: Sequence[SystemTimes], lacking: Sequence[Cell]) -> str:
    lines = [line for each in found for line in (*system_lines(each), "")]
    for each in own:
        lines += [*timed_lines(each), ""]
        lines += [*loss_lines(backends()[0].name, worked_by_dispatches(each), _others(found)), ""] if found else []
    lines += [f"{cell.axes[BACKEND_AXIS.name]}: no times of operations: {_reason(cell)}" for cell in lacking]
    return escape_controls("\n".join([*lines, HOW_TIMED]))


def _document(own: Sequence[TimedProfile], found: Sequence[SystemTimes]) -> Mapping[str, object]:
    losses = [
        {"axes": {**each.profile.axes}, **losses_document(worked_by_dispatches(each), _others(found))} for each in own
    ]
    return {**systems_document(found), "losses": losses if found else []}


def _reason(cell: Cell) -> str:
    return cell.reason or cell.said or cell.words
