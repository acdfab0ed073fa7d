"""One page for a presentation: squares, islands, charts, tables, sources and dates in a single file without external
resources. It contains no script, and its policy allows none."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from markupsafe import Markup

from matrix import __version__
from matrix.core.keys import sha256
from matrix.core.text import mark_controls
from matrix.results.run import Run
from matrix.results.square import Square
from matrix.site.build import charts_of, runs_of_pages
from matrix.site.charts import Chart
from matrix.site.harmless import LABEL
from matrix.site.pages import latest
from matrix.site.squares import find_squares, without_repeats
from matrix.site.views import numbers, signature_view, signed, square_view, templates

SQUARES = 24
"""The most squares of one run on the page; the site has them all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRun:
    """A run on the page. `file` and `digest` lead from a number back to its source."""

    run: Run
    tables: tuple[Square, ...]
    left_out: int
    file: str
    digest: str


def one_file(results: Sequence[Path]) -> str:
    """The page. Raises ResultsFault, UsageError for results without cells, ExtraMissing if matplotlib is missing."""
    runs = runs_of_pages(results)
    tables = without_repeats(table for run in runs for table in find_squares(run))
    parts = [_part(run, [table for table in tables if table.run is run]) for run in runs]
    charts = charts_of(runs)
    style = (resources.files("matrix.site") / "static" / "site.css").read_text(encoding="utf-8")
    found = signed(tables)
    return (
        templates()
        .get_template("report.html")
        .render(
            style=Markup(style),  # the project's own file: it contains nothing of the results
            style_digest=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
            version=__version__,
            date=latest(runs),
            parts=[part for part in parts if part.tables],
            sources=parts,
            square_of=square_view,
            signatures=[signature_view(name, group) for name, group in found.items()],
            charts=[(chart, numbers(chart), _address(chart)) for chart in charts],
        )
    )


def _part(run: Run, tables: Sequence[Square]) -> PageRun:
    return PageRun(
        run=run,
        tables=tuple(tables[:SQUARES]),
        left_out=max(0, len(tables) - SQUARES),
        file=mark_controls(Path(run.source).name, LABEL),
        digest=sha256(Path(run.source)),
    )


def _address(chart: Chart) -> str:
    """The chart as the address of an image: a browser runs no code in one."""
    from matrix.site.drawing import draw

    return f"data:image/svg+xml;base64,{base64.b64encode(draw(chart, 'svg')['svg']).decode()}"
