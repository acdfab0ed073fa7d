"""Cells to add where neighbours end differently, until both sides of every boundary are measured. Pure.

A boundary lies between two cells that differ in one factor, with nothing measurable between them, and end differently.
Three kinds of cells lead to them: one in the middle of two on a line, one between two that share no line, and the
neighbours of a known boundary on every other factor. So a boundary that was met once is followed to its end.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from matrix.core.versions import are_versions, releases_first
from matrix.plan.axes import NONE
from matrix.plan.covering.space import Options, Space

Boundary = tuple[Options, Options]


@dataclass(frozen=True, slots=True, kw_only=True)
class Denser:
    """`between` and `around` are cells to add, `boundaries` those with both sides measured."""

    between: tuple[Options, ...] = ()
    around: tuple[Options, ...] = ()
    boundaries: tuple[Boundary, ...] = ()

    @property
    def cells(self) -> tuple[Options, ...]:
        return tuple(dict.fromkeys((*self.between, *self.around)))


def find_denser(space: Space, known: Mapping[Options, str], closed: Collection[Options] = ()) -> Denser:
    """What to add to the cells `known` with their ends in words. `closed` cells cannot be measured: neighbours lie
    beyond them."""
    finder = _Finder(space, known, frozenset(closed))
    boundaries = [pair for factor in range(len(space.factors)) for pair in finder.on_lines(factor)]
    finder.approach(boundaries)
    for pair in boundaries:
        finder.follow(pair)
    return Denser(between=tuple(finder.between), around=tuple(finder.around), boundaries=tuple(boundaries))


@dataclass(slots=True)
class _Finder:
    space: Space
    known: Mapping[Options, str]
    closed: frozenset[Options]
    between: dict[Options, None] = field(default_factory=dict)
    around: dict[Options, None] = field(default_factory=dict)
    inside: dict[Options, bool] = field(default_factory=dict)
    orders: dict[int, tuple[int, ...] | None] = field(default_factory=dict)

    def on_lines(self, factor: int) -> Iterator[Boundary]:
        """The boundaries along a factor. What lies between two ends of an order is halved."""
        lines: dict[Options, list[Options]] = {}
        for cell in self.known:
            lines.setdefault((*cell[:factor], -1, *cell[factor + 1 :]), []).append(cell)
        order = self.order(factor)
        for cells in lines.values():
            if len({self.known[cell] for cell in cells}) < 2:
                continue
            if order is None:
                yield from (pair for pair in itertools.combinations(cells, 2) if self._differ(*pair))
                continue
            line = [cell for option in order if self.is_open(cell := moved(cells[0], factor, option))]
            at = [place for place, cell in enumerate(line) if cell in self.known]
            for first, last in itertools.pairwise(at):
                if self._differ(line[first], line[last]) and last - first > 1:
                    self.between[line[(first + last) // 2]] = None
                elif self._differ(line[first], line[last]):
                    yield line[first], line[last]

    def approach(self, boundaries: Sequence[Boundary]) -> None:
        """For each end that no boundary shows yet: a cell between the two nearest ones, one with it and one without."""
        shown = {self.known[cell] for pair in boundaries for cell in pair}
        for end in sorted({*self.known.values()} - shown):
            own = [cell for cell, other in self.known.items() if other == end]
            rest = [cell for cell, other in self.known.items() if other != end]
            pairs = ((_distance(one, other), one, other) for one in own for other in rest)
            for distance, one, other in sorted(pairs)[:1]:
                if distance > 1:
                    self.between |= dict.fromkeys(self._mixtures(one, other))

    def _mixtures(self, one: Options, other: Options) -> list[Options]:
        """A cell with half of the differing options of each; where rules forbid it, one with a single one changed."""
        differing = [factor for factor, option in enumerate(one) if option != other[factor]]
        halves = [differing[: len(differing) // 2], differing[len(differing) // 2 :]]
        for changed in (*halves, *([factor] for factor in differing)):
            cell = tuple(other[factor] if factor in changed else option for factor, option in enumerate(one))
            if cell not in self.known and self.is_open(cell):
                return [cell]
        return []

    def follow(self, boundary: Boundary) -> None:
        """The neighbours of both sides on the other factors."""
        one, other = boundary
        along = next(factor for factor, option in enumerate(one) if option != other[factor])
        for factor in range(len(one)):
            if factor == along:
                continue
            for side in boundary:
                self.around |= dict.fromkeys(cell for cell in self._beside(side, factor) if cell not in self.known)

    def _beside(self, cell: Options, factor: int) -> Iterator[Options]:
        """The next measurable cells on both sides of an order; of names, all others."""
        order = self.order(factor)
        if order is None:
            options = range(len(self.space.options[factor]))
            yield from (
                there for each in options if each != cell[factor] and self.is_open(there := moved(cell, factor, each))
            )
            return
        if cell[factor] not in order:  # it has no value there
            return
        place = order.index(cell[factor])
        for way in (order[:place][::-1], order[place + 1 :]):
            found = (there for each in way if self.is_open(there := moved(cell, factor, each)))
            yield from itertools.islice(found, 1)

    def is_open(self, cell: Options) -> bool:
        """Whether it is a cell of the space that can be measured."""
        if cell not in self.inside:
            here = self.space.options_of(self.space.labels_of(cell)) == cell
            self.inside[cell] = here and cell not in self.closed
        return self.inside[cell]

    def order(self, factor: int) -> tuple[int, ...] | None:
        """The options of a factor from the oldest release to the newest; None if they have no order."""
        if factor not in self.orders:
            options = {each[0]: option for option, each in enumerate(self.space.options[factor]) if each[0] != NONE}
            ordered = releases_first(options) if are_versions(options) else ()
            whole = len(options) == sum(1 for each in self.space.options[factor] if each[0] != NONE)
            self.orders[factor] = tuple(options[label] for label in ordered) if whole and ordered else None
        return self.orders[factor]

    def _differ(self, one: Options, other: Options) -> bool:
        return self.known[one] != self.known[other]


def moved(cell: Options, factor: int, option: int) -> Options:
    return (*cell[:factor], option, *cell[factor + 1 :])


def _distance(one: Options, other: Options) -> int:
    return sum(1 for first, second in zip(one, other, strict=True) if first != second)
