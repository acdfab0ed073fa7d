"""The words of the project as frozen records. Nothing here reads a file, starts a process or asks the clock.

axis: one dimension of the matrix. cell: one point of it. stage: what a cell goes through, in order.
job: one stage with all its inputs fixed. environment: a Python and locked wheels in which jobs run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias

Stage: TypeAlias = str
"""What a cell goes through, by its name. `plan.stages` has a row for each."""


class Outcome(StrEnum):
    """How a cell or a job ended: a closed set."""

    PASSED = "passed"
    WRONG_OUTPUT = "wrong_output"
    FAILED = "failed"
    CRASHED = "crashed"
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    NOT_INSTALLABLE = "not_installable"
    EXCLUDED = "excluded"
    BLOCKED = "blocked"
    UNTESTED = "untested"
    INFRASTRUCTURE = "infrastructure"

    @property
    def red(self) -> bool:
        """A finding about the releases, as against a pass, a rule or something not (yet) measured."""
        return self in RED


RED = frozenset(
    {
        Outcome.WRONG_OUTPUT,
        Outcome.FAILED,
        Outcome.CRASHED,
        Outcome.TIMED_OUT,
        Outcome.OUT_OF_MEMORY,
        Outcome.NOT_INSTALLABLE,
    }
)


DEFAULT_ENGINE = "venv"
"""The engine where nobody names one; commands that are shown then do not name it either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one job may use. They decide outcomes, so they are part of the job's key."""

    seconds: float = 600.0
    memory_bytes: int = 8 << 30
    log_bytes: int = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """The exact wheels of an environment.

    `name` is the path below `images/locks` without its suffix (`compiler/3.8.0`), `digest` the sha256 of the file,
    `pins` the (package, version) pairs that the environment was asked for, `refusal` the resolver's reason where
    no set of wheels exists (the lock then holds nothing else).

    A lock of the store `extends` a committed one by `packages`, which a model asked for. Its digest is "" as long as
    nobody has resolved it: `path` is then where it will be.
    """

    name: str
    path: Path
    digest: str
    pins: tuple[tuple[str, str], ...]
    refusal: str = ""
    extends: Lock | None = None
    packages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """A user's own tools in the place of a release: a folder, a virtual environment or a wheel file at `path`.

    `tools` maps a tool to its file relative to `path` (in a wheel: its name there), `digest` is of the content of the
    tools and of what they load beside them: tools that were built anew are another toolchain.

    With `in_image` the `path` is a container image's name and `digest` its ID without `sha256:`. Its tools are found
    when the engine looks into it.
    """

    name: str
    path: Path
    digest: str
    tools: tuple[tuple[str, str], ...] = ()
    in_image: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """A runtime that is built from source.

    `release` is that of the pinned sources, "" where `tree` is an IREE tree of one's own. `sets` are the locked sets
    of packages that its commands speak of, `tools` is the lock of cmake and the like from PyPI, `digest` is of the
    sources and of all these locks, `machine` runs what comes out.
    """

    name: str
    release: str
    tree: Path | None
    toolchain: str
    sets: tuple[str, ...]
    tools: Path
    digest: str
    machine: str
    programs: tuple[str, ...] = ()
    """A user's own compilers, which must be on this machine: names, or paths below `path`."""
    path: Path | None = None
    """The folder of a user's own compilers, which `{toolchain}` means."""
    benchmark: str = ""
    """Where `iree-benchmark-module` is built too: the release of the pinned sources whose Google benchmark it is given,
    unless its own sources carry it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """Another machine, and how its programs run here: `machine` as `platform.machine()` says it.

    `emulator` is the argv that stands before a program, its first word a name; `{sysroot}` in it is the folder with
    that machine's C library. `program` is where the emulator is: a path, or "" for one that is known by its name.
    `sysroot` is a user's own folder; None: the locked packages of that machine, or of `packages` (SET/FOLDER, a folder
    in a locked set of `images/armv6`).
    """

    machine: str
    emulator: tuple[str, ...]
    program: str = ""
    sysroot: Path | None = None
    packages: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentRequest:
    """An environment to realise: `kind` is exporter, importer, compiler, builder or runtime; `python` is `major.minor`.

    With a `toolchain` it holds a user's own tools, no wheels; `lock` then only carries its name, path and digest. With
    a `platform` its tools are another machine's.
    """

    kind: str
    python: str
    lock: Lock
    toolchain: Toolchain | None = None
    platform: Platform | None = None
    build: Build | None = None
    """Of a builder: what it builds. It holds compilers, cmake and IREE's sources."""
    linked: bool = False
    """Of a compiler: the folder of `armv6-lld` lies beside it, which `{link}` in its flags means."""
    built: bool = False
    """Of a runtime: its tools come with the job, from a build. It holds what runs them, or nothing."""
    bare: bool = False
    """It holds a Python and no package; `lock` then only carries a name."""

    @property
    def label(self) -> str:
        if self.platform:
            return f"{self.lock.name} for {self.platform.machine}"
        return self.lock.name if self.toolchain else f"{self.lock.name} on Python {self.python}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A realised environment.

    `digest` is of what was realised (interpreter, C library, the RECORDs of the wheels), never of where it lies.
    `root` is its folder, `tools` maps a tool's name (`iree-compile`) to its path relative to `root`,
    `distributions` are the installed (name, version) pairs, `variables` those that its tools need to be set. Tools of
    another machine run behind a `launcher`, the argv of an emulator, in which `{root}` is `root`; `emulator` says which
    one that is.
    """

    request_label: str
    engine: str
    digest: str
    root: Path
    python_version: str
    c_library: str
    tools: Mapping[str, str]
    distributions: tuple[tuple[str, str], ...]
    variables: tuple[tuple[str, str], ...] = ()
    launcher: tuple[str, ...] = ()
    emulator: str = ""
    evidence: tuple[tuple[str, object], ...] = ()
    """What else its engine says of it, for results, as JSON can hold it: paths of a Nix store, how jobs are shut in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one axis value means to one stage. A job's key sees the parts of its own stage and no others.

    `pins` choose the environment's lock, `python` its interpreter, `toolchain` stands in their place, `flags` go
    literally onto the tool's command line, `parameters` are further facts that the stage reads (model name, digest of
    the model's file), `packages` are requirements that the environment's lock is extended by, `platform` is whose
    machine code the environment holds where it is not this machine's.
    """

    pins: tuple[tuple[str, str], ...] = ()
    python: str = ""
    flags: tuple[str, ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()
    toolchain: Toolchain | None = None
    machine_bound: bool = False
    """What the stage does depends on the machine that it runs on (`cpu=host`): its class is in the job's key."""
    packages: tuple[str, ...] = ()
    platform: Platform | None = None
    build: Build | None = None
    """Of the stage build: what is built. Of the stage run: what was."""
    serves: bool = False
    """It calls for no stage by itself, and is there where another value does: a toolchain, if something is linked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisValue:
    """One value of an axis: its label in tables and a part for each stage that it touches."""

    axis: str
    label: str
    parts: Mapping[Stage, Part] = field(default_factory=dict)
    given: tuple[tuple[str, Path, str], ...] = ()
    """Artifacts (name, file, sha256) that come with the value instead of from an export: a user's own `.mlir`."""
    without: frozenset[Stage] = frozenset()
    """Stages that cells with this value do not go through: nothing is compiled where the model is a `.vmfb`."""
    note: str = ""
    """What there is to say of the value beside the table: the opset of an `.onnx`, how a target is emulated."""
    untested: str = ""
    """Why no cell with this value can run on this machine (`target` of another architecture); empty: it can."""
    untimed: str = ""
    """Why a time measured here would say nothing of this value (an emulated target); empty: it can be timed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A file that a job made: `name` as the stage calls it (`module.vmfb`), named in the store by its sha256."""

    name: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One stage with all its inputs fixed, ready to run.

    Exactly one of `argv` (a tool of the environment and its arguments, relative to the job's folder) and
    `script` (a function of `scripts/`, run in a fork of the warm worker) is set.
    `inputs` are (name, sha256) pairs, laid into the job's folder before it starts. `outputs` are patterns.
    """

    key: str
    stage: Stage
    label: str
    environment: str
    inputs: tuple[tuple[str, str], ...]
    outputs: tuple[str, ...]
    argv: tuple[str, ...] = ()
    script: str = ""
    arguments: tuple[tuple[str, str], ...] = ()
    limits: Limits = Limits()
    alone: bool = False
    """Nothing else may run on the machine beside it."""
    programs: tuple[str, ...] = ()
    """Those of its inputs that it starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnd:
    """What a worker says of a job that is over.

    `end` is one of exited, signalled, timed_out, out_of_memory, killed, not_started, lost.
    `log` holds the head and the tail of stdout and stderr, `log_bytes` their true size. Times in seconds, memory in
    bytes; `cpu_seconds` is user plus system time of the job's processes. `peak_bytes` is 0 where it is not known: a
    short tool's peak disappears below that of the worker that started it.
    """

    key: str
    end: str
    exit_code: int = 0
    signal: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    log: str = ""
    log_bytes: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """A finished job as the store keeps it: what it was, how it ended, what it left."""

    key: str
    stage: Stage
    outcome: Outcome
    label: str
    environment: str
    end: JobEnd
    outputs: tuple[Artifact, ...]
    command: tuple[str, ...]
    inputs: tuple[tuple[str, str], ...]
    finished_at: str
    machine: str
    engine: str


@dataclass(slots=True, kw_only=True)
class Disk:
    """The disk as a run uses it: `budget_bytes` for environments (0: none), what they held at most, how many came and
    went. `kept`: they stay where the engine keeps them: on a daemon's disk, in the store of Nix."""

    budget_bytes: int
    kept: bool = False
    held_bytes: int = 0
    peak_bytes: int = 0
    made: int = 0
    removed: int = 0
    made_again: list[str] = field(default_factory=list)

    def note(self, held: int) -> None:
        self.held_bytes = held
        self.peak_bytes = max(self.peak_bytes, held)
