"""The verb `bisect`: since which release a model works or fails, with as few jobs as bisection needs."""

from __future__ import annotations

import shlex
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from matrix.answers.bisection import End, Turn, next_to_measure, turns, verdicts
from matrix.artifacts.compiler.statistics import FIGURES, option_word
from matrix.core.errors import EXIT_INTERRUPTED, EXIT_OK, NoAnswer, UsageError
from matrix.core.records import Outcome
from matrix.core.text import escape_controls, plain_rows
from matrix.core.versions import (
    NIGHTLIES,
    SelectorFault,
    are_versions,
    is_nightly,
    is_selector,
    releases_first,
    select,
)
from matrix.engines.choice import lookup_engine
from matrix.plan.axes import NONE
from matrix.plan.graph import Plan
from matrix.plan.question import FIELD_PRESET, Question
from matrix.plan.spec import Spec
from matrix.plan.stages import axes
from matrix.plan.user_inputs import tool_axes
from matrix.results.run import Cell, Run
from matrix.results.square import span
from matrix.results.weights import statistics_of
from matrix.run.carry_out import carry_out, report_gaps, resolved
from matrix.run.evidence import judged_cells, repeated, replay
from matrix.run.planning import load_spec, plan_of, question_of
from matrix.run.store import Store

PRESET = "models"
"""The default preset: in it the compiler has the release of the runtime."""
EVERY = "latest-minors"
"""The values for an axis of releases that has only one in the spec."""
SAYS = {End.GOOD: "passes", End.BAD: "fails", End.UNKNOWN: "cannot be measured"}


@dataclass(slots=True, kw_only=True)
class Search:
    """`cells` are the known cells by their value on the axis, each with its run. `jobs` is the number of jobs that were
    run for them."""

    plan: Plan
    axis: str
    order: tuple[str, ...]
    cells: dict[str, tuple[Run, Cell]] = field(default_factory=dict)
    jobs: int = 0
    figure: str = ""
    """The statistic of the compiler that is compared along the line, in place of the outcome."""

    @property
    def ends(self) -> dict[str, End]:
        if self.figure:
            return {label: End.GOOD if self._value(label) else End.UNKNOWN for label in self.cells}
        return {label: end_of(cell) for label, (_, cell) in self.cells.items()}

    @property
    def known(self) -> dict[str, str]:
        """The verdicts that are compared along the line."""
        if self.figure:
            return {label: self._value(label) or End.UNKNOWN for label in self.cells}
        return verdicts(self.order, self.ends, {label: cell.words for label, (_, cell) in self.cells.items()})

    def _value(self, label: str) -> str:
        """`dispatches 72`; empty: the compiler did not say it."""
        found = statistics_of(*self.cells[label]).get(self.figure)
        return "" if found is None else f"{FIGURES[self.figure]} {found:,}"

    @property
    def missing(self) -> tuple[str, ...]:
        """The values to measure next: of releases, then of the nightly builds between two of them."""
        ends = (self.order[0], self.order[-1])
        releases = [label for label in self.order if label in ends or not is_nightly(label)]
        return next_to_measure(releases, self.known) or next_to_measure(self.order, self.known)

    def says(self, label: str) -> str:
        return f"has {self._value(label)}" if self.figure and self._value(label) else SAYS[self.ends[label]]

    def found(self, label: str) -> str:
        """What is compared: `failed at run: executable-abi`, `dispatches 72`."""
        return (self.figure and self._value(label)) or self.cells[label][1].words

    def words(self, label: str) -> str:
        """`3.8.0 (failed at run: executable-abi)`."""
        return f"{label} ({self.found(label)})"


def end_of(cell: Cell) -> End:
    if cell.outcome is Outcome.PASSED:
        return End.GOOD
    return End.BAD if cell.outcome.red else End.UNKNOWN


def do_bisect(options: Namespace) -> int:
    """Measures what bisection asks for, and prints the first turn of the outcome with its evidence."""
    question = line_question(question_of(options), options.axis)
    plan = plan_of(question, options.store)
    figure = next((name for name, words in FIGURES.items() if option_word(words) == options.by), "")
    order = line_of(plan, options.axis, options.good, options.bad)
    search = Search(plan=plan, axis=options.axis, order=order, figure=figure)
    with Store(options.store) as store:
        engine = lookup_engine(options.engine, store.places)
        _note(search, judged_cells(plan, replay(plan, store, engine).states, store), only_measured=True)
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


def line_question(question: Question, axis: str) -> Question:
    """The question with a line along the axis: every other axis has one value, or follows the axis."""
    if not question.preset and question.spec_name != FIELD_PRESET:
        newest = {} if {axis, *question.axes} & {*tool_axes()} else {tool_axes()[0]: ("latest",)}
        question = replace(question, preset=PRESET, axes={**question.axes, **newest})
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
    if len(terms) == 1 and not is_selector(terms[0]):
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
        if not only_measured or end_of(cell) is not End.UNKNOWN:
            search.cells[cell.axes[search.axis]] = (run, cell)


def answer_lines(search: Search, options: Namespace) -> list[str]:
    """The turn, its evidence, and what the search does not show. Raises NoAnswer if nothing turns, or if an end does
    not have the outcome that it was given with."""
    _refuse_wrong_ends(search, options)
    known = search.known
    found = turns(search.order, known)
    if not found:
        ends = " and ".join(search.words(label) for label in (search.order[0], search.order[-1]))
        raise NoAnswer(
            f"{search.axis} {ends} end alike, and so does all that was measured between them; {_rest(search)}",
            tip="`run` with the same words measures every value",
        )
    turn = found[0]
    worse = search.ends[turn.after] is End.BAD or bool(search.figure)
    both = worse and search.ends[turn.before] is End.BAD
    _, cell = search.cells[turn.after if worse else turn.before]
    rows = [["turn", f"{label}: {search.found(label)}"] for label in (turn.before, turn.after)]
    rows += [["between", f"{label}: {_why_not(search, label)}"] for label in turn.between]
    rows.append(["with", _with(search)])
    if not search.figure:
        for label in (turn.before, turn.after) if both else (turn.after if worse else turn.before,):
            rows += _meaning(*search.cells[label], f"{label}: " if both else "")
    rows += [["besides", text] for text in _besides(search, found, cell)]
    rows += [["evidence", line] for line in _commands(search, cell, options)]
    if both:
        rows += [["", line] for line in _commands(search, search.cells[turn.before][1], options)]
    verb = "fails differently" if both else "fails" if worse else "passes"
    if search.figure:
        verb = f"changes {search.found(turn.before)} to {search.found(turn.after)}"
    none = "; none that was measured passes" if both and End.GOOD not in search.ends.values() else ""
    return [
        f"{search.axis} {turn.after} is the first that {verb}" + (_reservation(turn) if turn.between else "") + none,
        "",
        plain_rows(_once(rows), headers=()),
    ]


def _meaning(run: Run, cell: Cell, of: str) -> list[list[str]]:
    """What the message of a cell says; `of` stands before each line where there are two."""
    if not cell.signature:
        return []
    texts = {"message": cell.message, "means": cell.means, "next": run.next_step(cell.signature)}
    return [[name, f"{of}{text}"] for name, text in texts.items()]


def _with(search: Search) -> str:
    """The common values of the line, and the axes that follow the axis."""
    line = [cell.labels for cell in search.plan.cells if cell.labels[search.axis] in search.order]
    others = [(name, label) for name, label in line[0].items() if name != search.axis and label != NONE]
    return ", ".join(
        f"{name} {label}" if all(each[name] == label for each in line) else f"{name} = {search.axis}"
        for name, label in others
    )


def _reservation(turn: Turn) -> str:
    return f" of those that can be measured; {turn.before} is the last before it that could be"


def _refuse_wrong_ends(search: Search, options: Namespace) -> None:
    first, last = search.order[0], search.order[-1]
    for label in (first, last):
        if search.ends[label] is End.UNKNOWN:
            raise NoAnswer(
                f"{search.axis} {label} cannot be measured: {_why_not(search, label)}",
                tip="give another end with --good or --bad",
            )
    for option, word, wanted in (("--good", options.good, End.GOOD), ("--bad", options.bad, End.BAD)):
        if word and not search.figure:
            (label,) = select(word, search.order)
            if search.ends[label] is not wanted:
                raise NoAnswer(
                    f"{option} {word}: {search.axis} {search.words(label)}, so it {search.says(label)}",
                    tip="leave the ends out: they are then the oldest and the newest, and which is good is measured",
                )


def _why_not(search: Search, label: str) -> str:
    cell = search.cells[label][1]
    return f"{cell.outcome}: {cell.said}"


def _besides(search: Search, found: Sequence[Turn], cell: Cell) -> Iterator[str]:
    """What the headline does not say: more turns, other failures, unmeasured values, the cost."""
    ends = search.ends
    for turn in found[1:]:
        alike = ends[turn.before] is ends[turn.after] and not search.figure
        differently = " differently" if alike else ""
        yield (
            f"it turns again: {turn.before} {search.says(turn.before)}, {turn.after} {search.says(turn.after)}"
            + differently
        )
    bad = [label for label in search.order if ends.get(label) is End.BAD and not search.figure]
    for words in dict.fromkeys(search.cells[label][1].words for label in bad):
        if words != cell.words:
            labels = [label for label in bad if search.cells[label][1].words == words]
            yield f"it fails differently at {span(labels, search.order)}: {words}"
    yield _rest(search)
    whole = sum(search.plan.jobs(stage) for stage in search.plan.stages)
    yield f"{search.jobs} jobs run; the whole axis is at most {whole}"


def _rest(search: Search) -> str:
    """`known of 6 of 15 values; not of 3.0 to 3.3: a turn there and back would not show`."""
    left = [label for label in search.order if label not in search.cells]
    said = f"known of {len(search.order) - len(left)} of {len(search.order)} values"
    return f"{said}; not of {span(left, search.order)}: a turn there and back would not show" if left else said


def _commands(search: Search, cell: Cell, options: Namespace) -> Iterator[str]:
    """The evidence from this store, and the command that measures the cell anywhere."""
    spec = search.plan.spec
    kept = [f"--only {shlex.quote(word)}" for word in options.only if word.partition("=")[0] != search.axis]
    words = [shlex.join(["--preset", spec.source, *spec.options, *repeated(options)]), *kept]
    yield f"python -m matrix why {' '.join(words)} {search.axis}={cell.axes[search.axis]}"
    yield cell.reproduce


def _once(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Each name once, before the first of its rows."""
    return [["" if place and rows[place - 1][0] == name else name, text] for place, (name, text) in enumerate(rows)]
