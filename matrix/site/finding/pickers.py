"""From one square to the one with another model, exporter or target: the choices of the picker on a page. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matrix.core.versions import releases_first
from matrix.plan.axes import NONE
from matrix.plan.stages import axes as axis_rows
from matrix.results.square import Square, headings
from matrix.site.harmless import slug
from matrix.site.squares import ordered, slug_of

MOST_OFFERED = 400
"""The most values of one axis in a picker; beyond it there is the search."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A value of an axis; `link` leads to the nearest square with it, and is empty for the current one. `instead` has
    what that square has other than this one (`model linear`): the value was not measured with all that is chosen."""

    label: str
    short: str
    link: str
    instead: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Picker:
    """The choices for one axis that is neither down nor across."""

    axis: str
    shown: str
    offers: tuple[Offer, ...]


class Finder:
    """All squares, by their values. The nearest one has most of the current values, then the same axes across and down,
    and comes early on the site."""

    def __init__(self, tables: Sequence[Square]) -> None:
        self._place = {id(table): place for place, table in enumerate(tables)}
        self._labels = {id(table): _labels(table) for table in tables}
        self._holding: dict[str, dict[str, list[Square]]] = {}
        for table in tables:
            for axis, labels in self._labels[id(table)].items():
                for label in labels:
                    self._holding.setdefault(axis, {}).setdefault(label, []).append(table)

    def pickers(self, table: Square) -> tuple[Picker, ...]:
        """The choices for every axis on which some square has several values; the usual axes first."""
        shown = (table.row_axis, table.column_axis, *table.ties)
        found = []
        for axis in ordered((*(axis for axis in axis_rows() if axis in self._holding), *self._holding)):
            labels = [label for label in releases_first(self._holding[axis]) if label != "-"]
            if axis not in shown and 1 < len(labels) <= MOST_OFFERED:
                found.append(self._picker(table, axis, labels))
        return tuple(found)

    def _picker(self, table: Square, axis: str, labels: Sequence[str]) -> Picker:
        standing = table.others.get(axis, "")
        short = dict(zip(labels, headings(labels), strict=True))
        return Picker(
            axis=axis,
            shown=standing if standing in labels else "",
            offers=tuple(self._offer(table, axis, label, short[label]) for label in labels),
        )

    def _offer(self, table: Square, axis: str, label: str, short: str) -> Offer:
        if label == table.others.get(axis):
            return Offer(label=label, short=short, link="", instead="")
        nearest = self._nearest(table, axis, label)
        return Offer(
            label=label,
            short=short,
            link=_link(nearest, table, axis, label),
            instead=", ".join(f"{name} {other}" for name, other in self._lost(table, axis, nearest)),
        )

    def _lost(self, table: Square, axis: str, other: Square) -> list[tuple[str, str]]:
        """The axes whose current value another square does not have, each with the value that it has instead."""
        labels = self._labels[id(other)]
        kept = {name: value for name, value in table.others.items() if name != axis and value != NONE}
        gone = [name for name, value in kept.items() if value not in labels.get(name, ())]
        return [(name, labels[name][-1] if labels.get(name, (NONE,)) != (NONE,) else "none") for name in gone]

    def _nearest(self, table: Square, axis: str, label: str) -> Square:
        shown = (table.row_axis, table.column_axis)

        def distance(other: Square) -> tuple[int, int, int, int]:
            lost = len(self._lost(table, axis, other))
            turned = sum(name not in (other.row_axis, other.column_axis) for name in shown)
            return lost, turned, int(other.row_axis != table.row_axis), self._place[id(other)]

        return min(self._holding[axis][label], key=distance)


def _labels(table: Square) -> Mapping[str, tuple[str, ...]]:
    """All values of the square, by axis, in their order."""
    found: dict[str, tuple[str, ...]] = {axis: (label,) for axis, label in table.others.items()}
    found |= {table.row_axis: table.rows, table.column_axis: table.columns}
    return found | {axis: found[other] for axis, other in table.ties.items()}


def _link(target: Square, table: Square, axis: str, label: str) -> str:
    """The link to a square with the value highlighted, and with those current values that are an axis there."""
    axis = target.ties.get(axis, axis)
    lit = {**table.others, axis: label}
    shown = [
        name for name in (target.row_axis, target.column_axis) if name in lit and lit[name] in _labels(target)[name]
    ]
    first = sorted(shown, key=lambda name: name != axis)
    words = "&".join(slug(f"{name}-{lit[name]}") for name in first)
    return f"square/{slug_of(target)}.html" + (f"#{words}" if words else "")
