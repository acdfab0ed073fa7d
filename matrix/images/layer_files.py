"""Reads the files of a layer from a stream, to name the first file in which two layers differ."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO

from matrix.images.layer import BLOCK_BYTES

FileFacts = tuple[str, int, int, int, str, str]
"""Type, mode, owner, size in bytes, target of a link, sha256."""
BLOBS = "blobs/sha256/"
"""Where parts of an image are in an archive, each with its digest as its name."""
FACT_NAMES = ("type", "mode", "owner", "size", "link", "sha256")


class Reader(io.RawIOBase):
    """Makes a file of blocks of bytes, and hashes them."""

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
        """Reads the rest. Returns the sha256 of all bytes."""
        while self.read(BLOCK_BYTES):
            pass
        return self.hash.hexdigest()


def blocks_of(file: IO[bytes]) -> Iterable[bytes]:
    return iter(lambda: file.read(BLOCK_BYTES), b"")


def layer_files(reader: Reader) -> dict[str, FileFacts]:
    """The members of a layer by name."""
    found: dict[str, FileFacts] = {}
    with tarfile.open(fileobj=io.BufferedReader(reader, BLOCK_BYTES), mode="r|") as tar:
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


def layer_in_archive(archive: Iterable[bytes], digest: str) -> dict[str, FileFacts]:
    """The members of the layer with this diff ID in a `docker save` stream; empty if the layer is not there."""
    with tarfile.open(fileobj=io.BufferedReader(Reader(archive), BLOCK_BYTES), mode="r|") as outer:
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


def damage_in_archive(archive: Iterable[bytes], layers: Sequence[str]) -> str:
    """Which part of a `docker save` stream has not the digest that it should have, such as one of these layers (diff
    IDs); empty: all do. Layers may be compressed where the name of each part is its digest."""
    found, named = set[str](), False
    with tarfile.open(fileobj=io.BufferedReader(Reader(archive), BLOCK_BYTES), mode="r|") as outer:
        for member in outer:
            content = outer.extractfile(member) if member.isreg() else None
            if content is None or not _may_be_layer(member.name):
                continue
            digest, name = Reader(blocks_of(content)).finish(), member.name.rpartition("/")[2]
            found.add(digest)
            if member.name.startswith(BLOBS):
                named = True
                if digest != name:
                    return f"{name[:12]} has other bytes"
    missing = [layer for layer in layers if layer not in found]
    return f"layer {missing[0][:12]} has other bytes" if missing and not named else ""


def _may_be_layer(name: str) -> bool:
    return name.endswith(".tar") or name.startswith(BLOBS)


def first_difference(ours: Mapping[str, FileFacts], theirs: Mapping[str, FileFacts]) -> str:
    """The first file, by name, in which two layers differ, and how; empty if all files are the same."""
    for name in sorted(ours.keys() | theirs.keys()):
        if name not in ours or name not in theirs:
            return f"{name}: only {'on the daemon' if name in theirs else 'in what the files give'}"
        if ours[name] != theirs[name]:
            pairs = zip(FACT_NAMES, ours[name], theirs[name], strict=True)
            what, here, there = next((what, here, there) for what, here, there in pairs if here != there)
            return f"{name}: {what} is {here}, on the daemon {there}"
    return ""


def first_damaged(wheel: Path) -> str:
    """The first member of a wheel with a wrong checksum, or else the part of the wheel that cannot be read."""
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
