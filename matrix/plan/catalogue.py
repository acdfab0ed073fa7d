"""What the shipped data offers: locks, models, targets and sets of flags, read once into frozen records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from matrix.core.errors import ModelMissing
from matrix.core.records import Stage, Toolchain
from matrix.core.versions import did_you_mean
from matrix.plan.backends.source_builds import PlannedBuild
from matrix.plan.locks import LockIndex
from matrix.plan.targets import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model. A Python file at `path` has `model()` and `inputs()`, and `digest` is its sha256; another form needs no
    export and comes as `artifacts`, with inputs and expected outputs: (name, file, sha256) triples."""

    name: str
    form: str = "file"
    path: Path = Path()
    digest: str = ""
    external_parameters: bool = False
    """The export leaves the weights in a file of their own."""
    packages: tuple[str, ...] = ()
    """Requirements beside those of its exporter."""
    artifacts: tuple[tuple[str, Path, str], ...] = ()
    function: str = "main"
    opset_version: str = ""
    weights: tuple[str, ...] = ()
    """Those of the artifacts that hold weights of an `.onnx`, under the names that it calls them by."""
    note: str = ""
    """What there is to say of the file beside the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagRow:
    """A row of flags.toml: literal flags by stage."""

    name: str
    flags: Mapping[Stage, tuple[str, ...]]
    machine_bound: bool = False
    """What these flags do depends on the machine (`host`): its class is in the keys of the jobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All that a spec's words can refer to on this machine."""

    locks: LockIndex
    models: Mapping[str, Model]
    targets: Mapping[str, Target]
    flags: Mapping[str, FlagRow]
    machine: str
    torch_variant: str = "cuda"
    special: frozenset[str] = frozenset()
    """Shipped models in folders of their own, which `all` leaves out: those that come from a package bring an
    environment of their own, single operations are asked for by name."""
    toolchains: Mapping[tuple[str, str], Toolchain] = field(default_factory=dict)
    """By axis and name: the same folder may hold a compiler and a runtime, each known by its own content."""
    builds: Mapping[str, PlannedBuild] = field(default_factory=dict)
    """Runtimes built from source, by the name that is their value on the axis."""
    programs: Mapping[str, tuple[str, Path, str]] = field(default_factory=dict)
    """The scripts and programs of stages, by the name that a stage kind has for them: (name, file, sha256)."""
    machine_class: str = ""
    """What the key of a job holds whose result depends on the machine."""


def model_missing(name: str, known: Iterable[str]) -> ModelMissing:
    names = sorted(known)
    return ModelMissing(
        f"axes.model: unknown model {name!r}, expected one of {', '.join(names)}{did_you_mean(name, names)}",
        tip="a model of your own: --model with its path, or a [models.NAME] table in the spec",
    )
