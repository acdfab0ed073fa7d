"""The record of a backend: its axes, its chain of stages, their environments. Pure."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeAlias

from matrix.core.errors import BlobDamaged
from matrix.core.keys import Json
from matrix.core.records import AxisValue, Limits, Part, Stage

if TYPE_CHECKING:
    from matrix.core.toml_reader import Table
    from matrix.plan.catalogue import Catalogue, Model
    from matrix.plan.spec import Spec

LIMITS = Limits(seconds=900, memory_bytes=8 << 30)
JOB_LOG = "log"
"""The name of the job's log among the outputs for `read`."""
INPUT, EXPECTED, OUTPUT = "input_*.npy", "expected_*.npy", "output_*.npy"
TOOL_PLACE = "{tool:%s}"
"""In a command: the path of a tool of its environment, for a program that starts the tool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The inputs of a command: the flags and parameters of the cell's values, and the artifacts (name -> sha256) of the
    stages before it."""

    flags: tuple[str, ...]
    parameters: Mapping[str, str]
    artifacts: Mapping[str, str]

    def named(self, pattern: str) -> list[str]:
        return matching(self.artifacts, pattern)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StageKind:
    """A stage as one row.

    The command line names files relative to the job's folder. So the locations in a module's debug information, and its
    digest, do not depend on the store's path.
    """

    name: Stage
    environment: str
    """The kind of its environment."""
    inputs: tuple[str, ...]
    """Patterns: the artifacts that it takes from the stages before it."""
    outputs: tuple[str, ...]
    """Patterns: the files that it may produce."""
    needed: tuple[str, ...]
    """Without one of these files it has not passed, whatever its exit code."""
    command: Callable[[Given], tuple[str, ...]]
    """A tool of the environment and its arguments; for a `script`, the words that describe the call."""
    axes: tuple[str, ...] = ()
    """The axes that it depends on, besides model and target. A cell that goes through none of an axis's stages has no
    value on the axis."""
    script: str = ""
    """A file of `scripts/` whose function runs in a fork of the warm worker, instead of a command."""
    programs: tuple[str, ...] = ()
    """Files of `scripts/` that the command needs. They are put into the job's folder, and the key has their digests."""
    executable: tuple[str, ...] = ()
    """The inputs that are programs."""
    after: tuple[Stage, ...] = ()
    """The stages whose artifacts it takes, if its cell goes through them."""
    comes_with: Stage = ""
    """It cannot be asked for: it comes with this stage if a value needs it. "": a spec asks for it."""
    unless: Stage = ""
    """A cell with this stage does not need it."""
    apart: bool = False
    """It takes no file of the model."""
    judged: bool = True
    """It decides the outcome of a cell. Otherwise it measures cells that passed."""
    compared: bool = False
    """Its outputs are compared with the expected ones. Where none are expected, their number is unknown, and it writes
    none."""
    without_device: tuple[str, ...] = ()
    """Its flags where the target's device is not there: it then only loads what it is given. Empty: it does not run."""
    on_target: bool = False
    """It runs programs of the target, which another machine cannot run."""
    like: Stage = ""
    """A value that says nothing of it means to it what it means to this stage."""
    counted: str = ""
    """It runs programs of the target under the target's counter, on each machine, with the plugin of this word."""
    alone: bool = False
    """No other job may run on the machine at the same time."""
    rounds: bool = False
    """It is repeated in rounds, which are interleaved with those of other cells, as [benchmark] says."""
    turns: int = 0
    """How often it is measured, if more than once: the cells of a plan take turns, each once and then in the opposite
    order."""
    repeatable: bool = False
    """[repeat] may ask for several runs of it."""
    flags: bool = False
    """A spec's own axes may have flags for it."""
    extended: bool = False
    """Its environment gets the packages that a model or a spec requires."""
    limits: Limits = LIMITS
    typical_seconds: float = 1.0
    """Seconds for a small model, before a store has results."""
    typical_by_model: Mapping[str, float] = field(default_factory=dict)
    """Seconds for shipped models that take much longer or shorter."""
    strip: Callable[[bytes], bytes] | None = None
    """Removes host names and paths from an output before it is stored."""
    keep: Callable[[str, bytes], bytes] | None = None
    """Makes what is stored of an output (its name, its content), where that is another form. Raises FileFault where it
    is not whole: the job is done again; NotRunnable where it says nothing: the cell is not measured."""
    loopback: bool = False
    """Its programs talk to each other by TCP: it gets a loopback of its own."""
    packaged: bool = False
    """Its tools are in a release's package alone, and it runs on this machine alone."""
    read: Callable[[Mapping[str, bytes]], Mapping[str, Json]] | None = None
    """Makes measurements for the results from its outputs and its log (name -> content). Empty: no measurements."""
    reads: tuple[str, ...] = ()
    """Patterns: the outputs that `read` gets. It gets no other one: a module may have a gigabyte."""
    record: str = ""
    """The output, as JSON, in which a front end says what it knows of the reference that it leaves."""
    quiet: str = ""
    """The next step if it ended without a message; "": read its log."""

    def looked_into(self, name: str) -> bool:
        """Whether an output is read when its cell is judged: it is compared, or figures come from it."""
        return self.compared or any(fnmatchcase(name, pattern) for pattern in (*self.reads, EXPECTED))

    def measure(self, outputs: Mapping[str, str], log: str, content: Callable[[str], bytes]) -> Mapping[str, Json]:
        """The measurements from what a job left: its outputs (name -> sha256), whose `content` is read where `reads`
        names them, and its log. None if one of them was damaged since: the next run makes it again."""
        if self.read is None:
            return {}
        named = dict.fromkeys(name for pattern in self.reads for name in matching(outputs, pattern))
        try:
            files = {name: content(outputs[name]) for name in named}
        except BlobDamaged:
            return {}
        return self.read({**files, JOB_LOG: log.encode()})

    def leaves(self, artifacts: Mapping[str, str]) -> tuple[str, ...]:
        """The patterns of its outputs, given the artifacts before it."""
        return self.outputs if not self.compared or matching(artifacts, EXPECTED) else ()


Value: TypeAlias = "Callable[[str, Spec, Catalogue], AxisValue]"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Axis:
    """An axis as one row: the values that it knows, and the meaning of one for each stage."""

    name: str
    value: Value
    known: Callable[[Spec, Catalogue], Iterable[str]] = lambda _spec, _catalogue: ()
    """All values besides releases and a user's own tools."""
    help: str = ""
    """The help text of its command line option."""
    plural: str = ""
    """Of its name, where that does not just get an s."""
    product: str = ""
    """What its values are releases of, where that is not the package: of two axes with the same one, a number is one
    release."""
    default: tuple[str, ...] = ("latest",)
    """The selectors for a spec without any."""
    package: str = ""
    """Its values are releases of this package, each with a lock."""
    older_package: str = ""
    """The name of the package before: that of its dated releases."""
    notes: str = ""
    """The address of the notes of a release of its product, with `{version}`; "": another axis has it, or none,"""
    older_notes: str = ""
    """and that of a dated one."""
    released: bool = False
    """Its values are releases: of the package, or of Python."""
    tool: str = ""
    """A user's own tools can replace a release: those that include this one."""
    tools_beside: tuple[str, ...] = ()
    """Further tools that a stage or the tool may start."""
    literal: Stage = ""
    """A value that begins with a dash is literal flags for this stage."""
    built: bool = False
    """A build from source can replace a release, too."""
    optional: bool = False
    """It is an axis of a spec only where the spec names it, or where a model goes through a stage of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentCost:
    """The cost of one environment: bytes to download, bytes on the disk, seconds to install with an empty cache."""

    download_bytes: int
    disk_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EnvironmentKind:
    """A kind of environment as one row: the pins of its locks, and its cost."""

    name: str
    cost: EnvironmentCost
    """The cost of one that shares no wheel with another."""
    axes: tuple[str, ...] = ()
    """The axes whose packages its locks pin; none: it has no lock."""
    follows: str = ""
    """It has a lock for each lock of this kind, with `extra` of the package added."""
    extra: str = ""
    beside: tuple[str, ...] = ()
    """Additional packages of a lock, each in the newest release with the same minor release as that of the last axis,
    or as `[beside]` of wanted.toml says."""
    variants: tuple[str, ...] = ()
    """Builds of the same release, each with its own lock."""
    large: str = ""
    """The package that makes it large. Two environments with the same release of it are not installed at the same time:
    both would fetch it."""
    same_large: EnvironmentCost | None = None
    """Its cost beside another with the same release of that package and the same Python."""
    other_python: EnvironmentCost | None = None
    """Its cost beside another with the same release, on another Python."""
    warm: tuple[str, ...] = ()
    """The modules that its worker imports before its first job."""
    versions_of: tuple[str, ...] = ()
    """Packages whose versions a script gets."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelForm:
    """A form of a model: a Python file, or the artifact of a stage."""

    name: str
    suffixes: tuple[str, ...]
    artifact: str = ""
    """The stages' name for the file; "": a stage makes it one."""
    around: frozenset[Stage] = frozenset()
    """The stages that a model of this form skips."""
    chosen_by: str = ""
    """An axis whose values say it instead, in a spec that has this axis."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Backend:
    """A family of tools that takes a model to numbers.

    `axes` are its own and the shared ones, in the order of tables; `stages` are its chain, in the order in which a cell
    goes through it; `environments` are in the order in which they are needed. No other backend has its stages; kinds of
    environments may be shared.
    """

    name: str
    axes: tuple[Axis, ...]
    stages: tuple[StageKind, ...]
    environments: tuple[EnvironmentKind, ...]
    forms: tuple[ModelForm, ...]
    model: Callable[[Model], Mapping[Stage, Part]]
    """The meaning of a model for each stage."""
    square: tuple[str, str]
    """The axes down and across of its default table."""
    made: str = ""
    """What the axis down makes for the axis across: `modules`."""
    exchanged: str = ""
    """The artifact that front ends write and compilers take, of any two releases,"""
    module: str = ""
    """and that which compilers make of it."""
    signatures: str
    """The file in `matrix/data` with the signatures of its error messages."""
    target_keys: tuple[str, ...] = ()
    """The keys of a target's table for this backend,"""
    target_flags: Callable[[Table], Mapping[Stage, tuple[str, ...]]] = lambda _: {}
    """and the flags of each stage that they set."""

    def first_environment(self, axis: str) -> EnvironmentKind | None:
        """The environment that has an axis and says which releases it has; further ones come with another stage."""
        return next((kind for kind in self.environments if axis in kind.axes and not kind.follows), None)

    def reaches(self, axis: str, form: str, axes: Container[str] = ()) -> bool:
        """Whether a model of a form goes through a stage that depends on an axis, in a spec with these axes."""
        around = self.around(form, axes)
        return any(axis in kind.axes for kind in self.stages if kind.name not in around)

    def around(self, form: str, axes: Container[str] = ()) -> frozenset[Stage]:
        """The stages that a model of a form skips in a spec with these axes: all of them, if none takes it."""
        every = frozenset(kind.name for kind in self.stages)
        found = next((each for each in self.forms if each.name == form), None)
        if found is None:
            return every
        return frozenset() if found.chosen_by in axes else found.around


def matching(names: Mapping[str, str], pattern: str) -> list[str]:
    """The names that match, `input_2` before `input_10`."""
    if "*" not in pattern and "?" not in pattern and "[" not in pattern:
        return [pattern] if pattern in names else []
    return sorted((name for name in names if fnmatchcase(name, pattern)), key=lambda name: (len(name), name))
