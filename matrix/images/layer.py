"""Writes a folder as a layer of an image: a tar that depends on the content alone.

Times and owners are 0, names are sorted, modes are 0644 or 0755: so the digest is the same on every machine. The
folders come from `matrix.images.wheel_layer`, and from the skeleton here, with which the base's Python finds them.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from matrix.core.errors import ImageFault

ENVIRONMENT = "opt/env"
BLOCK_BYTES = 1 << 20
SET_ID_BITS = 0o6000


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """An uncompressed tar. `digest` is its sha256, which images call the diff ID; `size` is in bytes."""

    digest: str
    size: int

    @property
    def short(self) -> str:
        """For messages."""
        return f"{self.digest[:12]} ({self.size} bytes)"


class Hashed(io.RawIOBase):
    """Counts and hashes the bytes that are written, and passes them to `out`, if there is one."""

    def __init__(self, out: BinaryIO | None) -> None:
        self._out = out
        self._hash = hashlib.sha256()
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        view = memoryview(data)  # type: ignore[arg-type]
        self._hash.update(view)
        self._size += view.nbytes
        if self._out is not None:
            self._out.write(view)
        return view.nbytes

    def layer(self) -> Layer:
        return Layer(digest=self._hash.hexdigest(), size=self._size)


def write_tree(root: Path, out: BinaryIO | None) -> Layer:
    """Streams the files below `root` to `out` as a layer, sorted (None: only computes the digest)."""
    hashed = Hashed(out)
    with tarfile.open(fileobj=hashed, mode="w|", format=tarfile.GNU_FORMAT, bufsize=BLOCK_BYTES) as tar:
        for path in sorted(_below(root), key=lambda path: path.relative_to(root).as_posix()):
            _add(tar, path, path.relative_to(root).as_posix())
    return hashed.layer()


def _below(root: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(root):
        for name in (*folders, *names):
            yield Path(place) / name


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    facts = path.lstat()
    member = tarfile.TarInfo(name)
    if stat.S_ISDIR(facts.st_mode):
        member.type, member.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(member)
    elif stat.S_ISLNK(facts.st_mode):
        member.type, member.mode, member.linkname = tarfile.SYMTYPE, 0o777, str(path.readlink())
        tar.addfile(member)
    elif stat.S_ISREG(facts.st_mode):
        member.mode = 0o755 if facts.st_mode & stat.S_IXUSR else 0o644
        member.size = facts.st_size
        with path.open("rb") as file:
            tar.addfile(member, file)
    else:
        raise ImageFault(f"{name}: neither a file nor a folder nor a link", tip="a wheel must not contain this")


@contextmanager
def skeleton_tree(*, python: str, scratch: Path) -> Iterator[Path]:
    """A temporary folder with an empty virtual environment of the base's Python."""
    with tempfile.TemporaryDirectory(dir=scratch, prefix="skeleton-") as place:
        root = Path(place) / ENVIRONMENT
        (root / "bin").mkdir(parents=True)
        (root / "lib" / f"python{python}" / "site-packages").mkdir(parents=True)
        (root / "bin" / "python").symlink_to(f"/usr/bin/python{python}")
        (root / "pyvenv.cfg").write_text(
            f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {python}\n", encoding="utf-8"
        )
        yield Path(place)
