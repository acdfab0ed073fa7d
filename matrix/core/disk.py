"""Atomic writes, claims on folders, and the errors of a full or read-only disk."""

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

from matrix.core.errors import DiskFull, StoreUnusable, UsageError

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)
DEAD_SUFFIX = ".dead"
"""The suffix of a killed run's scratch folder that could not be removed: it holds files of a container's user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorePlaces:
    """The folders of a store that engines use: for environments, images and jobs."""

    folder: Path
    environments: Path
    scratch: Path
    """For temporary files; each run has its own folder below it."""
    wheels: Path
    """A cache of wheels that shrinks with the environments."""
    roots: Path
    """Links that keep paths of the Nix store from its garbage collector."""
    files: Path
    """Fetched files: wheels, Debian packages."""


def store_places(folder: Path) -> StorePlaces:
    return StorePlaces(
        folder=folder,
        environments=folder / "environments",
        scratch=folder / "scratch",
        wheels=folder / "wheels",
        roots=folder / "nix-roots",
        files=folder / "files",
    )


@contextlib.contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turns a full disk or a refused write below `folder` into DiskFull or StoreUnusable."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "full" in str(error):
            raise disk_full(folder) from None
        raise StoreUnusable(f"{folder}: the database answers: {error}", tip="check the folder's rights") from None
    except OSError as error:
        if error.errno in NO_SPACE:
            raise disk_full(folder) from None
        if error.errno in NOT_WRITABLE:
            raise StoreUnusable(
                f"{folder}: cannot be written: {error.strerror}", tip="give another folder with --store"
            ) from None
        raise


def disk_full(folder: Path) -> DiskFull:
    return DiskFull(
        f"no space left on the disk of {folder}; what was finished is kept",
        tip="free space or give another folder with --store, then run again: it continues where it stopped",
    )


@contextlib.contextmanager
def atomic_write(target: Path, *, what: str) -> Iterator[IO[bytes]]:
    """A temporary file beside `target`, renamed to it at the end of the block, or removed after an exception."""
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
    """Holds a lock that the kernel releases when its holder dies."""
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def files_below(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Every file below a folder. Files that vanish meanwhile are skipped."""
    folders = [str(folder)]
    while folders:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    yield entry


def size_of(folder: Path) -> int:
    """Bytes of the files below a folder. Files hardlinked from uv's cache are counted, though uv keeps them."""
    total = 0
    for entry in files_below(folder):
        with contextlib.suppress(FileNotFoundError):
            total += entry.stat(follow_symlinks=False).st_size
    return total


def write_output(path: Path, text: str, *, tip: str = "name another file") -> None:
    """Writes what `--output` asked for. Raises UsageError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--output: {path} cannot be written: {error.strerror}", tip=tip) from None
