"""A covering array: few cells in which every allowed pair (triple, …) of values appears. Seeded. Pure.

A greedy of our own, one cell at a time. allpairspy and testflows.combinatorics miss allowed pairs or know no rules, and
covertable takes minutes at strength 3; here a rule is a mask (see `space`), so each choice can be completed by one
look-up and no cell is ever taken back. `checking` counts afterwards what is covered, by other means.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from matrix.plan.covering.space import Options, Space

if TYPE_CHECKING:
    import numpy

    Flags = numpy.ndarray[tuple[int, ...], numpy.dtype[numpy.bool_]]

CANDIDATES = {1: 8, 2: 12, 3: 2}
"""How many cells are tried for each that is taken, by strength: more of them make a smaller array and take longer."""
Combination = tuple[int, ...]
"""Factors, in order."""


def covering_array(space: Space, strength: int, seed: int, first: Iterable[Options] = ()) -> list[Options]:
    """Cells that cover, with the cells `first`, every allowed tuple of `strength` factors; without `first`."""
    maker = _Maker(space, min(strength, len(space.factors)), seed)
    for cell in first:
        maker.cover(cell)
    made = []
    while (cell_ := maker.next_cell()) is not None:
        maker.cover(cell_)
        made.append(cell_)
    return made


def open_tuples(space: Space, strength: int) -> dict[Combination, Flags]:
    """For each combination of factors, which tuples of options some allowed cell has."""
    import numpy

    shapes = [len(options) for options in space.options]
    found: dict[Combination, Flags] = {}
    for factors in itertools.combinations(range(len(shapes)), strength):
        flags = numpy.zeros([shapes[factor] for factor in factors], dtype=numpy.bool_)
        for index in range(len(space.boxes)):
            _mark_box(space, index, factors, flags)
        found[factors] = flags
    return found


def _mark_box(space: Space, index: int, factors: Combination, flags: Flags) -> None:
    """Marks the tuples of one box, once for each class of options that the rules do not tell apart."""
    import numpy

    box = space.boxes[index]
    left = frozenset(range(len(box.options))) - {*factors}
    classes = []
    for factor in factors:
        by_mask: dict[int, list[int]] = {}
        for option in box.options[factor]:
            by_mask.setdefault(space.masks[factor][option], []).append(option)
        classes.append(by_mask.items())
    for combination in itertools.product(*classes):
        mask = -1
        for own, _ in combination:
            mask &= own
        if space.completes(index, mask, left):
            flags[numpy.ix_(*(options for _, options in combination))] = True


class _Maker:
    """Knows which tuples are still open."""

    def __init__(self, space: Space, strength: int, seed: int) -> None:
        self.space, self.strength = space, strength
        self.random = random.Random(seed)
        self.open = open_tuples(space, strength)
        self.left = {factors: int(flags.sum()) for factors, flags in self.open.items()}
        self.all = frozenset(range(len(space.factors)))
        self.by_factor = [[each for each in self.open if factor in each] for factor in range(len(space.factors))]

    def cover(self, cell: Options) -> None:
        for factors, flags in self.open.items():
            place = tuple(cell[factor] for factor in factors)
            if flags[place]:
                flags[place] = False
                self.left[factors] -= 1

    def next_cell(self) -> Options | None:
        """The best of a few cells; None if no tuple is open."""
        if not any(self.left.values()):
            return None
        best, most = None, -1
        for _ in range(CANDIDATES.get(self.strength, 1)):
            cell = self._candidate()
            gain = sum(1 for factors, flags in self.open.items() if flags[tuple(cell[each] for each in factors)])
            if gain > most:
                best, most = cell, gain
        return best

    def _candidate(self) -> Options:
        """A cell with an open tuple of the combination that has most of them, filled up factor by factor."""
        factors = max(self.left, key=lambda each: (self.left[each], self.random.random()))
        places = self.open[factors].reshape(-1).nonzero()[0]
        flat = int(places[self._below(len(places))])
        chosen = dict.fromkeys(self.all, -1)
        for factor in reversed(factors):
            flat, chosen[factor] = divmod(flat, len(self.space.options[factor]))
        box, mask = self._box_of(factors, chosen)
        rest = sorted(self.all - {*factors}, key=lambda _: self.random.random())
        for place, factor in enumerate(rest):
            chosen[factor] = self._best_option(box, mask, factor, chosen, frozenset(rest[place + 1 :]))
            mask &= self.space.masks[factor][chosen[factor]]
        return tuple(chosen[factor] for factor in sorted(chosen))

    def _box_of(self, factors: Sequence[int], chosen: dict[int, int]) -> tuple[int, int]:
        """A box that has the chosen options and can complete them, and their mask."""
        mask, left = -1, self.all - {*factors}
        for factor in factors:
            mask &= self.space.masks[factor][chosen[factor]]
        fits = [
            index
            for index, box in enumerate(self.space.boxes)
            if all(chosen[factor] in box.options[factor] for factor in factors)
            and self.space.completes(index, mask, left)
        ]
        return fits[self._below(len(fits))], mask

    def _best_option(self, box: int, mask: int, factor: int, chosen: dict[int, int], left: frozenset[int]) -> int:
        """The option that covers most open tuples beside the chosen ones, of those that can be completed."""
        gains = self._gains(factor, chosen)
        possible: dict[int, bool] = {}
        best, most = -1, (-1, 0.0)
        for option in self.space.boxes[box].options[factor]:
            own = self.space.masks[factor][option]
            if own not in possible:
                possible[own] = self.space.completes(box, mask & own, left)
            if possible[own] and (value := (int(gains[option]), self.random.random())) > most:
                best, most = option, value
        return best

    def _gains(self, factor: int, chosen: dict[int, int]) -> Sequence[int]:
        """For each option of a factor, the open tuples that it has with the chosen options."""
        import numpy

        gains = numpy.zeros(len(self.space.options[factor]), dtype=numpy.int64)
        for factors in self.by_factor[factor]:
            if self.left[factors] and all(chosen[other] >= 0 for other in factors if other != factor):
                place = tuple(slice(None) if other == factor else chosen[other] for other in factors)
                gains += self.open[factors][place]
        return gains.tolist()

    def _below(self, count: int) -> int:
        """A whole number below `count`. Only `random()` gives the same numbers in every Python."""
        return int(self.random.random() * count)
