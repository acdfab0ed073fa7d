"""The square: one axis down, one across, and its islands in words. Pure."""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from matrix.core.records import Outcome
from matrix.core.versions import are_versions, release_key, releases_first
from matrix.plan.axes import NONE
from matrix.plan.stages import axes as axis_rows
from matrix.plan.stages import backends
from matrix.results import signatures
from matrix.results.run import Cell, CellTable, Run

OUTCOME_MARKS = {
    Outcome.PASSED: "ok",
    Outcome.WRONG_OUTPUT: "wr",
    Outcome.FAILED: "",
    Outcome.CRASHED: "cr",
    Outcome.TIMED_OUT: "to",
    Outcome.OUT_OF_MEMORY: "om",
    Outcome.FLAKY: "fl",
    Outcome.NOT_INSTALLABLE: "ni",
    Outcome.EXCLUDED: "ex",
    Outcome.BLOCKED: "bl",
    Outcome.UNTESTED: ".",
    Outcome.INFRASTRUCTURE: "!!",
}
"""The mark of an outcome. A failed cell shows the letter of its signature, after that of the stage if it is not the
last."""

RAN = "ran"
"""It passed, as far as that is known: it has no expected outputs."""
DEGENERATE = "dg"
"""It passed, and that says little: its expected outputs hardly depend on its inputs."""
OUTCOMES: Mapping[Outcome, str] = {
    Outcome.PASSED: "it ran, and its outputs equal torch eager's within the tolerance (relative to their scale)",
    Outcome.WRONG_OUTPUT: "it ran, and its outputs differ from torch eager's by more than the tolerance",
    Outcome.FAILED: "a stage ended with an error; the cell says which, and the class of the message (its signature)",
    Outcome.CRASHED: "a signal ended it",
    Outcome.TIMED_OUT: "the time limit ended it",
    Outcome.OUT_OF_MEMORY: "the memory limit ended it",
    Outcome.FLAKY: "two attempts at the same job ended differently: no verdict; the cell has both",
    Outcome.NOT_INSTALLABLE: "the index has no wheels for it, or the resolver refuses; the cell has the reason",
    Outcome.EXCLUDED: "a rule of the question took it out; the cell has the reason",
    Outcome.BLOCKED: "an earlier stage failed",
    Outcome.UNTESTED: "planned, not measured: not run yet, or the machine cannot",
    Outcome.INFRASTRUCTURE: "our own fault, never shown as a release's",
}
"""The meaning of an outcome. For `failed` the signature says more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegendRow:
    """A mark, its meaning, its number, and the first cell with it."""

    mark: str
    words: str
    count: int
    cell: Cell


@dataclass(frozen=True, kw_only=True)
class Square:
    """Cells of a run, one axis down and one across. `others` are the other axes with their one value; `ties` those that
    have the value of another axis; `part` says which part of a square this is that is too large for one page."""

    run: Run
    row_axis: str
    column_axis: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: Mapping[tuple[str, str], Cell]
    others: Mapping[str, str]
    ties: Mapping[str, str]
    part: str = ""

    @property
    def title(self) -> str:
        """The common labels of the cells."""
        tied = [f"{axis} = {other}" for axis, other in self.ties.items()]
        return ", ".join([*(f"{axis} {label}" for axis, label in self.others.items() if label != NONE), *tied])

    @property
    def caption(self) -> str:
        return f"{self.row_axis} down, {self.column_axis} across; {self.title}"

    @functools.cached_property
    def short_rows(self) -> dict[str, str]:
        return dict(zip(self.rows, headings(self.rows), strict=True))

    @functools.cached_property
    def short_columns(self) -> dict[str, str]:
        return dict(zip(self.columns, headings(self.columns), strict=True))

    def row(self, label: str) -> list[tuple[str, Cell]]:
        return [(column, self.cells[label, column]) for column in self.columns if (label, column) in self.cells]

    def column(self, label: str) -> list[tuple[str, Cell]]:
        return [(row, self.cells[row, label]) for row in self.rows if (row, label) in self.cells]

    @property
    def islands(self) -> tuple[str, ...]:
        """The islands, in words."""
        passing = {row: self._held(row) for row in self.rows}
        known = {axis: self.known(axis) for axis in (self.row_axis, self.column_axis)}
        return islands(self.row_axis, self.column_axis, passing, self.columns, known)

    def known(self, axis: str) -> tuple[str, ...]:
        """All values of one of the two axes in its run, measured in this square or not."""
        tried = self.rows if axis == self.row_axis else self.columns
        labels = releases_first((*self.run.axis(axis).labels, *tried))
        return labels if are_versions(labels) and not self.part else tried

    def _held(self, row: str) -> tuple[str, ...] | None:
        """The columns on which a row passes; None if it passes on none and is not completely measured."""
        cells = dict(self.row(row))
        held = tuple(column for column, cell in cells.items() if cell.passed)
        whole = len(cells) == len(self.columns) and all(cell.outcome.red for cell in cells.values())
        return held if held or whole else None


def square_of(
    run: Run, shown: tuple[str, str], cells: Sequence[Cell], *, others: Mapping[str, str], ties: Mapping[str, str]
) -> Square:
    """A square of these cells; `shown` are the axis down and the one across."""
    down, across = shown
    return Square(
        run=run,
        row_axis=down,
        column_axis=across,
        rows=releases_first(cell.axes.get(down, NONE) for cell in cells),
        columns=releases_first(cell.axes.get(across, NONE) for cell in cells),
        cells={(cell.axes.get(down, NONE), cell.axes.get(across, NONE)): cell for cell in cells},
        others=others,
        ties=ties,
    )


def squares(run: Run) -> Iterator[Square]:
    """For each table of the run, one square for each combination of the values of all axes that are neither down nor
    across nor tied to another axis."""
    for view in run.tables:
        shown = {run.ties.get(axis, axis) for axis in (view.rows, view.columns)}
        others = [axis.name for axis in run.axes if axis.name not in shown and not axis.tied]
        ties = {axis: other for axis, other in run.ties.items() if {axis, other} != {view.rows, view.columns}}
        for labels, cells in grouped(view_of(run, view), others).items():
            beside = dict(zip(others, labels, strict=True))
            yield square_of(run, (view.rows, view.columns), cells, others=beside, ties=ties)


def view_of(run: Run, view: CellTable) -> list[Cell]:
    """The cells of a table."""
    kept = [(axis, set(labels)) for axis, labels in view.where.items()]
    return [cell for cell in run.cells if all(cell.axes.get(axis) in labels for axis, labels in kept)]


def grouped(cells: Iterable[Cell], axes: Sequence[str]) -> dict[tuple[str, ...], list[Cell]]:
    """Cells by their labels on some axes."""
    groups: dict[tuple[str, ...], list[Cell]] = {}
    for cell in cells:
        groups.setdefault(tuple(cell.axes.get(axis, NONE) for axis in axes), []).append(cell)
    return groups


def legend(cells: Iterable[Cell], mark: Callable[[Cell], str], words: Callable[[Cell], str]) -> tuple[LegendRow, ...]:
    """Every mark of the cells: its meaning and number, most frequent first."""
    counts: Counter[str] = Counter()
    first: dict[str, Cell] = {}
    for cell in cells:
        counts[text := mark(cell)] += 1
        first.setdefault(text, cell)
    return tuple(
        LegendRow(mark=text, words=words(first[text]), count=count, cell=first[text])
        for text, count in counts.most_common()
    )


def ends_with(run: Run, stage: str) -> bool:
    """Whether cells of some backend end in this stage if all goes well."""
    return stage in (run.last_stage, *run.other_last_stages)


def mark_of(run: Run, cell: Cell) -> str:
    """The mark of a cell in the square."""
    if not cell.compared:
        return RAN
    if cell.degenerate:
        return DEGENERATE
    early = cell.stage[:1] if not ends_with(run, cell.stage) else ""
    if cell.outcome is Outcome.FAILED and cell.signature:
        return early + signatures.codes().get(cell.signature, "?")
    return (early if cell.outcome.red or cell.outcome is Outcome.FLAKY else "") + OUTCOME_MARKS[cell.outcome]


def words_of(cell: Cell) -> str:
    """The meaning of a mark, for a legend."""
    if cell.degenerate:
        return "passed, degenerate: its outputs equal the reference's, which hardly depend on its inputs"
    if cell.passed:
        return "passed" if cell.compared else "ran to its end; its outputs are not compared with anything"
    if cell.signature and cell.outcome is Outcome.FAILED:
        known = signatures.legends().get(cell.signature)
        return f"{cell.words} ({known})" if known else cell.words
    return outcome_words(cell.words, cell.outcome)


def outcome_words(words: str, outcome: Outcome) -> str:
    """`not installable at export (the index has no wheels for it, …)`, if no signature says more."""
    return f"{words.replace('_', ' ')} ({OUTCOMES[outcome]})"


def islands(
    row_axis: str,
    column_axis: str,
    passing: Mapping[str, Sequence[str] | None],
    columns: Sequence[str],
    known: Mapping[str, Sequence[str]],
) -> tuple[str, ...]:
    """Neighbouring rows that pass on the same columns, in words: releases that one can move between. `known` has all
    values of both axes.

    Nothing is said of rows whose columns are None: they are not measured.
    """
    sentences = []
    for held, group in itertools.groupby(passing, key=passing.__getitem__):
        rows = tuple(group)
        if held is None:
            continue
        who, verb = (
            f"{_plural(row_axis, len(rows))} {tried_words(rows, tuple(passing), known[row_axis])}",
            "passes" if len(rows) == 1 else "pass",
        )
        where = f"no {column_axis}"
        if held:
            where = f"{_plural(column_axis, len(held))} {tried_words(held, columns, known[column_axis])}"
        if made := made_between(row_axis, column_axis):
            sentences.append(f"{made} of {who} run on {where}")
        else:
            sentences.append(f"{who} {verb} with {where}")
    return tuple(sentences)


def _plural(axis: str, count: int) -> str:
    return axis if count == 1 else plural_of(axis)


def plural_of(axis: str) -> str:
    """`compilers`, `torch releases`; of a spec's own axis too."""
    row = axis_rows().get(axis)
    return (row and row.plural) or (axis if axis.endswith("s") else f"{axis}s")


def made_between(down: str, across: str) -> str:
    """What one axis makes for the other, where they are a backend's usual two; else empty."""
    return next((backend.made for backend in backends() if backend.square == (down, across)), "")


def tried_words(labels: Sequence[str], tried: Sequence[str], known: Sequence[str]) -> str:
    """`3.4 to 3.7`, in which every known release was tried; `2.5, 2.7 and 2.15 (of 13 releases)` if not all were."""
    rest = f" ({len(tried)} of {len(known)} releases were tried)"
    return span(labels, known) + (rest if len(labels) > 1 and len(known) > len(tried) else "")


def span(labels: Sequence[str], order: Sequence[str]) -> str:
    """`3.4 to 3.7 and 3.9`: spans of neighbours in the order of the axis; names are listed one by one."""
    short = dict(zip(order, headings(order), strict=True))
    versions = are_versions(order)
    if not versions:  # names have no order for a span
        return " and ".join([", ".join(labels[:-1]), labels[-1]] if len(labels) > 1 else labels)
    runs: list[list[str]] = []
    for label in labels:
        if versions and runs and order.index(label) == order.index(runs[-1][-1]) + 1:
            runs[-1].append(label)
        else:
            runs.append([label])
    texts = [short[run[0]] if len(run) == 1 else f"{short[run[0]]} to {short[run[-1]]}" for run in runs]
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def placed(cells: Sequence[Mapping[str, str]], order: Mapping[str, Sequence[str]]) -> str:
    """`compiler 3.8; runtime 3.4 to 3.7`: the labels of cells on each axis of `order` with several values; empty if
    there is none."""
    said = []
    for axis, labels in order.items():
        held = {cell[axis] for cell in cells if axis in cell}
        if len(labels) > 1 and held:
            here = [label for label in labels if label in held]
            said.append(f"{axis} {span(here, labels) if are_versions(labels) else ', '.join(here)}")
    return "; ".join(said)


def headings(labels: Sequence[str]) -> tuple[str, ...]:
    """Short versions (`3.10` for 3.10.0) if they distinguish all labels, else the labels themselves. A nightly build
    or a candidate keeps its own."""
    if not are_versions(labels):
        return tuple(labels)
    parsed = [release_key(label)[1] for label in labels]
    short = [
        label if version.is_prerelease else f"{version.major}.{version.minor}"
        for label, version in zip(labels, parsed, strict=True)
    ]
    return tuple(short) if len(set(short)) == len(short) else tuple(labels)
