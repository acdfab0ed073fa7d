"""The shipped data (locks, models, targets, flag sets), read once into frozen records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from matrix.core.errors import ModelMissing
from matrix.core.records import Stage, Toolchain
from matrix.core.versions import did_you_mean
from matrix.plan.backends.iree.source_builds import PlannedBuild
from matrix.plan.locks import LockIndex
from matrix.plan.targets import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model. A Python file at `path` has `model()` and `inputs()`, and `digest` is its sha256. Another form needs no
    export and comes as `artifacts`, with inputs and expected outputs: (name, file, sha256) triples."""

    name: str
    form: str = "file"
    path: Path = Path()
    digest: str = ""
    external_parameters: bool = False
    """The export writes the weights to a separate file."""
    strict: str = ""
    """"true" or "false": the strict mode of its export; "": the exporter's own."""
    packages: tuple[str, ...] = ()
    """Requirements besides those of its exporter."""
    files: tuple[tuple[str, Path, str], ...] = ()
    """The files beside a Python file that it declares: (name in its folder, file, sha256)."""
    artifacts: tuple[tuple[str, Path, str], ...] = ()
    function: str = "main"
    opset_version: str = ""
    weights: tuple[str, ...] = ()
    """The artifacts with the weights of an `.onnx`, under the names in it."""
    note: str = ""
    """A note about the file beside the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagRow:
    """A row of flags.toml: literal flags by stage."""

    name: str
    flags: Mapping[Stage, tuple[str, ...]]
    machine_bound: bool = False
    """The effect of these flags depends on the machine (`host`): the jobs' keys have its class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Everything on this machine that the words of a spec can refer to."""

    locks: LockIndex
    models: Mapping[str, Model]
    targets: Mapping[str, Target]
    flags: Mapping[str, FlagRow]
    machine: str
    devices: frozenset[str] = frozenset()
    """The devices that this machine has: "cuda", "rocm"."""
    torch_variant: str = "cuda"
    special: frozenset[str] = frozenset()
    """Shipped models in separate folders, which `all` leaves out: those from a package have their own environments,
    single operations must be named."""
    toolchains: Mapping[tuple[str, str], Toolchain] = field(default_factory=dict)
    """By axis and name: one folder may hold a compiler and a runtime, each identified by its content."""
    builds: Mapping[str, PlannedBuild] = field(default_factory=dict)
    """Runtimes built from source, by their name as a value of the axis."""
    programs: Mapping[str, tuple[str, Path, str]] = field(default_factory=dict)
    """The scripts and programs of stages, by their name in a stage kind: (name, file, sha256)."""
    machine_class: str = ""
    """The machine in the key of a job whose result depends on it."""


def model_missing(name: str, known: Iterable[str], *, place: str = "axes.model") -> ModelMissing:
    names = sorted(known)
    return ModelMissing(
        f"{place}: unknown model {name!r}, expected one of {', '.join(names)}{did_you_mean(name, names)}",
        tip="a model of your own: --model with its path, or a [models.NAME] table in the spec",
    )
