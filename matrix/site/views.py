"""The values for the templates: a square, its legend, an error signature, the numbers of a chart, the tables of a
run."""

from __future__ import annotations

import functools
import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

from matrix.answers import predictions
from matrix.answers.costs import OWN_BUFFERS, OWN_BUFFERS_COUNTED, CostChange
from matrix.answers.releases.compatibility import COLUMN_MEANS, HEADERS, Dates, compatibilities
from matrix.core.store_paths import path_closure, store_path_name
from matrix.core.text import counted
from matrix.results import signatures
from matrix.results.covering.pairs import cover_sentence
from matrix.results.formats import sections
from matrix.results.measured.counts import NO_SPEED, count_lines
from matrix.results.measured.systems import standing_lines
from matrix.results.run import Cell, Run
from matrix.results.sections import Block
from matrix.results.sentences import comparison_sentences
from matrix.results.square import Square
from matrix.results.times import PLACEMENT, machine_words, machines_of, measured_on
from matrix.site.cells import same_bytes
from matrix.site.harmless import slug
from matrix.site.notices import cell_bundle, head_of, is_emulated, labels_of
from matrix.site.pictures.chart import Chart, Point, value_words
from matrix.site.releases import SUBJECTS, link_of
from matrix.site.squares import (
    FIRST,
    column_answer,
    edges,
    evidence_of,
    kind,
    labels_text,
    mark,
    marks_of,
    meaning,
    row_answer,
    slug_of,
)

EXAMPLES = 5
"""The most messages of one signature, and lines of one list, on a page; the others are counted."""
LINES = 60
FEW = 8
"""The most squares of a question on the start page."""


@functools.cache
def templates() -> jinja2.Environment:
    """All values are escaped; a missing value is an error, never an empty place."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("matrix.site"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "slug": slug,
        "size": size_words,
        "counted": counted,
        "name_of": store_path_name,
        "machine": machine_words,
    }
    made.globals |= {
        "PLACEMENT": PLACEMENT,
        "NO_SPEED": NO_SPEED,
        "count_lines": count_lines,
        "SUBJECTS": SUBJECTS,
        "closure": path_closure,
        "sentences_of": sentences_of,
        "tables_link": tables_link,
        "slug_of": slug_of,
        "link_of": link_of,
        "lock_words": lock_words,
        "machines_of": machines_of,
        "measured_on": measured_on,
        "is_emulated": is_emulated,
        "same_bytes": same_bytes,
        "cell_bundle": cell_bundle,
        "outcome_kind": kind,
        "foreseen_words": predicted_words,
        "LINES": LINES,
        "FEW": FEW,
        "FIRST": FIRST,
    }
    return made


def sentences_of(run: Run) -> list[str]:
    """What a run says besides its squares."""
    chosen = [cover_sentence(run)] if run.cover else []
    systems = standing_lines(run, foreign=True)
    return [
        *chosen,
        *systems,
        *comparison_sentences(run),
        *(f"{target}: {how}" for target, how in run.notes("target").items()),
    ]


def tables_of(run: Run) -> list[Block]:
    """What the sections of a run show besides its squares."""
    return [block for section in sections() if section.on_site for block in section.blocks(run)]


def tables_link(run: Run) -> str:
    """The page with them; empty for a run without any."""
    return f"tables/{slug(run.preset)}.html" if tables_of(run) else ""


def predicted_words(cell: Cell) -> str:
    """The gates' prediction for a cell, beside the observation; empty if nothing is predicted."""
    return predictions.compared_words(cell, predictions.committed_predictions())


WHOLE_DIGEST = re.compile("[0-9a-f]{64}")


def lock_words(lock: str, digest: str) -> str:
    """A lock with its digest; where an environment has none, what it was made of instead."""
    return f"{lock}, sha256 {digest}" if WHOLE_DIGEST.fullmatch(digest) else f"no lock of wheels: {digest or lock}"


def size_words(size: int) -> str:
    """`17.7 kB`."""
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= limit:
            return f"{size / limit:.1f} {unit}"
    return f"{size} B"


def charts_view(charts: Sequence[Chart]) -> dict[str, Any]:
    """The contents: each run with its charts; and the charts with their numbers."""
    runs = itertools.groupby(charts, key=lambda chart: chart.run.source)
    contents = [(found[0].run, found) for found in (list(group) for _, group in runs)]
    return {"contents": contents, "charts": [(each, numbers(each)) for each in charts]}


def numbers(chart: Chart) -> list[tuple[str, list[str]]]:
    """A chart as a table: the values of each panel for each release."""
    return [(x, [_number(series.points.get(x), chart.measure) for series in chart.every]) for x in chart.x]


def _number(point: Point | None, measure: str) -> str:
    if point is None or point.value is None:
        return "-"
    spread = ""
    if point.low is not None and point.high is not None:
        spread = f" ({value_words(point.low, measure)} to {value_words(point.high, measure)})"
    parts = ", ".join(f"{part} {100 * size / point.value:.1f} %" for part, size in point.parts.items() if size)
    return f"{value_words(point.value, measure)}{spread} {point.verdict}".strip() + (f": {parts}" if parts else "")


def cost_views(changes: Sequence[CostChange]) -> list[dict[str, Any]]:
    """Costs by run: what changed as sentences, every number in a table, and what the numbers rest on."""
    runs = {id(change.run): change.run for change in changes}
    return [
        {
            "question": run.question,
            "sentences": [
                f"{change.place}: {change.measure.name} {change.words}"
                for change in changes
                if change.run is run and change.changed
            ],
            "rows": [_cost_row(change) for change in changes if change.run is run],
            "notes": [OWN_BUFFERS_COUNTED] * any(_of_buffers(change) for change in changes if change.run is run),
            "conditions": measured_on(run),
        }
        for run in runs.values()
    ]


def _of_buffers(change: CostChange) -> bool:
    return change.measure.name == OWN_BUFFERS


def _cost_row(change: CostChange) -> tuple[str, ...]:
    show = change.measure.words
    floor = f"{100 * (change.noise_floor - 1):.0f} %" if change.noise_floor else "-"
    numbers = (show(change.before), show(change.after), f"{change.ratio:.3f}" if change.comparable else "-")
    return (change.place, change.measure.name, *numbers, change.verdict, floor)


def square_view(table: Square) -> dict[str, Any]:
    """The values for the template of a square."""
    rows = []
    for row in table.rows:
        evidence = evidence_of(table, row)
        places: list[dict[str, str] | None] = []
        for column in table.columns:
            cell = table.cells.get((row, column))
            passed = cell is not None and cell.passed
            places.append(
                {
                    "mark": mark(table.run, cell),
                    "kind": " ".join([kind(cell), edges(table, row, column) if passed else ""]).strip(),
                    "words": cell.words,
                    "link": f"{evidence}#{slug(column)}",
                }
                if cell
                else None
            )
        rows.append({"label": row, "short": table.short_rows[row], "places": places})
    answers = [(table.row_axis, row, row_answer(table, row), evidence_of(table, row)) for row in table.rows]
    answers += [(table.column_axis, column, column_answer(table, column), "") for column in table.columns]
    return {
        "rows": rows,
        "head": head_of(table.run, labels_of(table)),
        "foreseen": predictions.prediction_agreement(table.cells.values(), predictions.committed_predictions()),
        "columns": list(table.short_columns.items()),
        "legend": [{"row": row, "kind": kind(row.cell)} for row in marks_of(table)],
        "answers": answers,
        "islands": table.islands,
    }


Signed = list[tuple[Square, tuple[str, str], Cell]]


def signed(tables: Sequence[Square]) -> Mapping[str, Signed]:
    """Signature -> its cells, the most frequent first."""
    found: dict[str, Signed] = {}
    for table in tables:
        for place, cell in table.cells.items():
            if cell.signature:
                found.setdefault(cell.signature, []).append((table, place, cell))
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))


def signature_view(name: str, group: Signed) -> dict[str, Any]:
    """The values for an error signature. A cell of two runs is in both squares and counts once."""
    cells = {frozenset(cell.axes.items()): cell for _, _, cell in group}.values()
    messages = Counter(cell.means or cell.message for cell in cells)
    first = {cell.means or cell.message: cell for _, _, cell in reversed(group)}
    rows: dict[tuple[str, str], tuple[Square, str, list[str]]] = {}
    for table, (row, column), _ in group:
        rows.setdefault((slug_of(table), row), (table, row, []))[2].append(column)
    lines = [
        (
            table,
            f"{table.row_axis} {table.short_rows[row]}",
            labels_text(table, table.column_axis, columns),
            f"{evidence_of(table, row)}#{slug(columns[0])}",
        )
        for table, row, columns in rows.values()
    ]
    steps = [step for table, _, _ in group if (step := table.run.next_step(name))]
    return {
        "name": name,
        "code": signatures.codes().get(name, ""),
        "general": meaning(group[0][2]),
        "count": len(cells),
        "messages": [(first[said], count) for said, count in messages.most_common(EXAMPLES)],
        "more": max(0, len(messages) - EXAMPLES),
        "lines": lines,
        "next": steps[0] if steps else "",
    }


def compatibility_view(runs: Sequence[Run], tables: Sequence[Square], dates: Dates) -> dict[str, Any]:
    """How far the files of one release load on another: a row for each backend with the page of its square."""
    pages = {_place(table): f"square/{slug_of(table)}.html" for table in tables}
    found = compatibilities(runs, dates)
    return {
        "headers": HEADERS,
        "means": COLUMN_MEANS,
        "rows": [(each.row, pages.get(_place(each.square), "")) for each in found],
    }


def _place(table: Square) -> tuple[int, str, str, tuple[tuple[str, str], ...]]:
    return id(table.run), table.row_axis, table.column_axis, tuple(sorted(table.others.items()))
