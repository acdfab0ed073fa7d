"""The project's terms as frozen records. Nothing here reads a file, starts a process or asks for the time.

axis: one dimension of the matrix. cell: one point of it. stage: what a cell goes through, in order. job: one stage with
all its inputs fixed. environment: a Python and locked wheels in which jobs run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias

Stage: TypeAlias = str
"""The name of a stage. `plan.stages` has a row for each."""


class Outcome(StrEnum):
    """How a cell or a job ended: a closed set."""

    PASSED = "passed"
    WRONG_OUTPUT = "wrong_output"
    FAILED = "failed"
    CRASHED = "crashed"
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    FLAKY = "flaky"
    NOT_INSTALLABLE = "not_installable"
    EXCLUDED = "excluded"
    BLOCKED = "blocked"
    UNTESTED = "untested"
    INFRASTRUCTURE = "infrastructure"

    @property
    def red(self) -> bool:
        """Whether it is a finding against a release; not a pass, a rule, two attempts that ended differently, or a
        cell that was not measured."""
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
"""The default engine. Printed commands do not name it."""
OUTPUT_BYTES = 8 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one job. They decide outcomes, so they are part of the job's key."""

    seconds: float = 600.0
    memory_bytes: int = 8 << 30
    log_bytes: int = 64 << 10
    output_bytes: int = OUTPUT_BYTES
    """All files that it leaves for later stages, together. In the key only where it is not the default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """The exact wheels of an environment.

    `name` is the path below `images/locks` without its suffix (`compiler/3.8.0`), `digest` the sha256 of the file,
    `pins` the requested (package, version) pairs, `refusal` the resolver's reason where no set of wheels exists (then
    the lock holds nothing else).

    A lock of the store `extends` a committed one by `packages`, which a model requires. Until it is resolved its digest
    is "", and `path` is where it will be. So is that of a release whose wheels lie at `places` of the user's own: uv's
    options for them.
    """

    name: str
    path: Path
    digest: str
    pins: tuple[tuple[str, str], ...]
    refusal: str = ""
    extends: Lock | None = None
    packages: tuple[str, ...] = ()
    places: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """A user's own tools in place of a release: a folder, a virtual environment or a wheel file at `path`.

    `tools` maps a tool to its file relative to `path` (in a wheel: its name there). `digest` covers the content of the
    tools and of the libraries that they load from beside them, so rebuilt tools are another toolchain.

    With `in_image`, `path` is the name of a container image and `digest` its ID without `sha256:`. The engine finds the
    tools when it inspects the image.
    """

    name: str
    path: Path
    digest: str
    tools: tuple[tuple[str, str], ...] = ()
    in_image: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """A runtime that is built from source.

    `release` is that of the pinned sources, "" for a user's own IREE tree (`tree`). `sets` are the locked sets of
    packages that its commands name, `tools` is the lock of cmake and other tools from PyPI, `digest` covers the sources
    and all these locks, `machine` runs the result.
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
    """The folder of a user's own compilers, `{toolchain}` in the commands."""
    benchmark: str = ""
    """Builds `iree-benchmark-module` too: the release of the pinned sources with Google benchmark, unless its own
    sources have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A board that runs a target's programs: OpenSSH's destination, and a file of its configuration in the place of the
    user's. Both are in no key and in no result; `target` names it there."""

    target: str
    ssh: str
    config: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """Another machine, and how its programs run here. `machine` is its `platform.machine()`.

    `emulator` is the argv before a program, its first word a name; `{sysroot}` in it is the folder with the machine's C
    library. `program` is the path of the emulator, or "" for one that is found by name. `sysroot` is a user's own
    folder; None: the locked packages of the machine, or of `packages` (SET/FOLDER, a folder in a locked set of
    `images/armv6`). A `board` runs them itself.
    """

    machine: str
    emulator: tuple[str, ...]
    program: str = ""
    sysroot: Path | None = None
    packages: str = ""
    board: Board | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentRequest:
    """An environment to realise. `kind` is exporter, importer, compiler, builder or runtime; `python` is `major.minor`.

    With a `toolchain` it holds a user's own tools and no wheels; then `lock` only carries its name, path and digest.
    With a `platform` its tools are for another machine, with a `driver` (a set of `images/drivers`) they find a device.
    """

    kind: str
    python: str
    lock: Lock
    toolchain: Toolchain | None = None
    platform: Platform | None = None
    build: Build | None = None
    """For a builder: what it builds. It holds compilers, cmake and IREE's sources."""
    linked: bool = False
    """For a compiler: the folder of `armv6-lld` is beside it, as `{link}` in its flags."""
    built: bool = False
    """For a runtime: a job brings its tools, from a build. It holds what runs them, or nothing."""
    bare: bool = False  # a Python and no package; then `lock` only carries a name
    driver: str = ""

    @property
    def label(self) -> str:
        if self.platform and self.platform.board:
            return f"{self.lock.name} on the board of target {self.platform.board.target}"
        if self.platform:
            return f"{self.lock.name} for {self.platform.machine}"
        return self.lock.name if self.toolchain else f"{self.lock.name} on Python {self.python}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A realised environment.

    `digest` covers what was realised (interpreter, C library, the RECORDs of the wheels), never its path. `root` is its
    folder; `tools` maps a tool's name (`iree-compile`) to its path relative to `root`; `distributions` are the
    installed (name, version) pairs; `variables` are those that its tools need. Tools of another machine run behind a
    `launcher`, the argv of an emulator, in which `{root}` is `root`; `emulator` names the emulator. `machine` is the
    class of the board, if one runs its tools. `package_bytes` has the unpacked bytes of the packages that the lock pins
    by name, where the engine tells; `evidence` further facts for results, as JSON."""

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
    board: Board | None = None
    machine: str = ""
    package_bytes: Mapping[str, int] = field(default_factory=dict)
    evidence: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one axis value means to one stage. A job's key has the parts of its own stage and no others.

    `pins` choose the environment's lock and `python` its interpreter; a `toolchain` replaces them. `flags` are added to
    the tool's command line as they are. `parameters` are further facts for the stage (model name, digest of the model's
    file). `packages` are requirements that extend the environment's lock. `platform` is the machine of the
    environment's programs if it is not this one. `renamed`: (a flag's name of today, the tool's own name for it), or
    the same of words in a flag's value. `driver` is the locked driver through which its tools find a device.
    """

    pins: tuple[tuple[str, str], ...] = ()
    python: str = ""
    flags: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()
    toolchain: Toolchain | None = None
    machine_bound: bool = False
    """The result of the stage depends on the machine that it runs on (`cpu=host`): then its class is in the job's
    key."""
    packages: tuple[str, ...] = ()
    platform: Platform | None = None
    build: Build | None = None
    """For the stage build: what is built. For the stage run: what was built."""
    driver: str = ""
    serves: bool = False
    """Needs the stage only if another value does: a toolchain, if something is linked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisValue:
    """One value of an axis: its label in tables, and a part for each stage that it affects."""

    axis: str
    label: str
    parts: Mapping[Stage, Part] = field(default_factory=dict)
    given: tuple[tuple[str, Path, str], ...] = ()
    """Artifacts (name, file, sha256) that come with the value instead of from an export: a user's own `.mlir`."""
    without: frozenset[Stage] = frozenset()
    """Stages that cells with this value skip: a `.vmfb` is not compiled."""
    note: str = ""
    """A note about the value beside the table: the opset of an `.onnx`, how a target is emulated."""
    untested: str = ""
    """Why no cell with this value can run on this machine (a `target` of another architecture); empty: it can."""
    untimed: str = ""
    """Why a time would be meaningless for this value (an emulated target); empty: it can be timed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A file that a job made: `name` is the stage's name for it (`module.vmfb`); the store names it by its sha256."""

    name: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One stage with all its inputs fixed, ready to run.

    Exactly one of `argv` (a tool of the environment and its arguments, relative to the job's folder) and `script` (a
    function of `scripts/`, run in a fork of the warm worker) is set. `inputs` are (name, sha256) pairs, which are put
    into the job's folder before it starts. `outputs` are patterns.
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
    alone: bool = False  # no other job may run on the machine at the same time
    loopback: bool = False  # its programs talk to each other by TCP
    programs: tuple[str, ...] = ()
    """The inputs that it executes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnd:
    """A worker's report of a job that has ended.

    `end` is one of exited, signalled, timed_out, out_of_memory, over_limit (of its outputs or processes), killed (by
    us), not_started, lost, crowded_out (this machine ran out of memory before the job reached its limit). `log` has the
    start and the end of stdout and stderr, `log_bytes` their full size. Times are in seconds, memory in bytes, both of
    all its processes. `peak_bytes` is 0 where it is unknown: the worker's own hides the peak of a small tool.
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

    @property
    def status(self) -> str:
        """`exit code 1`, `signalled 11`, `timed_out`."""
        return f"exit code {self.exit_code}" if self.end == "exited" else f"{self.end} {self.signal or ''}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """A finished job in the store: what it was, how it ended, what it produced. `attempts` are the ends before `end`: a
    crash or a limit is confirmed before it is recorded."""

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
    attempts: tuple[JobEnd, ...] = ()
