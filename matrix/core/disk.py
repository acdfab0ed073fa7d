"""Files written whole or not at all, claims on folders, and a full or read-only disk said as an error."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from matrix.core.errors import DiskFull, StoreUnusable


@dataclass(frozen=True, slots=True, kw_only=True)
class StorePlaces:
    """The folders of a store in which environments, images and jobs are made: what an engine needs to know of it."""

    folder: Path
    environments: Path
    scratch: Path
    """For files in the making; a run has one of its own below it."""
    wheels: Path
    """A cache of wheels that goes with the environments."""
    roots: Path
    """Links that keep paths of the Nix store from its garbage collector."""
    files: Path
    """What was fetched: wheels, Debian packages."""


def places_of(folder: Path) -> StorePlaces:
    return StorePlaces(
        folder=folder,
        environments=folder / "environments",
        scratch=folder / "scratch",
        wheels=folder / "wheels",
        roots=folder / "nix-roots",
        files=folder / "files",
    )


DEAD = ".dead"
"""Ends the name of a killed run's scratch folder of which something is still there: a file of a container's user."""


@contextlib.contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turns a full disk and a refused write below `folder` into errors that say what to do."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "full" in str(error):
            raise disk_full(folder) from None
        raise StoreUnusable(f"{folder}: the database answers: {error}", tip="check the folder's rights") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full(folder) from None
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise StoreUnusable(
                f"{folder}: cannot be written: {error.strerror}", tip="give another folder with --store"
            ) from None
        raise


def disk_full(folder: Path) -> DiskFull:
    return DiskFull(
        f"no space left on the disk of {folder}; what was finished is kept",
        tip="free space or give another folder with --store, then run again: it goes on where it stopped",
    )


NO_SPACE = (errno.ENOSPC, errno.EDQUOT)

NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)


@contextlib.contextmanager
def replacing(target: Path, *, what: str) -> Iterator[IO[bytes]]:
    """A file under a temporary name beside `target`, renamed when the block ends well and removed when it does not."""
    name = ""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".partial-", delete=False) as file:
            name = file.name
            yield file
        Path(name).chmod(0o644)
        Path(name).replace(target)
        name = ""
    except OSError as error:
        if error.errno in NO_SPACE:
            raise DiskFull(
                f"{what}: no space left on the disk", tip="free some space, or give another --store"
            ) from error
        if error.errno in NOT_WRITABLE:
            raise StoreUnusable(
                f"{what}: {target.parent} cannot be written: {error.strerror}", tip="give a folder that is yours"
            ) from error
        raise
    finally:
        if name:
            Path(name).unlink(missing_ok=True)


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Hold a lock that the kernel releases when its holder dies."""
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def files_below(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Every file below a folder; what vanishes meanwhile is passed over."""
    folders = [str(folder)]
    while folders:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    yield entry
