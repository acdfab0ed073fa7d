"""The verb `bisect`: since which release a model works or fails, with as few jobs as bisection needs."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import replace

from matrix.answers.compiling.figures import Figure
from matrix.cli.arguments.phases import PHASES_PRESET
from matrix.cli.searches.turning import Search, answer_lines
from matrix.core.errors import EXIT_INTERRUPTED, EXIT_OK, UsageError
from matrix.core.text import escape_controls
from matrix.core.versions import (
    NIGHTLIES,
    SelectorFault,
    are_versions,
    is_selector,
    releases_first,
    select,
)
from matrix.engines.choice import lookup_engine
from matrix.plan.axes import NONE
from matrix.plan.graph import Plan
from matrix.plan.question import FIELD_PRESET, Question
from matrix.plan.spec import Spec
from matrix.plan.stages import axes, is_file
from matrix.plan.user_inputs import tool_axes
from matrix.results.published.address import read_published
from matrix.results.run import Run
from matrix.run.carry_out import carry_out, report_gaps, resolved
from matrix.run.evidence import judged_cells, replay
from matrix.run.planning import load_spec, plan_of, question_of
from matrix.run.store import Store

PRESET = "models"
"""The default preset: in it the compiler has the release of the runtime."""
NEWEST_VALUE, EVERY = "latest", "latest-minors"
"""The values for an axis of releases that has only one in the spec."""


def do_bisect(options: Namespace) -> int:
    """Measures what bisection asks for, and prints the first turn of the outcome with its evidence."""
    published = _published(options)
    figure: Figure | None = options.by
    preset = PHASES_PRESET if figure and figure.stage else PRESET
    question = line_question(question_of(options), options.axis, preset=preset)
    plan = plan_of(question, options.store)
    _refuse_unmeasured(figure, plan)
    order = line_of(plan, options.axis, options.good, options.bad)
    search = Search(plan=plan, axis=options.axis, order=order, figure=figure)
    with Store(options.store) as store:
        engine = lookup_engine(options.engine, store.places)
        _note(search, judged_cells(plan, replay(plan, store, engine).states, store), only_measured=True)
        note_published(search, published)
        while labels := search.missing:
            part = _part(question, options, labels)
            words = ["bisect", *question.only, options.axis, *labels]
            summary = carry_out(part, store, options, words=words, question=question)
            if summary.interrupted:
                return EXIT_INTERRUPTED
            if summary.faults:  # neither end is known then, and the same command goes on from here
                report_gaps(summary)
            search.jobs += summary.jobs_run
            _note(search, judged_cells(part, summary.states, store), only_measured=False)
    print(escape_controls("\n".join(answer_lines(search, options))))
    return EXIT_OK


def _refuse_unmeasured(figure: Figure | None, plan: Plan) -> None:
    """Raises UsageError for a figure that no stage of a spec measures."""
    if figure and figure.stage and figure.stage not in plan.stages:
        raise UsageError(
            f"--by: read the {figure.name}, expected the stage `{figure.stage}` in {plan.spec.source}",
            tip=f"leave --preset out: the preset {PHASES_PRESET} has it",
        )


def line_question(question: Question, axis: str, *, preset: str = PRESET) -> Question:
    """The question with a line along the axis: every other axis has one value, or follows the axis."""
    if not question.preset and question.spec_name != FIELD_PRESET:
        newest = {} if {axis, *question.axes} & {*tool_axes()} else {tool_axes()[0]: (NEWEST_VALUE,)}
        question = replace(question, preset=preset, axes={**question.axes, **newest})
    spec = load_spec(question.spec_name)
    if axis not in spec.axes:
        raise UsageError(
            f"--axis: read {axis!r}, expected one of {', '.join(spec.axes)}", tip="for example: --axis compiler"
        )
    if axis in question.axes:
        return question
    whole = _whole(spec, question, axis)
    if axis in tool_axes() and (question.find_links or question.indexes or spec.find_links or spec.indexes):
        whole[axis] = (*whole.get(axis, spec.axes[spec.ties.get(axis, axis)]), NIGHTLIES)
    return replace(question, axes={**question.axes, **whole})


def _whole(spec: Spec, question: Question, axis: str) -> dict[str, tuple[str, ...]]:
    """The selectors that give the axis all its values; empty if it has them already, or by a tie."""
    partners = {one for pair in spec.ties.items() if axis in pair for one in pair} - {axis}
    if partners and not partners & question.axes.keys():
        return {}
    terms = spec.axes[spec.ties.get(axis, axis)]
    if len(terms) == 1 and (terms[0] == NEWEST_VALUE or not is_selector(terms[0])):
        return {axis: (EVERY if axis in axes() and axes()[axis].released else "all",)}
    return {axis: terms} if partners else {}


def line_of(plan: Plan, axis: str, good: str, bad: str) -> tuple[str, ...]:
    """The values from one end to the other, oldest first. Raises UsageError if the cells are not on such a line."""
    cells: dict[str, list[dict[str, str]]] = {}
    for cell in plan.cells:
        if cell.labels[axis] != NONE:
            cells.setdefault(cell.labels[axis], []).append(cell.labels)
    for label, group in cells.items():
        if len(group) > 1:
            free = {name: releases_first(each[name] for each in group) for name in group[0]}
            told = "; ".join(f"{name}: {', '.join(values)}" for name, values in free.items() if len(values) > 1)
            raise UsageError(
                f"bisect: {len(group)} cells have {axis} {label}, expected one for each {axis}; they differ in {told}",
                tip="name one value of each: --model linear, --runtime 3.8.0",
            )
    order = releases_first(cells)
    if not are_versions(order):
        raise UsageError(
            f"--axis {axis}: read {', '.join(order)}, expected releases: names have no order to bisect",
            tip="`run` measures them all",
        )
    first, last = _place(good, order, "--good", 0), _place(bad, order, "--bad", len(order) - 1)
    if first == last:  # the other end is named: this one is at the far side
        last = last if bad else 0
        first = first if good else len(order) - 1
    line = order[min(first, last) : max(first, last) + 1]
    if len(line) < 2:
        raise UsageError(
            f"bisect: {axis} has the one value {line[0]}, expected two ends that differ",
            tip=f"give it more values: --{axis} '>=3.4', or other ends",
        )
    return line


def _place(word: str, order: Sequence[str], option: str, default: int) -> int:
    """The position of an end on the line. Raises UsageError."""
    if not word:
        return default
    try:
        meant = select(word, order)
    except SelectorFault as fault:
        raise UsageError(f"{option}: {fault}", tip=f"the values are {', '.join(order)}") from None
    if len(meant) != 1:
        raise UsageError(
            f"{option}: read {word!r}, which means {len(meant)} values, expected one", tip=f"one of {', '.join(order)}"
        )
    return order.index(meant[0])


def _part(question: Question, options: Namespace, labels: Sequence[str]) -> Plan:
    """The plan of these values alone. An `--only` of the axis has shortened the line already."""
    others = [word for word in question.only if word.partition("=")[0] != options.axis]
    only = (*others, *(f"{options.axis}={label}" for label in labels))
    return resolved(lambda: plan_of(replace(question, only=only), options.store))


def _note(search: Search, run: Run, *, only_measured: bool) -> None:
    for cell in run.cells:
        if not only_measured or search.counts(run, cell):
            search.cells[cell.axes[search.axis]] = (run, cell)


def _published(options: Namespace) -> tuple[Run, ...]:
    """The runs of `--results`. Raises UsageError for a model that they know by its name alone."""
    if options.results and (files := [word for word in options.model if is_file(word)]):
        raise UsageError(
            f"--results: read {files[0]} as the model, expected a shipped one: published runs have names, not files",
            tip="leave --results out: what the store has of the file is used",
        )
    return read_published(options.results, options.store)


def note_published(search: Search, runs: Sequence[Run]) -> None:
    """Cells of published runs that are cells of the line count as measured."""
    wanted = {cell.labels[search.axis]: _named(cell.labels) for cell in search.plan.cells}
    for run in runs:
        for cell in run.cells:
            label = cell.axes.get(search.axis, NONE)
            known = label in search.cells or not search.counts(run, cell)
            if label in search.order and not known and _named(cell.axes) == wanted[label]:
                search.cells[label] = (run, cell)
                search.published += 1


def _named(labels: Mapping[str, str]) -> dict[str, str]:
    return {axis: label for axis, label in labels.items() if label != NONE}
