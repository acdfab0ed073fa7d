"""A backend as a record: its axes, its chain of stages, the environments that they run in. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeAlias

from matrix.core.keys import Json
from matrix.core.records import AxisValue, Limits, Part, Stage

if TYPE_CHECKING:
    from matrix.core.toml_reader import Table
    from matrix.plan.catalogue import Catalogue, Model
    from matrix.plan.spec import Spec

LIMITS = Limits(seconds=900, memory_bytes=8 << 30)
JOB_LOG = "log"
"""What `read` finds the job's log under, beside its outputs."""
INPUT, EXPECTED, OUTPUT = "input_*.npy", "expected_*.npy", "output_*.npy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the command of a job is made from: the flags and parameters of its cell's values, and the artifacts (name ->
    sha256) of the stages before it."""

    flags: tuple[str, ...]
    parameters: Mapping[str, str]
    artifacts: Mapping[str, str]

    def named(self, pattern: str) -> list[str]:
        return matching(self.artifacts, pattern)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StageKind:
    """A stage as one row.

    The command line names files relative to the job's folder: locations in a module's debug information then do not
    depend on where the store lies, and neither does its digest.
    """

    name: Stage
    environment: str
    """The kind of environment that it runs in."""
    inputs: tuple[str, ...]
    """Patterns: what it takes of the artifacts before it."""
    outputs: tuple[str, ...]
    """Patterns: what it may leave."""
    needed: tuple[str, ...]
    """Without one of these it has not passed, whatever its exit code says."""
    command: Callable[[Given], tuple[str, ...]]
    """A tool of the environment and its arguments; of a `script`, the words that stand for it."""
    axes: tuple[str, ...] = ()
    """The axes of which it depends, beside model and target. Where a cell goes through none of an axis's stages, it has
    no value on the axis."""
    script: str = ""
    """A file of `scripts/` whose function runs in a fork of the warm worker, in place of the command."""
    programs: tuple[str, ...] = ()
    """Files of `scripts/` that the command needs: laid into the job's folder, and in its key by their content."""
    executable: tuple[str, ...] = ()
    """Those of its inputs that are programs."""
    after: tuple[Stage, ...] = ()
    """The stages whose artifacts it takes, as far as its cell goes through them."""
    comes_with: Stage = ""
    """Nobody asks for it: it comes with this stage where a value needs it. "": a spec asks for it."""
    unless: Stage = ""
    """A cell that goes through this stage does without it."""
    apart: bool = False
    """It takes nothing of the model."""
    judged: bool = True
    """It decides a cell's outcome. Else it measures what passed."""
    compared: bool = False
    """What it leaves is compared with the expected outputs. Nobody knows how many outputs there are where none are
    expected: it then leaves none."""
    on_target: bool = False
    """It runs programs of the target, which another machine cannot."""
    alone: bool = False
    """Nothing else may run on the machine beside it."""
    rounds: bool = False
    """It is repeated in rounds, each beside the same round of other cells, as [benchmark] says."""
    repeatable: bool = False
    """[repeat] may ask for it more than once."""
    flags: bool = False
    """A spec's own axes may give it flags."""
    extended: bool = False
    """Packages that a model or a spec asks for lie in its environment."""
    limits: Limits = LIMITS
    typical_seconds: float = 1.0
    """Of a small model, where a store has no results yet to tell."""
    typical_by_model: Mapping[str, float] = field(default_factory=dict)
    """Of the shipped models that are far from that."""
    strip: Callable[[bytes], bytes] | None = None
    """Takes host names and paths out of an output before it is stored."""
    read: Callable[[Mapping[str, bytes]], Mapping[str, Json]] | None = None
    """From its outputs and its log (name -> content) to its measurements: what results keep of it. Empty: it measured
    nothing."""
    quiet: str = ""
    """The next step where it ended without a word; "": to read its log."""

    def leaves(self, artifacts: Mapping[str, str]) -> tuple[str, ...]:
        """The patterns of what it leaves, given the artifacts before it."""
        return self.outputs if not self.compared or matching(artifacts, EXPECTED) else ()


Value: TypeAlias = "Callable[[str, Spec, Catalogue], AxisValue]"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Axis:
    """An axis as one row: which values it knows, and what one means to each stage."""

    name: str
    value: Value
    known: Callable[[Spec, Catalogue], Iterable[str]] = lambda _spec, _catalogue: ()
    """All values beside releases and a user's own tools."""
    help: str = ""
    """What its option of the command line says."""
    default: tuple[str, ...] = ("latest",)
    """The selectors of a spec that says nothing of it."""
    package: str = ""
    """Its values are releases of this package, each with a lock."""
    released: bool = False
    """Its values are releases: of the package, or of Python."""
    tool: str = ""
    """A user's own tools can stand in the place of a release: those with this one among them."""
    tools_beside: tuple[str, ...] = ()
    """Further ones that a stage or the tool may start."""
    built: bool = False
    """A build from source can, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentCost:
    """Of one environment: bytes to download, bytes on the disk, seconds to install with an empty cache."""

    download_bytes: int
    disk_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EnvironmentKind:
    """A kind of environment as one row: what its locks pin, what it costs."""

    name: str
    cost: EnvironmentCost
    """Of one that shares no wheel with another."""
    axes: tuple[str, ...] = ()
    """The axes whose packages a lock of it pins; none: it has no lock."""
    follows: str = ""
    """It has a lock for each one of this kind, with `extra` behind the package."""
    extra: str = ""
    beside: tuple[str, ...] = ()
    """Packages that a lock holds beside, each in the newest release of the same minor release as that of the last axis,
    or as `[beside]` of wanted.toml says."""
    variants: tuple[str, ...] = ()
    """Builds of the same release, each with a lock of its own."""
    large: str = ""
    """The package that makes it large. Two of the same release are not installed at the same time: both would fetch
    it."""
    same_large: EnvironmentCost | None = None
    """Its cost beside one of the same release of that package and the same Python."""
    other_python: EnvironmentCost | None = None
    """The same on another Python."""
    warm: tuple[str, ...] = ()
    """What its worker imports before its first job."""
    versions_of: tuple[str, ...] = ()
    """Packages whose versions a script is told."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelForm:
    """What a model can come as: a Python file, or a finished artifact of a stage."""

    name: str
    suffixes: tuple[str, ...]
    artifact: str = ""
    """What stages call the file; "": a stage makes it one."""
    around: frozenset[Stage] = frozenset()
    """The stages that a model of this form does not go through."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Backend:
    """A family of tools that takes a model to numbers.

    `axes` are its own and those that all share, in the order of tables; `stages` the chain, in the order in which a
    cell goes through it; `environments` in the order in which they are needed. Names are its alone.
    """

    name: str
    axes: tuple[Axis, ...]
    stages: tuple[StageKind, ...]
    environments: tuple[EnvironmentKind, ...]
    forms: tuple[ModelForm, ...]
    model: Callable[[Model], Mapping[Stage, Part]]
    """What a model means to each stage."""
    square: tuple[str, str]
    """The axes down and across of its usual table."""
    signatures: str
    """The file in `matrix/data` that knows its error messages."""
    target_keys: tuple[str, ...] = ()
    """The keys of a target's table that are its own,"""
    target_flags: Callable[[Table], Mapping[Stage, tuple[str, ...]]] = lambda _: {}
    """and the flags of each stage that they stand for."""

    def around(self, form: str) -> frozenset[Stage]:
        """The stages that a model of a form does not go through: all, where none takes it."""
        every = frozenset(kind.name for kind in self.stages)
        return next((each.around for each in self.forms if each.name == form), every)


def matching(names: Mapping[str, str], pattern: str) -> list[str]:
    """The names that fit, `input_2` before `input_10`."""
    return sorted((name for name in names if fnmatchcase(name, pattern)), key=lambda name: (len(name), name))
