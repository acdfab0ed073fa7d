"""Counts what an array covers, by other means than those that made it: labels, ranges and the rules. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from matrix.core.records import AxisValue
from matrix.plan.axes import NONE
from matrix.plan.cells import Ranges, Rules, is_added, ties_hold
from matrix.plan.covering.space import Labels

Tuple = tuple[tuple[str, str], ...]
"""Labels on some axes: (axis, label) pairs in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """`covered` allowed tuples are in some cell, `missing` ones in none; `forbidden` cells are no cells of the spec."""

    covered: int
    missing: tuple[Tuple, ...] = ()
    forbidden: tuple[Labels, ...] = ()


def count_coverage(
    boxes: Sequence[tuple[Ranges, bool]], axes: Ranges, rules: Rules, cells: Sequence[Labels], strength: int
) -> Coverage:
    """What cells cover of the tuples of `strength` axes that have several values; of all, where fewer have."""
    checker = _Checker(boxes, axes, rules)
    names = tuple(rules.position)
    several = [name for name in names if len(checker.labels[name]) > 1]
    covered, missing = 0, list[Tuple]()
    for chosen in itertools.combinations(several, min(strength, len(several))):
        at = [rules.position[name] for name in chosen]
        seen = {tuple(cell[position] for position in at) for cell in cells}
        covered += len(seen)
        if len(seen) < math.prod(len(checker.labels[name]) for name in chosen):
            for labels in itertools.product(*(checker.labels[name] for name in chosen)):
                if labels not in seen and checker.allows(tuple(zip(chosen, labels, strict=True))):
                    missing.append(tuple(zip(chosen, labels, strict=True)))
    whole = (tuple(zip(names, cell, strict=True)) for cell in cells)
    forbidden = tuple(tuple(label for _, label in cell) for cell in whole if not checker.allows(cell))
    return Coverage(covered=covered, missing=tuple(missing), forbidden=forbidden)


class _Checker:
    """Says whether some cell has certain labels: tries every kind of value on the other axes."""

    def __init__(self, boxes: Sequence[tuple[Ranges, bool]], axes: Ranges, rules: Rules) -> None:
        self.boxes, self.axes, self.rules = boxes, axes, rules
        names = tuple(rules.position)
        self.labels = {
            name: tuple(dict.fromkeys(value.label for ranges, _ in boxes for value in ranges[name])) for name in names
        }
        conditions = [rule for rule, _ in (*rules.include, *rules.exclude)]
        tied = {names[one]: {names[one]} for one in range(len(names))}
        for one, other in rules.ties:
            both = tied[names[one]] | tied[names[other]]
            tied |= dict.fromkeys(both, both)
        self.kinds = [
            {
                name: {
                    value.label: tuple(
                        (
                            any(value.label == each.label for each in ranges[other]),
                            any(value.label == each.label for each in axes[other]),
                            *(value.label in rule.get(rules.position[other], ()) for rule in conditions),
                        )
                        for other in sorted(tied[name])
                    )
                    for value in ranges[name]
                }
                for name in names
            }
            for ranges, _ in boxes
        ]
        self.known: dict[object, bool] = {}

    def allows(self, labels: Tuple) -> bool:
        return any(self._allows_in(index, dict(labels)) for index in range(len(self.boxes)))

    def _allows_in(self, index: int, wanted: Mapping[str, str]) -> bool:
        kinds = self.kinds[index]
        if any(label not in kinds[name] for name, label in wanted.items()):
            return False
        # two tied labels are compared as such, so they are part of what is remembered
        tied = {name for one, other in self.rules.ties for name in (self._name(one), self._name(other))}
        key = (index, *((name, label if name in tied else kinds[name][label]) for name, label in wanted.items()))
        if key not in self.known:
            ranges, beyond = self.boxes[index]
            self.known[key] = any(self._is_cell(values, beyond=beyond) for values in self._cells(index, wanted, ranges))
        return self.known[key]

    def _name(self, position: int) -> str:
        return tuple(self.rules.position)[position]

    def _cells(self, index: int, wanted: Mapping[str, str], ranges: Ranges) -> Iterator[Sequence[AxisValue]]:
        """A cell for each kind of values; of tied axes, the label that is wanted of one of them is tried too."""
        tried = []
        for name in self.rules.position:
            if name in wanted:
                tried.append([value for value in ranges[name] if value.label == wanted[name]])
                continue
            by_label = sorted(ranges[name], key=lambda value: value.label, reverse=True)
            one_each = {self.kinds[index][name][value.label]: value for value in by_label}
            also = [value for value in ranges[name] if value.label != NONE and value.label in wanted.values()]
            tried.append(list({value.label: value for value in (*one_each.values(), *also)}.values()))
        yield from itertools.product(*tried)

    def _is_cell(self, values: Sequence[AxisValue], *, beyond: bool) -> bool:
        if not ties_hold(values, self.rules.ties):
            return False
        if beyond:
            return is_added(values, self.axes, self.rules)
        return not self.rules.verdict(values)[0]
