"""Atomic writes, claims on folders, removal of folders, and the errors of a full or read-only disk."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import secrets
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from matrix.core.errors import DiskFull, MatrixError, StoreUnusable, UsageError

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ELOOP)
FAILED = (errno.EIO, errno.ENXIO, errno.ENODEV, errno.ESTALE)
"""What a disk answers that is broken or was taken away."""
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""How a folder is opened: never through a link."""
ROOM_BYTES = 64 << 20
"""A disk that has no room for as much may have cut short what a job wrote."""
DEAD_SUFFIX = ".dead"
"""The suffix of a killed run's scratch folder that could not be removed: it holds files of a container's user."""


def is_file_at(path: Path, is_kind: Callable[[Path], bool] = Path.is_file) -> bool:
    """As `Path.is_file`: a word that is too long for a name is none."""
    try:
        return is_kind(path)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False


def is_folder_at(path: Path) -> bool:
    """As `Path.is_dir`, likewise."""
    return is_file_at(path, Path.is_dir)


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
        raise StoreUnusable(
            f"{folder}: the database answers {str(error)!r}, expected one that this project made",
            tip="check the folder's rights",
        ) from None
    except OSError as error:
        if fault := disk_fault(error, folder):
            raise fault from None
        if error.errno in NO_LOCKS:
            raise StoreUnusable(
                f"{folder}: its disk has no locks, expected one that keeps two runs apart: {error.strerror}",
                tip="give a folder on a local disk with --store",
            ) from None
        if error.errno in NOT_WRITABLE:
            raise StoreUnusable(
                f"{folder}: cannot be written ({error.strerror}), expected a folder",
                tip="give another folder with --store",
            ) from None
        raise


def disk_fault(error: OSError, place: Path) -> MatrixError | None:
    """The error of a disk that is full or broken; None for any other."""
    if error.errno in NO_SPACE:
        return disk_full(place)
    if error.errno in FAILED:
        return StoreUnusable(
            f"{place}: its disk failed: {error.strerror}",
            tip="look at the disk and the kernel's messages, then run again: it continues where it stopped",
        )
    return None


def disk_full(folder: Path) -> DiskFull:
    return DiskFull(
        f"no space left on the disk of {folder}; what was finished is kept",
        tip="free space or give another folder with --store, then run again: it continues where it stopped",
    )


def refuse_full_disk(folder: Path) -> None:
    """Raises DiskFull if the disk of a folder, or this user's share of it, has no room for ROOM_BYTES more."""
    try:
        with disk_errors(folder), tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, ROOM_BYTES)
    except DiskFull as fault:
        raise DiskFull(
            f"a job failed with no space left on the disk of {folder} for {ROOM_BYTES >> 20} MiB: its tool may have "
            "been cut short, so it does not count; what was finished is kept",
            tip=fault.tip,
        ) from None


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
def claim_file(path: Path) -> Iterator[int]:
    """The open file of a claim, made if it is not there. It is opened for reading: a lock needs no more, and another
    user's file may allow no more. Raises StoreUnusable, DiskFull."""
    with disk_errors(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Holds a lock that the kernel releases when its holder dies. Raises StoreUnusable, DiskFull."""
    with claim_file(path) as file:
        with disk_errors(path):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def sync_disk(folder: Path) -> None:
    """Waits until all that was written to the disk of a folder is on it."""
    import ctypes

    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(descriptor)


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


def remove_tree(folder: Path) -> bool:
    """Removes a folder with all that is below it, however deep and whatever its modes; follows no link. Returns whether
    it is gone; what cannot be removed (files of another user) stays.

    Jobs leave folders 1,500 levels deep: their paths are too long to open, and a recursion ends there. So each folder
    below a folder is moved up to `folder` before its own is removed, and only three are open at a time.
    """
    try:
        top = _open_folder(os.fspath(folder), None)
    except FileNotFoundError:
        return True
    except OSError:  # a link, or a folder of another user
        return False
    names = (f".{secrets.token_hex(8)}" for _ in itertools.count())
    try:
        while _empty(top, top, names):
            pass
    finally:
        os.close(top)
    with contextlib.suppress(OSError):
        folder.rmdir()
    return not folder.exists()


def _open_folder(name: str, within: int | None) -> int:
    """Opens a folder after it was made readable and writable. Raises OSError if it is none."""
    if stat.S_ISDIR(os.stat(name, dir_fd=within, follow_symlinks=False).st_mode):
        with contextlib.suppress(OSError):
            os.chmod(name, 0o700, dir_fd=within)
    return os.open(name, FOLDER, dir_fd=within)


def _empty(folder: int, top: int, names: Iterator[str]) -> bool:
    """Removes the files of a folder. Its folders go too if it is `top`, else they move there. Returns whether anything
    has changed: entries that came or went during a scan may need another."""
    changed = False
    with os.scandir(folder) as entries:  # not a list: there may be a million
        for entry in entries:
            with contextlib.suppress(OSError):
                if not entry.is_dir(follow_symlinks=False):
                    os.unlink(entry.name, dir_fd=folder)
                elif folder == top:
                    _remove_below(top, entry.name, names)
                else:
                    os.close(_open_folder(entry.name, folder))  # it must be writable to be moved
                    os.rename(entry.name, next(names), src_dir_fd=folder, dst_dir_fd=top)
                changed = True
    return changed


def _remove_below(top: int, name: str, names: Iterator[str]) -> None:
    """Raises OSError if something of it stays."""
    folder = _open_folder(name, top)
    try:
        while _empty(folder, top, names):
            pass
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=top)


def held_below(folder: Path) -> tuple[int, int]:
    """The bytes on the disk and the number of files and folders below a folder, however deep. What is changed meanwhile
    may be left out. Raises PermissionError where a folder of another user is closed."""
    here = os.open(folder, FOLDER)
    try:
        size, count, names = _scanned(here)
        levels = [(_identity(here), names)]
        while True:
            if levels[-1][1]:
                there = _folder_below(here, levels[-1][1].pop())
                if there is None:
                    continue
                os.close(here)
                here = there
                more, number, names = _scanned(here)
                size, count = size + more, count + number
                levels.append((_identity(here), names))
            else:
                levels.pop()
                if not levels:
                    return size, count
                there = os.open("..", FOLDER, dir_fd=here)
                os.close(here)
                here = there
                if _identity(here) != levels[-1][0]:  # it was moved
                    return size, count
    finally:
        os.close(here)


def _folder_below(folder: int, name: str) -> int | None:
    """None where it is gone or another thing by now."""
    try:
        return os.open(name, FOLDER, dir_fd=folder)
    except PermissionError:
        raise
    except OSError:
        return None


def _scanned(folder: int) -> tuple[int, int, list[str]]:
    """The bytes of the files in a folder, the number of its entries, and the names of its folders."""
    size, count, names = 0, 0, list[str]()
    with os.scandir(folder) as entries:
        for entry in entries:
            count += 1
            with contextlib.suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    names.append(entry.name)
                else:
                    size += entry.stat(follow_symlinks=False).st_blocks * 512
    return size, count, names


def _identity(folder: int) -> tuple[int, int]:
    facts = os.fstat(folder)
    return facts.st_dev, facts.st_ino


def write_output(path: Path, text: str | Iterable[str], *, tip: str = "name another file") -> None:
    """Writes what `--output` asked for, perhaps piece by piece. Raises UsageError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as file:
            file.writelines([text] if isinstance(text, str) else text)
    except OSError as error:
        raise UsageError(
            f"--output: {path} cannot be written ({error.strerror}), expected a file in a folder that is yours", tip=tip
        ) from None
