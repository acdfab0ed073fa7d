"""A square as one SVG, for a README or a slide: with title, legend, islands, source and date. Pure.

It is a template without a library: rectangles and words in a grid, like the table on the page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from matrix.core.text import mark_controls
from matrix.results.square import Square
from matrix.site.harmless import LABEL
from matrix.site.pictures.letters import text_lines, text_width
from matrix.site.squares import edges, kind, mark, marks_of

WIDE_PICTURE, HIGH, GAP = 44, 28, 2
"""Pixels of a cell, and between two."""
LETTER_SIZE, TITLE_SIZE, SOURCE_SIZE = 13, 22, 11
"""Pixels: the size of the letters of labels and sentences, of the title, of the source."""
SIDE = 330
"""Pixels of the column beside the square."""
MARGIN, LINE, TITLE_LINE = 28, 19, 28
NO_MARK = "\N{EN DASH}"
"""The mark of a cell without an outcome."""
MOST = 12
"""The most sentences beside the square."""
CELL_COLOURS = {"passed": ("#0b7a6b", "#ffffff"), "red": ("#f7ece8", "#7d2f1c"), "open": ("#eef1f3", "#47525a")}
"""Kind of a cell -> the background and colour of its mark, with a contrast of 4.5 or more. The backgrounds of what
passed and of the rest have one of 3 or more: islands are seen without colour, too. The marks say the same."""
PICTURE_TEMPLATE = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {{ width }} {{ height }}" \
width="{{ width }}" height="{{ height }}" role="img" aria-labelledby="title about" \
font-family="'DejaVu Sans', system-ui, sans-serif" font-size="{{ letter }}">
<title id="title">{{ title }}</title>
<desc id="about">{{ islands|join(". ") }}.</desc>
<rect width="{{ width }}" height="{{ height }}" rx="10" fill="#fff"/>
<g fill="#1c2327">
{% for text in texts %}
<text x="{{ text.x }}" y="{{ text.y }}" font-size="{{ text.size }}" fill="{{ text.ink }}" \
font-weight="{{ "bold" if text.bold else "normal" }}">{{ text.words }}</text>
{% endfor %}
</g>
<g fill="#1c2327">
{% for x, y, text, anchor, turned in headings %}
<text x="{{ x }}" y="{{ y }}" text-anchor="{{ anchor }}"\
{% if turned %} transform="rotate(-90 {{ x }} {{ y }})"{% endif %}>{{ text }}</text>
{% endfor %}
</g>
<g text-anchor="middle">
{% for cell in cells %}
<rect x="{{ cell.x }}" y="{{ cell.y }}" width="{{ wide }}" height="{{ high }}" rx="2" fill="{{ cell.fill }}"/>
<text x="{{ cell.x + wide // 2 }}" y="{{ cell.y + 19 }}" fill="{{ cell.ink }}" \
font-weight="{{ "bold" if cell.bold else "normal" }}">{{ cell.mark }}</text>
{% endfor %}
</g>
<path d="{{ outline }}" fill="none" stroke="#04332c" stroke-width="2" stroke-linecap="square"/>
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """A line of text outside of the square; `y` is its baseline."""

    x: int
    y: int
    words: str
    size: int = LETTER_SIZE
    ink: str = "#1c2327"
    bold: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Where things are, in pixels: the left and upper edge of the cells, the left edge of the column of sentences, and
    the width of the whole. `turned`: the headings of the columns are wider than a cell."""

    left: int
    top: int
    side: int
    width: int
    turned: bool


def square_svg(table: Square) -> str:
    """All values are escaped."""
    islands = table.islands
    shown = [*islands[:MOST], *([f"and {len(islands) - MOST} more"] if len(islands) > MOST else [])]
    layout, texts = _laid_out(table)
    texts += _notes(table, shown, layout)
    bottom = max(layout.top + len(table.rows) * (HIGH + GAP), *(line.y for line in texts)) + 34
    sources = _lines(_source(table), MARGIN, bottom, layout.width - 2 * MARGIN, size=SOURCE_SIZE, ink="#566169")
    made = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True).from_string(
        PICTURE_TEMPLATE
    )
    return made.render(
        width=layout.width,
        height=sources[-1].y + 16,
        letter=LETTER_SIZE,
        wide=WIDE_PICTURE,
        high=HIGH,
        title=table.run.question,
        texts=[*texts, *sources],
        headings=list(_headings(table, layout)),
        cells=list(_cells(table, layout)),
        outline=" ".join(_outline(table, layout)),
        islands=shown,
    )


def _source(table: Square) -> str:
    return f"Source: IREE matrix, {mark_controls(Path(table.run.source).name, LABEL)}, measured {table.run.date}"


def _lines(text: str, x: int, y: int, width: float, *, size: int = LETTER_SIZE, ink: str = "#1c2327") -> list[_Line]:
    """The text from `y` down, as wide as it may be; the title is bold."""
    high, bold = (TITLE_LINE, True) if size == TITLE_SIZE else (LINE, False)
    lines = text_lines(text, width, size, bold=bold)
    return [
        _Line(x=x, y=y + place * high, words=line, size=size, ink=ink, bold=bold) for place, line in enumerate(lines)
    ]


def _laid_out(table: Square) -> tuple[_Layout, list[_Line]]:
    """The places, and the lines above the square, which say how high it starts."""
    left = MARGIN + round(max(text_width(label, LETTER_SIZE) for label in table.short_rows.values())) + 14
    side = left + len(table.columns) * (WIDE_PICTURE + GAP) + 34
    width = side + SIDE + MARGIN
    headings = max(text_width(label, LETTER_SIZE) for label in table.short_columns.values())
    turned = headings > WIDE_PICTURE - 2
    title = _lines(table.run.question, MARGIN, 40, width - 2 * MARGIN, size=TITLE_SIZE)
    about = f"{table.row_axis} down, {table.column_axis} across; {table.title}"
    caption = _lines(about, MARGIN, title[-1].y + 24, width - 2 * MARGIN, ink="#566169")
    top = caption[-1].y + 26 + (round(headings) if turned else LETTER_SIZE)
    return _Layout(left=left, top=top, side=side, width=width, turned=turned), [*title, *caption]


def _at(table: Square, layout: _Layout, row: str, column: str) -> tuple[int, int]:
    across, down = table.columns.index(column), table.rows.index(row)
    return layout.left + across * (WIDE_PICTURE + GAP), layout.top + down * (HIGH + GAP)


def _headings(table: Square, layout: _Layout) -> Iterator[tuple[int, int, str, str, bool]]:
    """(x, y, text, anchor, whether it is turned)."""
    for column, short in table.short_columns.items():
        x, y = _at(table, layout, table.rows[0], column)
        middle = x + WIDE_PICTURE // 2
        yield (middle + 5, y - 8, short, "start", True) if layout.turned else (middle, y - 10, short, "middle", False)
    for row, short in table.short_rows.items():
        x, y = _at(table, layout, row, table.columns[0])
        yield x - 14, y + 19, short, "end", False


def _cells(table: Square, layout: _Layout) -> Iterator[_Cell]:
    for (row, column), cell in table.cells.items():
        x, y = _at(table, layout, row, column)
        fill, ink = CELL_COLOURS[kind(cell)]
        yield _Cell(x=x, y=y, mark=mark(table.run, cell) or NO_MARK, fill=fill, ink=ink, bold=kind(cell) == "passed")


def _outline(table: Square, layout: _Layout) -> Iterator[str]:
    """The edges of the islands, between the cells."""
    for (row, column), cell in table.cells.items():
        if kind(cell) != "passed":
            continue
        x, y = (place - GAP // 2 for place in _at(table, layout, row, column))
        across, down = WIDE_PICTURE + GAP, HIGH + GAP
        sides = {
            "t": f"M{x} {y}h{across}",
            "r": f"M{x + across} {y}v{down}",
            "b": f"M{x} {y + down}h{across}",
            "l": f"M{x} {y}v{down}",
        }
        yield from (sides[side] for side in edges(table, row, column).split())


def _notes(table: Square, islands: Sequence[str], layout: _Layout) -> list[_Line]:
    """The texts beside the square: its islands, its marks."""
    x, y = layout.side, layout.top - 10
    notes = [_Line(x=x, y=y, words="Islands", bold=True)]
    for sentence in islands:
        notes += _lines(sentence[:1].upper() + sentence[1:], x, notes[-1].y + LINE, SIDE)
    notes.append(_Line(x=x, y=notes[-1].y + 2 * LINE, words="What the marks mean", bold=True))
    rows = marks_of(table)
    indent = round(max(text_width(row.mark or NO_MARK, LETTER_SIZE, bold=True) for row in rows)) + 12
    for row in rows:
        y = notes[-1].y + LINE
        notes.append(_Line(x=x, y=y, words=row.mark or NO_MARK, bold=True))
        cells = "1 cell" if row.count == 1 else f"{row.count} cells"
        notes += _lines(f"{row.words} ({cells})", x + indent, y, SIDE - indent)
    return notes
