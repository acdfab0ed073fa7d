"""Files named by their sha256. What a power failure or a fault of the disk changed is noticed by that name.

A file's bytes are read before this process uses them the first time, and again when its inode, size or times differ.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from matrix.core.disk import StorePlaces, disk_errors
from matrix.core.errors import BlobDamaged
from matrix.core.keys import sha256
from matrix.core.records import Artifact

RUN_AGAIN = "run again: the job that made it runs once more"
Written = tuple[int, int, int]
"""Inode, size and time of the last write. The inode's own time changes with each link that an engine makes."""


class Blobs:
    """A folder with blobs, and a scratch folder for their copies."""

    def __init__(self, places: StorePlaces) -> None:
        self.folder, self.places = places.folder, places
        self.blobs = places.folder / "blobs"
        self._beneath = f"{self.blobs}/"
        self._read: dict[str, Written] = {}

    def blob(self, digest: str) -> Path:
        """The path of an artifact with this sha256, whether it exists or not."""
        return Path(f"{self._beneath}{digest[:2]}/{digest}")  # joined at once: a run asks for it again and again

    def put(self, path: Path, name: str) -> Artifact:
        """Puts a file into the store: moves it if it is on the store's disk, else copies it. It replaces what has its
        name: that may be damaged."""
        with disk_errors(self.folder):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                size = os.fstat(file.fileno()).st_size
            place = self.blob(digest)
            place.parent.mkdir(exist_ok=True)
            path.chmod(0o444)
            _move(path, place)
            self._read[digest] = _written(place)
        return Artifact(name=name, digest=digest, size=size)

    def put_copy(self, path: Path, name: str) -> Artifact:
        """Like `put`, but leaves a user's file where it is."""
        with disk_errors(self.folder):
            copy = Path(tempfile.mkstemp(dir=self.places.scratch)[1])
            shutil.copyfile(path, copy)
        artifact = self.put(copy, name)
        copy.unlink(missing_ok=True)
        return artifact

    def whole(self, digest: str, *, again: bool = False) -> bool:
        """Whether a blob exists and has the bytes of its name. `again`: reads it even if it did before."""
        place = self.blob(digest)
        try:
            now = _written(place)
            if again or self._read.get(digest) != now:
                self._read.pop(digest, None)
                if sha256(place) == digest:
                    self._read[digest] = now
        except OSError:  # it is gone, or the disk cannot read it
            return False
        return digest in self._read

    def read(self, digest: str) -> bytes:
        """The bytes of a blob. Raises BlobDamaged where they are others, or cannot be read."""
        return read_exactly(self.blob(digest), digest)

    def drop(self, digest: str) -> None:
        """Removes a damaged blob: the job that made it is not finished any more."""
        self._read.pop(digest, None)
        with disk_errors(self.folder):
            self.blob(digest).unlink(missing_ok=True)

    def stands(self, artifact: Artifact) -> bool:
        """Whether a blob exists in its size: what is cheap to know of any number of them."""
        try:
            return self.blob(artifact.digest).stat().st_size == artifact.size
        except OSError:
            return False


def read_exactly(path: Path, digest: str) -> bytes:
    """The bytes of a file with this sha256. Raises BlobDamaged."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BlobDamaged(f"the artifact {digest[:12]}… cannot be read: {error.strerror}", tip=RUN_AGAIN) from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise BlobDamaged(f"the artifact {digest[:12]}…: its bytes changed on this disk", tip=RUN_AGAIN)
    return content


def _written(path: Path) -> Written:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _move(path: Path, place: Path) -> None:
    try:
        path.rename(place)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        beside = place.with_name(f"{place.name}.{os.getpid()}")
        shutil.copy2(path, beside)
        beside.rename(place)
