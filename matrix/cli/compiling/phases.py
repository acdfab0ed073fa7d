"""The verb `phases`: the CPU time of a compile by phase, of one release or of two compared."""

from __future__ import annotations

import json
from argparse import Namespace

from matrix.answers.compiling.phase_tables import phases_csv, phases_markdown
from matrix.answers.compiling.phases import CompilePhases, comparison_of_phases, phases_document, phases_lines
from matrix.answers.profiled.published import MOST_SIDES
from matrix.cli.output import give_answer
from matrix.cli.profiling.profile import refuse_many
from matrix.core.errors import EXIT_INTERRUPTED, EXIT_OK
from matrix.core.text import escape_controls
from matrix.run.carry_out import carry_out, report_gaps, resolved
from matrix.run.evidence import judged_cells
from matrix.run.planning import plan_of, question_of
from matrix.run.store import Store
from matrix.run.stored.phases import compiles_of


def do_phases(options: Namespace) -> int:
    """Runs what is missing, and prints the phases of one compile, or two compared."""
    options.model = [options.models]
    question = question_of(options)
    plan = resolved(lambda: plan_of(question, options.store))
    refuse_many(plan, options.verb)
    with Store(options.store) as store:
        summary = carry_out(plan, store, options, words=[options.verb, *options.only], question=question)
        if summary.interrupted:
            return EXIT_INTERRUPTED
        run = judged_cells(plan, summary.states, store)
        report_gaps(summary, run.cells)
        found = tuple(compiles_of(plan, run, summary.states))
    give_answer(_said(options.format, found).rstrip("\n") + "\n", options.output)
    return EXIT_OK


def _said(form: str, found: tuple[CompilePhases, ...]) -> str:
    if form == "json":
        return json.dumps(phases_document(found), indent=1)
    if form == "csv":
        return escape_controls(phases_csv(found))
    if form == "markdown":
        return escape_controls(phases_markdown(found))
    lines = comparison_of_phases(*found) if len(found) == MOST_SIDES else phases_lines(found[0])
    return escape_controls("\n".join(lines))
