"""What the shipped data offers: locks, models, targets and sets of flags, read once into frozen records."""

from __future__ import annotations

import os
import platform
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matrix.builds import STEPS, PlannedBuild, planned_build
from matrix.errors import ModelMissing, ModelUnusable, SpecError
from matrix.keys import sha256
from matrix.locks import NOWHERE, LockIndex, load_locks
from matrix.modelfiles import entry_points, onnx_facts, packages_of
from matrix.own import TOOL_AXES, UserModel
from matrix.records import Stage, Toolchain
from matrix.spec import Spec
from matrix.targets import Target, read_targets
from matrix.toml_reader import Table
from matrix.toolchains import find_toolchain
from matrix.versions import nearest

PACKAGE = Path(__file__).parent
IMPORTER = "import_onnx.py"
GIVEN_AS = {"mlir": "module.mlir", "onnx": "model.onnx", "vmfb": "module.vmfb"}
"""Form of a model -> what its stages call the file."""


def data_root() -> Path:
    """The folder that holds `scripts/` and `images/`: the checkout, or the copy inside an installed wheel.

    IREE_MATRIX_DATA names another one, for locks of one's own.
    """
    if chosen := os.environ.get("IREE_MATRIX_DATA"):
        return Path(chosen)
    checkout = PACKAGE.parent
    return checkout if (checkout / "images" / "locks").is_dir() else PACKAGE / "_bundled"


def presets() -> tuple[str, ...]:
    """The names of the shipped specs."""
    return tuple(sorted(path.stem for path in (PACKAGE / "presets").glob("*.toml")))


def shipped_models() -> tuple[str, ...]:
    """The names of the models in `scripts/models`, and of those that come from a package."""
    return tuple(sorted(model_files()))


def model_files(folder: str = "**") -> dict[str, Path]:
    """Name -> file of the shipped models; of those in `packaged` the architecture comes from a package, those in
    `operations` are one operation each."""
    paths = (data_root() / "scripts" / "models").glob(f"{folder}/*.py")
    return {path.stem: path for path in sorted(paths, key=lambda path: (path.parent, path.name))}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A model as Python: `model()` and `inputs()`. `digest` is the sha256 of the file.

    `external_parameters`: the export leaves the weights in a file of their own. `packages`: requirements beside torch.
    """

    name: str
    path: Path
    digest: str
    external_parameters: bool = False
    packages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenModel:
    """A model as a file that needs no export, with inputs and expected outputs: (artifact name, file, sha256) triples.

    `form` is mlir, onnx or vmfb; `note` what there is to say of the file beside the table.
    """

    name: str
    artifacts: tuple[tuple[str, Path, str], ...]
    function: str
    form: str = "mlir"
    opset_version: str = ""
    weights: tuple[str, ...] = ()
    """Those of the artifacts that hold weights of an `.onnx`, under the names that it calls them by."""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagRow:
    """A row of flags.toml: literal flags by stage."""

    name: str
    compile: tuple[str, ...]
    run: tuple[str, ...]
    machine_bound: bool = False
    """What these flags do depends on the machine (`host`): its class is in the keys of the jobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All that a spec's words can refer to on this machine."""

    locks: LockIndex
    models: Mapping[str, ModelFile | GivenModel]
    targets: Mapping[str, Target]
    flags: Mapping[str, FlagRow]
    machine: str
    export_digest: str
    torch_variant: str = "cuda"
    special: frozenset[str] = frozenset()
    """Shipped models in folders of their own, which `all` leaves out: those that come from a package bring an
    environment of their own, single operations are asked for by name."""
    toolchains: Mapping[tuple[str, str], Toolchain] = field(default_factory=dict)
    """By axis and name: the same folder may hold a compiler and a runtime, each known by its own content."""
    builds: Mapping[str, PlannedBuild] = field(default_factory=dict)
    """Runtimes built from source, by the name that is their value on the axis."""
    steps: tuple[str, Path, str] = (STEPS, Path(), "")
    """The program that runs the commands of a build: (name, file, sha256)."""
    machine_class: str = ""
    """What the key of a job holds whose result depends on the machine."""


def load_catalogue(
    spec: Spec,
    *,
    torch_variant: str = "cuda",
    machine_class: str = "",
    place: Path = NOWHERE,
    images: Mapping[str, Toolchain] | None = None,
) -> Catalogue:
    """Reads the shipped data, the locks that a store keeps at `place`, and the models and toolchains of a spec.

    `images` are those of its toolchains that are images, by name: only a daemon knows them.
    Raises ModelMissing where a model's file is not there, ModelUnusable, ToolchainFault, LockFault for a damaged lock,
    SpecError for a target that is shipped.
    """
    scripts = data_root() / "scripts"
    models: dict[str, ModelFile | GivenModel] = {}
    for name, path in model_files().items():
        models[name] = ModelFile(name=name, path=path, digest=sha256(path), packages=packages_of(path))
    for model in spec.models.values():
        models[model.name] = _user_model(model, spec.base, scripts)
    timed = platform.machine() if Stage.BENCHMARK in spec.stages else ""
    return Catalogue(
        locks=load_locks(data_root() / "images" / "locks", place),
        models=models,
        targets=_targets(spec),
        flags=_rows(PACKAGE / "flags.toml"),
        machine=platform.machine(),
        export_digest=sha256(scripts / "export.py"),
        torch_variant=torch_variant,
        special=frozenset(model_files("*")) - spec.models.keys(),
        toolchains={
            (axis, name): (images or {}).get(name) or find_toolchain(name, spec.base / path, axis)
            for axis in TOOL_AXES
            for name, path in asked_toolchains(spec, axis).items()
        },
        builds={
            name: planned_build(build, spec.base, data_root() / "images" / "armv6", spec.own_toolchains, timed_on=timed)
            for name, build in spec.builds.items()
            if name in spec.terms("runtime")
        },
        steps=(STEPS, scripts / STEPS, sha256(scripts / STEPS)),
        machine_class=machine_class,
    )


def asked_toolchains(spec: Spec, axis: str) -> dict[str, str]:
    """The toolchains of a spec that an axis of it names: name -> where they are."""
    return {name: where for name, where in spec.toolchains.items() if name in spec.terms(axis)}


def model_missing(name: str, known: Iterable[str]) -> ModelMissing:
    names = sorted(known)
    return ModelMissing(
        f"axes.model: unknown model {name!r}, expected one of {', '.join(names)}{nearest(name, names)}",
        tip="a model of your own: --model with its path, or a [models.NAME] table in the spec",
    )


def _rows(path: Path) -> dict[str, FlagRow]:
    content: dict[str, Any] = tomllib.loads(path.read_text())
    return {
        name: FlagRow(
            name=name,
            compile=tuple(row["compile"]),
            run=tuple(row["run"]),
            machine_bound=row.get("machine_bound", False),
        )
        for name, row in content.items()
    }


def _targets(spec: Spec) -> dict[str, Target]:
    """The shipped targets and those of a spec. Raises SpecError where one would hide another."""
    shipped = read_targets(Table(tomllib.loads((PACKAGE / "targets.toml").read_text(encoding="utf-8")), "", []))
    if taken := sorted(shipped.keys() & spec.targets.keys()):
        faults = [f"targets.{name}: {name!r} is shipped, expected a name of its own" for name in taken]
        raise SpecError(spec.source, faults, tip="copy the shipped table of targets.toml under another name")
    return {**shipped, **spec.targets}


def _user_model(model: UserModel, base: Path, scripts: Path) -> ModelFile | GivenModel:
    path = _existing(model, base / model.path)
    if model.form == "file":
        external = model.parameters == "external"
        return ModelFile(
            name=model.name,
            path=path,
            digest=sha256(path),
            external_parameters=external,
            packages=packages_of(path),
        )
    files = [(GIVEN_AS[model.form], path)]
    files += [(f"input_{index}.npy", _existing(model, base / name)) for index, name in enumerate(model.inputs)]
    files += [(f"expected_{index}.npy", _existing(model, base / name)) for index, name in enumerate(model.expected)]
    function, note = model.function or "main", ""
    weights: tuple[str, ...] = ()
    if model.form == "onnx":
        files.append((IMPORTER, scripts / IMPORTER))
        facts = onnx_facts(path)
        weights = facts.elsewhere
        files += [(name, _beside(model, path, name)) for name in weights]
        function = model.function or facts.graph or "main_graph"
        raised = f", imported as {model.opset_version}" if model.opset_version else ""
        note = f"ONNX opset {facts.opset}{raised}" if facts.opset else ""
    elif model.form == "vmfb" and not model.function:
        function = _only_entry_point(model, path)
    return GivenModel(
        name=model.name,
        form=model.form,
        artifacts=tuple((name, file, sha256(file)) for name, file in files),
        function=function,
        opset_version=model.opset_version,
        note=note,
        weights=weights,
    )


def _beside(model: UserModel, path: Path, name: str) -> Path:
    """A file that holds weights of an `.onnx`. A job has all its files in one folder, each under a name of its own."""
    if Path(name).name != name or name in ("", "..", *GIVEN_AS.values(), IMPORTER) or name.endswith(".npy"):
        raise ModelUnusable(
            f"model {model.name}: {path.name} has weights in {name!r}, expected a file beside it, as {path.name}.data",
            tip="save it anew: onnx.save(model, path, save_as_external_data=True, location='model.data')",
        )
    return _existing(model, path.with_name(name))


def _only_entry_point(model: UserModel, path: Path) -> str:
    """The function of a `.vmfb`. A damaged file has none to read: its run says so."""
    names = entry_points(path)
    if len(names) > 1:
        raise ModelUnusable(
            f"model {model.name}: {path.name} has the entry points {', '.join(names)}, expected one of them",
            tip="name it: --function NAME on the command line, `function` in the spec",
        )
    return names[0] if names else "main"


def _existing(model: UserModel, path: Path) -> Path:
    if not path.is_file():
        raise ModelMissing(
            f"models.{model.name}: read {str(path)!r}, expected a file, and there is none",
            tip="paths in a spec are relative to its folder, paths on the command line to the folder you are in",
        )
    return path.resolve()
