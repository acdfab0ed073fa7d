"""A search along one axis, and what is said of where the outcome turns."""

from __future__ import annotations

import shlex
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from matrix.answers.bisection import End, Turn, next_to_measure, turns, verdicts
from matrix.answers.compiling.figures import Figure
from matrix.core.errors import NoAnswer
from matrix.core.records import Outcome
from matrix.core.text import counted, plain_rows
from matrix.core.versions import (
    is_nightly,
    select,
)
from matrix.plan.axes import NONE
from matrix.plan.graph import Plan
from matrix.results.run import Cell, Run
from matrix.results.square import span
from matrix.run.evidence import repeated

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
    published: int = 0
    """How many of the cells are of published runs."""
    figure: Figure | None = None
    """What is compared along the line, in place of the outcome."""

    @property
    def ends(self) -> dict[str, End]:
        if self.figure:
            return {label: End.GOOD if self._value(label) else End.UNKNOWN for label in self.cells}
        return {label: end_of(cell) for label, (_, cell) in self.cells.items()}

    @property
    def known(self) -> dict[str, str]:
        """The verdicts that are compared along the line."""
        if self.figure:
            return self.figure.compared(self.cells, self.order)
        return verdicts(self.order, self.ends, {label: cell.words for label, (_, cell) in self.cells.items()})

    def _value(self, label: str) -> str:
        """`dispatches 72`; empty: it was not measured."""
        return self.figure.shown(*self.cells[label]) if self.figure else ""

    @property
    def missing(self) -> tuple[str, ...]:
        """The values to measure next: of releases, then of the nightly builds between two of them."""
        ends = (self.order[0], self.order[-1])
        releases = [label for label in self.order if label in ends or not is_nightly(label)]
        return next_to_measure(releases, self.known) or next_to_measure(self.order, self.known)

    def counts(self, run: Run, cell: Cell) -> bool:
        """Whether a cell is known already: one that passed is not, where another stage measures the figure and did not
        yet."""
        lacks = self.figure and self.figure.stage and cell.passed and not self.figure.shown(run, cell)
        return end_of(cell) is not End.UNKNOWN and not lacks

    def says(self, label: str) -> str:
        return f"has {self._value(label)}" if self._value(label) else SAYS[self.ends[label]]

    def found(self, label: str) -> str:
        """What is compared: `failed at run: executable-abi`, `dispatches 72`."""
        return self._value(label) or self.cells[label][1].words

    def words(self, label: str) -> str:
        """`3.8.0 (failed at run: executable-abi)`."""
        return f"{label} ({self.found(label)})"


def end_of(cell: Cell) -> End:
    if cell.outcome is Outcome.PASSED:
        return End.GOOD
    return End.BAD if cell.outcome.red else End.UNKNOWN


def answer_lines(search: Search, options: Namespace) -> list[str]:
    """The turn, its evidence, and what the search does not show. Raises NoAnswer if nothing turns, or if an end does
    not have the outcome that it was given with."""
    _refuse_wrong_ends(search, options)
    known = search.known
    found = turns(search.order, known)
    if not found:
        ends = " and ".join(search.words(label) for label in (search.order[0], search.order[-1]))
        raise NoAnswer(
            f"{search.axis} {ends} {_alike(search)}, and so does all that was measured between them; {_rest(search)}",
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


def _alike(search: Search) -> str:
    return "do not differ by the rule for noisy figures" if search.figure and search.figure.noisy else "end alike"


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
    if search.figure and cell.passed:
        return f"no {search.figure.name}" + (f": {cell.reason}" if cell.reason else "")
    return f"{cell.outcome}: {cell.said}"


def _besides(search: Search, found: Sequence[Turn], cell: Cell) -> Iterator[str]:
    """What the headline does not say: more turns, other failures, unmeasured values, the cost."""
    ends = search.ends
    if search.figure and not search.figure.differ(search.cells[found[0].before], search.cells[found[0].after]):
        ends_of_it = f"{found[0].before} and {found[0].after} themselves"
        yield f"{ends_of_it} do not differ by the rule for noisy figures: it changed in steps"
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
    if search.published:
        yield f"{counted(search.published, 'value')} of published runs"
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
    results = [word for place in options.results for word in ("--results", place)]
    words = [shlex.join(["--preset", spec.source, *spec.options, *repeated(options), *results]), *kept]
    yield f"python -m matrix why {' '.join(words)} {search.axis}={cell.axes[search.axis]}"
    yield cell.reproduce


def _once(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Each name once, before the first of its rows."""
    return [["" if place and rows[place - 1][0] == name else name, text] for place, (name, text) in enumerate(rows)]
