"""What to look at first at a release: its cells sorted for triage, as the values for a page. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matrix.answers.causes import orders
from matrix.answers.differences import axis_words, release_pairs
from matrix.answers.releases.report import KIND_MEANS, MOST_CAUSES, baseline_words, confirmed_words
from matrix.answers.releases.triage import Triage, Triaged, TriageGroup, triage
from matrix.results.run import Run
from matrix.site.releases import products

MARKS = {Triage.NEW: "red", Triage.REPAIRED: "passed"}
ACCUSED = (Triage.NEW, Triage.DIFFERENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class TriagePart:
    """One kind of changed cells: `groups` are those with the same ends, each a heading and its lines."""

    kind: Triage
    mark: str
    count: int
    means: str
    groups: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TriageView:
    """The triage of two releases on one axis. `command` prints the same as Markdown."""

    axis: str
    parts: tuple[TriagePart, ...]
    passing: int
    alone: int
    command: str


def triage_views(runs: Sequence[Run], product: str, before: str, after: str) -> list[TriageView]:
    """One for each axis of the product on which both releases were measured."""
    views = []
    for axis in (axis for axis, of in products().items() if of == product):
        found = triage(release_pairs(runs, axis, before, after))
        if found.groups or found.passing:
            views.append(_view(axis, found, f"python -m matrix diff {axis} {before} {after} --report"))
    return views


def _view(axis: str, found: Triaged, command: str) -> TriageView:
    parts = tuple(
        TriagePart(
            kind=kind,
            mark=MARKS.get(kind, "open"),
            count=found.count(kind),
            means=KIND_MEANS[kind],
            groups=tuple((_heading(group), tuple(_lines(group))) for group in found.of(kind)),
        )
        for kind in Triage
        if found.count(kind)
    )
    return TriageView(axis=axis, parts=parts, passing=found.passing, alone=found.alone, command=command)


def _heading(group: TriageGroup) -> str:
    return f"{group.stage}: {group.before} → {group.after}"


def _lines(group: TriageGroup) -> list[str]:
    cells = [each.after for each in group.cells]
    order = orders(cells, dict.fromkeys(axis for cell in cells for axis in cell.axes))
    lines = [axis_words(cells, order), *group.causes[:MOST_CAUSES]]
    if len(group.causes) > MOST_CAUSES:
        lines.append(f"and {len(group.causes) - MOST_CAUSES} more causes")
    lines += [confirmed_words(group)] if group.kind in ACCUSED else []
    return [*lines, *([baseline_words(group)] if group.kind is not Triage.STILL else [])]
