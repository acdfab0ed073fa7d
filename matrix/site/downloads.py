"""What can be taken from the pages: the cells of a run and the numbers of a chart, as CSV and JSON. Pure."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator

from matrix.results.published import PublishedRun
from matrix.site.charts import Chart, Point, Series
from matrix.site.squares import ordered


def run_csv(run: PublishedRun) -> str:
    """A row a cell, texts as they are shown."""
    axes = ordered(axis for cell in run.cells for axis in cell.axes)
    rows = [[*axes, "outcome", "stage", "signature", "message", "reason", "comparison", "reproduce"]]
    for cell in run.cells:
        compared = cell.comparison.words if cell.comparison else ""
        said = (cell.outcome.value, cell.stage or "", cell.signature, cell.message, cell.reason, compared)
        rows.append([*(cell.axes.get(axis, "-") for axis in axes), *said, cell.reproduce])
    return _csv(rows)


def chart_csv(chart: Chart) -> str:
    """A row a point."""
    axes = list(chart.series[0].axes)
    rows = [[*axes, chart.x_axis, chart.measure, "low", "high", "noise_floor", "verdict"]]
    for series, x, point in _points(chart):
        numbers = ("" if each is None else f"{each:.6g}" for each in (point.value, point.low, point.high, point.floor))
        rows.append([*series.axes.values(), x, *numbers, point.verdict])
    return _csv(rows)


def chart_json(chart: Chart) -> str:
    """The points with the words that stand on the chart."""
    content = {
        "title": chart.title,
        "reading": chart.reading,
        "source": chart.source,
        "measure": chart.measure,
        "axis": chart.x_axis,
        "points": [
            {
                **series.axes,
                chart.x_axis: x,
                "value": point.value,
                "low": point.low,
                "high": point.high,
                "noise_floor": point.floor,
                "verdict": point.verdict or None,
            }
            for series, x, point in _points(chart)
        ],
    }
    return json.dumps(content, indent=1) + "\n"


def _points(chart: Chart) -> Iterator[tuple[Series, str, Point]]:
    return ((series, x, series.points[x]) for series in chart.series for x in chart.x if x in series.points)


def _csv(rows: Iterable[Iterable[str]]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([_no_formula(text) for text in row] for row in rows)
    return stream.getvalue()


def _no_formula(text: str) -> str:
    """A text that a spreadsheet would take for a formula gets an apostrophe."""
    return f"'{text}" if text[:1] in ("=", "+", "@") or (text[:1] == "-" and len(text) > 1) else text
