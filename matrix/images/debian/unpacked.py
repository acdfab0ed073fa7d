"""Folders of the store with unpacked Debian packages: cross compilers, emulators, the C library of another machine.

The packages are locked, fetched and unpacked like those of base layers: each .deb is checked by its sha256, and the
whole by the digest of the tar that they make. Nothing is installed, so no root rights are needed.
"""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from matrix.core.disk import claimed, disk_errors, remove_tree, sync_disk
from matrix.core.errors import HashMismatch, LockFault
from matrix.core.toml_reader import read_toml
from matrix.environments.folders import PARTIAL
from matrix.environments.manifest import write_manifest
from matrix.images.debian.base_locking import fetch_base
from matrix.images.debian.layer import write_base_layer
from matrix.images.debian.lock import DEBIAN_FORMAT, DebLock, MachineBase, read_machine
from matrix.images.debian.mirror import Sources
from matrix.plan.locks import RELOCK

TOOLS_MACHINE = "x86_64"
"""The machine that the locked tools run on. Debian has them for other machines too, but only this one was tested."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A read-only folder. `digest` is of its content and does not depend on its path."""

    path: Path
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolLock:
    """The exact .debs of a set of tools; a DebLock."""

    name: str
    suite: str
    released: str
    machines: tuple[MachineBase, ...]

    def on(self, machine: str) -> MachineBase:
        for base in self.machines:
            if base.machine == machine:
                return base
        raise LockFault(
            f"{self.name}: no packages for the machine {machine}, only {TOOLS_MACHINE}", tip="use such a machine"
        )


def read_set(folder: Path, name: str) -> ToolLock:
    """One locked set of a folder such as `images/armv6`. Raises LockFault with all faults of the file."""
    path = folder / f"debian-{name}.toml"
    place = f"images/{folder.name}/{path.name}"
    table = read_toml(path, place, file_format=DEBIAN_FORMAT, tip=RELOCK)
    table.only(("format", "suite", "released", TOOLS_MACHINE))
    lock = ToolLock(
        name=place,
        suite=table.text("suite", required=True),
        released=table.text("released", required=True),
        machines=(read_machine(table, TOOLS_MACHINE),),
    )
    table.raise_faults(place, tip=RELOCK)
    return lock


def unpack_debs(lock: DebLock, machine: str, store: Path, *, source: Callable[[], Sources]) -> Tree:
    """The folder with the packages of a lock for a machine. Fetches and unpacks them if it does not exist.

    The digest of the tar that the packages make is the name of the folder. Raises HashMismatch where it is not the
    digest in the lock, and the errors of fetching.
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
    for left in place.parent.glob(f"{place.name}{PARTIAL}*"):  # of a killed process: this one holds the claim
        remove_tree(left)
    partial = Path(tempfile.mkdtemp(prefix=f"{place.name}{PARTIAL}", dir=place.parent))
    try:
        archive = partial / "packages.tar"
        with archive.open("wb") as file:
            made = "sha256:" + write_base_layer(lock, base.machine, files, file).digest
        if made != base.layer:
            raise HashMismatch(f"{lock.name}: the packages make {made}, the lock names {base.layer}", tip=RELOCK)
        with tarfile.open(archive) as tar:
            tar.extractall(partial / "root", filter="tar")
        (partial / "root").chmod(0o755)
        write_manifest(partial / "root")
        sync_disk(partial)
        (partial / "root").rename(place)
    finally:
        remove_tree(partial)
