"""Folders of environments in the store: made under a claim, named by one rename, taken away by one rename.

A folder gets its name once it is complete and on the disk. A process that is killed while it builds or removes leaves a
folder `<name>.partial-<pid>-…`, which the next process removes. `<name>.lock` is the claim on the environment.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from glob import escape
from pathlib import Path

from matrix.artifacts.json_reader import read_json
from matrix.core.disk import claim_file, remove_tree, sync_disk
from matrix.core.errors import DiskFull, StoreUnusable
from matrix.core.keys import Json, digest
from matrix.core.processes import pause
from matrix.core.records import Environment, EnvironmentRequest
from matrix.environments.manifest import wheel_files, write_manifest

DESCRIPTION_FORMAT = 2
CLAIM_SECONDS = 1.0
"""How long a removal waits for the claim on an environment."""
LOOKING_SECONDS = 0.05
"""How often a process looks whether another one has built an environment."""
DESCRIPTION, SUM = "environment.json", "sha256"
PARTIAL = ".partial-"


def realise_with(request: EnvironmentRequest, folder: Path, build: Callable[[Path], Environment]) -> Environment:
    """The environment at `folder`. If it does not exist yet, `build` makes it in a temporary folder.

    Waits for another process or thread that builds or removes it. It looks again and again, and does not stand in line
    for the claim: who has built it goes on to use it, and two runs that each wait for the other's would wait for ever.

    Raises what `build` raises, DiskFull, StoreUnusable, ProgramKilled.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        while True:
            if known := load(folder):
                return known
            with claim_file(_claim_of(folder)) as file:
                if _claims_now(file):
                    return load(folder) or _make(request, folder, build)
            pause(LOOKING_SECONDS)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"cannot realise {request.label}: no space left on the disk") from error
        raise StoreUnusable(f"cannot realise {request.label}: {error}") from error


def _claim_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


@contextlib.contextmanager
def in_use(folder: Path) -> Iterator[bool]:
    """Keeps an environment from being removed; yields False while another process builds or removes it."""
    with claim_file(_claim_of(folder)) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield folder.is_dir()


def remove_environment(folder: Path) -> bool:
    """Removes an environment that is not in use. Returns whether it is removed."""
    with claim_file(_claim_of(folder)) as file:
        if not _claim_exclusively(file):
            return False
        if folder.is_symlink():  # the environment belongs to another store
            folder.unlink()
            return True
        if folder.is_dir():
            remove_tree(take_away(folder))
    return not folder.exists()


def take_away(folder: Path) -> Path:
    """Takes the name from an environment, in use or not: from here on there is none, even if this process is killed.
    Returns the folder that is left to remove."""
    left = Path(tempfile.mkdtemp(prefix=f"{folder.name}{PARTIAL}{os.getpid()}-", dir=folder.parent))
    folder.rename(left / folder.name)
    return left


def _claim_exclusively(file: int) -> bool:
    """Takes the claim exclusively. Between fork and exec a child process holds our own open files, and so the claim:
    this is over in a moment, so a busy claim is tried again for CLAIM_SECONDS."""
    end = time.monotonic() + CLAIM_SECONDS
    while not _claims_now(file):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def _claims_now(file: int) -> bool:
    """Takes the claim exclusively, if nobody has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def remove_unfinished(parent: Path) -> None:
    """Removes what killed processes built or removed. What is being built stays."""
    for left in parent.glob(f"*{PARTIAL}*"):
        claim = parent / f"{left.name.rpartition(PARTIAL)[0]}.lock"
        with claim_file(claim) as file, contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_tree(left)


def _make(request: EnvironmentRequest, folder: Path, build: Callable[[Path], Environment]) -> Environment:
    note_install(request)
    for left in folder.parent.glob(f"{escape(folder.name)}{PARTIAL}*"):  # of a killed process: this one holds the claim
        remove_tree(left)
    partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}{PARTIAL}{os.getpid()}-", dir=folder.parent))
    try:
        _describe(build(partial), partial)
        write_manifest(partial, wheel_files(partial))
        sync_disk(partial)  # a power failure after the rename must not leave empty files under the name
        if folder.exists():  # of another format
            remove_tree(take_away(folder))
        partial.rename(folder)
    finally:
        remove_tree(partial)
    environment = load(folder)
    if environment is None:
        raise StoreUnusable(f"{folder} holds no environment after it was built", tip="remove it and run again")
    return environment


def note_install(request: EnvironmentRequest) -> None:
    """Lets tests count installs independently of the orchestrator's records."""
    if log := os.environ.get("IREE_MATRIX_INSTALL_LOG"):
        with Path(log).open("a", encoding="utf-8") as file:
            file.write(f"{request.label}\n")


def _describe(environment: Environment, root: Path) -> None:
    """Writes the description that makes a folder an environment, with the sha256 of all else that it says."""
    record: dict[str, Json] = {
        "format": DESCRIPTION_FORMAT,
        "request": environment.request_label,
        "engine": environment.engine,
        "digest": environment.digest,
        "python_version": environment.python_version,
        "c_library": environment.c_library,
        "tools": dict(environment.tools),
        "distributions": [list(pair) for pair in environment.distributions],
        "launcher": list(environment.launcher),
        "emulator": environment.emulator,
        "variables": [list(pair) for pair in environment.variables],
        "package_bytes": dict(environment.package_bytes),
    }
    with (root / DESCRIPTION).open("w", encoding="utf-8") as file:
        json.dump({**record, SUM: digest(record)}, file, indent=1)


def load(folder: Path) -> Environment | None:
    """The environment at `folder`; None if there is none, one of another format, or one whose description is damaged: a
    bit that the disk lost would be another tool, or other job keys."""
    try:
        read = read_json((folder / DESCRIPTION).read_bytes())
        if read["format"] != DESCRIPTION_FORMAT or read.pop(SUM) != digest(read):
            return None
        return Environment(
            request_label=read["request"],
            engine=read["engine"],
            digest=read["digest"],
            root=folder,
            python_version=read["python_version"],
            c_library=read["c_library"],
            tools=read["tools"],
            distributions=tuple((name, version) for name, version in read["distributions"]),
            launcher=tuple(read["launcher"]),
            emulator=read["emulator"],
            variables=tuple((name, value) for name, value in read["variables"]),
            package_bytes=read["package_bytes"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
