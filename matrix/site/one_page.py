"""One page for a presentation: squares, islands, charts, tables, sources and dates in a single file without external
resources. It contains no script, and its policy allows none."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence, Set
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from markupsafe import Markup

from matrix import __version__
from matrix.core.keys import sha256
from matrix.core.machine import CPU_FLAGS
from matrix.core.text import mark_controls
from matrix.results.run import Run
from matrix.results.square import Square
from matrix.results.times import machines_of
from matrix.site.build import charts_of, runs_of_pages
from matrix.site.harmless import LABEL, slug
from matrix.site.machines import on_machines
from matrix.site.pages import latest
from matrix.site.pictures.chart import Chart
from matrix.site.squares import find_squares, without_repeats
from matrix.site.views import numbers, sentences_of, signature_view, signed, square_view, templates

SQUARES = 24
"""The most squares of one run on the page; the site has them all."""
DRAWN = 4
"""The most charts in the text; the others are behind a heading, with their findings before it."""
LONGEST_SENTENCE, MOST_ISLANDS = 200, 6
"""What is longer, or more, has no place in a summary."""
SENTENCES = 3
"""The most sentences of one run in the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRun:
    """A run on the page. `said` are its findings in the summary; `file` and `digest` lead from a number back to its
    source."""

    run: Run
    tables: tuple[Square, ...]
    left_out: int
    said: tuple[str, ...]
    machines: str
    file: str
    digest: str

    @property
    def anchor(self) -> str:
        return f"question-{slug(self.run.preset)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageChart:
    """A chart on the page: `rows` are its numbers, `address` its picture; empty for a chart without a panel."""

    chart: Chart
    rows: list[tuple[str, list[str]]]
    address: str


def one_file(results: Sequence[Path]) -> str:
    """The page. Raises ResultsFault, UsageError for results without cells, ExtraMissing if matplotlib is missing."""
    runs = runs_of_pages(results)
    tables = without_repeats(table for run in runs for table in find_squares(run))
    charts = charts_of(runs)
    parts: list[PageRun] = []
    for run in runs:
        before = {sentence for part in parts for sentence in part.said}
        own = [table for table in tables if table.run is run]
        several = on_machines(run, runs, lambda each: each.preset)
        machines = " and ".join(each.partition(f", {CPU_FLAGS}")[0] for each in machines_of(run)) if several else ""
        parts.append(_part(run, own, charts, before, machines))
    style = (resources.files("matrix.site") / "static" / "site.css").read_text(encoding="utf-8")
    found = signed(tables)
    first = next((chart.run for chart in charts), None)  # the one on the quietest machine
    drawn = [chart for chart in charts if chart.series and chart.run is first][:DRAWN]
    others = [chart for chart in charts if chart not in drawn]
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
            SENTENCES=SENTENCES,
            signatures=[signature_view(name, group) for name, group in found.items()],
            charts=[_page_chart(chart) for chart in drawn],
            others=[_page_chart(chart) for chart in others],
        )
    )


def _page_chart(chart: Chart) -> PageChart:
    return PageChart(chart=chart, rows=numbers(chart), address=_address(chart) if chart.series else "")


def _summary(run: Run, tables: Sequence[Square], charts: Sequence[Chart]) -> list[str]:
    """What a run says in a few lines: its first sentence, the islands of its first square, the change of latency."""
    said = [sentence for sentence in sentences_of(run)[:1] if len(sentence) <= LONGEST_SENTENCE]
    if tables and 0 < len(tables[0].islands) <= MOST_ISLANDS:
        said.append("; ".join(tables[0].islands))
    said += [chart.finding for chart in charts if chart.run is run and chart.kind.name == "latency"]
    return [f"{sentence[:1].upper()}{sentence[1:]}".rstrip(".") + "." for sentence in said if sentence]


def _part(run: Run, tables: Sequence[Square], charts: Sequence[Chart], before: Set[str], machines: str) -> PageRun:
    return PageRun(
        run=run,
        tables=tuple(tables[:SQUARES]),
        left_out=max(0, len(tables) - SQUARES),
        said=tuple(sentence for sentence in _summary(run, tables, charts) if sentence not in before),
        machines=machines,
        file=mark_controls(Path(run.source).name, LABEL),
        digest=sha256(Path(run.source)),
    )


def _address(chart: Chart) -> str:
    """The chart as the address of an image: a browser runs no code in one."""
    from matrix.site.pictures.drawing import draw

    return f"data:image/svg+xml;base64,{base64.b64encode(draw(chart, 'svg')['svg']).decode()}"
