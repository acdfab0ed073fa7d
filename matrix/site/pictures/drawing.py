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
from matrix.results.measured.figures import Verdict
from matrix.results.measured.profiles import SPECIAL_KINDS, operation_kinds
from matrix.results.square import headings
from matrix.site.pictures.chart import BASELINE, FIRST_MEASURED, RATIO, Chart, Point, Series, value_words
from matrix.site.pictures.letters import shortened, text_lines, text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, QUIET, BAND, BAR = "#1c2327", "#566169", "#e3e7ea", "#0b7a6b"
MARKERS = {
    Verdict.FASTER: ("v", "#0072b2", "faster"),
    Verdict.SLOWER: ("^", "#b4490c", "slower"),
    Verdict.SAME: ("o", QUIET, "no difference"),
    Verdict.SAME_BYTES: ("s", QUIET, "the same bytes"),
    Verdict.UNDECIDED: ("o", "white", "undecided: too much noise"),
    Verdict.UNSETTLED: ("s", "white", "passes disagree"),
    Verdict.TOO_FEW: ("p", "white", "too few rounds"),
    BASELINE: ("D", INK, "baseline"),
}
"""Verdict -> shape, fill, word. The shape says it without colour; colour-blind people can distinguish the colours."""
KIND_LOOKS = (
    *(("#0072b2", ""), ("#e69f00", "//"), ("#009e73", ""), ("#cc79a7", "xx"), ("#56b4e9", ""), ("#d55e00", "\\\\")),
    *(("#f0e442", ""), ("#8c6d9f", ".."), ("#7f9c3b", ""), ("#b8bfc4", ""), ("#3d474d", "")),
)
"""Colour and pattern of each kind of operation, in their order; the two last ones are of the rest and the runtime. The
pattern, and the order in the bar, say it without colour."""
PART_EDGE: Mapping[str, Any] = {"edgecolor": "white", "linewidth": 0.0}
"""White is the pattern; a line around would hide thin parts."""
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
BESIDE: Mapping[str, Any] = {"textcoords": "offset points", "ha": "center", "color": INK}
"""The number at a significant marker, on the side away from 1."""
NO_NUMBER = "\N{MULTIPLICATION SIGN}"
"""The mark of a release without a number: it failed, or was not measured."""
NO_TRACES = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}
"""The metadata that matplotlib would write: itself and the date."""
DOTS = 150
POINTS = 72
"""Points per inch: all lengths below are points."""
SLIDE, EDGE = 720.0, 14.0
"""The width of a chart and its margin; two rows of panels fill a slide of 16 to 9."""
HEADLINE, READING, LABELS, NUMBER, FOOT = 13.0, 9.0, 7.5, 6.5, 7.5
"""The sizes of letters."""
SPACED = 1.3
"""The height of a line, in sizes of its letters."""
PANEL, BETWEEN, BELOW_PANELS = 112.0, 40.0, 34.0
"""The height of a panel and the space below it, and below the last ones."""
LEFT, PANEL_GAP = 62.0, 56.0
"""The space before the panels and between two, for the numbers of the axes."""


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
    """The headline and how to read it, a panel for each series with a common axis, and the source. The figure is drawn
    without pyplot, which would keep it."""
    from matplotlib.figure import Figure

    columns = 1 if len(chart.series) == 1 else 2
    rows = math.ceil(len(chart.series) / columns)
    room = SLIDE - 2 * EDGE
    headline = text_lines(chart.finding, room, HEADLINE, bold=True)
    reading = text_lines(_reading(chart), room, READING)
    source = text_lines(chart.source, room, FOOT)
    legend = 18.0 if chart.measure == RATIO or chart.parts else 0.0
    wide = (SLIDE - LEFT - EDGE - (columns - 1) * PANEL_GAP) / columns
    turned, labels = _x_labels(chart, wide / len(chart.x))
    below = BELOW_PANELS + (max(map(_label_width, labels)) if turned else 0.0)
    above = EDGE + SPACED * (len(headline) * HEADLINE + len(reading) * READING) + legend + 26
    foot = EDGE + SPACED * len(source) * FOOT
    tall = above + rows * PANEL + (rows - 1) * BETWEEN + below + foot
    figure = Figure(figsize=(SLIDE / POINTS, tall / POINTS), facecolor="white")
    panels = figure.subplots(rows, columns, sharex=True, squeeze=False).flatten()
    for number, (panel, series) in enumerate(zip(panels, chart.series, strict=False)):
        _panel(panel, chart, series, wide)
        panel.set_xticks(range(len(chart.x)), labels, rotation=90 if turned else 0)
        if number % columns == 0:
            panel.set_ylabel(chart.kind.label, fontsize=LABELS)
    for panel in panels[len(chart.series) :]:
        panel.set_visible(False)
    for panel in panels[max(0, len(chart.series) - columns) : len(chart.series)]:
        panel.tick_params(labelbottom=True)
        panel.set_xlabel(shortened(chart.x_words, wide, LABELS), fontsize=LABELS)
    y = _write(figure, headline, tall, EDGE, HEADLINE, weight="bold")
    y = _write(figure, reading, tall, y + 3, READING, color=QUIET)
    _write(figure, source, tall, tall - foot + EDGE / 2, FOOT, color=QUIET)
    if legend:
        (_legend_of_parts if chart.parts else _legend)(figure, chart, 1 - (y + 5) / tall)
    figure.subplots_adjust(
        left=LEFT / SLIDE,
        right=1 - EDGE / SLIDE,
        top=1 - above / tall,
        bottom=(below + foot) / tall,
        hspace=BETWEEN / PANEL,
        wspace=PANEL_GAP / wide,
    )
    return figure


def _write(
    figure: Figure, lines: list[str], tall: float, y: float, size: float, *, color: str = INK, weight: str = "normal"
) -> float:
    """Lines of text from `y` points below the upper edge; returns where they end."""
    for line in lines:
        figure.text(EDGE / SLIDE, 1 - (y + size) / tall, line, fontsize=size, color=color, fontweight=weight)
        y += SPACED * size
    return y


def _reading(chart: Chart) -> str:
    """What the numbers are and how to read them."""
    numbers = sum(len(each.values) for each in chart.series)
    first = sum(point.verdict == FIRST_MEASURED for each in chart.series for point in each.points.values())
    lacking = numbers + first < len(chart.series) * len(chart.x)
    mark = f" {NO_NUMBER} stands where there is no number." if lacking else ""
    return f"{chart.title}. {chart.reading}{mark}"


def _label_width(text: str) -> float:
    return text_width(text, LABELS)


def _x_labels(chart: Chart, space: float) -> tuple[bool, list[str]]:
    """Whether the labels are turned, and the labels; of very many, only some are written."""
    labels = list(headings(chart.x))
    if max(map(_label_width, labels)) + 1.5 <= space:
        return False, labels
    step = math.ceil(SPACED * LABELS / space)
    labels = [shortened(label, 90, LABELS) for label in labels]
    return True, [label if place % step == 0 else "" for place, label in enumerate(labels)]


def _panel(panel: Axes, chart: Chart, series: Series, wide: float) -> None:
    points = [series.points.get(label, Point(value=None)) for label in chart.x]
    panel.set_title(shortened(series.name, wide, STYLE["axes.titlesize"]), pad=4)
    panel.set_xlim(-0.6, len(chart.x) - 0.4)
    panel.tick_params(axis="x", length=2, labelbottom=False, labelsize=LABELS)
    panel.tick_params(axis="y", labelsize=LABELS)
    panel.grid(axis="y", color=BAND, linewidth=0.6)
    panel.set_axisbelow(True)
    if chart.measure == RATIO:
        _ratios(panel, points, wide / len(points))
    else:
        _bars(panel, points, chart.measure)
    for place, point in enumerate(points):
        if point.value is None and point.verdict != FIRST_MEASURED:
            panel.text(place, 0.02, NO_NUMBER, color=QUIET, ha="center", transform=panel.get_xaxis_transform())


def _bars(panel: Axes, points: list[Point], measure: str) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    parts = list(dict.fromkeys(part for point in points for part in point.parts))
    if parts:
        _stacks(panel, points, parts)
    else:
        panel.bar(range(len(points)), [point.value or 0.0 for point in points], color=BAR, width=0.7)
    _spread(panel, points, INK)
    panel.set_ylim(bottom=0)
    panel.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: value_words(value, measure)))


def _stacks(panel: Axes, points: list[Point], parts: list[str]) -> None:
    below = [0.0] * len(points)
    for part in parts:
        sizes = [point.parts.get(part, 0.0) for point in points]
        colour, pattern = _look(part)
        panel.bar(range(len(points)), sizes, bottom=below, width=0.7, color=colour, hatch=pattern, **PART_EDGE)
        below = [low + size for low, size in zip(below, sizes, strict=True)]


def _look(part: str) -> tuple[str, str]:
    kinds = operation_kinds()
    place = kinds.index(part) if part in kinds else 0
    from_end, special = len(kinds) - place, len(SPECIAL_KINDS)
    return KIND_LOOKS[-from_end] if from_end <= special else KIND_LOOKS[place % (len(KIND_LOOKS) - special)]


def _legend_of_parts(figure: Figure, chart: Chart, top: float) -> None:
    """The kinds of a stacked chart, in the order of its bars."""
    from matplotlib.patches import Patch

    looks = {part: _look(part) for part in chart.parts}
    handles = [
        Patch(facecolor=colour, hatch=pattern, label=part, **PART_EDGE) for part, (colour, pattern) in looks.items()
    ]
    _put_legend(figure, handles, top)


def _ratios(panel: Axes, points: list[Point], space: float) -> None:
    """`space` is that of one release, in points."""
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
    _numbers_beside(panel, points, space)
    shown = [end for point in points for end in (point.value, point.low, point.high) if end]
    shown += [end for floor in floors for end in (floor, 1 / floor)]
    low, high = min(shown), max(shown)
    if high / low > 3:
        panel.set_yscale("log")
        panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        panel.yaxis.set_minor_locator(NullLocator())
        panel.set_ylim(low / (high / low) ** 0.22, high * (high / low) ** 0.2)
    else:
        panel.yaxis.set_major_locator(MaxNLocator(5))
        panel.set_ylim(low - 0.22 * (high - low) - 0.005, high + 0.2 * (high - low) + 0.005)
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _numbers_beside(panel: Axes, points: list[Point], space: float) -> None:
    """At each significant marker; only at the outermost ones where two numbers would overlap."""
    found = [
        (place, point.value, point.verdict == Verdict.FASTER)
        for place, point in enumerate(points)
        if point.value and point.verdict in (Verdict.FASTER, Verdict.SLOWER)
    ]
    if text_width("0.00", NUMBER) + 1 > space:
        found = sorted({min(found, key=lambda each: each[1]), max(found, key=lambda each: each[1])} if found else ())
        found = found[:1] if len(found) == 2 and found[0][2] == found[1][2] else found
    for place, value, faster in found:
        panel.annotate(f"{value:.2f}", (place, value), (0, -12 if faster else 6), fontsize=NUMBER, **BESIDE)


def _spread(panel: Axes, points: list[Point], color: str) -> None:
    spread = [(place, point.low, point.high) for place, point in enumerate(points) if point.low and point.high]
    places, lows, highs = ([each[part] for each in spread] for part in range(3))
    panel.vlines(places, lows, highs, color=color, linewidth=1.6)


def _legend(figure: Figure, chart: Chart, top: float) -> None:
    """The signs that the chart has, below the texts."""
    from matplotlib.lines import Line2D

    shown = {point.verdict for each in chart.series for point in each.points.values() if point.value}
    said = {word: (shape, fill) for verdict, (shape, fill, word) in MARKERS.items() if verdict in shown}
    handles = [
        Line2D([], [], linestyle="", marker=shape, color=fill, label=word, **MARKER_EDGE)
        for word, (shape, fill) in said.items()
    ]
    _put_legend(figure, handles, top)


def _put_legend(figure: Figure, handles: list[Any], top: float) -> None:
    figure.legend(
        handles=handles,
        loc="upper left",
        ncols=len(handles) or 1,
        fontsize=8,
        borderaxespad=0,
        borderpad=0,
        handletextpad=0.2,
        bbox_to_anchor=(EDGE / SLIDE, top),
    )
