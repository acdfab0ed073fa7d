"""What the shipped data offers: locks, models, targets and sets of flags, read once into frozen records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from matrix.core.errors import ModelMissing
from matrix.core.records import Toolchain
from matrix.core.versions import nearest
from matrix.plan.locks import LockIndex
from matrix.plan.source_builds import PlannedBuild
from matrix.plan.targets import Target

GIVEN_AS = {"mlir": "module.mlir", "onnx": "model.onnx", "vmfb": "module.vmfb"}
"""Form of a model -> what its stages call the file."""


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
    programs: Mapping[str, tuple[str, Path, str]] = field(default_factory=dict)
    """What stages bring into a job's folder, by the name that a stage kind has for it: (name, file, sha256)."""
    machine_class: str = ""
    """What the key of a job holds whose result depends on the machine."""


def model_missing(name: str, known: Iterable[str]) -> ModelMissing:
    names = sorted(known)
    return ModelMissing(
        f"axes.model: unknown model {name!r}, expected one of {', '.join(names)}{nearest(name, names)}",
        tip="a model of your own: --model with its path, or a [models.NAME] table in the spec",
    )
