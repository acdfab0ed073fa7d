"""Draws charts as SVG and PNG with matplotlib. It is imported here, for the first chart: it takes 0.5 s and 100 MB, and
the rest of the project does not need it, so it is an extra (`charts`) and no dependency."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from matrix.core.errors import ExtraMissing
from matrix.results.run import Verdict
from matrix.results.square import headings
from matrix.site.charts import BASELINE, RATIO, Chart, Point, Series, value_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, QUIET, BAND, BAR = "#1c2327", "#566169", "#e3e7ea", "#0b7a6b"
MARKERS = {
    Verdict.FASTER: ("v", "#0072b2", "faster"),
    Verdict.SLOWER: ("^", "#b4490c", "slower"),
    Verdict.SAME: ("o", QUIET, "no difference"),
    Verdict.UNSETTLED: ("o", "white", "passes disagree"),
    Verdict.TOO_FEW: ("o", "white", "passes disagree"),
    BASELINE: ("D", INK, "baseline"),
}
"""Verdict -> shape, fill, word. The shape says it without colour; colour-blind people can distinguish the colours."""
MARKER_EDGE: Mapping[str, Any] = {"markeredgecolor": INK, "markeredgewidth": 0.7, "markersize": 6}
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9.0,
    "text.color": INK,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "text.parse_math": False,  # a name with two dollars stays a name
    "svg.fonttype": "none",  # text stays text: it can be searched and read aloud, and is a fifth of the size
    "svg.hashsalt": "iree-matrix",  # the same chart gives the same file
}
BESIDE: Mapping[str, Any] = {"textcoords": "offset points", "ha": "center", "fontsize": 6.5, "color": INK}
"""The number at a significant marker, on the side away from 1."""
NO_NUMBER = "\N{MULTIPLICATION SIGN}"
"""The mark of a release without a number: it failed, or was not measured."""
NO_TRACES = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}
"""The metadata that matplotlib would write: itself and the date."""
DOTS = 150
SLIDE_INCHES = 10.0
"""Inches; two rows of panels fill a slide of 16 to 9."""


def draw(chart: Chart, *forms: str) -> dict[str, bytes]:
    """The chart as `svg` and `png`, the same bytes for the same numbers. Raises ExtraMissing."""
    made = {}
    with _matplotlib():
        figure = _figure(chart)
        for form in forms:
            stream = io.BytesIO()
            figure.savefig(stream, format=form, dpi=DOTS, metadata={**NO_TRACES[form], "Title": chart.title})
            made[form] = stream.getvalue()
    return made


@contextmanager
def _matplotlib() -> Iterator[None]:
    try:
        import matplotlib as library
    except ImportError:
        raise ExtraMissing(
            "charts are drawn by matplotlib, which is not installed here",
            tip="python3 -m pip install 'iree-matrix[charts]', or from a checkout: pip install -e '.[charts]'",
        ) from None
    with library.rc_context(STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a letter without a font becomes a box
        yield


def _figure(chart: Chart) -> Figure:
    """A panel for each series, with a common axis. The figure is drawn without pyplot, which would keep it."""
    from matplotlib.figure import Figure

    columns = 1 if len(chart.series) == 1 else 2
    rows = math.ceil(len(chart.series) / columns)
    tall = 1.5 + 2.1 * rows
    figure = Figure(figsize=(SLIDE_INCHES, tall), facecolor="white")
    panels = figure.subplots(rows, columns, sharex=True, squeeze=False).flatten()
    for panel, series in zip(panels, chart.series, strict=False):
        _panel(panel, chart, series)
    for panel in panels[len(chart.series) :]:
        panel.set_visible(False)
    for panel in panels[max(0, len(chart.series) - columns) : len(chart.series)]:
        panel.tick_params(labelbottom=True)
        panel.set_xlabel(chart.x_axis)
    figure.text(0.02, 1 - 0.2 / tall, chart.title, fontsize=14, fontweight="bold", va="top")
    numbers = sum(point.value is not None for each in chart.series for point in each.points.values())
    lacking = numbers < len(chart.series) * len(chart.x)
    reading = chart.reading + (f" {NO_NUMBER} stands where there is no number." if lacking else "")
    reading += f" No number at all: {', '.join(chart.empty)}."[:200] if chart.empty else ""
    figure.text(0.02, 1 - 0.5 / tall, reading, color=QUIET, va="top", wrap=True)
    figure.text(0.02, 0.12 / tall, chart.source, fontsize=7.5, color=QUIET)
    if chart.measure == RATIO:
        _legend(figure)
    figure.subplots_adjust(left=0.08, right=0.985, top=1 - 1.15 / tall, bottom=0.72 / tall, hspace=0.32, wspace=0.16)
    return figure


def _panel(panel: Axes, chart: Chart, series: Series) -> None:
    places = range(len(chart.x))
    points = [series.points.get(label, Point(value=None)) for label in chart.x]
    panel.set_title(series.name[:70], pad=4)
    panel.set_xlim(-0.6, len(chart.x) - 0.4)
    panel.set_xticks(list(places), headings(chart.x), rotation=90 if max(map(len, headings(chart.x))) > 4 else 0)
    panel.tick_params(axis="x", length=2, labelbottom=False, labelsize=9.0 if len(chart.series) == 1 else 7.5)
    panel.grid(axis="y", color=BAND, linewidth=0.6)
    panel.set_axisbelow(True)
    if chart.measure == RATIO:
        _ratios(panel, points)
    else:
        _bars(panel, points, chart.measure)
    for place, point in enumerate(points):
        if point.value is None:
            panel.text(place, 0.02, NO_NUMBER, color=QUIET, ha="center", transform=panel.get_xaxis_transform())


def _bars(panel: Axes, points: list[Point], measure: str) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    panel.bar(range(len(points)), [point.value or 0.0 for point in points], color=BAR, width=0.7)
    _spread(panel, points, INK)
    panel.set_ylim(bottom=0)
    panel.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: value_words(value, measure)))


def _ratios(panel: Axes, points: list[Point]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    floors = [point.floor or 1.0 for point in points]
    edges = [place + side for place in range(len(points)) for side in (-0.5, 0.5)]
    band = [floor for floor in floors for _ in range(2)]
    panel.fill_between(edges, [1 / floor for floor in band], band, color=BAND, linewidth=0)
    panel.axhline(1.0, color=QUIET, linewidth=0.8)
    _spread(panel, points, QUIET)
    for verdict in dict.fromkeys(point.verdict for point in points):
        shape, fill, _ = MARKERS.get(verdict, MARKERS[Verdict.TOO_FEW])
        at = [(place, point.value) for place, point in enumerate(points) if point.verdict == verdict and point.value]
        panel.plot([place for place, _ in at], [value for _, value in at], shape, color=fill, **MARKER_EDGE)
    for place, point in enumerate(points):
        if point.value and point.verdict in (Verdict.FASTER, Verdict.SLOWER):
            below = point.verdict == Verdict.FASTER
            panel.annotate(f"{point.value:.2f}", (place, point.value), (0, -12 if below else 6), **BESIDE)
    shown = [end for point in points for end in (point.value, point.low, point.high) if end]
    shown += [end for floor in floors for end in (floor, 1 / floor)]
    low, high = min(shown), max(shown)
    if high / low > 3:
        panel.set_yscale("log")
        panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        panel.yaxis.set_minor_locator(NullLocator())
        panel.set_ylim(low / 1.5, high * 1.15)
    else:
        panel.yaxis.set_major_locator(MaxNLocator(5))
        panel.set_ylim(low - 0.15 * (high - low) - 0.005, high + 0.15 * (high - low) + 0.005)
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _spread(panel: Axes, points: list[Point], color: str) -> None:
    spread = [(place, point.low, point.high) for place, point in enumerate(points) if point.low and point.high]
    places, lows, highs = ([each[part] for each in spread] for part in range(3))
    panel.vlines(places, lows, highs, color=color, linewidth=1.6)


def _legend(figure: Figure) -> None:
    from matplotlib.lines import Line2D

    said = {word: (shape, fill) for shape, fill, word in MARKERS.values()}
    handles = [
        Line2D([], [], linestyle="", marker=shape, color=fill, label=word, **MARKER_EDGE)
        for word, (shape, fill) in said.items()
    ]
    figure.legend(handles=handles, loc="upper right", ncols=len(handles), fontsize=8, bbox_to_anchor=(0.99, 1.0))
