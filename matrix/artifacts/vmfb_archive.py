"""Opens a `.vmfb`, which is a zip of stored entries or a bare FlatBuffer, and finds its parts.

Nothing is unpacked, and the size of every read is bounded before it.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from matrix.core.errors import FileFault

IDENTIFIER = b"IREE"
LARGEST_MODULE = 48 << 20
ALIGNMENT = 64
"""The alignment of the data after the module: IREE_VM_ARCHIVE_SEGMENT_ALIGNMENT of the runtime."""
LARGEST_READ = 1 << 20
"""The largest zip directory: 20,000 entries."""

_TIP = "the file is damaged, cut off, or not what iree-compile writes: compile it again"


@dataclass(frozen=True, slots=True, kw_only=True)
class ZipEntry:
    """A stored entry of a zip. `offset` is that of its first byte in the file."""

    name: str
    offset: int
    size: int
    crc: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """An open file. `start` is where the module begins in it, `base` the origin of the offsets of external segments;
    `zipped`: the module is in a zip."""

    file: BinaryIO
    place: str
    size: int
    zipped: bool
    module: bytes
    start: int
    base: int
    entries: tuple[ZipEntry, ...]

    def read(self, offset: int, size: int) -> bytes:
        """Raises FileFault where the file is shorter."""
        self.file.seek(offset)
        content = self.file.read(size)
        if len(content) != size:
            raise damaged(self.place, f"{len(content)} bytes at {offset}", f"{size}")
        return content


class _Bounded(io.RawIOBase):
    """The file for `zipfile`: no read is larger than LARGEST_READ, whatever the directory claims."""

    def __init__(self, file: BinaryIO, place: str) -> None:
        self._file = file
        self._place = place

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(LARGEST_READ + 1 if size < 0 else min(size, LARGEST_READ + 1))
        if len(content) > LARGEST_READ:
            raise damaged(self._place, "a zip directory of more than 1 MiB", "the few entries of a module")
        return content


def damaged(place: str, read: str, expected: str) -> FileFault:
    return FileFault(f"{place}: read {read}, expected {expected}", tip=_TIP)


@contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """Opens a regular file. Raises FileFault for anything else: a device or a pipe may never end."""
    try:
        if not path.is_file():
            raise FileFault(f"{path}: read no file, expected one to look into", tip="give the path of a file")
        with path.open("rb") as file:
            yield file
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise FileFault(
            f"{path}: read no file ({reason}), expected one to look into",
            tip="give the path of a file that you may read",
        ) from error


@contextmanager
def open_container(path: Path) -> Iterator[Container]:
    """Raises FileFault for a file that is neither a zip with a `module.fb` nor a FlatBuffer of IREE."""
    with open_file(path) as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        head = file.read(12)
        if head[:4] == b"PK\x03\x04":
            yield _zip(file, str(path), size)
        elif head[8:12] == IDENTIFIER:
            yield _bare(file, str(path), size)
        else:
            raise damaged(str(path), f"{head[:4]!r} as its first bytes", "a zip or a FlatBuffer of IREE's")


def open_content(content: bytes, place: str) -> Container:
    """A module inside of another file, such as the code of IREE's VM as an executable."""
    file, size = io.BytesIO(content), len(content)
    if content[:4] == b"PK\x03\x04":
        return _zip(file, place, size)
    return _bare(file, place, size)


def is_container(head: bytes) -> bool:
    return head[:4] == b"PK\x03\x04" or head[8:12] == IDENTIFIER


def _bare(file: BinaryIO, place: str, size: int) -> Container:
    module, base = _module(file, place, 0, size)
    return Container(file=file, place=place, size=size, zipped=False, module=module, start=4, base=base, entries=())


def _module(file: BinaryIO, place: str, start: int, size: int) -> tuple[bytes, int]:
    """The FlatBuffer after the size prefix at `start`, and the aligned position after it."""
    file.seek(start)
    prefix = file.read(4)
    length = struct.unpack("<I", prefix)[0] if len(prefix) == 4 else 0
    if not 8 <= length <= min(LARGEST_MODULE, size - start - 4):
        raise damaged(place, f"a module of {length} bytes in a file of {size}", f"8 to {LARGEST_MODULE} inside of it")
    return file.read(length), start + -(-(4 + length) // ALIGNMENT) * ALIGNMENT


def _zip(file: BinaryIO, place: str, size: int) -> Container:
    entries = _entries(file, place, size)
    modules = [entry for entry in entries if entry.name == "module.fb"]
    if len(modules) != 1:
        raise damaged(place, f"a zip with {len(modules)} entries named module.fb", "one")
    entry = modules[0]
    if entry.size > LARGEST_MODULE:
        raise damaged(place, f"a module.fb of {entry.size} bytes", f"at most {LARGEST_MODULE}")
    # The compiler does not count the prefix in the size of the entry: the module ends 4 bytes after the entry.
    module, base = _module(file, place, entry.offset, min(size, entry.offset + entry.size + 4))
    file.seek(entry.offset)
    if zlib.crc32(file.read(entry.size)) != entry.crc:
        raise damaged(place, "a module.fb that is not what its checksum says", "whole bytes")
    others = tuple(each for each in entries if each is not entry)
    start = entry.offset + 4
    return Container(
        file=file, place=place, size=size, zipped=True, module=module, start=start, base=base, entries=others
    )


def _entries(file: BinaryIO, place: str, size: int) -> list[ZipEntry]:
    try:
        with zipfile.ZipFile(_Bounded(file, place)) as archive:
            listed = archive.infolist()
    except (zipfile.BadZipFile, struct.error, ValueError, IndexError, OverflowError, NotImplementedError) as error:
        raise damaged(place, f"a zip without a readable directory ({error})", "a whole file") from error
    entries = [_entry(file, place, size, info) for info in listed]
    if sum(entry.size for entry in entries) > size:
        raise damaged(place, "zip entries that overlap", "entries one after the other")
    return entries


def _entry(file: BinaryIO, place: str, size: int, info: zipfile.ZipInfo) -> ZipEntry:
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size or info.flag_bits & 1:
        raise damaged(place, f"the entry {info.filename[:80]!r}, compressed or encrypted", "stored entries")
    if not 0 <= info.header_offset <= size - 30:
        raise damaged(place, f"a zip entry at {info.header_offset} of {size}", "one inside of the file")
    file.seek(info.header_offset)
    header = file.read(30)
    name, extra = struct.unpack_from("<HH", header, 26)
    offset = info.header_offset + 30 + name + extra
    if header[:4] != b"PK\x03\x04" or offset + info.file_size > size:
        raise damaged(place, f"the entry {info.filename[:80]!r} at {info.header_offset}", "whole entries")
    return ZipEntry(name=info.filename, offset=offset, size=info.file_size, crc=info.CRC)
