"""The charts of what a call executes by kind of operation: a stacked picture for each model over the releases."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from matrix.answers.costs import COUNTED
from matrix.core.versions import releases_first
from matrix.plan.backends.shared import MODEL_AXIS
from matrix.results.measured.counts import NO_SPEED, instruction_words, same_counts
from matrix.results.measured.profiles import OTHER_KIND, RUNTIME_KIND, Profile, operation_kinds, profiled_cells
from matrix.results.run import Run
from matrix.results.square import headings
from matrix.site.pictures.chart import INSTRUCTION_COUNT, Chart, ChartKind, Point, Series
from matrix.site.releases import products

KIND_CHART = "operations"
MOST_KINDS = 5
"""Kinds with a colour of their own, besides the rest and the runtime."""
MOST_PANELS = 6
"""Of one model: a panel for each target, or other place."""


def operation_charts_of(model: str, charts: Iterable[Chart]) -> list[Chart]:
    """Those of a model."""
    return [each for each in charts if each.kind.name == _name(model)]


def _name(model: str) -> str:
    return f"{KIND_CHART}-{model}"


def operation_charts(run: Run, machine: str) -> list[Chart]:
    """A chart for each model with profiles of several releases."""
    models: dict[str, list[Profile]] = {}
    for each in profiled_cells(run).values():
        models.setdefault(each.axes[MODEL_AXIS.name], []).append(each)
    found = (_chart(run, model, profiles, machine) for model, profiles in models.items())
    return [chart for chart in found if chart]


def _chart(run: Run, model: str, profiles: Sequence[Profile], machine: str) -> Chart | None:
    axis = next((name for name in products() if len({each.axes.get(name) for each in profiles}) > 1), None)
    if axis is None:
        return None
    tied = run.moving_together.get(axis, frozenset((axis,)))
    kinds = _kinds(profiles)
    panels: dict[tuple[tuple[str, str], ...], dict[str, Point]] = {}
    for each in profiles:
        place = tuple(pair for pair in each.axes.items() if pair[0] not in tied)
        panels.setdefault(place, {})[each.axes[axis]] = _point(each, kinds)
    names = [name for name, _ in next(iter(panels))]
    varying = [name for name in names if len({dict(place)[name] for place in panels}) > 1] or [MODEL_AXIS.name]
    series = [
        Series(axes={name: dict(place)[name] for name in varying}, points=points) for place, points in panels.items()
    ]
    x = releases_first(each.axes[axis] for each in profiles)
    return Chart(
        run=run,
        kind=_kind(model, kinds),
        finding=" ".join(_findings(series, x)),
        x_axis=axis,
        tied=tuple(name for name in products() if name in tied and name != axis),
        x=x,
        series=tuple(series[:MOST_PANELS]),
        even=(),
        left_out=max(0, len(series) - MOST_PANELS),
        empty=(),
        machine=machine,
    )


def _kind(model: str, kinds: Sequence[str]) -> ChartKind:
    return ChartKind(
        name=_name(model),
        title=f"Instructions of a call of {model} by kind of operation",
        measure=INSTRUCTION_COUNT,
        label="instructions",
        reading=f"Each bar from below: {', '.join(kinds)}. The runtime is what is no code of the module. Counted by an "
        f"emulator, the same on every machine: {NO_SPEED}. Each panel has a scale of its own, from 0.",
        within=COUNTED.within,
        more=COUNTED.more,
        less=COUNTED.less,
    )


def _kinds(profiles: Sequence[Profile]) -> tuple[str, ...]:
    """The kinds that are drawn: those with the largest shares anywhere, in the order of all kinds."""
    largest: dict[str, float] = {}
    for each in profiles:
        for kind, count in each.by_kind().items():
            largest[kind] = max(largest.get(kind, 0.0), count / each.instructions)
    named = [kind for kind in largest if kind not in (OTHER_KIND, RUNTIME_KIND)]
    drawn = {*sorted(named, key=lambda kind: -largest[kind])[:MOST_KINDS], OTHER_KIND, RUNTIME_KIND}
    rest = OTHER_KIND in largest or len(named) > MOST_KINDS
    return tuple(kind for kind in operation_kinds() if kind in drawn and (rest or kind != OTHER_KIND))


def _point(profile: Profile, kinds: Sequence[str]) -> Point:
    parts = dict.fromkeys(kinds, 0)
    for kind, count in profile.by_kind().items():
        parts[kind if kind in parts else OTHER_KIND] += count
    return Point(value=profile.instructions, parts={kind: float(count) for kind, count in parts.items()})


def _findings(series: Sequence[Series], x: Sequence[str]) -> Iterator[str]:
    """`x86_64: 3.11 executes 736 M fewer than 3.10, of it convolution 701 M.` Of each panel the largest step."""
    short = dict(zip(x, headings(x), strict=True))
    for each in series[:2]:
        steps = [(old, new) for old, new in pairwise(label for label in x if label in each.points)]
        old, new = max(steps, key=lambda step: _step(each.points, *step), default=("", ""))
        if not old:
            continue
        before, after = each.points[old], each.points[new]
        change = (after.value or 0) - (before.value or 0)
        if same_counts(after.value or 0, before.value or 0):
            yield f"{each.name}: {instruction_words(after.value or 0)} instructions with every release."
            continue
        by_kind = {kind: after.parts[kind] - before.parts[kind] for kind in after.parts}
        most = max(by_kind, key=lambda kind: by_kind[kind] if change > 0 else -by_kind[kind])
        word = "more" if change > 0 else "fewer"
        whole, part = (instruction_words(abs(size)) for size in (change, by_kind[most]))
        yield f"{each.name}: {short[new]} executes {whole} instructions {word} than {short[old]}, {most} {part} {word}."


def _step(points: Mapping[str, Point], old: str, new: str) -> float:
    return abs((points[new].value or 0) - (points[old].value or 0))
