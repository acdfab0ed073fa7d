"""The disk space of environments and their wheels, and a cache of wheels that shrinks with the environments.

uv hard-links the files of an environment from its cache. So each file is counted once, and removing an environment
frees space only if the cache drops the file too. uv's default cache belongs to the user: it is used where everything
fits, and never pruned. Where a run must remove environments, uv gets a cache in the store instead, and this module
removes the wheels there that no environment links any more. uv fetches a removed wheel again when it needs it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from matrix.core.disk import files_below


class Footprint:
    """The bytes of files on the disk. Each file counts once, however many links it has, with its latest known size:
    a wheel that is being unpacked grows."""

    def __init__(self) -> None:
        self.bytes = 0
        self._sizes: dict[tuple[int, int], int] = {}

    def add(self, folders: Iterable[Path]) -> int:
        """Measures folders, new or known. Returns the bytes of all folders so far; removed files still count."""
        for folder in folders:
            for entry in files_below(folder):
                with contextlib.suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    file, size = (status.st_dev, status.st_ino), status.st_blocks * 512
                    self.bytes += size - self._sizes.get(file, 0)
                    self._sizes[file] = size
        return self.bytes


class WheelCache:
    """A cache for uv below the store. Every install from it holds `in_use`; `prune` waits for all of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Prevents pruning: a wheel that is being unpacked has no links yet."""
        with self._gate(fcntl.LOCK_SH):
            yield

    def prune(self) -> None:
        """Removes the unpacked wheels that no environment links any more."""
        if not self.folder.is_dir():
            return
        with self._gate(fcntl.LOCK_EX):
            for wheel in self.folder.glob("archive-v*/*"):
                if not any(_linked(entry) for entry in files_below(wheel)):
                    shutil.rmtree(wheel, ignore_errors=True)

    @contextlib.contextmanager
    def _gate(self, how: int) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder.parent / f"{self.folder.name}.lock").open("wb") as file:
            fcntl.flock(file, how)
            yield


def _linked(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.stat(follow_symlinks=False).st_nlink > 1
    except OSError:
        return False
