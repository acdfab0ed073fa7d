"""Resolves a spec's selectors into axis values: records with a part for each stage that they affect. Pure."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace

from matrix.core.errors import MatrixEmpty, SpecError
from matrix.core.records import AxisValue, Part, Stage
from matrix.core.versions import NIGHTLIES, SelectorFault, did_you_mean, is_selector, select
from matrix.plan.backends.backend import Axis
from matrix.plan.backends.shared import MODEL_AXIS, TARGET_AXIS
from matrix.plan.catalogue import Catalogue, model_missing
from matrix.plan.spec import Rule, Spec

NONE = "-"
"""The label of an axis without a value in a cell."""
OF_BOTH = ("latest", NIGHTLIES)
"""The keywords that select what tied axes have too."""
NEWER_TIP = (
    "`nox -s lock` looks for newer releases, --find-links and --index take nightly builds; `plan` shows what a spec "
    "means"
)
NAMED_TIP = "`plan` shows what a spec means; CONTRIBUTING.md says where one is added"


def resolve_axes(spec: Spec, catalogue: Catalogue) -> dict[str, tuple[AxisValue, ...]]:
    """The values of every axis, in order, each once.

    Raises SpecError (with all unknown names and versions), ModelMissing, MatrixEmpty (an axis without a value).
    """
    faults: list[str] = []
    axes: dict[str, tuple[AxisValue, ...]] = {}
    for axis, terms in spec.axes.items():
        labels = selected_labels(axis, terms, spec, catalogue, faults)
        axes[axis] = tuple(axis_value(axis, label, spec, catalogue) for label in labels)
    for axis, other in spec.ties.items():
        axes[axis] = tied_values(axis, axes[other], spec, catalogue, faults)
    if faults:
        released = tuple(f"axes.{name}" for name, row in spec.axis_rows.items() if row.released)
        raise SpecError(
            spec.source, faults, tip=NEWER_TIP if any(f.startswith(released) for f in faults) else NAMED_TIP
        )
    if not spec.axes[MODEL_AXIS.name]:
        raise MatrixEmpty(
            f"{spec.source}: axes.model: read none, expected at least one: {spec.question}",
            tip="name the files: --model old.vmfb --model older.vmfb, or `model` in the spec's [axes]",
        )
    for axis, values in axes.items():
        if not values:
            wanted = ", ".join(spec.axes[axis]) or "nothing"
            raise MatrixEmpty(
                f"{spec.source}: axes.{axis}: {wanted!r} selects no value, expected at least one of "
                f"{', '.join(known_labels(axis, spec, catalogue))}",
                tip="widen the selector",
            )
    return axes


def tied_values(
    axis: str, others: Sequence[AxisValue], spec: Spec, catalogue: Catalogue, faults: list[str]
) -> tuple[AxisValue, ...]:
    """The values of a tied axis: those of the axis that it is tied to. A value that it does not have is a fault."""
    known, other = known_labels(axis, spec, catalogue), spec.ties[axis]
    missing = [value.label for value in others if value.label not in known]
    if missing:
        faults.append(
            f"axes.{axis}: tied to {other}, and {', '.join(missing)} is no {axis}: expected {other} values that {axis} "
            f"has too ({', '.join(known)})"
        )
    return tuple(axis_value(axis, value.label, spec, catalogue) for value in others if value.label in known)


def known_labels(axis: str, spec: Spec, catalogue: Catalogue) -> tuple[str, ...]:
    """All possible values of an axis."""
    row = spec.axis_rows.get(axis)
    if row is None:
        return tuple(spec.own_axes[axis])
    releases = catalogue.locks.releases(axis, spec.backends) if row.released else ()
    return (*releases, *_own_tools(row, spec), *row.known(spec, catalogue))


def _own_tools(row: Axis | None, spec: Spec) -> tuple[str, ...]:
    """A user's own tools and builds, as values of an axis of releases."""
    if row is None:
        return ()
    return (*(spec.toolchains if row.tool else ()), *(spec.builds if row.built else ()))


def _shared_releases(axis: str, releases: Sequence[str], spec: Spec, catalogue: Catalogue) -> tuple[str, ...]:
    """The releases that the axes tied to this one have too: the latest of a minor release is the latest that all have,
    as compiler 3.7.1 has no runtime of its number."""
    tied = [name for name, other in spec.ties.items() if other == axis and name in spec.axis_rows]
    others = [{*catalogue.locks.releases(name, spec.backends)} for name in tied if spec.axis_rows[name].released]
    return tuple(each for each in releases if all(each in known for known in others)) or tuple(releases)


def labels_by_name(rule: Rule, axis: str, spec: Spec, catalogue: Catalogue) -> tuple[str, ...]:
    """The exact values in a rule's condition: no specifiers, no keywords."""
    terms = [term for term in rule.when[axis] if not is_selector(term)]
    return selected_labels(axis, terms, spec, catalogue, [])


def selected_labels(
    axis: str, terms: Sequence[str], spec: Spec, catalogue: Catalogue, faults: list[str], *, place: str = ""
) -> tuple[str, ...]:
    """The known values that selectors select. Faults name `place`, or the axis of the spec."""
    known, row = known_labels(axis, spec, catalogue), spec.axis_rows.get(axis)
    labels: dict[str, None] = {}
    own = _own_tools(row, spec)
    releases = catalogue.locks.releases(axis, spec.backends) if row and row.released else ()
    shared = _shared_releases(axis, releases, spec, catalogue)
    for index, term in enumerate(terms):
        where = (place or f"axes.{axis}") + (f"[{index}]" if len(terms) > 1 else "")
        if term in own:
            labels[term] = None
        elif row and row.released:
            try:
                labels.update(dict.fromkeys(select(term, shared if term.strip().startswith(OF_BOTH) else releases)))
            except SelectorFault as fault:
                faults.append(f"{where}: {fault}")
        elif row is TARGET_AXIS and term == "host":
            labels[catalogue.machine] = None
        elif term == "all":
            labels.update(
                dict.fromkeys(label for label in known if row is not MODEL_AXIS or label not in catalogue.special)
            )
        elif term in known:
            labels[term] = None
        elif row is MODEL_AXIS and not place:
            raise model_missing(term, known)
        else:
            faults.append(
                f"{where}: unknown {axis} {term!r}, expected one of {', '.join(known)}{did_you_mean(term, known)}"
            )
    if row is TARGET_AXIS and (strange := [label for label in labels if label not in known]):
        expected = f"expected one of {', '.join(known)}: add it to targets.toml"
        faults.append(f"{place or f'axes.{axis}'}: this host is {strange[0]!r}, {expected}")
        return ()
    return tuple(labels)


def axis_value(axis: str, label: str, spec: Spec, catalogue: Catalogue) -> AxisValue:
    """The record of one value, with its part for each stage."""
    if row := spec.axis_rows.get(axis):
        return _alike(row.value(label, spec, catalogue), spec)
    own = spec.own_axes[axis][label]
    parts = {stage: Part(flags=flags) for stage, flags in own.flags.items() if flags}
    if own.packages:
        parts |= {kind.name: Part(packages=own.packages) for kind in spec.stage_kinds if kind.extended}
    return _alike(AxisValue(axis=axis, label=label, parts=parts), spec)


def _alike(value: AxisValue, spec: Spec) -> AxisValue:
    """The value with its parts for the stages that are like another."""
    missing = (kind for kind in spec.stage_kinds if kind.like in value.parts and kind.name not in value.parts)
    parts = {kind.name: value.parts[kind.like] for kind in missing}
    return replace(value, parts={**value.parts, **parts}) if parts else value


def without_value(axis: str) -> AxisValue:
    """The value of an axis in the cells that go through none of its stages."""
    return AxisValue(axis=axis, label=NONE)


def stages_of_axis(axis: str, spec: Spec) -> Set[Stage] | None:
    """The stages that name an axis. For a spec's own axis: the stages of its backends, or those whose environment gets
    packages from it. None for an axis with a value in every cell: backend, model, target."""
    own = spec.own_axes.get(axis)
    if own is None:
        return frozenset(kind.name for kind in spec.stage_kinds if axis in kind.axes) or None
    if any(value.packages for value in own.values()) and not any(any(each.flags.values()) for each in own.values()):
        return frozenset(kind.name for kind in spec.stage_kinds if kind.extended)
    named = {stage for value in own.values() for stage, flags in value.flags.items() if flags}
    meant = (backend for backend in spec.backends if named & {kind.name for kind in backend.stages})
    return frozenset(kind.name for backend in meant for kind in backend.stages) or None


def ordered_axes(spec: Spec) -> tuple[str, ...]:
    """The axes of the spec's backends, then its own."""
    return (*spec.axis_rows, *spec.own_axes)
