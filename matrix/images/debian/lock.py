"""The locks of base layers: `images/base/3.11.toml` and the others, read and written as data. Touches no network.

`nox -s lock` writes them. For each machine a lock holds every .deb (and the standalone Python, if any) with its sha256,
and the digest of the layer that they make, so that a change of the image is visible in review.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from matrix.core.errors import LockFault
from matrix.core.toml_reader import Table, read_toml
from matrix.plan.locks import RELOCK
from matrix.plan.wanted import WANTED

DEBIAN_NAMES = {"x86_64": "amd64", "aarch64": "arm64"}
"""`platform.machine()` -> Debian's name of the architecture."""
BASES = "images/base"
TOOLS = "images/armv6"
DEBIAN_FORMAT = 1
DEBIAN_HEADER = f"# Written by `nox -s lock` from {WANTED}; edit that file, never this one.\n"

PACKAGE_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+\Z")
SUITE_NAME = re.compile(r"[a-z][a-z0-9-]*\Z")
PYTHON_VERSION = re.compile(r"3\.\d{1,2}\Z")
VERSION = re.compile(r"[0-9A-Za-z.+~:-]+\Z")
SHA256 = re.compile(r"[0-9a-f]{64}\Z")
LAYER = re.compile(r"sha256:[0-9a-f]{64}\Z")
POOL = re.compile(r"pool(/[A-Za-z0-9][A-Za-z0-9+.~_-]*)+\.deb\Z")
ARCHIVE = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]*/[A-Za-z0-9][A-Za-z0-9+._-]*\.tar\.gz\Z")
RELEASE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class DebFile:
    """One Debian package. `path` is below the address of the mirror (`pool/main/d/dash/dash_0.5.12-2_amd64.deb`),
    `size` in bytes, `sha256` of the file in hexadecimal."""

    package: str
    version: str
    architecture: str
    path: str
    size: int
    sha256: str

    @property
    def label(self) -> str:
        return f"{self.package} {self.version} ({self.architecture})"


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonArchive:
    """A standalone Python, for a suite without this version. `path` is below the address of the builds
    (`20261110/cpython-3.12.16+20261110-….tar.gz`), `size` in bytes, `sha256` of the file in hexadecimal."""

    version: str
    path: str
    size: int
    sha256: str

    @property
    def label(self) -> str:
        return f"the standalone Python {self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineBase:
    """A base on one machine: its .debs by name, perhaps a standalone Python, and the diff ID (`sha256:…`) of the layer
    that they make."""

    machine: str
    layer: str
    debs: tuple[DebFile, ...]
    python: PythonArchive | None = None


class DebLock(Protocol):
    """Locked .debs of some machines: a base, or a set of tools. `name` is for messages."""

    @property
    def name(self) -> str: ...

    @property
    def suite(self) -> str: ...

    @property
    def released(self) -> str: ...

    @property
    def machines(self) -> tuple[MachineBase, ...]: ...

    def on(self, machine: str) -> MachineBase: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseLock:
    """The exact .debs of one Python's base layer on every machine.

    `released` is the date (UTC) of the index of the suite, `glibc` the version of the C library.
    """

    python: str
    suite: str
    moving: bool
    released: str
    glibc: str
    packages: tuple[str, ...]
    exclude: tuple[str, ...]
    machines: tuple[MachineBase, ...]

    @property
    def name(self) -> str:
        """The lock's place in the checkout, for messages."""
        return f"{BASES}/{self.python}.toml"

    def on(self, machine: str) -> MachineBase:
        """The base on a machine. Raises LockFault where the lock has none."""
        for base in self.machines:
            if base.machine == machine:
                return base
        known = ", ".join(base.machine for base in self.machines)
        raise LockFault(f"{self.name}: no base for the machine {machine}, only {known}", tip=f"add it to {WANTED}")


def stored_file(files: Path, file: DebFile | PythonArchive) -> Path:
    """The path of a fetched file of a base: its name is its sha256."""
    return files / f"{file.sha256}.{'deb' if isinstance(file, DebFile) else 'tar.gz'}"


def load_bases(folder: Path) -> tuple[BaseLock, ...]:
    """All locked bases of a folder, ascending by Python. Raises LockFault."""
    return tuple(read_base(path) for path in base_paths(folder))


def base_paths(folder: Path) -> tuple[Path, ...]:
    """The locks of a folder, ascending by Python."""
    found = (path for path in folder.glob("3.*.toml") if PYTHON_VERSION.match(path.stem))
    return tuple(sorted(found, key=lambda path: python_order(path.stem)))


def read_base(path: Path) -> BaseLock:
    """One locked base. Raises LockFault with all faults of the file."""
    name = f"{BASES}/{path.name}"
    table = read_toml(path, name, file_format=DEBIAN_FORMAT, tip=RELOCK)
    heads = ("format", "python", "suite", "moving", "released", "glibc", "packages", "exclude")
    table.only((*heads, *DEBIAN_NAMES))
    lock = BaseLock(
        python=table.matching("python", PYTHON_VERSION, 'a Python such as "3.11"'),
        suite=table.matching("suite", SUITE_NAME, "the code name of a Debian suite"),
        moving=table.flag("moving"),
        released=table.matching("released", RELEASE_TIME, "a time such as 2026-07-11T10:16:37Z"),
        glibc=table.matching("glibc", VERSION, "a version"),
        packages=table.texts("packages"),
        exclude=table.texts("exclude"),
        machines=tuple(read_machine(table, machine) for machine in DEBIAN_NAMES if machine in table.content),
    )
    if not table.faults and lock.python != path.stem:
        table.fault("python", f"read {lock.python!r}, expected {path.stem!r}, as the file is called")
    table.raise_faults(name, tip=RELOCK)
    return lock


def read_machine(table: Table, machine: str) -> MachineBase:
    """The .debs of one machine in a lock. Faults go into `table`."""
    row = table.table(machine)
    row.only(("layer", "python", "deb"))
    debs = tuple(_deb(deb, DEBIAN_NAMES[machine]) for deb in row.tables("deb"))
    names = [deb.package for deb in debs]
    if not debs or names != sorted(set(names)):
        row.fault("deb", "expected packages in the order of their names, each once")
    return MachineBase(
        machine=machine,
        layer=row.matching("layer", LAYER, "sha256:<64 digits>"),
        debs=debs,
        python=_archive(row.table("python")) if "python" in row.content else None,
    )


def _archive(row: Table) -> PythonArchive:
    row.only(("version", "path", "size", "sha256"))
    return PythonArchive(
        version=row.matching("version", VERSION, "a version of Python"),
        path=row.matching("path", ARCHIVE, "a path such as 20261110/cpython-3.12.16+20261110-….tar.gz"),
        size=_size(row),
        sha256=row.matching("sha256", SHA256, "64 hexadecimal digits"),
    )


def _deb(row: Table, architecture: str) -> DebFile:
    row.only(("package", "version", "architecture", "path", "size", "sha256"))
    return DebFile(
        package=row.matching("package", PACKAGE_NAME, "the name of a Debian package"),
        version=row.matching("version", VERSION, "a Debian version"),
        architecture=row.choice("architecture", ("all", architecture), "all"),
        path=row.matching("path", POOL, "a path such as pool/main/d/dash/dash_0.5.12-2_amd64.deb"),
        size=_size(row),
        sha256=row.matching("sha256", SHA256, "64 hexadecimal digits"),
    )


def _size(row: Table) -> int:
    size = row.content.get("size")
    if isinstance(size, bool) or not isinstance(size, int) or size <= 0:
        row.fault("size", f"read {size!r}, expected a number of bytes")
        return 1
    return size


def base_text(lock: BaseLock) -> str:
    """The lock as TOML: the same text for the same lock, one field per line, so that a diff shows the upgrades."""
    lines = [
        f"format = {DEBIAN_FORMAT}",
        _line("python", lock.python),
        _line("suite", lock.suite),
        f"moving = {str(lock.moving).lower()}",
        _line("released", lock.released),
        _line("glibc", lock.glibc),
        *_list("packages", lock.packages),
        *_list("exclude", lock.exclude),
    ]
    for base in lock.machines:
        lines += machine_lines(base)
    return DEBIAN_HEADER + "\n".join(lines) + "\n"


def machine_lines(base: MachineBase) -> list[str]:
    """The base of one machine, as TOML."""
    lines = ["", f"[{base.machine}]", _line("layer", base.layer)]
    if base.python is not None:
        lines += ["", f"[{base.machine}.python]", *_archive_lines(base.python)]
    for deb in base.debs:
        lines += ["", f"[[{base.machine}.deb]]", *_deb_lines(deb)]
    return lines


def _deb_lines(deb: DebFile) -> list[str]:
    return [
        _line("package", deb.package),
        _line("version", deb.version),
        _line("architecture", deb.architecture),
        _line("path", deb.path),
        f"size = {deb.size}",
        _line("sha256", deb.sha256),
    ]


def _archive_lines(archive: PythonArchive) -> list[str]:
    return [
        _line("version", archive.version),
        _line("path", archive.path),
        f"size = {archive.size}",
        _line("sha256", archive.sha256),
    ]


def _line(key: str, value: str) -> str:
    return f"{key} = {json.dumps(value)}"


def _list(key: str, values: Sequence[str]) -> list[str]:
    return [f"{key} = [", *(f"    {json.dumps(value)}," for value in values), "]"]


def python_order(python: str) -> tuple[int, ...]:
    """A key that sorts 3.9 before 3.10."""
    return tuple(int(part) for part in python.split(".") if part.isdigit())
