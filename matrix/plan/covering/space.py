"""The cells that a spec allows, without a list of them: 59 million have the size of their axes here. Pure.

Axes that are tied form one factor, whose options are tuples of labels. A box is a product of options. The rules that
hold for a cell are the AND of a mask for each of its options; so what some factors can still bring is a small set of
masks, and whether a part of a cell can be completed is looked up.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from matrix.core.records import AxisValue
from matrix.plan.axes import NONE
from matrix.plan.cells import Rules, boxes_of, ties_hold

Labels = tuple[str, ...]
"""A cell: its label on each axis, in the order of the spec."""
Options = tuple[int, ...]
"""The same by factor: an option of each. With -1 a factor is open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellBox:
    """A product: the options of each factor. `beyond`: only cells off the axes that a rule asked for."""

    options: tuple[Options, ...]
    beyond: bool = False


@dataclass(frozen=True, kw_only=True)
class Space:
    """`factors` are the positions of their axes, `options` the labels of each, `masks` the rules of which no condition
    forbids an option. `include` and `exclude` are the masks of rules, `on_axes` is set on options of the axes."""

    names: tuple[str, ...]
    factors: tuple[tuple[int, ...], ...]
    options: tuple[tuple[Labels, ...], ...]
    masks: tuple[tuple[int, ...], ...]
    boxes: tuple[CellBox, ...]
    include: int
    exclude: int
    on_axes: int
    values: Mapping[tuple[str, str], AxisValue]
    _reach: dict[tuple[int, frozenset[int]], frozenset[int]] = field(default_factory=dict)

    def allowed(self, mask: int, *, beyond: bool) -> bool:
        """Whether a cell with these rules is one to run. An include overrides excludes."""
        if beyond:
            return bool(mask & self.include) and not mask & self.on_axes
        return bool(mask & self.include) or not mask & self.exclude

    def reach(self, box: int, left: frozenset[int]) -> frozenset[int]:
        """The masks that factors of a box can bring together."""
        key = (box, left)
        if key not in self._reach:
            found = {-1}
            for factor in left:
                own = {self.masks[factor][option] for option in self.boxes[box].options[factor]}
                found = {one & other for one in found for other in own}
            self._reach[key] = frozenset(found)
        return self._reach[key]

    def completes(self, box: int, mask: int, left: frozenset[int]) -> bool:
        """Whether options of the factors `left` make an allowed cell of what has this mask."""
        beyond = self.boxes[box].beyond
        return any(self.allowed(mask & other, beyond=beyond) for other in self.reach(box, left))

    def mask_of(self, cell: Options) -> int:
        return functools.reduce(int.__and__, (self.masks[factor][option] for factor, option in enumerate(cell)), -1)

    @functools.cached_property
    def _ids(self) -> tuple[dict[Labels, int], ...]:
        return tuple({labels: index for index, labels in enumerate(each)} for each in self.options)

    @functools.cached_property
    def _members(self) -> tuple[tuple[frozenset[int], ...], ...]:
        return tuple(tuple(map(frozenset, box.options)) for box in self.boxes)

    def options_of(self, labels: Labels) -> Options | None:
        """The options of a cell; None if it is none of this space, or a rule takes it out."""
        try:
            cell = tuple(
                ids[tuple(labels[axis] for axis in axes)] for ids, axes in zip(self._ids, self.factors, strict=True)
            )
        except KeyError:
            return None
        mask = self.mask_of(cell)
        for box, members in zip(self.boxes, self._members, strict=True):
            inside = all(option in member for option, member in zip(cell, members, strict=True))
            if inside and self.allowed(mask, beyond=box.beyond):
                return cell
        return None

    def labels_of(self, cell: Options) -> Labels:
        labels = [NONE] * len(self.names)
        for factor, option in enumerate(cell):
            for axis, label in zip(self.factors[factor], self.options[factor][option], strict=True):
                labels[axis] = label
        return tuple(labels)

    def values_of(self, labels: Labels) -> tuple[AxisValue, ...]:
        return tuple(self.values[name, label] for name, label in zip(self.names, labels, strict=True))

    def count(self, most: int) -> int | None:
        """The number of allowed cells; None if there are more than `most`."""
        if sum(self._count(index) for index in range(len(self.boxes))) > most * len(self.boxes):
            return None
        found = set()
        for cell in self.cells():
            found.add(cell)
            if len(found) > most:
                return None
        return len(found)

    def upper_count(self) -> int:
        """The number of allowed cells; those of two tables may be counted twice."""
        return sum(self._count(index) for index in range(len(self.boxes)))

    def _count(self, index: int) -> int:
        box = self.boxes[index]
        counts = {-1: 1}
        for factor, options in enumerate(box.options):
            new: dict[int, int] = {}
            for (mask, count), option in itertools.product(counts.items(), options):
                both = mask & self.masks[factor][option]
                new[both] = new.get(both, 0) + count
            counts = new
        return sum(count for mask, count in counts.items() if self.allowed(mask, beyond=box.beyond))

    def cells(self) -> Iterator[Options]:
        """Every allowed cell; one of two tables comes twice."""
        for box in self.boxes:
            for cell in itertools.product(*box.options):
                if self.allowed(self.mask_of(cell), beyond=box.beyond):
                    yield cell


def make_space(
    axes: Mapping[str, tuple[AxisValue, ...]],
    rules: Rules,
    chosen: Mapping[str, frozenset[str]],
    planes: Sequence[Mapping[str, tuple[AxisValue, ...]]],
) -> Space:
    """The space of the cells that `cells.points` lists, without those that a rule excludes."""
    names = tuple(rules.position)
    factors = _factors(rules)
    ids: list[dict[Labels, int]] = [{} for _ in factors]
    values: dict[tuple[str, str], AxisValue] = {}
    found: dict[CellBox, None] = {}
    for ranges, beyond in boxes_of(axes, rules, chosen, planes):
        values |= {(name, value.label): value for name in names for value in ranges[name]}
        options = []
        for known, positions in zip(ids, factors, strict=True):
            product = itertools.product(*(ranges[names[position]] for position in positions))
            own = [tuple(value.label for value in each) for each in product if _is_tied(each, positions, rules)]
            options.append(tuple(known.setdefault(labels, len(known)) for labels in own))
        if all(options):
            found[CellBox(options=tuple(options), beyond=beyond)] = None
    count = len(rules.include) + len(rules.exclude)
    conditions = [*(rule for rule, _ in rules.include), *(rule for rule, _ in rules.exclude)]
    include = (1 << len(rules.include)) - 1
    on_axes = 1 << count
    known_labels = {name: {NONE, *(value.label for value in axes[name])} for name in names}

    def mask(positions: Sequence[int], labels: Labels) -> int:
        here = dict(zip(positions, labels, strict=True))
        held = on_axes if all(label in known_labels[names[at]] for at, label in here.items()) else 0
        for index, rule in enumerate(conditions):
            if all(here[at] in wanted for at, wanted in rule.items() if at in here):
                held |= 1 << index
        return held

    return Space(
        names=names,
        factors=factors,
        options=tuple(tuple(known) for known in ids),
        masks=tuple(
            tuple(mask(positions, labels) for labels in known) for known, positions in zip(ids, factors, strict=True)
        ),
        boxes=tuple(found),
        include=include,
        exclude=(1 << count) - 1 - include,
        on_axes=on_axes,
        values=values,
    )


def _factors(rules: Rules) -> tuple[tuple[int, ...], ...]:
    """The positions of axes; those that are tied together."""
    group = {position: {position} for position in rules.position.values()}
    for one, other in rules.ties:
        both = group[one] | group[other]
        group |= dict.fromkeys(both, both)
    return tuple(sorted({tuple(sorted(each)) for each in group.values()}))


def _is_tied(values: Sequence[AxisValue], positions: Sequence[int], rules: Rules) -> bool:
    at = dict(zip(positions, values, strict=True))
    return ties_hold(at, [(one, other) for one, other in rules.ties if one in at])
