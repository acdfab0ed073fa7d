"""A chart's numbers as CSV and JSON, to be taken along."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator

from matrix.results.formats import without_formulas
from matrix.site.pictures.chart import Chart, Point, Series


def chart_csv(chart: Chart) -> str:
    """One row for each point."""
    axes = list(chart.every[0].axes)
    counted = any(point.counted for _, _, point in _points(chart))
    names = ["low", "high", "noise_floor", "verdict", *(["counted"] if counted else []), *chart.parts]
    rows = [[*axes, chart.x_axis, chart.measure, *names]]
    for series, x, point in _points(chart):
        numbers = ("" if each is None else f"{each:.6g}" for each in (point.value, point.low, point.high, point.floor))
        parts = (f"{point.parts.get(part, 0):.12g}" for part in chart.parts)
        words = [point.verdict, *([point.counted] if counted else [])]
        rows.append([*series.axes.values(), x, *numbers, *words, *parts])
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(map(without_formulas, rows))
    return stream.getvalue()


def chart_json(chart: Chart) -> str:
    """The points with the words in the chart."""
    content = {
        "finding": chart.finding,
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
                **({"counted": point.counted} if point.counted else {}),
                **({"parts": dict(point.parts)} if point.parts else {}),
            }
            for series, x, point in _points(chart)
        ],
    }
    return json.dumps(content, indent=1) + "\n"


def _points(chart: Chart) -> Iterator[tuple[Series, str, Point]]:
    return ((series, x, series.points[x]) for series in chart.every for x in chart.x if x in series.points)
