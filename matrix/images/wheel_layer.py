"""Unpacks a wheel for a layer, as an installer would. No code of a package runs.

The sha256 of the wheel was checked before; a wheel that is refused here was locked like this. All members are checked
before any is unpacked, and their bytes are compared with RECORD while they are written: the installer hashes them
anyway, so this costs nothing; reading torch's 7 GB twice would take half a minute.
"""

from __future__ import annotations

import errno
import lzma
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from installer import install
from installer.destinations import SchemeDictionaryDestination
from installer.exceptions import InstallerError
from installer.records import RecordEntry, parse_record_file
from installer.sources import WheelFile

from matrix.core.errors import DiskFull, ImageFault
from matrix.images.layer import ENVIRONMENT, SET_ID_BITS

if TYPE_CHECKING:
    from installer.utils import Scheme

HASHES = ("sha256", "sha384", "sha512")
"""The hashes that RECORD may use: sha256 or better, as in the specification of wheels."""
SPECIAL_FILES = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFCHR: "a device node",
    stat.S_IFBLK: "a device node",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}
"""The types of a zip's member, except file and folder."""
UNREADABLE = (
    InstallerError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    ValueError,
    KeyError,
    RuntimeError,
)
"""The exceptions of reading a damaged, encrypted or malformed wheel."""


@contextmanager
def wheel_tree(wheel: Path, *, python: str, scratch: Path) -> Iterator[Path]:
    """A temporary folder with the files that an installer would write for a wheel, below `opt/env`.

    Raises ImageFault with the wheel and its fault: a member that leads outside or is no plain file, a name that occurs
    twice, a RECORD that does not match the files. Raises DiskFull.
    """
    with tempfile.TemporaryDirectory(dir=scratch, prefix="wheel-") as place:
        try:
            with _Source.open(wheel) as source:
                _check_members(source)
                source.validate_record(validate_contents=False)  # the contents: see _Destination
                _check_record(source)
                destination = _destination(source, python=python, place=place)
                install(source=source, destination=destination, additional_metadata={"INSTALLER": b"iree-matrix\n"})
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(f"{wheel.name}: no space left to unpack it", tip="free space and run again") from None
            raise _refused(wheel, error) from error
        except UNREADABLE as error:
            raise _refused(wheel, error) from error
        yield Path(place)


def _refused(wheel: Path, error: Exception) -> ImageFault:
    said = " ".join(str(error).split()) or type(error).__name__
    return ImageFault(
        f"{wheel.name}: refused: {said}",
        tip="nothing of it was loaded; its sha256 is the lock's, so it was locked like this: do not use this release, "
        f"and remove {wheel}",
    )


class _Source(WheelFile):
    """Knows the RECORD entry of the file that is being unpacked; None for files that the installer adds."""

    entry: RecordEntry | None = None

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[_Source]:  # type: ignore[override]
        with zipfile.ZipFile(path) as archive:
            yield cls(archive)

    @property
    def members(self) -> list[zipfile.ZipInfo]:
        return self._zipfile.infolist()

    def get_contents(self) -> Iterator[tuple[tuple[str, str, str], BinaryIO, bool]]:
        for elements, stream, is_executable in super().get_contents():
            self.entry = RecordEntry.from_elements(*elements)
            yield elements, stream, is_executable
        self.entry = None


class _Destination(SchemeDictionaryDestination):
    """Refuses a file whose bytes do not match RECORD."""

    source: _Source

    def write_file(self, scheme: Scheme, path: str, stream: BinaryIO, is_executable: bool) -> RecordEntry:  # type: ignore[override]
        entry = self.source.entry
        if entry is None or entry.hash_ is None:  # only a signature has no hash here: others were refused before
            return super().write_file(scheme, path, stream, is_executable)
        if entry.hash_.name not in HASHES:
            raise ValueError(f"RECORD hashes {entry.path} with {entry.hash_.name}, expected sha256 or better")
        if scheme == "scripts" or entry.hash_.name != self.hash_algorithm:  # there the installer writes other bytes
            good = entry.validate_stream(stream)
            stream.seek(0)
            written = super().write_file(scheme, path, stream, is_executable)
        else:
            written = super().write_file(scheme, path, stream, is_executable)
            good = (written.hash_, written.size) == (entry.hash_, entry.size)
        if not good:
            raise ValueError(f"the bytes of {entry.path} do not match RECORD")
        return written


def _destination(source: _Source, *, python: str, place: str) -> _Destination:
    site = f"/{ENVIRONMENT}/lib/python{python}/site-packages"
    destination = _Destination(
        {
            "purelib": site,
            "platlib": site,
            "headers": f"/{ENVIRONMENT}/include/site/python{python}",
            "scripts": f"/{ENVIRONMENT}/bin",
            "data": f"/{ENVIRONMENT}",
        },
        interpreter=f"/{ENVIRONMENT}/bin/python",
        script_kind="posix",
        bytecode_optimization_levels=(),
        destdir=place,
    )
    destination.source = source
    return destination


def _check_members(source: _Source) -> None:
    """Raises ValueError for a member that a wheel must not have."""
    seen: set[str] = set()
    for info in source.members:
        if reason := _reason(info, seen):
            raise ValueError(f"{info.orig_filename!r} {reason}")
        seen.add(info.filename.removesuffix("/"))


def _check_record(source: _Source) -> None:
    """Raises ValueError where RECORD names a file twice, or a missing one; the installer checks the rest."""
    there = {info.filename for info in source.members}
    listed: set[str] = set()
    for path, _, _ in parse_record_file(source.read_dist_info("RECORD").splitlines()):
        if path not in there or path in listed:
            raise ValueError(
                f"RECORD names {path!r}, which is not in the wheel"
                if path not in there
                else f"RECORD names {path!r} twice"
            )
        listed.add(path)


def _reason(info: zipfile.ZipInfo, seen: set[str]) -> str:
    """Why a member is refused; empty: it is accepted."""
    name, mode = info.filename.removesuffix("/"), info.external_attr >> 16
    parts = name.split("/")
    if info.orig_filename.startswith(("/", "\\")):
        return "is an absolute path"
    if ".." in parts:
        return "leads outside of the environment"
    if info.filename != info.orig_filename or {"", "."} & set(parts) or {"\\", "\n"} & set(name):
        return "is no usable name"
    if name in seen:
        return "is there twice"
    if kind := SPECIAL_FILES.get(stat.S_IFMT(mode)):
        return f"is {kind}"
    return f"has the set-id bit (mode {mode & 0o7777:o})" if mode & SET_ID_BITS else ""
