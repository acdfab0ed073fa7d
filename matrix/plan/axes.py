"""Resolves a spec's selectors into axis values: records with a part for each stage that they touch. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from pathlib import PurePath

from matrix.core.errors import MatrixEmpty, SpecError
from matrix.core.records import AXES, AxisValue, Part, Platform, Stage
from matrix.core.versions import SelectorFault, nearest, select, several
from matrix.plan.backends.iree import BUILD, COMPILE, EXPORT, IMPORT, LINK, RUN
from matrix.plan.catalogue import Catalogue, FlagRow, ModelFile, model_missing
from matrix.plan.locks import AXES as LOCKED_AXES
from matrix.plan.locks import COMPILER_PACKAGE
from matrix.plan.source_builds import PlannedBuild
from matrix.plan.spec import OwnValue, Rule, Spec
from matrix.plan.stages import kinds
from matrix.plan.targets import Target
from matrix.plan.user_inputs import TOOL_AXES

STAGES = {"exporter": EXPORT, "importer": IMPORT, "compiler": COMPILE, "builder": BUILD, "runtime": RUN}
"""The kind of environment that each stage runs in."""

PACKAGES = {axis: (STAGES[kind], package) for axis, (kind, package) in LOCKED_AXES.items()}
"""The axes that are releases of a package: the stage that they touch and the package's name."""

EXTERNAL_PARAMETERS = ("--iree-opt-const-eval=false",)
"""Compilers up to 3.6 would else want the parameters' values. All get it: cells differ by their release alone."""

VERSION_AXES = (*PACKAGES, "python")
TOUCHES: Mapping[str, Set[Stage]] = {
    "python": {EXPORT},
    **{axis: {stage} for axis, (stage, _) in PACKAGES.items()},
    "compiler": {IMPORT, COMPILE},
    "runtime": {LINK, BUILD, RUN},
}
"""The stages of each axis of releases. Where a model goes through none of them, the axis has no value for it."""
WITHOUT = {
    "mlir": frozenset({EXPORT, IMPORT}),
    "onnx": frozenset({EXPORT}),
    "vmfb": frozenset({EXPORT, IMPORT, COMPILE}),
}
"""Form of a given model -> the stages that it does not go through."""
NONE = "-"
"""The label of an axis that has no value for a model."""
NEWER = "`nox -s lock` looks for newer releases; `plan` shows what a spec means"
NAMED = "`plan` shows what a spec means; CONTRIBUTING.md says where one is added"


def resolve_axes(spec: Spec, catalogue: Catalogue) -> dict[str, tuple[AxisValue, ...]]:
    """The values of every axis, in order, without repeats.

    Raises SpecError (all unknown names and versions together), ModelMissing, MatrixEmpty (an axis without a value).
    """
    faults: list[str] = []
    axes: dict[str, tuple[AxisValue, ...]] = {}
    for axis, terms in spec.axes.items():
        labels = labels_meant(axis, terms, spec, catalogue, faults)
        axes[axis] = tuple(axis_value(axis, label, spec, catalogue) for label in labels)
    for axis, other in spec.ties.items():
        axes[axis] = tied_values(axis, axes[other], spec, catalogue, faults)
    if faults:
        released = tuple(f"axes.{axis}" for axis in VERSION_AXES)
        raise SpecError(spec.source, faults, tip=NEWER if any(f.startswith(released) for f in faults) else NAMED)
    if not spec.axes["model"]:
        raise MatrixEmpty(
            f"{spec.source}: no model is named: {spec.question}",
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
    """The values of a tied axis: those of the axis that it is tied to, as far as it has them; else a fault."""
    known, other = known_labels(axis, spec, catalogue), spec.ties[axis]
    missing = [value.label for value in others if value.label not in known]
    if missing:
        faults.append(
            f"axes.{axis}: tied to {other}, and {', '.join(missing)} is no {axis}: expected {other} values that {axis} "
            f"has too ({', '.join(known)})"
        )
    return tuple(axis_value(axis, value.label, spec, catalogue) for value in others if value.label in known)


def known_labels(axis: str, spec: Spec, catalogue: Catalogue) -> tuple[str, ...]:
    """All values that an axis could have."""
    if axis in VERSION_AXES:
        own = tuple(_own_tool_names(axis, spec))
        return (*catalogue.locks.releases(axis), *own)
    if axis == "model":
        return tuple(catalogue.models)
    if axis == "target":
        return tuple(catalogue.targets)
    return tuple(catalogue.flags) if axis == "flags" else tuple(spec.own_axes[axis])


def labels_by_name(rule: Rule, axis: str, spec: Spec, catalogue: Catalogue) -> tuple[str, ...]:
    """The values that a rule's condition names one by one: no specifier, no keyword."""
    terms = [term for term in rule.when[axis] if not several(term)]
    return labels_meant(axis, terms, spec, catalogue, [])


def labels_meant(
    axis: str, terms: Sequence[str], spec: Spec, catalogue: Catalogue, faults: list[str], *, place: str = ""
) -> tuple[str, ...]:
    """The values that selectors mean, of all that are known. Faults name `place`, or the axis of the spec."""
    known = known_labels(axis, spec, catalogue)
    labels: dict[str, None] = {}
    own = _own_tool_names(axis, spec)
    releases = catalogue.locks.releases(axis) if axis in VERSION_AXES else ()
    for index, term in enumerate(terms):
        where = (place or f"axes.{axis}") + (f"[{index}]" if len(terms) > 1 else "")
        if term in own:
            labels[term] = None
        elif axis in VERSION_AXES:
            try:
                labels.update(dict.fromkeys(select(term, releases)))
            except SelectorFault as fault:
                faults.append(f"{where}: {fault}")
        elif axis == "target" and term == "host":
            labels[catalogue.machine] = None
        elif term == "all":
            labels.update(dict.fromkeys(label for label in known if axis != "model" or label not in catalogue.special))
        elif term in known:
            labels[term] = None
        elif axis == "model" and not place:
            raise model_missing(term, known)
        else:
            faults.append(f"{where}: unknown {axis} {term!r}, expected one of {', '.join(known)}{nearest(term, known)}")
    if axis == "target" and (strange := [label for label in labels if label not in known]):
        expected = f"expected one of {', '.join(known)}: add it to targets.toml"
        faults.append(f"{place or 'axes.target'}: this host is {strange[0]!r}, {expected}")
        return ()
    return tuple(labels)


def _own_tool_names(axis: str, spec: Spec) -> Mapping[str, object]:
    """Tools of one's own that can stand on an axis of releases."""
    if axis not in TOOL_AXES:
        return {}
    return {**spec.toolchains, **spec.builds} if axis == "runtime" else spec.toolchains


def axis_value(axis: str, label: str, spec: Spec, catalogue: Catalogue) -> AxisValue:
    """The record of one value: what it means to each stage."""
    if (axis, label) in catalogue.toolchains or (axis == "runtime" and label in catalogue.builds):
        return _own_tools(axis, label, spec, catalogue)
    if axis in PACKAGES:
        stage, package = PACKAGES[axis]
        python = "" if stage == EXPORT else spec.tools_python
        part = Part(pins=((package, label),), python=python)
        parts = {IMPORT: part, stage: part} if axis == "compiler" else {stage: part}
        return AxisValue(axis=axis, label=label, parts=parts)
    if axis == "python":
        return AxisValue(axis=axis, label=label, parts={EXPORT: Part(python=label)})
    if axis == "model":
        return _model_value(label, catalogue)
    if axis == "target":
        return _target_value(catalogue.targets[label], spec, catalogue.machine)
    own = catalogue.flags[label] if axis == "flags" else spec.own_axes[axis][label]
    return AxisValue(axis=axis, label=label, parts=_flag_parts(own))


def _model_value(label: str, catalogue: Catalogue) -> AxisValue:
    model = catalogue.models[label]
    if isinstance(model, ModelFile):
        source = (("model_file", str(model.path)), ("model_digest", model.digest))
        external = (("parameters", "external"),) if model.external_parameters else ()
        export = Part(parameters=source + external, packages=model.packages)
        parts = {EXPORT: export, RUN: Part(parameters=(("function", "main"),))}
        if model.external_parameters:
            parts[COMPILE] = Part(flags=EXTERNAL_PARAMETERS)
        file = (model.path.name, model.path, model.digest)
        return AxisValue(axis="model", label=label, parts=parts, given=(file,), without=frozenset({IMPORT}))
    parts = {RUN: Part(parameters=(("function", model.function),))}
    if model.form == "onnx":
        opset = (("opset_version", model.opset_version),) if model.opset_version else ()
        parts[IMPORT] = Part(parameters=(*opset, *(("weights", name) for name in model.weights)))
    return AxisValue(
        axis="model",
        label=label,
        parts=parts,
        given=model.artifacts,
        without=WITHOUT[model.form],
        note=model.note,
    )


def _own_tools(axis: str, label: str, spec: Spec, catalogue: Catalogue) -> AxisValue:
    """A user's own tools. Importing ONNX needs Python packages beside them: those of the newest release."""
    if axis == "runtime" and label in catalogue.builds:
        return _built_runtime(label, catalogue.builds[label])
    stage, _ = PACKAGES[axis]
    parts = {stage: Part(toolchain=catalogue.toolchains[axis, label])}
    if axis == "compiler":
        newest = catalogue.locks.releases("compiler")[-1]
        parts[IMPORT] = Part(pins=((COMPILER_PACKAGE, newest),), python=spec.tools_python)
    return AxisValue(axis=axis, label=label, parts=parts)


def _built_runtime(label: str, planned: PlannedBuild) -> AxisValue:
    """It is built, and what was built runs; its toolchain links a module into a program of its own."""
    return AxisValue(
        axis="runtime",
        label=label,
        parts={
            BUILD: Part(build=planned.build, flags=planned.words),
            LINK: Part(build=planned.build, flags=planned.link, serves=True),
            RUN: Part(build=planned.build),
        },
        note=f"built from {planned.build.release or 'a tree of its own'} with {planned.build.toolchain}",
        untimed="" if planned.build.benchmark else "no times: iree-benchmark-module is built for this machine only",
    )


def _target_value(target: Target, spec: Spec, machine: str) -> AxisValue:
    """Another machine's programs run behind the target's emulator; without one its cells cannot run here."""
    parts = _flag_parts(target)
    if target.machine in ("", machine):
        return AxisValue(axis="target", label=target.name, parts=parts)
    foreign = f"{target.name} modules need a {target.machine} machine; this one is {machine}"
    note = ""
    if target.emulator:
        platform = _platform(target, spec)
        parts[RUN] = replace(parts.get(RUN, Part()), platform=platform)
        note = f"emulated, no times: {' '.join(platform.emulator)}"
    return AxisValue(
        axis="target",
        label=target.name,
        parts=parts,
        untested="" if target.emulator else foreign,
        untimed=f"no times: {foreign}, and an emulator's times are not the machine's",
        note=note,
    )


def _platform(target: Target, spec: Spec) -> Platform:
    """Paths are relative to the spec's folder; the command line that a job's key holds has the emulator's name."""
    word, *rest = target.emulator
    return Platform(
        machine=target.machine,
        emulator=(PurePath(word).name, *rest),
        program=str((spec.base / word).resolve()) if "/" in word else "",
        sysroot=(spec.base / target.sysroot).resolve() if target.sysroot else None,
        packages=target.packages,
    )


def _flag_parts(row: FlagRow | OwnValue | Target) -> dict[Stage, Part]:
    flags: Mapping[Stage, tuple[str, ...]] = {COMPILE: row.compile, RUN: row.run}
    bound = isinstance(row, FlagRow) and row.machine_bound
    parts = {stage: Part(flags=words, machine_bound=bound) for stage, words in flags.items() if words or bound}
    if isinstance(row, OwnValue):
        parts |= {EXPORT: Part(packages=row.packages)} if row.packages else {}
        parts |= {LINK: Part(flags=row.link)} if row.link else {}
    return parts


def without_value(axis: str) -> AxisValue:
    """What stands on an axis of releases in the cells of a model that goes through none of its stages."""
    return AxisValue(axis=axis, label=NONE)


def touched(axis: str, spec: Spec) -> Set[Stage]:
    """The stages of an axis of releases, and of an axis of the spec that only brings packages; else every stage."""
    own = spec.own_axes.get(axis, {}).values()
    packages = any(value.packages for value in own) and not any(
        value.compile or value.link or value.run for value in own
    )
    return frozenset({EXPORT}) if packages else TOUCHES.get(axis, kinds().keys())


def ordered_axes(spec: Spec) -> tuple[str, ...]:
    """The eight axes, then the spec's own."""
    return (*AXES, *spec.own_axes)
