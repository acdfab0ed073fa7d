"""A run as text, Markdown, HTML, CSV, JSON and JUnit XML, from the same sections. Pure. `tabulate` makes the tables."""

from __future__ import annotations

import csv
import html
import io
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from xml.etree import ElementTree

from tabulate import tabulate

from matrix.core.records import Outcome
from matrix.core.text import counted, escape_controls
from matrix.plan.axes import NONE
from matrix.results.covering.pairs import NOT_CHOSEN, NOT_CHOSEN_WORDS, cover_section
from matrix.results.measured.assumed import WARNINGS_SECTION
from matrix.results.measured.counts import COUNTS_SECTION
from matrix.results.measured.dispatch_times import DISPATCH_TIMES_SECTION
from matrix.results.measured.memory import MEMORY_SECTION
from matrix.results.measured.profiles import PROFILES_SECTION
from matrix.results.measured.systems import SYSTEMS_SECTION
from matrix.results.run import Cell, Run
from matrix.results.sections import Block, Column, Grid, Lines, Section, Words, grid, measures
from matrix.results.sentences import comparison_sentences, recompiled
from matrix.results.square import Square, legend, mark_of, squares, words_of
from matrix.results.times import TIMES_SECTION
from matrix.results.weights import BUILDS, COMPILE_STATISTICS, MODULE_WEIGHTS
from matrix.results.written.json_text import run_json

LEGEND = (
    Column(title="mark", value=lambda row: row.mark, align="center"),
    Column(title="cells", value=lambda row: row.count),
    Column(title="meaning", value=lambda row: row.words, align="left"),
)


def _is_worth_it(square: Square) -> bool:
    """Of few cells: at least two by two, and a quarter of it chosen. The section on the choice has the others."""
    rows, columns = len(square.rows), len(square.columns)
    return min(rows, columns) > 1 and 4 * len(square.cells) >= rows * columns


def _squares(run: Run) -> Iterator[Block]:
    """The squares of outcomes, or the tables of times if there are any."""
    missing = NOT_CHOSEN if run.cover else ""
    for square in squares(run) if not run.times else ():
        if run.cover and not _is_worth_it(square):
            continue
        yield Words(text=square.caption)
        yield Grid(
            headings=("", *square.short_columns.values()),
            rows=tuple(
                (short, *(mark_of(run, cells[column]) if column in cells else missing for column in square.columns))
                for row, short in square.short_rows.items()
                for cells in (dict(square.row(row)),)
            ),
            align=("center",) * (1 + len(square.columns)),
        )
        yield Lines(lines=square.islands if not run.cover else ())


def _notes(run: Run) -> Iterator[Block]:
    notes = {label: note for axis in run.axes for label, note in run.notes(axis.name).items()}
    if notes:
        yield Lines(lines=tuple(f"{label}: {note}" for label, note in notes.items()), rigid=True)


def _beside(run: Run) -> Iterator[Block]:
    if said := comparison_sentences(run):
        yield Lines(lines=said)
    yield Lines(lines=recompiled(run), bullets=False)


def _legend(run: Run) -> Iterator[Block]:
    yield Words(text="legend", heading=True)
    shown = grid(LEGEND, legend(run.cells, lambda cell: mark_of(run, cell), words_of), ruled=False)
    left_out = ((NOT_CHOSEN, "", NOT_CHOSEN_WORDS),) if run.cover else ()
    yield replace(shown, rows=(*shown.rows, *left_out))


def sections() -> tuple[Section, ...]:
    """All sections of a run, in order."""
    return (
        cover_section(),
        SYSTEMS_SECTION,
        TIMES_SECTION,
        MODULE_WEIGHTS,
        Section(name="squares", blocks=_squares, on_site=False),
        BUILDS,
        COMPILE_STATISTICS,
        COUNTS_SECTION,
        PROFILES_SECTION,
        DISPATCH_TIMES_SECTION,
        MEMORY_SECTION,
        measures(),
        Section(name="notes", blocks=_notes, on_site=False),
        WARNINGS_SECTION,
        Section(name="beside", blocks=_beside, on_site=False),
        Section(name="legend", blocks=_legend, on_site=False),
    )


def totals(run: Run) -> str:
    """`225 cells: 51 passed, 174 failed`."""
    ends = ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in run.counts().items())
    ran = sum(1 for cell in run.cells if not cell.compared)
    still = sum(1 for cell in run.cells if cell.degenerate)
    doubts = [f"{ran} of the passed ones are not compared"] * bool(ran)
    doubts += [f"{still} of the passed ones are degenerate"] * bool(still)
    return "; ".join([f"{counted(len(run.cells), 'cell')}: {ends}", *doubts])


def _blocks(run: Run) -> Iterator[Block]:
    for section in sections():
        yield from section.blocks(run)


def as_table(run: Run) -> str:
    """Plain text. A square of 15 by 15 fits in 120 columns."""
    parts = [run.question]
    for block in _blocks(run):
        match block:
            case Grid():
                parts.append(_tabulated(block, "simple" if block.ruled else "plain"))
            case Lines():
                parts.append("\n".join(("  " if block.bullets else "") + line for line in block.lines))
            case Words():
                parts.append(block.text)
    return "\n\n".join(part for part in [*parts, totals(run)] if part) + "\n"


def as_markdown(run: Run) -> str:
    """GitHub-flavoured Markdown."""
    parts = [f"# {run.question}"]
    for block in _blocks(run):
        match block:
            case Grid():
                parts.append(_tabulated(block, "github"))
            case Lines():
                parts.append("\n".join(f"- {line}" for line in block.lines))
            case Words(heading=False):
                parts.append(block.text)
    return "\n\n".join(part for part in [*parts, f"{totals(run)}."] if part) + "\n"


def as_html(run: Run) -> str:
    """One page without scripts and external resources."""
    question = html.escape(run.question)
    parts = [f"<h1>{question}</h1>"]
    for block in _blocks(run):
        match block:
            case Grid():
                parts.append(_tabulated(block, "html"))
            case Lines(rigid=True):
                parts.append(f"<pre>{html.escape(chr(10).join(block.lines))}</pre>")
            case Lines(bullets=True):
                listed = "".join(f"<li>{html.escape(line)}</li>" for line in block.lines)
                parts.append(f"<ul>{listed}</ul>")
            case Lines():
                parts += [f"<p>{html.escape(line)}</p>" for line in block.lines]
            case Words(heading=False):
                parts.append(f"<p>{html.escape(block.text)}</p>")
    parts.append(f"<p>{html.escape(totals(run))}</p>")
    style = "body{font-family:sans-serif}td,th{padding:.2em .5em;text-align:center}"
    head = f'<meta charset="utf-8"><title>{question}</title><style>{style}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(parts) + "\n</body></html>\n"


def _tabulated(block: Grid, style: str) -> str:
    rows = [list(row) for row in block.rows]
    return str(tabulate(rows, headers=block.headings, tablefmt=style, disable_numparse=True, colalign=block.align))


def as_csv(run: Run) -> str:
    """One row for each cell."""
    return "".join(csv_lines(run, run.cells))


def csv_lines(run: Run, cells: Iterable[Cell]) -> Iterator[str]:
    """The same, line by line; what stages measured is that of the run's own cells."""
    axes = run.names
    data = [section.data(run) for section in sections()]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")

    def written() -> str:
        line = stream.getvalue()
        stream.seek(0)
        stream.truncate()
        return line

    more = [name for names, _ in data for name in names]
    named = ("outcome", "stage", "signature", "message", "error", "reproduce")
    writer.writerow(without_formulas([*axes, *named, *more]))
    yield written()
    for cell in cells:
        error = (
            "" if not cell.comparison else f"{math.inf if cell.comparison.error is None else cell.comparison.error:.3g}"
        )
        row = [cell.outcome, cell.stage, cell.signature, cell.said, error, cell.reproduce]
        for names, values in data:
            row += ["" if each is None else f"{each}" for each in values.get(cell.name, [None] * len(names))]
        writer.writerow(without_formulas([*(cell.axes.get(axis, NONE) for axis in axes), *row]))
        yield written()


FORMULA = re.compile(r"[\s\x00-\x1f]*([=+@\uff1d\uff0b\uff20]|[-\uff0d]\S)|[\t\r\n]")
"""What spreadsheets take for a formula: also behind white space, and in wide forms. A lone dash is an axis without a
value."""


def without_formulas(row: Iterable[str]) -> list[str]:
    """A text that a spreadsheet would take for a formula gets an apostrophe."""
    return [f"'{text}" if FORMULA.match(text) else text for text in row]


def run_as_json(run: Run) -> str:
    """The record itself and, for readers of no more than that, the sentences of all its tables."""
    said = (line for block in _blocks(run) if isinstance(block, Lines) for line in block.lines)
    return run_json(run, said)


def as_junit(run: Run) -> str:
    """One test case for each cell: red cells are failures, cells without a measurement are skipped."""
    red = [cell for cell in run.cells if cell.outcome.red]
    skipped = [cell for cell in run.cells if not cell.outcome.red and cell.outcome is not Outcome.PASSED]
    suite = ElementTree.Element(
        "testsuite",
        name=run.preset,
        tests=str(len(run.cells)),
        failures=str(len(red)),
        skipped=str(len(skipped)),
        errors="0",
    )
    for cell in run.cells:
        seconds = sum(job.seconds for job in run.jobs_of(cell)[-1:])
        name = " ".join(f"{axis}={label}" for axis, label in cell.axes.items())
        case = ElementTree.SubElement(suite, "testcase", classname=run.preset, name=name, time=f"{seconds:.3f}")
        message = escape_controls(cell.said)
        if cell.outcome.red:
            ElementTree.SubElement(case, "failure", type=cell.words, message=message).text = cell.reproduce
        elif cell.outcome is not Outcome.PASSED:
            ElementTree.SubElement(case, "skipped", message=f"{cell.outcome}: {message}")
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def _safe(form: Callable[[Run], str]) -> Callable[[Run], str]:
    """The format without control characters: a terminal would obey them, XML 1.0 does not allow them."""
    return lambda run: escape_controls(form(run))


FORMATS: Mapping[str, Callable[[Run], str]] = {
    "table": _safe(as_table),
    "markdown": _safe(as_markdown),
    "html": _safe(as_html),
    "csv": _safe(as_csv),
    "json": run_as_json,
    "junit": _safe(as_junit),
}
