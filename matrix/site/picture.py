"""A square as one SVG, for a README or a slide: with title, legend, islands, source and date. Pure.

It is a template without a library: rectangles and words in a grid, like the table on the page.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from matrix.core.text import mark_controls
from matrix.results.square import Square
from matrix.site.harmless import LABEL
from matrix.site.squares import edges, kind, mark, marks_of

WIDE_PICTURE, HIGH, GAP = 44, 28, 2
"""Pixels of a cell, and between two."""
PICTURE_LETTER = 7.2
"""Pixels of an average letter, at the size of the labels."""
SIDE, SIDE_LETTERS = 330, 42
"""The column beside the square: pixels, and letters per line."""
TOP, MARGIN, LINE = 92, 28, 19
NO_MARK = "\N{EN DASH}"
"""The mark of a cell without an outcome."""
MOST = 12
"""The most sentences beside the square."""
CELL_COLOURS = {"passed": ("#cfeee6", "#064a41"), "red": ("#f7ece8", "#7d2f1c"), "open": ("#eef1f3", "#47525a")}
"""Kind of a cell -> the background and colour of its mark, with a contrast of 4.5 or more. The mark and the outline say
the same without colour."""
PICTURE_TEMPLATE = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {{ width }} {{ height }}" \
width="{{ width }}" height="{{ height }}" role="img" aria-labelledby="title about" \
font-family="system-ui, 'DejaVu Sans', sans-serif" font-size="13">
<title id="title">{{ title }}</title>
<desc id="about">{{ islands|join(". ") }}.</desc>
<rect width="{{ width }}" height="{{ height }}" rx="10" fill="#fff"/>
<text x="{{ margin }}" y="40" font-size="22" font-weight="650" fill="#1c2327">{{ title }}</text>
<g fill="#566169">
<text x="{{ margin }}" y="64">{{ caption }}</text>
<text x="{{ margin }}" y="{{ height - 16 }}" font-size="11">{{ source }}</text>
</g>
<g text-anchor="middle" fill="#1c2327">
{% for x, y, text in headings %}
<text x="{{ x }}" y="{{ y }}">{{ text }}</text>
{% endfor %}
</g>
<g text-anchor="middle">
{% for cell in cells %}
<rect x="{{ cell.x }}" y="{{ cell.y }}" width="{{ wide }}" height="{{ high }}" rx="2" fill="{{ cell.fill }}"/>
<text x="{{ cell.x + wide // 2 }}" y="{{ cell.y + 19 }}" fill="{{ cell.ink }}" \
font-weight="{{ 650 if cell.bold else 400 }}">{{ cell.mark }}</text>
{% endfor %}
</g>
<path d="{{ outline }}" fill="none" stroke="#0b7a6b" stroke-width="2" stroke-linecap="square"/>
<g fill="#1c2327">
{% for x, y, text, bold in notes %}
<text x="{{ x }}" y="{{ y }}" font-weight="{{ 650 if bold else 400 }}">{{ text }}</text>
{% endfor %}
</g>
</svg>
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cell:
    x: int
    y: int
    mark: str
    fill: str
    ink: str
    bold: bool


def square_svg(table: Square) -> str:
    """All values are escaped."""
    islands = table.islands
    left = MARGIN + round(PICTURE_LETTER * max(map(len, [*table.short_rows.values(), f"{table.row_axis}  "]))) + 14
    right = left + len(table.columns) * (WIDE_PICTURE + GAP) + 34
    bottom = TOP + 26 + len(table.rows) * (HIGH + GAP)
    shown = [*islands[:MOST], *([f"and {len(islands) - MOST} more"] if len(islands) > MOST else [])]
    notes = list(_notes(table, shown, right))
    made = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True).from_string(
        PICTURE_TEMPLATE
    )
    return made.render(
        width=right + SIDE + MARGIN,
        height=max(bottom, notes[-1][1]) + 50,
        margin=MARGIN,
        wide=WIDE_PICTURE,
        high=HIGH,
        title=table.run.question,
        caption=f"{table.row_axis} down, {table.column_axis} across; {table.title}",
        source=f"Source: IREE matrix, {mark_controls(Path(table.run.source).name, LABEL)}, measured {table.run.date}",
        headings=list(_headings(table, left)),
        cells=list(_cells(table, left)),
        outline=" ".join(_outline(table, left)),
        notes=notes,
        islands=shown,
    )


def _at(table: Square, left: int, row: str, column: str) -> tuple[int, int]:
    across, down = table.columns.index(column), table.rows.index(row)
    return left + across * (WIDE_PICTURE + GAP), TOP + 26 + down * (HIGH + GAP)


def _headings(table: Square, left: int) -> Iterator[tuple[int, int, str]]:
    for column, short in table.short_columns.items():
        x, _ = _at(table, left, table.rows[0], column)
        yield x + WIDE_PICTURE // 2, TOP + 16, short
    for row, short in table.short_rows.items():
        _, y = _at(table, left, row, table.columns[0])
        yield left - 14 - round(PICTURE_LETTER * len(short) / 2), y + 19, short


def _cells(table: Square, left: int) -> Iterator[_Cell]:
    for (row, column), cell in table.cells.items():
        x, y = _at(table, left, row, column)
        fill, ink = CELL_COLOURS[kind(cell)]
        yield _Cell(x=x, y=y, mark=mark(table.run, cell) or NO_MARK, fill=fill, ink=ink, bold=kind(cell) == "passed")


def _outline(table: Square, left: int) -> Iterator[str]:
    """The edges of the islands, between the cells."""
    for (row, column), cell in table.cells.items():
        if kind(cell) != "passed":
            continue
        x, y = (place - GAP // 2 for place in _at(table, left, row, column))
        across, down = WIDE_PICTURE + GAP, HIGH + GAP
        sides = {
            "t": f"M{x} {y}h{across}",
            "r": f"M{x + across} {y}v{down}",
            "b": f"M{x} {y + down}h{across}",
            "l": f"M{x} {y}v{down}",
        }
        yield from (sides[side] for side in edges(table, row, column).split())


def _notes(table: Square, islands: Sequence[str], x: int) -> Iterator[tuple[int, int, str, bool]]:
    """The texts beside the square: (x, y, text, bold)."""
    y = TOP + 16
    yield x, y, "Islands", True
    for sentence in islands:
        for line in textwrap.wrap(sentence[:1].upper() + sentence[1:], SIDE_LETTERS + 4):
            y += LINE
            yield x, y, line, False
    y += 2 * LINE
    yield x, y, "What the marks mean", True
    for row in marks_of(table):
        for number, line in enumerate(textwrap.wrap(f"{row.words} ({row.count} cells)", SIDE_LETTERS)):
            y += LINE
            if number == 0:
                yield x, y, row.mark or NO_MARK, True
            yield x + 36, y, line, False
