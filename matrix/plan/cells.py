"""The points of a spec's axes that are cells: products and planes, ties, and the rules that exclude and include.
Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence, Set

from matrix.core.errors import SpecError
from matrix.core.records import AxisValue, Stage
from matrix.plan.axes import (
    NEWER_TIP,
    NONE,
    axis_value,
    labels_by_name,
    ordered_axes,
    selected_labels,
    stages_of_axis,
    tied_values,
    without_value,
)
from matrix.plan.backends.shared import BACKEND_AXIS, MODEL_AXIS
from matrix.plan.catalogue import Catalogue
from matrix.plan.spec import Rule, Spec


def planes_of(
    axes: Mapping[str, tuple[AxisValue, ...]], spec: Spec, catalogue: Catalogue
) -> tuple[dict[str, tuple[AxisValue, ...]], ...]:
    """The values that each table keeps of the axes in its `where`. Raises SpecError."""
    faults: list[str] = []
    planes = []
    for view in spec.tables:
        plane = {}
        for axis, terms in view.where.items():
            labels = selected_labels(axis, terms, spec, catalogue, faults, place=f"{view.place}.{axis}")
            plane[axis] = tuple(value for value in axes[axis] if value.label in labels)
            if labels and not plane[axis]:
                on_it = ", ".join(value.label for value in axes[axis])
                faults.append(f"{view.place}.{axis}: {', '.join(terms)} is not on the axis, expected one of {on_it}")
        planes.append(plane)
    if faults:
        raise SpecError(spec.source, faults, tip=NEWER_TIP)
    return tuple(planes)


def labels_chosen(only: Mapping[str, tuple[str, ...]], spec: Spec, catalogue: Catalogue) -> dict[str, frozenset[str]]:
    """The labels that `only` keeps, for each axis that it names."""
    faults: list[str] = []
    chosen = {
        axis: frozenset(selected_labels(axis, terms, spec, catalogue, faults, place=f"--only {axis}"))
        for axis, terms in only.items()
    }
    if faults:
        raise SpecError(spec.source, faults, tip=NEWER_TIP)
    return chosen


Ranges = Mapping[str, tuple[AxisValue, ...]]
"""The values of each axis."""


def boxes_of(
    axes: Ranges, rules: Rules, chosen: Mapping[str, frozenset[str]], planes: Sequence[Ranges]
) -> Iterator[tuple[Ranges, bool]]:
    """The products that cells are made of: one for each plane, each model of each backend, and each front end of such a
    model. True: one that an include adds, of which only the cells off the axes count. An axis whose stages they skip
    has no value in them."""
    names = ordered_axes(rules.spec)
    nothing = {name: without_value(name) for name in names}
    touches = {name: stages_of_axis(name, rules.spec) for name in names}
    leading = [name for name in names if name in (BACKEND_AXIS.name, MODEL_AXIS.name)]
    choosing = [name for name in names if name not in leading and any(value.without for value in axes[name])]
    for part, beyond in (*((plane, False) for plane in planes), *((added, True) for added in rules.added())):
        ranges = {**axes, **part}
        kept = {
            name: tuple(value for value in ranges[name] if name not in chosen or value.label in chosen[name])
            for name in names
        }
        for leads in itertools.product(*(kept[name] for name in leading)):
            own = {**kept, **_fixed(leads, touches, nothing)}
            for further in itertools.product(*(own[name] for name in choosing)):
                yield {**own, **_fixed((*leads, *further), touches, nothing)}, beyond


def _fixed(
    leads: Sequence[AxisValue], touches: Mapping[str, Set[Stage] | None], nothing: Mapping[str, AxisValue]
) -> Ranges:
    """These values alone on their axes, and no value on the axes that have stages, all of which these skip."""
    without = frozenset[Stage]().union(*(value.without for value in leads))
    skipped = {name: (nothing[name],) for name, stages in touches.items() if stages and stages <= without}
    return {**skipped, **{value.axis: (value,) for value in leads}}


def points(
    axes: Ranges, rules: Rules, chosen: Mapping[str, frozenset[str]], planes: Sequence[Ranges]
) -> Iterator[tuple[AxisValue, ...]]:
    """The product of the axes on each plane, every point once, then what the includes add; of these, the chosen points
    where the ties hold."""
    seen: set[tuple[str, ...]] = set()
    for ranges, beyond in boxes_of(axes, rules, chosen, planes):
        for values in _product(ranges, rules.ties):
            if not beyond and len(planes) == 1:  # each comes once
                yield values
                continue
            labels = tuple(value.label for value in values)
            if labels not in seen and (not beyond or is_added(values, axes, rules)):
                seen.add(labels)
                yield values


def _product(ranges: Ranges, ties: Sequence[tuple[int, int]]) -> Iterator[tuple[AxisValue, ...]]:
    found = itertools.product(*ranges.values())
    return (values for values in found if ties_hold(values, ties)) if ties else found


def is_added(values: Sequence[AxisValue], axes: Ranges, rules: Rules) -> bool:
    """Off the axes, and an include asks for it: not if the rule names an axis that has no value here."""
    on_axes = all(value.label == NONE or value in axes[value.axis] for value in values)
    return not on_axes and bool(rules.verdict(values)[1])


def ties_hold(values: Sequence[AxisValue] | Mapping[int, AxisValue], ties: Sequence[tuple[int, int]]) -> bool:
    """Two tied axes have the same value, or one of them has none for this model."""
    return all(
        values[one].label == values[other].label or NONE in (values[one].label, values[other].label)
        for one, other in ties
    )


class Rules:
    """The excludes and includes, resolved once. A rule matches if every condition's labels contain the cell's."""

    def __init__(self, spec: Spec, catalogue: Catalogue, axes: Mapping[str, tuple[AxisValue, ...]]) -> None:
        self.spec, self.catalogue, self.axes = spec, catalogue, axes
        self.position = {name: index for index, name in enumerate(ordered_axes(spec))}
        self.ties = [(self.position[axis], self.position[other]) for axis, other in spec.ties.items()]
        faults: list[str] = []
        self.exclude = [(self._conditions(rule, faults), rule.reason) for rule in spec.exclude]
        self.include = [(self._conditions(rule, faults), rule.reason) for rule in spec.include]
        if faults:
            raise SpecError(spec.source, faults, tip=NEWER_TIP)

    def _conditions(self, rule: Rule, faults: list[str]) -> dict[int, frozenset[str]]:
        return {
            self.position[axis]: frozenset(
                selected_labels(axis, terms, self.spec, self.catalogue, faults, place=f"{rule.place}.when.{axis}")
            )
            for axis, terms in rule.when.items()
        }

    def verdict(self, values: Sequence[AxisValue]) -> tuple[str, str]:
        """(why excluded, why included); an include overrides an exclude."""
        for conditions, reason in self.include:
            if _holds(conditions, values):
                return "", reason
        for conditions, reason in self.exclude:
            if _holds(conditions, values):
                return reason, ""
        return "", ""

    def added(self) -> Iterator[dict[str, tuple[AxisValue, ...]]]:
        """For each include: the axes on which it names an exact value that the axis does not have."""
        for rule in self.spec.include:
            beyond: dict[str, tuple[AxisValue, ...]] = {}
            outside = False
            for axis in rule.when:
                labels = selected_labels(axis, rule.when[axis], self.spec, self.catalogue, [])
                own = [value for value in self.axes[axis] if value.label in labels]
                named = labels_by_name(rule, axis, self.spec, self.catalogue)
                new = [label for label in named if label not in {value.label for value in own}]
                beyond[axis] = (*own, *(axis_value(axis, label, self.spec, self.catalogue) for label in new))
                outside = outside or bool(new)
            if outside:
                yield beyond | self._tied(beyond)

    def _tied(self, beyond: Mapping[str, tuple[AxisValue, ...]]) -> dict[str, tuple[AxisValue, ...]]:
        """The axes that are tied to those of an include, with the values that it adds to them."""
        faults: list[str] = []
        found = {
            axis: tied_values(axis, beyond[other], self.spec, self.catalogue, faults)
            for axis, other in self.spec.ties.items()
            if other in beyond
        }
        if faults:
            raise SpecError(self.spec.source, faults, tip=NEWER_TIP)
        return found


def _holds(conditions: Mapping[int, frozenset[str]], values: Sequence[AxisValue]) -> bool:
    return all(values[position].label in labels for position, labels in conditions.items())
