"""The axes that backends share (model, python, torch, target), and the one that chooses among backends. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING

from matrix.core.records import AxisValue, Board, Part, Platform, Stage
from matrix.plan.backends.backend import Axis, EnvironmentCost, EnvironmentKind, StageKind, Value
from matrix.plan.backends.iree.counting import COUNTER

if TYPE_CHECKING:
    from matrix.plan.catalogue import Catalogue
    from matrix.plan.spec import Spec
    from matrix.plan.targets import Target


ON_BOARD = "measured on a board, over SSH"
"""The note of a target with a board."""
ABSENT = "absent"
"""The parameter of a stage whose target has a device that is not here: its value says so."""
EMULATED = "emulated, no times: "
"""Before the emulator's words, in the note of a target that is emulated."""


def _kinds(spec: Spec) -> Iterable[StageKind]:
    return (kind for backend in spec.backends for kind in backend.stages)


def _backend(label: str, spec: Spec, _catalogue: Catalogue) -> AxisValue:
    """A cell of one backend skips the stages of all others."""
    others = (kind.name for backend in spec.backends if backend.name != label for kind in backend.stages)
    return AxisValue(axis=BACKEND_AXIS.name, label=label, without=frozenset(others))


def _model(label: str, spec: Spec, catalogue: Catalogue) -> AxisValue:
    model = catalogue.models[label]
    parts: dict[Stage, Part] = {}
    without: set[Stage] = set()
    for backend in spec.backends:
        parts |= backend.model(model)
        without |= backend.around(model.form, spec.axes)
    return AxisValue(
        axis=MODEL_AXIS.name,
        label=label,
        parts=parts,
        given=model.artifacts
        or (
            (model.path.name, model.path, model.digest),
            *((f"file_{number}", path, digest) for number, (_, path, digest) in enumerate(model.files)),
        ),
        without=frozenset(without),
        note=model.note,
    )


def _python(label: str, spec: Spec, _catalogue: Catalogue) -> AxisValue:
    parts = {kind.name: Part(python=label) for kind in _kinds(spec) if PYTHON_AXIS.name in kind.axes}
    return AxisValue(axis=PYTHON_AXIS.name, label=label, parts=parts)


def pinned_values(axis: str, package: str) -> Value:
    """The values of an axis of releases that several backends have: a pin for each stage that depends on it."""

    def value(label: str, spec: Spec, _catalogue: Catalogue) -> AxisValue:
        part = Part(pins=((package, label),))
        return AxisValue(axis=axis, label=label, parts={kind.name: part for kind in _kinds(spec) if axis in kind.axes})

    return value


def _target(label: str, spec: Spec, catalogue: Catalogue) -> AxisValue:
    """Programs of another machine run with the target's emulator, or on its board; without one its cells cannot run
    here."""
    target, machine = catalogue.targets[label], catalogue.machine
    parts = _target_parts(target, spec, catalogue)
    for kind in _kinds(spec):
        if kind.counted:
            words = tuple(kind.counted if word == COUNTER else word for word in target.counter)
            counter = _platform(target, words, spec) if words else None
            parts[kind.name] = replace(parts.get(kind.like, Part()), platform=counter)
    if target.ssh:
        for kind in _kinds(spec):
            if kind.on_target and not kind.counted:
                parts[kind.name] = replace(parts.get(kind.name, Part()), platform=_board_platform(target, spec))
        return AxisValue(axis=TARGET_AXIS.name, label=label, parts=parts, note=ON_BOARD)
    if target.machine in ("", machine):
        lacks = f"no {target.device.upper()} device here" if target.device not in ("", *catalogue.devices) else ""
        if lacks:
            parts |= {kind.name: _without_device(kind, lacks) for kind in _kinds(spec) if kind.without_device}
        return AxisValue(axis=TARGET_AXIS.name, label=label, parts=parts, untested=lacks, untimed=lacks)
    foreign = f"{label} modules need a {target.machine} machine; this one is {machine}"
    note = ""
    if target.emulator:
        platform = _platform(target, target.emulator, spec)
        for kind in _kinds(spec):
            if kind.on_target and not kind.alone and not kind.counted:
                parts[kind.name] = replace(parts.get(kind.name, Part()), platform=platform)
        note = EMULATED + " ".join(platform.emulator)
    return AxisValue(
        axis=TARGET_AXIS.name,
        label=label,
        parts=parts,
        untested="" if target.emulator else foreign,
        untimed=f"no times: {foreign}, and an emulator's times are not the machine's",
        note=note,
    )


def _without_device(kind: StageKind, lacks: str) -> Part:
    """Where the device of a target is not there, a module is loaded with another one: all gates of the runtime are
    before the device, so a refusal by one is a finding. Whatever else happens says nothing."""
    return Part(flags=kind.without_device, parameters=((ABSENT, lacks),))


def loaded_only(value: AxisValue, kind: StageKind) -> bool:
    """Whether a stage only loads what it is given, because the device of a value is not there."""
    part = value.parts.get(kind.name)
    return part is not None and bool(kind.without_device) and ABSENT in dict(part.parameters)


def _target_parts(target: Target, spec: Spec, catalogue: Catalogue) -> dict[Stage, Part]:
    """The flags of a target, and the driver that the stages that run on it need: a locked one, or the machine's own."""
    driver = target.driver or (target.device if target.device in catalogue.devices else "")
    parts = {stage: Part(flags=flags) for stage, flags in target.flags.items() if flags}
    for kind in _kinds(spec):
        if driver and kind.on_target and not kind.counted:
            parts[kind.name] = replace(parts.get(kind.name, Part()), driver=driver)
    return parts


def _board_platform(target: Target, spec: Spec) -> Platform:
    config = (spec.base / target.ssh_config).resolve() if target.ssh_config else None
    board = Board(target=target.name, ssh=target.ssh, config=config)
    return Platform(machine=target.machine, emulator=(), board=board)


def _platform(target: Target, words: tuple[str, ...], spec: Spec) -> Platform:
    """Paths are relative to the spec's folder. The command line in a job's key has the emulator's name."""
    word, *rest = words
    return Platform(
        machine=target.machine,
        emulator=(PurePath(word).name, *rest),
        program=str((spec.base / word).resolve()) if "/" in word else "",
        sysroot=(spec.base / target.sysroot).resolve() if target.sysroot else None,
        packages=target.packages,
    )


BARE = EnvironmentKind(name="bare", cost=EnvironmentCost(download_bytes=0, disk_bytes=100_000, seconds=0.2))
"""A Python without packages: for stages that are only a script."""

BACKEND_AXIS = Axis(
    name="backend",
    known=lambda spec, _: (backend.name for backend in spec.backends),
    value=_backend,
    default=(),
)
MODEL_AXIS = Axis(name="model", known=lambda _, catalogue: catalogue.models, value=_model, default=("linear",))
PYTHON_AXIS = Axis(
    name="python",
    plural="Pythons",
    product="Python",
    value=_python,
    help="the exporter's Python: 3.11, '>=3.10', all",
    default=("3.11",),
    released=True,
)
TORCH_AXIS = Axis(
    name="torch",
    plural="torch releases",
    package="torch",
    notes="https://github.com/pytorch/pytorch/releases/tag/v{version}",
    released=True,
    value=pinned_values("torch", "torch"),
    help="2.9.1, '>=2.6', latest-minors",
)
TARGET_AXIS = Axis(
    name="target",
    known=lambda _, catalogue: catalogue.targets,
    value=_target,
    help="host, or a table of targets.toml",
    default=("host",),
)
