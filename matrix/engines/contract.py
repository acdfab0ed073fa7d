"""The contract of an engine. Every implementation passes `tests/helpers/engine_contract.py`."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from typing import Protocol, runtime_checkable

from matrix.core.records import Environment, EnvironmentRequest, Job
from matrix.plan.backends.backend import TOOL_PLACE
from matrix.plan.backends.iree.source_builds import LINK_FOLDER
from matrix.plan.graph import LINK_PLACE
from matrix.plan.stages import ARGUMENTS_PLACE, PROGRAM_PLACE

EVERYWHERE = {"PATH": os.defpath, "LANG": "C.UTF-8", "TZ": "UTC"}
"""Variables of every job and worker. The user's are not among them: `ATEN_CPU_CAPABILITY` or `LD_PRELOAD` would change
results whose key does not have them, and a secret is nothing for a model."""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""A parent that has run an OpenMP region makes every fork of it hang."""


class Engine(Protocol):
    """Realises locked environments and runs jobs in them.

    Events of jobs go, as `matrix.engines.worker` events, to the callback that the engine was made with. `prefetch` is
    the number of jobs for each core that the engine accepts beyond the running ones, so that its workers never wait.
    """

    name: str
    prefetch: int

    def recipe(self, request: EnvironmentRequest) -> str:
        """The digest of what would be realised, without realising it. Raises EngineMissing."""

    def load(self, request: EnvironmentRequest) -> Environment | None:
        """The environment, if it exists already."""

    def realise(self, request: EnvironmentRequest) -> Environment:
        """Makes the environment, or waits for another process that makes it. May be called from any thread.

        Raises NotInstallable, NotRunnable, IndexUnreachable, HashMismatch, DiskFull, EngineMissing.
        """

    def start(self, job: Job, environment: Environment, inputs: Mapping[str, Path]) -> None:
        """Puts the inputs (name -> file of the store) into the job's folder, and passes the job to a worker."""

    def cancel(self, key: str) -> None:
        """Ends a job that has not started yet; its `Finished` says killed. A running job continues."""

    def collect(self, job: Job) -> dict[str, Path]:
        """The output files (name -> path) of a job that ended: only those that its patterns match."""

    def clear(self, job: Job) -> None:
        """Removes the folder of a job."""

    def close_worker(self, request: EnvironmentRequest) -> None:
        """All jobs of an environment have ended: ends its worker. May be called from any thread."""

    def close(self) -> None:
        """Ends all workers in order."""

    def terminate(self) -> None:
        """Kills all workers at once."""


@runtime_checkable
class Measuring(Protocol):
    """An engine that can measure the disk space of its environments. Each method may be called from any thread."""

    def held_bytes(self, made: EnvironmentRequest | None = None) -> int:
        """The bytes of the environments, including their wheels. Measures all of them, or only the one that was `made`
        since the last call. If none can be removed: those that the engine has found or made so far."""

    def free_bytes(self) -> int | None:
        """The free bytes of their disk; None if it cannot be measured, such as a remote daemon's."""


@runtime_checkable
class Removing(Measuring, Protocol):
    """An engine whose environments can be removed during a run, so that it keeps within a budget. Other engines keep
    what they make, and a budget only decides beforehand whether a run starts."""

    def remove(self, request: EnvironmentRequest) -> bool:
        """Removes an environment, and those of its wheels that no other one has. False if it is in use elsewhere."""

    def remove_unfinished(self) -> None:
        """Removes the remains of killed runs."""

    def remove_others(self, keep: Collection[EnvironmentRequest]) -> int:
        """Removes the unused environments of other presets: all but these. Returns their number."""


@runtime_checkable
class Verifying(Protocol):
    """An engine that can compare an environment with what was made. Each method may be called from any thread."""

    def damage(self, request: EnvironmentRequest, *, every_byte: bool) -> str:
        """How an environment that was loaded differs from what was made, in one line; empty: not at all. Without
        `every_byte` by what is quick to know, such as names and sizes."""

    def discard(self, request: EnvironmentRequest) -> None:
        """Takes a damaged environment away, in use or not: it is made again, of files that are whole."""


def tool_line(argv: Sequence[str], environment: Environment) -> tuple[str, ...]:
    """The command line of a tool's job, with the program as a path. `python` is that of the environment.

    If the environment has a launcher, `argv` begins with as many words of the emulator; they may have places for the
    program and its words.
    """
    if not argv:
        return ()
    launcher = tuple(
        said if word in (PROGRAM_PLACE, ARGUMENTS_PLACE) else word.replace("{root}", str(environment.root))
        for word, said in zip(environment.launcher, argv, strict=False)
    )
    if len(argv) == len(launcher):
        return launcher
    name, *arguments = argv[len(launcher) :]
    own = name.startswith("./")  # it came with the job, from a build
    program = name if own else _tool(name, environment)
    return (*launcher, program, *(_placed(word, environment) for word in arguments))


def _tool(name: str, environment: Environment) -> str:
    return str(environment.root / environment.tools.get(name, f"bin/{name}"))


def _placed(word: str, environment: Environment) -> str:
    """A word with the paths of the environment in the place of their names."""
    before, _, after = TOOL_PLACE.partition("%s")
    if word.startswith(before) and word.endswith(after):
        return _tool(word[len(before) : -len(after)], environment)
    return word.replace(LINK_PLACE, str(environment.root / LINK_FOLDER))


def tool_variables(environment: Environment) -> dict[str, str]:
    """The variables that the tools of an environment need. `{root}` in one is its folder."""
    return {name: value.replace("{root}", str(environment.root)) for name, value in environment.variables}


def job_variables(folder: PurePath) -> dict[str, str]:
    """The variables of a job that has a folder of its own for all that it writes."""
    return {**EVERYWHERE, "HOME": str(folder), "TMPDIR": str(folder)}


def script_arguments(job: Job, folder: PurePath) -> dict[str, str]:
    """The arguments of a job's script. Those whose name ends in `_file` name inputs, which are in `folder`."""
    return {
        name: str(folder / PurePath(value).name) if name.endswith("_file") else value for name, value in job.arguments
    }


def link_inputs(inputs: Mapping[str, Path], folder: Path) -> None:
    """Puts files (name -> file of the store) into a folder that a job sees read-only."""
    for name, blob in inputs.items():
        place = folder / name
        try:
            place.hardlink_to(blob)
        except OSError:  # another disk, or a file of another user
            shutil.copyfile(blob, place)
            place.chmod(0o444)  # whatever the umask is: the job may have another user


def outputs_in(folder: Path, job: Job) -> dict[str, Path]:
    """The regular files of a job's folder that its patterns match; links are not followed."""
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        return {
            entry.name: Path(entry.path)
            for entry in entries
            if entry.is_file(follow_symlinks=False) and any(fnmatchcase(entry.name, pattern) for pattern in job.outputs)
        }
    return {}
