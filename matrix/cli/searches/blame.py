"""The verb `blame`: which dispatch of a cell's module departs from the reference, with a reproducer."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import replace

from matrix.answers.blaming.answer import blame_document, blame_lines
from matrix.cli.arguments.blame import BLAME_PRESET
from matrix.cli.output import give_answer
from matrix.core.errors import EXIT_INTERRUPTED, EXIT_NO, EXIT_OK, NoAnswer, UsageError
from matrix.core.records import Outcome
from matrix.core.text import escape_controls
from matrix.plan.axes import ordered_axes
from matrix.plan.backends.shared import MODEL_AXIS
from matrix.plan.graph import Plan
from matrix.plan.question import Question, split_choice
from matrix.plan.spec import Spec
from matrix.run.apart.examining import Examiner, Interrupted, cut_spec
from matrix.run.apart.reproducer import write_reproducer
from matrix.run.carry_out import resolved
from matrix.run.planning import load_spec, plan_for, question_of
from matrix.run.store import Store


def do_blame(options: Namespace) -> int:
    """Takes one cell apart, runs each dispatch alone, and prints which is wrong. Status 1 if the cell is wrong and
    no dispatch is."""
    asked = question_of(options)
    spec = cut_spec(load_spec(asked.preset or BLAME_PRESET))
    question = _asked(asked, options.cell, spec)
    plan = resolved(lambda: plan_for(spec, question, options.store))
    _refuse_many(plan)
    words = ("blame", *question.only)
    with Store(options.store) as store:
        examiner = Examiner(store=store, options=options, torch_variant=question.torch_variant)
        try:
            apart = examiner.take_apart(plan, words, question)
            blame = examiner.examine(apart, words)
            written: tuple[str, ...] = ()
            if blame.first and options.reproducer:
                written = write_reproducer(blame, apart, examiner, options.reproducer)
        except Interrupted:
            return EXIT_INTERRUPTED
    text = "\n".join(blame_lines(blame, written))
    said = escape_controls(text) if options.format == "text" else json.dumps(blame_document(blame, written), indent=1)
    give_answer(said + "\n", options.output)
    return EXIT_OK if blame.first or blame.cell.passed else EXIT_NO


def _asked(question: Question, choices: list[str], spec: Spec) -> Question:
    """The question with its AXIS=VALUE words: of a named preset they choose among its cells, else they replace its
    axes. Raises UsageError."""
    if question.preset:
        return replace(question, only=(*question.only, *choices))
    chosen = dict(split_choice(word, ordered_axes(spec), place="AXIS=VALUE") for word in choices)
    model = [word.partition("=")[2] for word in choices if word.startswith(f"{MODEL_AXIS.name}=")]
    axes = {axis: (value,) for axis, value in chosen.items() if axis != MODEL_AXIS.name}
    return replace(question, preset=BLAME_PRESET, axes={**question.axes, **axes}, models=(*question.models, *model))


def _refuse_many(plan: Plan) -> None:
    """Raises UsageError for several cells, NoAnswer for one that a rule excludes."""
    if len(plan.cells) != 1:
        free = {axis: dict.fromkeys(cell.labels[axis] for cell in plan.cells) for axis in plan.cells[0].labels}
        told = "; ".join(f"{axis}: {', '.join(labels)}" for axis, labels in free.items() if len(labels) > 1)
        raise UsageError(
            f"blame: read the words of {len(plan.cells)} cells, expected one; they differ in {told}",
            tip="name one value of each: model=linear compiler=3.13.0",
        )
    if plan.cells[0].excluded:
        raise NoAnswer(f"blame: {Outcome.EXCLUDED}: {plan.cells[0].excluded}", tip="choose other values")
