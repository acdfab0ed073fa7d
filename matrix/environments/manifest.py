"""What a folder held when it was made: each file with its size and sha256. So a torn one is noticed.

After a power failure a file may be empty, or hold zeros in its size; a disk may lose bytes later. The manifest lies in
the folder, and appears with it. Files that came later, such as byte code, are not in it.
"""

from __future__ import annotations

import base64
import csv
import json
import os
import stat
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from packaging.utils import canonicalize_name

from matrix.artifacts.json_reader import read_json
from matrix.core.disk import files_below
from matrix.core.keys import sha256

MANIFEST_FILE = "manifest.json"
Unchanged = tuple[int, int, int, int]
"""Inode, size, and the times of a file and of its inode, as they were when its bytes were read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A file as it was made. `package`: the distribution that brought it; "": none."""

    size: int
    sha256: str
    package: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDamage:
    """A file that is not as it was made; `why` is a few words."""

    path: str
    why: str
    package: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """`files` by their path in the folder, and the targets of its symbolic links."""

    files: Mapping[str, Held]
    links: Mapping[str, str]
    read: dict[str, Unchanged] = field(default_factory=dict)
    """The files whose bytes were read: not again while they are unchanged."""

    def differences(self, root: Path, *, every_byte: bool) -> list[FileDamage]:
        """The files below `root` that are not as they were made: by their sizes, or by `every_byte`."""
        found = []
        for path, held in self.files.items():
            if why := self._differs(f"{root}/{path}", held, every_byte=every_byte):
                found.append(FileDamage(path=path, why=why, package=held.package))
        for path, target in self.links.items():
            if not (root / path).is_symlink() or str((root / path).readlink()) != target:
                found.append(FileDamage(path=path, why=f"no link to {target}"))
        return found

    def _differs(self, path: str, held: Held, *, every_byte: bool) -> str:
        why = ""
        try:
            now = os.lstat(path)
            as_it_is = (now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns)
            if not stat.S_ISREG(now.st_mode):
                why = "not a file"
            elif now.st_size != held.size:
                why = f"{now.st_size} bytes, expected {held.size}"
            elif every_byte and self.read.get(path) != as_it_is:
                why = "" if sha256(Path(path)) == held.sha256 else "other bytes than it was made of"
                if not why:
                    self.read[path] = as_it_is
        except OSError as error:
            why = f"cannot be read: {error.strerror}"
        return why


def recorded(root: Path) -> Iterator[tuple[str, Path, list[list[str]]]]:
    """Each distribution below `root`: its name, its folder, and the rows of its RECORD (path, hash, size)."""
    for record in sorted(root.glob("lib/python*/site-packages/*.dist-info/RECORD")):
        name = canonicalize_name(record.parent.name.partition("-")[0])
        text = record.read_text(encoding="utf-8", errors="replace").replace("\0", "")
        yield name, record.parent, [row for row in csv.reader(text.splitlines()) if len(row) == 3]


def wheel_files(root: Path) -> dict[str, Held]:
    """The files below `root` whose sha256 a RECORD has, so that they are not read for it."""
    found = {}
    for name, folder, rows in recorded(root):
        for path, content, size in rows:
            if content.startswith("sha256=") and size.isdigit():
                place = os.path.relpath(folder.parent / path, root)
                hashed = base64.urlsafe_b64decode(content.removeprefix("sha256=") + "=").hex()
                found[place] = Held(size=int(size), sha256=hashed, package=name)
    return found


def torn_wheels(root: Path) -> dict[str, str]:
    """The distributions below `root` that are not what their RECORD says, by name, with the first file that differs: by
    existence and size. The cache that they came from is damaged."""
    torn: dict[str, str] = {}
    for name, folder, rows in recorded(root):
        for path, _, size in rows:
            place = folder.parent / path
            if size.isdigit() and (not place.is_file() or place.stat().st_size != int(size)):
                torn.setdefault(name, path)
        named = {path.rpartition("/")[2] for path, _, _ in rows if path.startswith(f"{folder.name}/")}
        if not {"METADATA", "WHEEL", "RECORD"} <= named:
            torn.setdefault(name, f"{folder.name}/RECORD")
    return torn


def stale_byte_code(root: Path, before: float, held: Container[str]) -> list[Path]:
    """The byte code that Python wrote before a time. No digest covers it: it may be torn. What is `held`, by its path,
    came in a wheel: numpy 1.26 to 2.2 has one such file."""
    found = []
    for entry in files_below(root):
        if entry.name.endswith(".pyc") and entry.stat(follow_symlinks=False).st_mtime < before:
            found.append(Path(entry.path))
    return [path for path in found if os.path.relpath(path, root) not in held]


def in_one_line(found: list[FileDamage]) -> str:
    """What differs, for people; empty: nothing."""
    if not found:
        return ""
    more = f", and {len(found) - 1} more files" if len(found) > 1 else ""
    return f"damaged on this disk: {found[0].path}: {found[0].why}{more}"


def write_manifest(root: Path, known: Mapping[str, Held] = MappingProxyType({})) -> None:
    """Writes what `root` holds. Only files that are not `known`, by their path, are read."""
    files: dict[str, list[object]] = {}
    links: dict[str, str] = {}
    for entry in files_below(root):
        path = os.path.relpath(entry.path, root)
        if entry.is_symlink():
            links[path] = str(Path(entry.path).readlink())
        elif entry.is_file():
            held = known.get(path) or Held(size=entry.stat().st_size, sha256=sha256(Path(entry.path)))
            files[path] = [held.size, held.sha256, held.package]
    with (root / MANIFEST_FILE).open("w", encoding="utf-8") as file:
        json.dump({"format": 1, "files": files, "links": links}, file, separators=(",", ":"))


def read_manifest(root: Path) -> Manifest | None:
    """None where there is none that can be read: the folder was made by an earlier version, or is torn."""
    try:
        read = read_json((root / MANIFEST_FILE).read_bytes())
        rows = read["files"].items()
        files = {path: Held(size=size, sha256=content, package=name) for path, (size, content, name) in rows}
        return Manifest(files=files, links=dict(read["links"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
