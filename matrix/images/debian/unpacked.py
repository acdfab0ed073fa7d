"""Folders of the store that hold unpacked Debian packages: cross compilers, emulators, another machine's C library.

The packages are locked, fetched and unpacked like the base layers of images (`matrix.bases`, `matrix.baselayer`): each
.deb by its sha256, and the whole by the digest of the tar that they make. Nothing is installed, so no root is needed.
"""

from __future__ import annotations

import shutil
import tarfile
import tempfile
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from matrix.core.disk import claimed, disk_errors
from matrix.core.errors import HashMismatch, LockFault
from matrix.core.toml_reader import Table
from matrix.images.debian.layer import write_base_layer
from matrix.images.debian.lock import DebLock, MachineBase, read_machine
from matrix.images.debian.locking import fetch_base
from matrix.images.debian.mirror import Sources

HOST = "x86_64"
"""The machine that the locked tools run on. Their packages exist for others too; only this one was tried."""

FORMAT = 1

TIP = "write it anew: nox -s lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A folder that is read and never written: `digest` is of its content, wherever it lies."""

    path: Path
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolLock:
    """The exact .debs of a set of tools; a `matrix.bases.DebLock`."""

    name: str
    suite: str
    released: str
    machines: tuple[MachineBase, ...]

    def on(self, machine: str) -> MachineBase:
        for base in self.machines:
            if base.machine == machine:
                return base
        raise LockFault(f"{self.name}: no packages for the machine {machine}, only {HOST}", tip="use such a machine")


def read_set(folder: Path, name: str) -> ToolLock:
    """One locked set of a folder such as `images/armv6`. Raises LockFault with all faults of the file."""
    path = folder / f"debian-{name}.toml"
    table = lock_table(path)
    table.only(("format", "suite", "released", HOST))
    lock = ToolLock(
        name=f"images/armv6/{path.name}",
        suite=table.text("suite", required=True),
        released=table.text("released", required=True),
        machines=(read_machine(table, HOST),),
    )
    raise_faults(table, path.name)
    return lock


def lock_table(path: Path) -> Table:
    """The table of a file of `images/armv6`. Raises LockFault where it cannot be read."""
    try:
        table = Table(tomllib.loads(path.read_text(encoding="utf-8")), "", [])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise LockFault(f"images/armv6/{path.name} cannot be read: {error}", tip=TIP) from error
    if table.content.get("format") != FORMAT:
        table.fault("format", f"read {table.content.get('format')!r}, expected {FORMAT}")
    return table


def raise_faults(table: Table, name: str) -> None:
    if table.faults:
        lines = "\n".join(f"  {fault}" for fault in table.faults)
        raise LockFault(f"images/armv6/{name}: {len(table.faults)} faults\n{lines}", tip=TIP)


def unpacked(lock: DebLock, machine: str, store: Path, *, source: Callable[[], Sources]) -> Tree:
    """The packages of a lock for a machine as a folder of the store; fetched and unpacked if it is not there.

    The folder is named by the digest of the tar that the packages make, and appears whole. Raises HashMismatch where
    they make another one than the lock says, and what fetching raises.
    """
    base = lock.on(machine)
    place = store / "trees" / base.layer.removeprefix("sha256:")
    with disk_errors(store):
        place.parent.mkdir(parents=True, exist_ok=True)
        with claimed(place.with_suffix(".lock")):
            if not place.is_dir():
                files = store / "files"
                files.mkdir(exist_ok=True)
                fetch_base(lock, machine, files, source=source())
                _unpack(lock, base, files, place)
    return Tree(path=place, digest=base.layer)


def _unpack(lock: DebLock, base: MachineBase, files: Path, place: Path) -> None:
    for left in place.parent.glob(f"partial-{place.name}-*"):  # of a killed process: we hold the claim
        shutil.rmtree(left, ignore_errors=True)
    partial = Path(tempfile.mkdtemp(prefix=f"partial-{place.name}-", dir=place.parent))
    try:
        archive = partial / "packages.tar"
        with archive.open("wb") as file:
            made = "sha256:" + write_base_layer(lock, base.machine, files, file).digest
        if made != base.layer:
            raise HashMismatch(f"{lock.name}: the packages make {made}, the lock says another", tip=TIP)
        with tarfile.open(archive) as tar:
            tar.extractall(partial / "root", filter="tar")
        (partial / "root").chmod(0o755)
        (partial / "root").rename(place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
