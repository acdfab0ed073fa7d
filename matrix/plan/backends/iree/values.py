"""The meaning of the values of IREE's axes for its stages: releases, a user's own tools, flag sets, models. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from matrix.core.keys import canonical
from matrix.core.records import AxisValue, Part, Stage
from matrix.core.versions import release_key
from matrix.plan.backends.backend import Value

if TYPE_CHECKING:
    from matrix.core.toml_reader import Table
    from matrix.plan.backends.iree.source_builds import PlannedBuild
    from matrix.plan.catalogue import Catalogue, Model
    from matrix.plan.spec import Spec

EXTERNAL_PARAMETERS = ("--iree-opt-const-eval=false",)
"""Otherwise compilers up to 3.6 would need the parameters' values. All get it: cells differ by their release alone."""

BACKEND_FLAG = "--iree-hal-target-backends=llvm-cpu"
TARGET_FLAGS = {
    "triple": "--iree-llvmcpu-target-triple",
    "cpu": "--iree-llvmcpu-target-cpu",
    "features": "--iree-llvmcpu-target-cpu-features",
    "abi": "--iree-llvmcpu-target-abi",
    "float_abi": "--iree-llvmcpu-target-float-abi",
}
"""Key of a target -> the flag of iree-compile that it sets."""
Renamed = tuple[str, tuple[tuple[str, str], ...]]
"""A release, and (name or words of today, those before) for all releases before it."""
COMPILER_RENAMED: tuple[Renamed, ...] = (
    (
        "20230301",
        tuple(
            (f"--iree-llvmcpu-{name}", f"--iree-llvm-{name}")
            for name in (
                *("debug-symbols", "embedded-linker-path", "keep-linker-artifacts", "link-embedded", "link-static"),
                *("list-targets", "loop-interleaving", "loop-unrolling", "loop-vectorization", "sanitize"),
                *("slp-vectorization", "static-library-output-path", "system-linker-path", "target-abi", "target-cpu"),
                *("target-cpu-features", "target-float-abi", "target-triple", "wasm-linker-path"),
            )
        ),
    ),
    (
        "3.12.0",
        (("--iree-rocm-target", "--iree-hip-target"),),
    ),
    (
        "3.7.0",
        (
            ("iree_codegen.target_info = #iree_gpu.target", "iree.gpu.target = #iree_gpu.target"),
            ("subgroup_size_choices =", "dot = none, mma = [], subgroup_size_choices ="),
        ),
    ),
)
"""The last of these: how the description of a device says its GPU."""
RUNTIME_RENAMED: tuple[Renamed, ...] = (("3.12.0", (("vulkan://GPU-", "vulkan://"),)),)
"""A device of Vulkan that is named by its UUID."""
DEVICE_FLAG = "--iree-hal-target-device"
DEVICE = ("--device=local-sync",)


def release_values(
    axis: str,
    *stages: Stage,
    tools_in: Stage = "",
    built_in: Stage = "",
    linked_in: Stage = "",
    bare_in: tuple[Stage, Stage] | None = None,
    renamed: tuple[Renamed, ...] = (),
) -> Value:
    """The values of an axis of releases. A user's own tools are used in the stage `tools_in`; the other stages need
    Python packages, those of the newest release. A runtime from source is built in `built_in`, and its toolchain links
    modules in `linked_in`; one without an operating system is built and linked in the two of `bare_in`. If no tools
    run on a Python, the axis python chooses it. Older releases know flags by the other names of `renamed`."""

    def value(label: str, spec: Spec, catalogue: Catalogue) -> AxisValue:
        if built_in and label in catalogue.builds:
            planned = catalogue.builds[label]
            if planned.bare and bare_in:
                archive, firmware = bare_in
                parts = {
                    archive: Part(build=planned.build, flags=planned.words),
                    firmware: Part(build=planned.build, flags=planned.link),
                    tools_in: Part(build=planned.build),
                }
                return _built(axis, label, planned, parts)
            parts = {
                built_in: Part(build=planned.build, flags=planned.words),
                linked_in: Part(build=planned.build, flags=planned.link, serves=True),
                tools_in: Part(build=planned.build),
            }
            return _built(axis, label, planned, parts)
        own = catalogue.toolchains.get((axis, label))
        version = catalogue.locks.releases(axis)[-1] if own and len(stages) > 1 else label
        pins = ((catalogue.locks.package(axis, version), version),)
        part = Part(pins=pins, python=spec.tools_python if tools_in else "")
        if renamed and not own:
            before = [pair for first, pairs in renamed if release_key(version) < release_key(first) for pair in pairs]
            part = replace(part, renamed=tuple(before))
        parts = dict.fromkeys(stages, part) | ({tools_in: Part(toolchain=own)} if own else {})
        return AxisValue(axis=axis, label=label, parts=parts)

    return value


def _built(axis: str, label: str, planned: PlannedBuild, parts: Mapping[Stage, Part]) -> AxisValue:
    """It is built, and the result runs; its toolchain links a module into its own program."""
    return AxisValue(
        axis=axis,
        label=label,
        parts=parts,
        note=f"built from {planned.build.release or 'a tree of its own'} with {planned.build.toolchain}",
        untimed="" if planned.build.benchmark else "no times: iree-benchmark-module is built for this machine only",
    )


def flag_set(axis: str) -> Value:
    """The values of the axis of flags: rows of flags.toml."""

    def value(label: str, _spec: Spec, catalogue: Catalogue) -> AxisValue:
        row = catalogue.flags[label]
        parts = {
            stage: Part(flags=flags, machine_bound=row.machine_bound)
            for stage, flags in row.flags.items()
            if flags or row.machine_bound
        }
        return AxisValue(axis=axis, label=label, parts=parts)

    return value


def target_flags(
    row: Table, *, compile_in: Stage, run_in: Stage, firmware_in: Stage
) -> Mapping[Stage, tuple[str, ...]]:
    """The flags that the keys of a target set, then the literal ones, which override those with the same name."""
    values = {key: ",".join(row.texts(key)) for key in TARGET_FLAGS}
    literal = row.texts(compile_in)
    names = {flag.partition("=")[0] for flag in literal}
    backend = () if DEVICE_FLAG in names else (BACKEND_FLAG,)
    meant = (*backend, *(f"{TARGET_FLAGS[key]}={value}" for key, value in values.items() if value))
    flags = (*(flag for flag in meant if flag.partition("=")[0] not in names), *literal)
    linked = {firmware_in: row.texts(firmware_in)} if firmware_in in row.content else {}
    return {compile_in: flags, run_in: row.texts(run_in, DEVICE), **linked}


def source_parts(model: Model) -> Part:
    """What a stage whose script reads a Python file gets of it."""
    source = (("model_file", str(model.path)), ("model_digest", model.digest))
    named = {name: digest for name, _, digest in model.files}
    files = (("files", canonical(named).decode()),) if named else ()
    return Part(parameters=source + files, packages=model.packages)


def model_parts(
    model: Model, *, export: Stage, importing: Stage, compiling: Stage, cut: Stage, run: Stage
) -> Mapping[Stage, Part]:
    """The meaning of a model for these stages."""
    parts: dict[Stage, Part] = {}
    if model.form == "file":
        external = (("parameters", "external"),) if model.external_parameters else ()
        strict = (("strict", model.strict),) if model.strict else ()
        source = source_parts(model)
        parts[export] = replace(source, parameters=source.parameters + external + strict)
    if model.form == "onnx":
        opset = (("opset_version", model.opset_version),) if model.opset_version else ()
        parts[importing] = Part(parameters=(*opset, *(("weights", name) for name in model.weights)))
    if model.external_parameters:
        parts[compiling] = Part(flags=EXTERNAL_PARAMETERS)
    called = (("function", model.function),)
    return {**parts, cut: replace(parts.get(compiling, Part()), parameters=called), run: Part(parameters=called)}
