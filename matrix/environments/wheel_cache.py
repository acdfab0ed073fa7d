"""What environments and their wheels hold of the disk; a cache of wheels that shrinks with the environments.

uv links an environment's files from its cache, so a file is counted once, and an environment that goes frees its bytes
only if the cache lets go of them too. uv's own cache is the user's: it is used where everything fits, and never
touched. Where a run must drop environments it gives uv a cache in the store, of which this module removes the wheels
that no environment links any more. uv fetches a wheel again that is gone from its cache.
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
    """The bytes of files, each counted once however often it is linked, and as large as it was when last looked at:
    a wheel that is being unpacked grows."""

    def __init__(self) -> None:
        self.bytes = 0
        self._sizes: dict[tuple[int, int], int] = {}

    def add(self, folders: Iterable[Path]) -> int:
        """Looks at folders, new or known, and says what all of them hold by now. What went meanwhile still counts."""
        for folder in folders:
            for entry in files_below(folder):
                with contextlib.suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    file, size = (status.st_dev, status.st_ino), status.st_blocks * 512
                    self.bytes += size - self._sizes.get(file, 0)
                    self._sizes[file] = size
        return self.bytes


class WheelCache:
    """A cache for uv below the store. Whoever installs from it holds `in_use`; `let_go` waits for all of these."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """A wheel that is being unpacked is linked nowhere yet: nothing is removed meanwhile."""
        with self._gate(fcntl.LOCK_SH):
            yield

    def let_go(self) -> None:
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
