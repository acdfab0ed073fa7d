"""The verb `profile`: what each dispatch of a model executes, measured or read from published runs."""

from __future__ import annotations

import json
from argparse import Namespace

from matrix.answers.profiled.published import MOST_SIDES, find_profiles
from matrix.answers.profiled.words import comparison_of_profiles, profile_lines, profiles_document
from matrix.cli.arguments.profile import PEERS_PRESET, PROFILE_PRESET, TIMED_PRESET
from matrix.cli.output import give_answer
from matrix.cli.profiling.peers import profile_peers
from matrix.cli.profiling.timed import published_times_said, times_said
from matrix.core.errors import EXIT_INTERRUPTED, EXIT_OK, NoAnswer, UsageError
from matrix.core.text import escape_controls
from matrix.plan.graph import Plan
from matrix.results.measured.profiles import Profile, profiled_cells
from matrix.results.published.address import read_published
from matrix.results.run import Run
from matrix.run.carry_out import carry_out, report_gaps, resolved
from matrix.run.evidence import judged_cells, label_of
from matrix.run.planning import plan_of, question_of
from matrix.run.store import Store

PROFILE_TIP = "`why` with the same words says more; a target with a `counter` can be profiled: --target x86_64"


def do_profile(options: Namespace) -> int:
    """Prints one profile, or two compared by operation: of published runs, or after running what is missing."""
    options.model = [options.models]
    if options.results and options.preset == PEERS_PRESET:
        raise UsageError(
            "--results: read it beside --peers, expected one of them", tip="times of other systems are measured here"
        )
    if options.preset == PEERS_PRESET:
        return profile_peers(options)
    run = None if options.results else _measured(options)
    if run is None and not options.results:
        return EXIT_INTERRUPTED
    runs = () if run else read_published(options.results, options.store)
    profiles = _of_cells(run) if run else _published(options, runs)
    if options.preset == TIMED_PRESET:
        said = times_said(options, run, profiles) if run else published_times_said(options, runs, profiles)
    elif options.format == "json":
        said = json.dumps(profiles_document(profiles), indent=1)
    else:
        lines = comparison_of_profiles(*profiles) if len(profiles) == MOST_SIDES else profile_lines(profiles[0])
        said = escape_controls("\n".join(lines))
    give_answer(said + "\n", options.output)
    return EXIT_OK


def _published(options: Namespace, runs: tuple[Run, ...]) -> tuple[Profile, ...]:
    """Those of `--results`; nothing is run. Raises NoAnswer."""
    question = question_of(options)
    if question.only:
        raise UsageError(
            f"--only: read {question.only[0]!r} beside --results, expected the axes as options",
            tip="such as --compiler 3.13.0 --target x86_64",
        )
    return find_profiles(runs, label_of(options.models), question.axes)


def _measured(options: Namespace) -> Run | None:
    """The run after what is missing was run; None after Ctrl-C."""
    question = question_of(options)
    plan = resolved(lambda: plan_of(question, options.store))
    refuse_many(plan, options.verb)
    with Store(options.store) as store:
        summary = carry_out(plan, store, options, words=[PROFILE_PRESET, *options.only], question=question)
        if summary.interrupted:
            return None
        run = judged_cells(plan, summary.states, store)
        report_gaps(summary, run.cells)
        return run


def _of_cells(run: Run) -> tuple[Profile, ...]:
    """The profile of each cell. Raises NoAnswer where one has none, and says why."""
    found = profiled_cells(run)
    for cell in run.cells:
        if cell.name not in found:
            reason = cell.reason or cell.said or cell.words
            said = reason if reason.startswith("not profiled") else f"not profiled: {reason}"
            raise NoAnswer(f"{cell.name}: {said}", tip=run.next_step(cell.signature) or PROFILE_TIP)
    return tuple(found[cell.name] for cell in run.cells)


def refuse_many(plan: Plan, verb: str) -> None:
    """Raises UsageError for a plan of more cells than can be compared."""
    if 1 <= len(plan.cells) <= MOST_SIDES:
        return
    free = {axis: dict.fromkeys(cell.labels[axis] for cell in plan.cells) for axis in plan.cells[0].labels}
    told = "; ".join(f"{axis}: {', '.join(labels)}" for axis, labels in free.items() if len(labels) > 1)
    raise UsageError(
        f"{verb}: read the words of {len(plan.cells)} cells, expected one, or two to compare; they differ in {told}",
        tip="name one value of each, or two of one: --compiler 3.8.0 --compiler 3.13.0",
    )
