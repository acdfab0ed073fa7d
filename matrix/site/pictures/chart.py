"""A chart as data: its points, its series, what kind of numbers it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from matrix.core.text import mark_controls
from matrix.results.measured.counts import instruction_words
from matrix.results.run import Run
from matrix.results.times import duration
from matrix.site.harmless import LABEL, slug

SIZE, SECONDS, CPU_SECONDS, RATIO, INSTRUCTION_COUNT = (
    "bytes",
    "seconds",
    "seconds of CPU time",
    "ratio",
    "instructions",
)
BASELINE = "baseline"
"""The verdict of the release that others are compared with."""
FIRST_MEASURED = "first measured"
"""The verdict of a release without an earlier one to compare it with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """`value` is None if there is none. `low` and `high` are the spread (the quartiles of the rounds); a ratio within
    `floor` (1.01 is 1 %) of 1 means nothing. `verdict` is one of `speed.Verdict`, BASELINE or FIRST_MEASURED. `parts`
    make up the value, from below. Points with another `counted` are not compared: they count different things."""

    value: float | None
    low: float | None = None
    high: float | None = None
    floor: float | None = None
    verdict: str = ""
    parts: Mapping[str, float] = field(default_factory=dict)
    counted: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A panel: `axes` are its labels, `points` are by their value on the chart's axis."""

    axes: Mapping[str, str]
    points: Mapping[str, Point]

    @property
    def name(self) -> str:
        """`mobilenet_v2`; `model linear, flags O3`: a model alone needs no word before it."""
        if set(self.axes) == {"model"}:
            return self.axes["model"]
        return ", ".join(f"{axis} {label}" for axis, label in self.axes.items())

    @property
    def values(self) -> list[float]:
        return [point.value for point in self.points.values() if point.value is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartKind:
    """What a chart shows. `measure` is the kind of values (SIZE, SECONDS and so on), `label` that of the
    axis, `reading` how to read it. Values within the part `within` (0.05 is 5 %) of each other count as equal; None
    if the rounds of the run decide. `more` and `less` say what a larger and a smaller value are."""

    name: str
    title: str
    measure: str
    label: str
    reading: str
    within: float | None
    more: str
    less: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """`finding` is what the numbers say, in a sentence. `series` have a panel each, `even` have none: their values are
    equal at every release. `left_out` counts the series beyond the most that are drawn, `empty` names those without a
    number. `tied` are the axes that move with `x_axis`. `source` is printed below it everywhere."""

    run: Run
    kind: ChartKind
    finding: str
    x_axis: str
    tied: tuple[str, ...]
    x: tuple[str, ...]
    series: tuple[Series, ...]
    even: tuple[Series, ...]
    left_out: int
    empty: tuple[str, ...]
    machine: str

    @property
    def slug(self) -> str:
        return slug(f"{self.run.preset}-{self.kind.name}")

    @property
    def title(self) -> str:
        return self.kind.title

    @property
    def measure(self) -> str:
        return self.kind.measure

    @property
    def every(self) -> tuple[Series, ...]:
        """Those with a panel, then those without."""
        return (*self.series, *self.even)

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of what makes up its bars, from below; none for plain bars."""
        points = (point for each in self.every for point in each.points.values())
        return tuple(dict.fromkeys(part for point in points for part in point.parts))

    @property
    def reading(self) -> str:
        """How to read the chart, and what is not drawn, why."""
        said = [self.kind.reading]
        if self.even:
            said.append(f"Without a panel, since equal at every release: {even_words(self.even, self.measure)}.")
        if self.empty:
            said.append(f"No number at all: {', '.join(self.empty)}.")
        return " ".join(said)

    @property
    def x_words(self) -> str:
        """`compiler release, with the runtime of the same release`."""
        with_them = f", with the {' and '.join(self.tied)} of the same release" if self.tied else ""
        return f"{self.x_axis} release{with_them}"

    @property
    def source(self) -> str:
        """The source and date of the numbers: a chart is passed on without its page."""
        file = mark_controls(Path(self.run.source).name, LABEL)
        said = (f"Source: IREE matrix, {file}", f"measured {self.run.date}", self.machine)
        return ", ".join(part for part in said if part)

    @property
    def summary(self) -> str:
        """A sentence instead of the picture."""
        shown = ", ".join(each.name for each in self.series)
        return f"{self.title}; {self.x_axis} {self.x[0]} to {self.x[-1]}: {shown}. {self.finding}"


def value_words(value: float, measure: str) -> str:
    """`17.7 kB`, `3.2 s`, `0.981`: as axes and tables show it."""
    if measure == SIZE:
        for limit, unit in ((1e6, "MB"), (1e3, "kB")):
            if value >= limit:
                return f"{value / limit:.3g} {unit}"
        return f"{value:.0f} B"
    if measure == RATIO:
        return f"{value:.3f}"
    if measure == INSTRUCTION_COUNT:
        return instruction_words(value)
    return duration(value) if value else "0"


def even_words(series: Sequence[Series], measure: str) -> str:
    """`mobilenet_v2 14.2 MB, linear 440 B`: of series whose values are about equal, the first."""
    return ", ".join(f"{each.name} {value_words(each.values[0], measure)}" for each in series)
