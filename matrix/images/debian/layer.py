"""Builds a base layer: the files of a lock in one tar, the same bytes on every machine. No code of a package runs.

Owners, times and order are fixed. Documentation is left out, except licences. /usr is merged in every suite, as in
Debian since bookworm. Paths that lead outside, device nodes and set-user-id files are refused. Contents go through a
temporary file, so memory stays below 100 MB.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import posixpath
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, BinaryIO

from debian.arfile import ArError, ArFile

from matrix.core.disk import NO_SPACE
from matrix.core.errors import DiskFull, HashMismatch, ImageFault
from matrix.images.debian.lock import DebFile, DebLock, PythonArchive, stored_file
from matrix.images.layer import SET_ID_BITS, Hashed, Layer

MERGED = ("bin", "lib", "lib32", "lib64", "libo32", "libx32", "sbin")
"""Folders of the root that become links into /usr."""
DROPPED = tuple(f"usr/share/{name}" for name in ("doc", "doc-base", "info", "lintian", "locale", "man", "menu"))
PASSWD = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
GROUP = "root:x:0:\nnogroup:x:65534:\n"
DATA_MEMBERS = ("data.tar", "data.tar.gz", "data.tar.xz", "data.tar.bz2", "data.tar.zst")
"""The names of the member with the files (deb(5)). Debian uses xz; Python reads zst from 3.14 on."""
LOCKED_LIKE_THIS = "its sha256 is the lock's, so it was locked like this: do not use this mirror"
DAMAGE = (tarfile.TarError, lzma.LZMAError, zlib.error, ArError, EOFError, OSError, ValueError, KeyError)
"""The exceptions of reading a damaged archive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseEntry:
    """One path of the layer, without a leading slash.

    `kind` is DIRTYPE, REGTYPE or SYMTYPE of tarfile. The content of a regular file is at `offset` in the spool, `size`
    bytes long; two entries with the same `offset` are hard links. `package` is its origin, for messages.
    """

    path: str
    kind: bytes
    mode: int
    package: str
    target: str = ""
    offset: int = 0
    size: int = 0


def write_base_layer(lock: DebLock, machine: str, files: Path, out: BinaryIO | None) -> Layer:
    """Streams the layer of a base to `out` (None: only computes the digest).

    `files` is the folder that `fetch_deb` fills; each .deb is checked again. The bytes depend on the lock alone. Raises
    HashMismatch, ImageFault (names package and member), LockFault, DiskFull.
    """
    hashed = Hashed(out)
    try:
        with tempfile.TemporaryFile() as spool:
            tree = _Tree(spool)
            base = lock.on(machine)
            for deb in base.debs:
                with _file(deb, lock, files) as file, _data(deb, file) as tar:
                    _unpack(deb.package, tar, tree)
            if base.python is not None:
                with _file(base.python, lock, files) as file, tarfile.open(fileobj=file, mode="r:gz") as tar:
                    _unpack("python", tar, tree, instead_of="python")  # where the suites have theirs
            tree.finish()
            _write(tree, spool, hashed)
    except OSError as error:
        if error.errno in NO_SPACE:
            raise DiskFull(f"{lock.name}: no space left for its layer", tip="free some space, or set TMPDIR") from error
        raise
    return hashed.layer()


class _Tree:
    """Collects the paths of a layer. The contents of files go into `spool`."""

    def __init__(self, spool: IO[bytes]) -> None:
        self.entries: dict[str, BaseEntry] = {}
        self._spool = spool
        self._end = 0

    def add(self, entry: BaseEntry) -> None:
        """Adds an entry as unpacking does: a folder keeps its first entry, any other path gets the last one."""
        known = self.entries.get(entry.path)
        if known is not None and tarfile.DIRTYPE in (known.kind, entry.kind):
            if known.kind != entry.kind:
                raise _refusal(entry.package, entry.path, f"is a folder in one package and none in {known.package}")
            return
        self.entries[entry.path] = entry

    def content(self, source: IO[bytes]) -> tuple[int, int]:
        """Copies a file's content into the spool. Returns its offset and size."""
        offset = self._end
        shutil.copyfileobj(source, self._spool, 1 << 18)
        self._end = self._spool.tell()
        return offset, self._end - offset

    def own_file(self, path: str, text: str) -> None:
        offset, size = self.content(io.BytesIO(text.encode()))
        self.entries[path] = BaseEntry(
            path=path, kind=tarfile.REGTYPE, mode=0o644, package="iree-matrix", offset=offset, size=size
        )

    def own_link(self, path: str, target: str) -> None:
        self.entries[path] = BaseEntry(
            path=path, kind=tarfile.SYMTYPE, mode=0o777, package="iree-matrix", target=target
        )

    def finish(self) -> None:
        """Adds what Debian's maintainer scripts would create, and then the missing parent folders."""
        self.own_file("etc/passwd", PASSWD)
        self.own_file("etc/group", GROUP)
        if "usr/bin/dash" in self.entries and "usr/bin/sh" not in self.entries:
            self.own_link("usr/bin/sh", "dash")
        for name in MERGED:
            if any(path.startswith(f"usr/{name}/") for path in self.entries):
                self.own_link(name, f"usr/{name}")
        self.entries["tmp"] = BaseEntry(path="tmp", kind=tarfile.DIRTYPE, mode=0o1777, package="iree-matrix")
        for entry in tuple(self.entries.values()):
            self._add_parents(entry)

    def _add_parents(self, entry: BaseEntry) -> None:
        path = posixpath.dirname(entry.path)
        while path:
            known = self.entries.get(path)
            if known is None:
                self.entries[path] = BaseEntry(path=path, kind=tarfile.DIRTYPE, mode=0o755, package=entry.package)
            elif known.kind != tarfile.DIRTYPE:
                raise _refusal(entry.package, entry.path, f"lies below {path}, which is no folder in {known.package}")
            path = posixpath.dirname(path)


def _unpack(package: str, tar: tarfile.TarFile, tree: _Tree, *, instead_of: str = "") -> None:
    """Adds all members of a package. `instead_of` is the folder that becomes /usr."""
    within: dict[str, BaseEntry] = {}
    for member in tar:
        if instead_of:
            _move(package, member, instead_of)
        entry = _entry(package, member, tar, tree, within)
        if entry is not None:
            if entry.path in within and not entry.kind == within[entry.path].kind == tarfile.DIRTYPE:
                raise _refusal(package, member.name, "is there twice")
            within[entry.path] = entry
            if _is_kept(entry):
                tree.add(entry)


def _move(package: str, member: tarfile.TarInfo, folder: str) -> None:
    """Moves a member, and the target of its hard link, from `folder` to `usr`."""
    if member.name.split("/", 1)[0] != folder:
        raise _refusal(package, member.name, f"lies outside of {folder}/")
    member.name = "usr" + member.name.removeprefix(folder)
    if member.islnk() and member.linkname.split("/", 1)[0] == folder:
        member.linkname = "usr" + member.linkname.removeprefix(folder)


@contextmanager
def _file(of: DebFile | PythonArchive, lock: DebLock, files: Path) -> Iterator[BinaryIO]:
    """Opens a fetched file and checks its sha256. An error while it is read becomes ImageFault and names the file."""
    path = stored_file(files, of)
    try:
        file = path.open("rb")
    except OSError as error:
        raise ImageFault(
            f"{of.label} of {lock.name}: its file cannot be read: {error.strerror}", tip="fetch it: nox -s images"
        ) from error
    with file:
        if hashlib.file_digest(file, "sha256").hexdigest() != of.sha256:
            raise HashMismatch(
                f"{of.label}: the stored file is not the one that {lock.name} names", tip=f"remove it: {path}"
            )
        file.seek(0)
        try:
            yield file
        except DAMAGE as error:
            if isinstance(error, OSError) and error.errno in NO_SPACE:
                raise
            raise ImageFault(
                f"{of.label}: it cannot be unpacked: {type(error).__name__}: {error}", tip=LOCKED_LIKE_THIS
            ) from error


@contextmanager
def _data(deb: DebFile, file: BinaryIO) -> Iterator[tarfile.TarFile]:
    """Opens the data member of a .deb."""
    archive = ArFile(fileobj=file)
    names = [name for name in archive.getnames() if name in DATA_MEMBERS]
    if len(names) != 1:
        found = "more than one data.tar" if names else "no data.tar of a known compression"
        raise ImageFault(f"{deb.label}: it holds {found}", tip=LOCKED_LIKE_THIS)
    with tarfile.open(fileobj=archive.getmember(names[0]), mode="r:*", encoding="utf-8") as tar:  # type: ignore[call-overload]
        yield tar


def _path(package: str, name: str, *, of: str = "") -> str:
    """The path of a member in the layer, with /usr merged; empty for the root. `of`, for messages, links to it."""
    subject = f"{of}, a hard link to {name}," if of else name
    if name.startswith("/"):
        raise _refusal(package, subject, "is an absolute path")
    if ".." in name.split("/"):
        raise _refusal(package, subject, "leads outside of the layer")
    if "\0" in name or "\n" in name:
        raise _refusal(package, repr(subject), "is no usable name")
    path = posixpath.normpath(name)
    return "" if path == "." else _merged(path)


def _merged(path: str) -> str:
    return f"usr/{path}" if path.split("/", 1)[0] in MERGED else path


def _entry(
    package: str, member: tarfile.TarInfo, tar: tarfile.TarFile, tree: _Tree, within: dict[str, BaseEntry]
) -> BaseEntry | None:
    """The entry of a member; None for the root, and for a link that the merged /usr makes redundant.

    `within` holds the earlier entries of the package. Raises ImageFault.
    """
    path = _path(package, member.name)
    if not path:
        return None
    if member.type == tarfile.SYMTYPE:
        return _link(package, path, member)
    if member.type == tarfile.DIRTYPE:
        return BaseEntry(path=path, kind=tarfile.DIRTYPE, mode=member.mode & 0o1777, package=package)
    if member.type == tarfile.LNKTYPE:
        same = within.get(_path(package, member.linkname, of=member.name))
        if same is None or same.kind != tarfile.REGTYPE:
            raise _refusal(package, member.name, f"is a hard link to {member.linkname}, no file before it")
        return replace(same, path=path)
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        kind = "a device node" if member.isdev() and not member.isfifo() else "neither file, folder nor link"
        raise _refusal(package, member.name, f"is {kind}")
    if member.mode & SET_ID_BITS:
        raise _refusal(package, member.name, f"has the set-id bit (mode {member.mode:o})")
    content = tar.extractfile(member)
    assert content is not None  # a regular file has one
    offset, size = tree.content(content)
    if size != member.size:
        raise EOFError(f"{member.name} ends after {size} of {member.size} bytes")
    mode = member.mode & 0o777
    return BaseEntry(path=path, kind=tarfile.REGTYPE, mode=mode, package=package, offset=offset, size=size)


def _link(package: str, path: str, member: tarfile.TarInfo) -> BaseEntry | None:
    """The entry of a symbolic link. An absolute target starts at the root of the image; none may lead above it."""
    name = posixpath.normpath(member.name)
    target = member.linkname
    start = "" if target.startswith("/") else posixpath.dirname(name)
    whole = posixpath.normpath(posixpath.join(start, target.lstrip("/")))
    if not target or "\0" in target or ".." in whole.split("/"):
        raise _refusal(package, member.name, f"links to {target!r}, outside of the layer")
    place = _merged(whole)
    if place == path:  # /bin/x -> /usr/bin/x, or /lib -> usr/lib itself
        return None
    if path != name and ".." in target.split("/"):  # it was moved into /usr: make the target absolute
        target = f"/{place}"
    return BaseEntry(path=path, kind=tarfile.SYMTYPE, mode=0o777, package=package, target=target)


def _is_kept(entry: BaseEntry) -> bool:
    """False for documentation, except licences in `usr/share/doc` and the links between its folders."""
    folder = next((drop for drop in DROPPED if entry.path == drop or entry.path.startswith(f"{drop}/")), "")
    if folder != "usr/share/doc":
        return not folder
    depth = entry.path.count("/")
    licence = depth == 4 and posixpath.basename(entry.path) == "copyright" and entry.kind != tarfile.DIRTYPE
    return licence or (depth == 3 and entry.kind == tarfile.SYMTYPE)


def _write(tree: _Tree, spool: IO[bytes], out: Hashed) -> None:
    """Writes the tar: sorted by path, in GNU format, with fixed times and owners. The first hard link has the bytes."""
    first: dict[int, str] = {}
    tar_format = tarfile.GNU_FORMAT
    with tarfile.open(fileobj=out, mode="w|", format=tar_format, encoding="utf-8", errors="surrogateescape") as tar:
        for path in sorted(tree.entries):
            entry = tree.entries[path]
            member = tarfile.TarInfo(path)
            member.type, member.mode, member.linkname = entry.kind, entry.mode, entry.target
            if entry.kind != tarfile.REGTYPE:
                tar.addfile(member)
            elif entry.size and entry.offset in first:
                member.type, member.linkname = tarfile.LNKTYPE, first[entry.offset]
                tar.addfile(member)
            else:
                if entry.size:
                    first[entry.offset] = path
                member.size = entry.size
                spool.seek(entry.offset)
                tar.addfile(member, spool)


def _refusal(package: str, member: str, reason: str) -> ImageFault:
    return ImageFault(f"{package}: {member} {reason}", tip=f"such a package has no place in a base; {LOCKED_LIKE_THIS}")
