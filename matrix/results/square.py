"""The square: one axis down, one across, and its islands in words. Pure."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from packaging.version import Version

from matrix.core.records import Outcome
from matrix.core.versions import are_versions, in_order
from matrix.plan.axes import ordered_axes
from matrix.plan.spec import Spec, View
from matrix.plan.stages import kinds
from matrix.results import signatures
from matrix.results.cells import CellReport, Report

MARKS = {
    Outcome.PASSED: "ok",
    Outcome.WRONG_OUTPUT: "wr",
    Outcome.FAILED: "",
    Outcome.CRASHED: "cr",
    Outcome.TIMED_OUT: "to",
    Outcome.OUT_OF_MEMORY: "om",
    Outcome.NOT_INSTALLABLE: "ni",
    Outcome.EXCLUDED: "ex",
    Outcome.BLOCKED: "bl",
    Outcome.UNTESTED: ".",
    Outcome.INFRASTRUCTURE: "!!",
}
"""What stands in the square. A failed cell shows its signature's letter, after the stage's if that is not the last."""

RAN = "ran"
"""It passed as far as anyone can say: no outputs are expected of it."""
PLURAL = {"torch": "torch releases", "python": "Pythons"}
"""Of axes whose name does not just get an s."""
OUTCOMES: Mapping[Outcome, str] = {
    Outcome.PASSED: "it ran, and its outputs equal torch eager's within the tolerance (relative to their scale)",
    Outcome.WRONG_OUTPUT: "it ran, and its outputs differ from torch eager's by more than the tolerance",
    Outcome.FAILED: "a stage ended with an error; the cell says which, and the class of the message (its signature)",
    Outcome.CRASHED: "a signal ended it",
    Outcome.TIMED_OUT: "the time limit ended it",
    Outcome.OUT_OF_MEMORY: "the memory limit ended it",
    Outcome.NOT_INSTALLABLE: "the index has no wheels for it, or the resolver refuses; the cell has the reason",
    Outcome.EXCLUDED: "a rule of the question took it out; the cell has the reason",
    Outcome.BLOCKED: "an earlier stage failed",
    Outcome.UNTESTED: "planned, not measured: not run yet, or the machine cannot",
    Outcome.INFRASTRUCTURE: "our own fault, never shown as a release's",
}
"""What an outcome means. `failed` has a signature, which says more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegendRow:
    mark: str
    words: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Square:
    """`marks[row][column]` under the headings `columns` and beside `rows`; `title` names the other axes' values."""

    title: str
    row_axis: str
    column_axis: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    marks: tuple[tuple[str, ...], ...]
    islands: tuple[str, ...]


def squares(report: Report) -> tuple[Square, ...]:
    """For each table of the spec one square for each combination of the values of all other axes. An axis that is tied
    to one that stands in the square, or in the title, makes no difference of its own."""
    return tuple(_square(report, page) for page in pages(report))


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The cells that stand together in a table of the spec; `title` names what they have in common."""

    view: View
    title: str
    cells: tuple[CellReport, ...]


def pages(report: Report) -> Iterator[Page]:
    """For each table of the spec one page for each combination of the values of all axes that are neither down nor
    across nor tied to another one."""
    spec = report.plan.spec
    for view, plane in zip(spec.tables, report.plan.planes, strict=True):
        kept = {axis: {value.label for value in values} for axis, values in plane.items()}
        shown = {spec.ties.get(axis, axis) for axis in (view.rows, view.columns)}
        others = [axis for axis in ordered_axes(spec) if axis not in shown and axis not in spec.ties]
        groups: dict[tuple[str, ...], list[CellReport]] = {}
        for cell in report.cells:
            if all(cell.labels[axis] in labels for axis, labels in kept.items()):
                groups.setdefault(tuple(cell.labels[axis] for axis in others), []).append(cell)
        for labels, cells in groups.items():
            common = (f"{axis} {label}" for axis, label in zip(others, labels, strict=True))
            yield Page(view=view, title=", ".join([*common, *_ties(spec, view)]), cells=tuple(cells))


def legend(report: Report) -> tuple[LegendRow, ...]:
    """Every mark that stands in the squares: what it means and how often it is there, most frequent first."""
    counts: Counter[str] = Counter()
    words: dict[str, str] = {}
    for cell in report.cells:
        mark = mark_of(report, cell)
        counts[mark] += 1
        words.setdefault(mark, _words(cell))
    return tuple(LegendRow(mark=mark, words=words[mark], count=count) for mark, count in counts.most_common())


def mark_of(report: Report, cell: CellReport) -> str:
    """The mark of a cell in the square."""
    last = [stage for stage in report.plan.spec.stages if kinds()[stage].judged][-1]
    if not cell.compared:
        return RAN
    early = cell.stage[0] if cell.stage and cell.stage != last else ""
    if cell.outcome is Outcome.FAILED and cell.signature:
        return early + signatures.codes().get(cell.signature.name, "?")
    return (early if cell.outcome.red else "") + MARKS[cell.outcome]


def _words(cell: CellReport) -> str:
    if cell.outcome is Outcome.PASSED:
        return "passed" if cell.compared else "ran to its end; its outputs are not compared with anything"
    if cell.signature and cell.outcome is Outcome.FAILED:
        known = signatures.legends().get(cell.signature.name)
        return f"{cell.words} ({known})" if known else cell.words
    return outcome_words(cell.words, cell.outcome)


def outcome_words(words: str, outcome: Outcome) -> str:
    """`not installable at export (the index has no wheels for it, …)`, where no signature says more."""
    return f"{words.replace('_', ' ')} ({OUTCOMES[outcome]})"


def _square(report: Report, page: Page) -> Square:
    view = page.view
    row_labels = in_order(cell.labels[view.rows] for cell in page.cells)
    column_labels = in_order(cell.labels[view.columns] for cell in page.cells)
    found = {(cell.labels[view.rows], cell.labels[view.columns]): cell for cell in page.cells}
    marks = tuple(
        tuple(mark_of(report, found[row, column]) if (row, column) in found else "" for column in column_labels)
        for row in row_labels
    )
    passing = {row: _held([(column, found.get((row, column))) for column in column_labels]) for row in row_labels}
    return Square(
        title=page.title,
        row_axis=view.rows,
        column_axis=view.columns,
        rows=row_labels,
        columns=column_labels,
        marks=marks,
        islands=islands(view.rows, view.columns, passing, column_labels),
    )


def _ties(spec: Spec, view: View) -> list[str]:
    return [f"{axis} = {other}" for axis, other in spec.ties.items() if {axis, other} != {view.rows, view.columns}]


def _held(row: Sequence[tuple[str, CellReport | None]]) -> tuple[str, ...] | None:
    """The columns that a row passes on; None where it passes on none and is not wholly measured."""
    held = tuple(column for column, cell in row if cell and cell.outcome is Outcome.PASSED)
    return held if held or all(cell and cell.outcome.red for _, cell in row) else None


def islands(
    row_axis: str, column_axis: str, passing: Mapping[str, Sequence[str] | None], columns: Sequence[str]
) -> tuple[str, ...]:
    """Neighbouring rows that pass on the same columns, in words: where one can stay without breaking anything.

    Nothing is said of rows whose columns are None: they are not measured.
    """
    sentences = []
    for held, group in itertools.groupby(passing, key=passing.__getitem__):
        rows = tuple(group)
        if held is None:
            continue
        who, verb = (
            f"{_plural(row_axis, len(rows))} {span(rows, tuple(passing))}",
            "passes" if len(rows) == 1 else "pass",
        )
        where = f"{_plural(column_axis, len(held))} {span(held, tuple(columns))}" if held else f"no {column_axis}"
        if row_axis == "compiler" and column_axis == "runtime":
            sentences.append(f"modules of {who} run on {where}")
        else:
            sentences.append(f"{who} {verb} with {where}")
    return tuple(sentences)


def _plural(axis: str, count: int) -> str:
    return axis if count == 1 else PLURAL.get(axis, f"{axis}s" if not axis.endswith("s") else axis)


def span(labels: Sequence[str], order: Sequence[str]) -> str:
    """`3.4 to 3.7 and 3.9`: runs of neighbours in the order of the axis; names stand one by one."""
    short = dict(zip(order, headings(order), strict=True))
    versions = are_versions(order)
    if not versions:  # names have no order that a span could mean
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
    """`compiler 3.8; runtime 3.4 to 3.7`: where cells (by their labels) lie on each axis of `order` that has several
    values; empty where none has."""
    said = []
    for axis, labels in order.items():
        held = {cell[axis] for cell in cells if axis in cell}
        if len(labels) > 1 and held:
            here = [label for label in labels if label in held]
            said.append(f"{axis} {span(here, labels) if are_versions(labels) else ', '.join(here)}")
    return "; ".join(said)


def headings(labels: Sequence[str]) -> tuple[str, ...]:
    """Short versions (`3.10` for 3.10.0) where they tell all labels apart, the labels themselves elsewhere."""
    if not are_versions(labels):
        return tuple(labels)
    parsed = [Version(label) for label in labels]
    short = [f"{version.major}.{version.minor}" for version in parsed]
    return tuple(short) if len(set(short)) == len(short) else tuple(labels)
