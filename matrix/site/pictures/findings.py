"""The headline of a chart: what its numbers say, in a sentence or two, from the numbers alone. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from matrix.results.measured.figures import Verdict
from matrix.results.square import headings
from matrix.site.pictures.chart import BASELINE, FIRST_MEASURED, RATIO, ChartKind, Point, Series, even_words

RELEASES, NAMES = 2, 4
"""The most releases, and series of one release, that a headline names; the others are counted."""
NO_STEPS = "No two releases can be compared."
"""Each series has a number at one release, or numbers that count different things."""
EVEN = 0.05
"""The most by which bars that look equal differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PointChange:
    """From one release to the next one with a number, in one series. `word` is empty if nothing changed."""

    name: str
    before: str
    after: str
    ratio: float
    word: str

    @property
    def size(self) -> float:
        return abs(math.log(self.ratio))

    @property
    def part(self) -> str:
        """`24 times`, `8.1 %`."""
        far = max(self.ratio, 1 / self.ratio)
        return f"{far:.2g} times" if far >= 1.995 else f"{100 * abs(self.ratio - 1):.2g} %"


def steps_of(kind: ChartKind, series: Sequence[Series], x: Sequence[str]) -> Iterator[PointChange]:
    """Every step of every series, of values that are compared by their size: beyond `within`, or beyond the larger
    noise floor of the two where there are any."""
    for each in series:
        before, old = "", Point(value=None)
        for label in x:
            point = each.points.get(label, Point(value=None))
            if not point.value:
                continue
            if old.value and old.counted == point.counted:
                ratio = point.value / old.value
                floor = (
                    1 + kind.within if kind.within is not None else max(old.floor or math.inf, point.floor or math.inf)
                )
                word = (kind.more if ratio > 1 else kind.less) if not 1 / floor <= ratio <= floor else ""
                yield PointChange(name=each.name, before=before, after=label, ratio=ratio, word=word)
            before, old = label, point


def steps_between(kind: ChartKind, series: Sequence[Series], x: Sequence[str]) -> Iterator[PointChange]:
    """The same of a chart whose points are ratios to the release before, with verdicts."""
    for each in series:
        before = ""
        for label in x:
            point = each.points.get(label)
            if point is None or (point.value is None and point.verdict != FIRST_MEASURED):
                continue
            if point.value:
                word = point.verdict if point.verdict in (kind.more, kind.less) else ""
                yield PointChange(name=each.name, before=before, after=label, ratio=point.value, word=word)
            before = label


def steps_finding(kind: ChartKind, steps: Sequence[PointChange], x: Sequence[str]) -> str:
    """`3.12 compared with 3.11: llama_2l 24 times, quartznet_5x5 10 times faster.` The largest changes first."""
    short = dict(zip(x, headings(x), strict=True))
    changed = [step for step in steps if step.word]
    within = "the noise floor" if kind.within is None else f"{100 * kind.within:.0f} %"
    if not changed:
        return f"No release differs from the one before by more than {within}." if steps else NO_STEPS
    grouped: dict[tuple[str, str], list[PointChange]] = {}
    for step in sorted(changed, key=lambda step: -step.size):
        grouped.setdefault((step.before, step.after), []).append(step)
    ordered = sorted(grouped.items(), key=lambda item: -sum(step.size for step in item[1]))
    said = [
        f"{short[after]} compared with {short[before]}: {_names(group)}."
        for (before, after), group in ordered[:RELEASES]
    ]
    more = len(ordered) - RELEASES
    if more > 0:
        said.append(f"Smaller changes at {more} other release{'s' if more > 1 else ''}.")
    return " ".join(said)


def _names(group: Sequence[PointChange]) -> str:
    """`llama_2l 24 times, mobilenet_v2 6.7 times faster, linear 12 % slower`."""
    words: dict[str, list[PointChange]] = {}
    for step in group[:NAMES]:
        words.setdefault(step.word, []).append(step)
    parts = [f"{', '.join(f'{each.name} {each.part}' for each in steps)} {word}" for word, steps in words.items()]
    more = len(group) - NAMES
    return ", ".join(parts) + (f", and {more} more" if more > 0 else "")


def ratios_finding(series: Sequence[Series], x: Sequence[str]) -> str:
    """How many comparisons have which verdict, and the largest difference."""
    short = dict(zip(x, headings(x), strict=True))
    points = [
        (each.name, label, point)
        for each in series
        for label, point in each.points.items()
        if point.value is not None and point.verdict != BASELINE
    ]
    counts = Counter(str(point.verdict) for _, _, point in points)
    if not points:
        return ""
    told = ", ".join(f"{count} {_plain(verdict)}" for verdict, count in counts.most_common())
    found = [each for each in points if each[2].verdict in (Verdict.FASTER, Verdict.SLOWER)]
    if not found:
        return f"Of {len(points)} comparisons none is beyond the noise floor: {told}."
    name, label, point = max(found, key=lambda each: abs(math.log(each[2].value or 1)))
    step = PointChange(name=name, before="", after=label, ratio=point.value or 1, word=point.verdict)
    return f"{len(points)} comparisons: {told}. The largest: {name} at {short[label]}, {step.part} {step.word}."


def _plain(verdict: str) -> str:
    plain: Mapping[str, str] = {
        Verdict.SAME: "without a difference",
        Verdict.SAME_BYTES: "of the same bytes",
        Verdict.UNSETTLED: "on which passes disagree",
        Verdict.TOO_FEW: "with too few rounds",
    }
    return plain.get(verdict, verdict)


def even_finding(series: Sequence[Series], kind: ChartKind) -> str:
    """Of a chart without a panel: bars of one height say nothing."""
    told = even_words(series[:NAMES], kind.measure)
    more = f", and {len(series) - NAMES} more" if len(series) > NAMES else ""
    return f"The same at every release: {told}{more}."


def is_even(kind: ChartKind, series: Series) -> bool:
    """A panel of equal bars says nothing; nor one of nothing but baselines."""
    values, points = series.values, series.points.values()
    if kind.measure == RATIO:
        return all(point.verdict in (BASELINE, FIRST_MEASURED) for point in points if point.value is not None)
    within = min(kind.within if kind.within is not None else EVEN, EVEN)
    if len(values) < 2 or min(values) <= 0:
        return len(values) > 1 and len(set(values)) == 1
    return max(values) / min(values) - 1 <= within
