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
from matrix.plan.backends.source_builds import LINK_FOLDER
from matrix.plan.graph import LINK_PLACE

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""A parent that ran an OpenMP region hangs every fork of it."""


class Engine(Protocol):
    """Realises locked environments and runs jobs in them.

    What happens to jobs arrives as `matrix.engines.worker` events on the callback that the engine was made with.
    `prefetch` is how many jobs a core the engine takes beyond those that run: its workers then never wait for the next
    one.
    """

    name: str
    prefetch: int

    def recipe(self, request: EnvironmentRequest) -> str:
        """What would be realised, as a digest, without realising it. Raises EngineMissing."""

    def load(self, request: EnvironmentRequest) -> Environment | None:
        """The environment, if it stands already."""

    def realise(self, request: EnvironmentRequest) -> Environment:
        """Makes the environment, or waits for another process that makes it. May be called from any thread.

        Raises NotInstallable, NotRunnable, IndexUnreachable, HashMismatch, DiskFull, EngineMissing.
        """

    def start(self, job: Job, environment: Environment, inputs: Mapping[str, Path]) -> None:
        """Lays the inputs (name -> file of the store) into the job's folder and hands the job to a worker."""

    def cancel(self, key: str) -> None:
        """Ends a job that has not started yet; its `Finished` says killed. One that runs is left alone."""

    def collect(self, job: Job) -> dict[str, Path]:
        """The output files (name -> path) of a job that ended, those that its patterns name and no others."""

    def clear(self, job: Job) -> None:
        """Removes the folder of a job."""

    def close_worker(self, request: EnvironmentRequest) -> None:
        """All jobs of an environment are over: its worker ends. May be called from any thread."""

    def close(self) -> None:
        """Ends all workers, in order."""

    def terminate(self) -> None:
        """Ends all workers at once."""


@runtime_checkable
class Measuring(Protocol):
    """An engine that knows what its environments take of a disk. Each may be called from any thread."""

    def held_bytes(self, made: EnvironmentRequest | None = None) -> int:
        """What the environments hold, their wheels included: all are looked at, or only one that was `made` since the
        last time. Where none can be removed: those that the engine has found or made so far."""

    def free_bytes(self) -> int | None:
        """What their disk has left; None where that disk is out of sight, such as a remote daemon's."""


@runtime_checkable
class Removing(Measuring, Protocol):
    """An engine whose environments can be removed in mid-run, so that it keeps to a budget. With any other what was
    made stays, and a budget only says beforehand whether a run begins."""

    def remove(self, request: EnvironmentRequest) -> bool:
        """Removes an environment, and of its wheels those that no other one has. False if it is in use elsewhere."""

    def remove_unfinished(self) -> None:
        """Removes what killed runs left."""

    def remove_others(self, keep: Collection[EnvironmentRequest]) -> int:
        """Removes the environments of other presets that nobody uses now: all but these. How many."""


def tool_line(argv: Sequence[str], environment: Environment) -> tuple[str, ...]:
    """The command line of a tool's job, its program as a path. `python` is the environment's own.

    Where the environment has a launcher, `argv` begins with the emulator's words: as many.
    """
    if not argv:
        return ()
    launcher = tuple(word.replace("{root}", str(environment.root)) for word in environment.launcher)
    name, *arguments = argv[len(launcher) :]
    own = name.startswith("./")  # it came with the job, from a build
    program = name if own else str(environment.root / environment.tools.get(name, f"bin/{name}"))
    return (*launcher, program, *(word.replace(LINK_PLACE, str(environment.root / LINK_FOLDER)) for word in arguments))


def script_arguments(job: Job, folder: PurePath) -> dict[str, str]:
    """The arguments of a job's script; those whose name ends in `_file` name inputs, which lie in `folder`."""
    return {
        name: str(folder / PurePath(value).name) if name.endswith("_file") else value for name, value in job.arguments
    }


def link_inputs(inputs: Mapping[str, Path], folder: Path) -> None:
    """Puts files (name -> file of the store) into a folder that a job sees read-only."""
    for name, blob in inputs.items():
        place = folder / name
        try:
            place.hardlink_to(blob)
        except OSError:  # another disk, or another user's file
            shutil.copyfile(blob, place)


def outputs_in(folder: Path, job: Job) -> dict[str, Path]:
    """The regular files of a job's folder that its patterns name; no link is followed."""
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        return {
            entry.name: Path(entry.path)
            for entry in entries
            if entry.is_file(follow_symlinks=False) and any(fnmatchcase(entry.name, pattern) for pattern in job.outputs)
        }
    return {}
