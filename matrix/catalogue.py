"""What the shipped data offers: locks, models, targets and sets of flags, read once into frozen records."""

from __future__ import annotations

import hashlib
import os
import platform
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matrix.errors import ModelMissing
from matrix.locks import LockIndex, load_locks
from matrix.spec import UserModel
from matrix.versions import nearest

PACKAGE = Path(__file__).parent


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A model as Python: `model()` and `inputs()`. `digest` is the sha256 of the file.

    `external_parameters`: the export leaves the weights in a file of their own.
    """

    name: str
    path: Path
    digest: str
    external_parameters: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenModel:
    """A model as finished MLIR with inputs and expected outputs: (artifact name, file, sha256) triples."""

    name: str
    artifacts: tuple[tuple[str, Path, str], ...]
    function: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagRow:
    """A row of targets.toml or flags.toml: literal flags by stage, and the machine that runs the target."""

    name: str
    machine: str
    compile: tuple[str, ...]
    run: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All that a spec's words can refer to on this machine."""

    locks: LockIndex
    models: Mapping[str, ModelFile | GivenModel]
    targets: Mapping[str, FlagRow]
    flags: Mapping[str, FlagRow]
    machine: str
    export_digest: str
    torch_variant: str = "cuda"


def load_catalogue(
    user_models: Iterable[UserModel] = (), *, base: Path = Path(), torch_variant: str = "cuda"
) -> Catalogue:
    """Reads the shipped data and the user's models (paths relative to `base`).

    Raises ModelMissing where a model's file is not there, LockFault for a damaged lock.
    """
    scripts = data_root() / "scripts"
    models: dict[str, ModelFile | GivenModel] = {}
    for path in sorted((scripts / "models").glob("*.py")):
        models[path.stem] = ModelFile(name=path.stem, path=path, digest=sha256(path))
    for model in user_models:
        models[model.name] = _user_model(model, base)
    return Catalogue(
        locks=load_locks(data_root() / "images" / "locks"),
        models=models,
        targets=_rows(PACKAGE / "targets.toml"),
        flags=_rows(PACKAGE / "flags.toml"),
        machine=platform.machine(),
        export_digest=sha256(scripts / "export.py"),
        torch_variant=torch_variant,
    )


def sha256(path: Path) -> str:
    """The sha256 of a file as 64 hex digits, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def model_missing(name: str, known: Iterable[str]) -> ModelMissing:
    names = sorted(known)
    return ModelMissing(
        f"axes.model: unknown model {name!r}, expected one of {', '.join(names)}{nearest(name, names)}",
        tip="a model of your own: a [models.NAME] table in the spec with `file` or `mlir`",
    )


def _rows(path: Path) -> dict[str, FlagRow]:
    content: dict[str, Any] = tomllib.loads(path.read_text())
    return {
        name: FlagRow(name=name, machine=row.get("machine", ""), compile=tuple(row["compile"]), run=tuple(row["run"]))
        for name, row in content.items()
    }


def _user_model(model: UserModel, base: Path) -> ModelFile | GivenModel:
    if model.file:
        path = _existing(model, base / model.file)
        external = model.parameters == "external"
        return ModelFile(name=model.name, path=path, digest=sha256(path), external_parameters=external)
    files = [("module.mlir", model.mlir)]
    files += [(f"input_{index}.npy", name) for index, name in enumerate(model.inputs)]
    files += [(f"expected_{index}.npy", name) for index, name in enumerate(model.expected)]
    found = [(name, _existing(model, base / file)) for name, file in files]
    return GivenModel(
        name=model.name,
        artifacts=tuple((name, path, sha256(path)) for name, path in found),
        function=model.function,
    )


def _existing(model: UserModel, path: Path) -> Path:
    if not path.is_file():
        raise ModelMissing(
            f"models.{model.name}: read {str(path)!r}, expected a file, and there is none",
            tip="paths of a model are relative to the folder of the spec",
        )
    return path.resolve()
