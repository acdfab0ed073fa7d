"""What is in a layer, file by file, read from a stream: to name the first file in which two layers differ."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

BLOCK = 1 << 20
Facts = tuple[str, int, int, int, str, str]
"""Type, mode, owner, size in bytes, target of a link, sha256."""
NAMES = ("type", "mode", "owner", "size", "link", "sha256")


class Reader(io.RawIOBase):
    """Reads blocks of bytes, or another stream, as a file, and hashes what passes."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._left = b""
        self.hash = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        while not self._left:
            try:
                self._left = next(self._blocks)
            except StopIteration:
                return 0
            self.hash.update(self._left)
        size = min(len(view), len(self._left))
        view[:size] = self._left[:size]
        self._left = self._left[size:]
        return size

    def finish(self) -> str:
        """Reads what is left. Returns the sha256 of everything."""
        while self.read(BLOCK):
            pass
        return self.hash.hexdigest()


def blocks_of(file: IO[bytes]) -> Iterable[bytes]:
    return iter(lambda: file.read(BLOCK), b"")


def layer_files(reader: Reader) -> dict[str, Facts]:
    """The members of a layer by name."""
    found: dict[str, Facts] = {}
    with tarfile.open(fileobj=io.BufferedReader(reader, BLOCK), mode="r|") as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isreg() else None
            digest = _sha256(content) if content else ""
            kind = member.type.decode()
            found[member.name] = (kind, member.mode, member.uid, member.size, member.linkname, digest)
    return found


def _sha256(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    for block in blocks_of(file):
        digest.update(block)
    return digest.hexdigest()


def layer_in_archive(archive: Iterable[bytes], digest: str) -> dict[str, Facts]:
    """The members of the layer with this diff ID, out of a `docker save` stream; empty if it is not in there."""
    with tarfile.open(fileobj=io.BufferedReader(Reader(archive), BLOCK), mode="r|") as outer:
        for member in outer:
            content = outer.extractfile(member) if member.isreg() else None
            if content is None or not _may_be_layer(member.name):
                continue
            reader = Reader(blocks_of(content))
            try:
                files = layer_files(reader)
            except tarfile.TarError:
                continue  # a config among the blobs
            if reader.finish() == digest:
                return files
    return {}


def _may_be_layer(name: str) -> bool:
    return name.endswith(".tar") or name.startswith("blobs/sha256/")


def first_difference(ours: Mapping[str, Facts], theirs: Mapping[str, Facts]) -> str:
    """The first file, by name, in which two layers differ, and how; empty if their files are the same."""
    for name in sorted(ours.keys() | theirs.keys()):
        if name not in ours or name not in theirs:
            return f"{name}: only {'on the daemon' if name in theirs else 'in what the files give'}"
        if ours[name] != theirs[name]:
            pairs = zip(NAMES, ours[name], theirs[name], strict=True)
            what, here, there = next((what, here, there) for what, here, there in pairs if here != there)
            return f"{name}: {what} is {here}, on the daemon {there}"
    return ""


def first_damaged(wheel: Path) -> str:
    """The first member of a wheel whose bytes do not fit its checksum, or what else of it cannot be read."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            for info in archive.infolist():
                try:
                    with archive.open(info) as file:
                        _sha256(file)
                except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError):
                    return info.filename
    except (zipfile.BadZipFile, OSError):
        return "the archive's directory"
    return "no file: the archive's own fields differ"
