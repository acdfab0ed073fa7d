"""The Debian packages of the cross compiler and of qemu: what is wanted, what is locked, and their folder in the store.

They are locked, fetched and unpacked like the base layers of images (`matrix.bases`, `matrix.baselayer`): each .deb by
its sha256, and the whole by the digest of the tar that they make. Nothing is installed, so no root is needed.
"""

from __future__ import annotations

import json
import shutil
import tarfile
import tempfile
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from matrix.armv6.tasks import Tree, claimed
from matrix.baselayer import write_base_layer
from matrix.bases import MachineBase, machine_lines, read_machine
from matrix.debian import UNSIGNED, closure, fetch, suite_index, suite_release
from matrix.errors import HashMismatch, LockFault
from matrix.index import PackageIndex
from matrix.locks import Change, LockChange
from matrix.mirror import Sources, replacing
from matrix.store import disk_errors
from matrix.toml_reader import Table

MACHINE = "x86_64"
"""The machine that these tools run on. Their packages exist for others too; only this one was tried."""
FORMAT = 1
HEADER = "# Written by `nox -s lock` from wanted.toml; edit that file, never this one.\n"
TIP = "write it anew: nox -s lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class DebSet:
    """A row of `wanted.toml`: packages that are unpacked into one folder."""

    name: str
    packages: tuple[str, ...]
    exclude: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """`images/armv6/wanted.toml`: the sets, and the requirements of what comes from PyPI."""

    suite: str
    tools: tuple[str, ...]
    sets: tuple[DebSet, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolLock:
    """The exact .debs of one set; a `matrix.bases.DebLock`."""

    name: str
    suite: str
    released: str
    machines: tuple[MachineBase, ...]

    def on(self, machine: str) -> MachineBase:
        for base in self.machines:
            if base.machine == machine:
                return base
        raise LockFault(f"{self.name}: no packages for the machine {machine}, only {MACHINE}", tip="use such a machine")


def read_wanted(folder: Path) -> Wanted:
    """Raises LockFault with all faults of the file."""
    table = _table(folder / "wanted.toml")
    table.only(("format", "suite", "tools", "set"))
    sets = []
    for row in table.tables("set"):
        row.only(("name", "packages", "exclude"))
        name = row.text("name", required=True)
        sets.append(DebSet(name=name, packages=row.texts("packages"), exclude=row.texts("exclude")))
    wanted = Wanted(suite=table.text("suite", required=True), tools=table.texts("tools"), sets=tuple(sets))
    _raise(table, "wanted.toml")
    return wanted


def read_set(folder: Path, name: str) -> ToolLock:
    """One locked set. Raises LockFault with all faults of the file."""
    path = folder / f"debian-{name}.toml"
    table = _table(path)
    table.only(("format", "suite", "released", MACHINE))
    lock = ToolLock(
        name=f"images/armv6/{path.name}",
        suite=table.text("suite", required=True),
        released=table.text("released", required=True),
        machines=(read_machine(table, MACHINE),),
    )
    _raise(table, path.name)
    return lock


def _table(path: Path) -> Table:
    try:
        table = Table(tomllib.loads(path.read_text(encoding="utf-8")), "", [])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise LockFault(f"images/armv6/{path.name} cannot be read: {error}", tip=TIP) from error
    if table.content.get("format") != FORMAT:
        table.fault("format", f"read {table.content.get('format')!r}, expected {FORMAT}")
    return table


def _raise(table: Table, name: str) -> None:
    if table.faults:
        lines = "\n".join(f"  {fault}" for fault in table.faults)
        raise LockFault(f"images/armv6/{name}: {len(table.faults)} faults\n{lines}", tip=TIP)


def set_text(lock: ToolLock) -> str:
    """The lock as TOML: the same text for the same lock."""
    lines = [f"format = {FORMAT}", f"suite = {json.dumps(lock.suite)}", f"released = {json.dumps(lock.released)}"]
    for base in lock.machines:
        lines += machine_lines(base)
    return HEADER + "\n".join(lines) + "\n"


def lock_sets(folder: Path, *, files: Path, source: Sources, progress: Callable[[str], None]) -> list[LockChange]:
    """Lock every set of `wanted.toml`, its .debs fetched into `files`; only locks whose content changed are written.

    Raises IndexUnreachable, HashMismatch, ResolutionRefused, LockFault, ImageFault, DiskFull.
    """
    wanted = read_wanted(folder)
    changes = []
    with tempfile.TemporaryDirectory() as scratch:
        release = suite_release(wanted.suite, source, Path(scratch))
        if not release.signed:
            progress(f"armv6: {wanted.suite}: {UNSIGNED}")
        index = suite_index(release, "amd64", Path(scratch))
    for row in wanted.sets:
        base = MachineBase(machine=MACHINE, layer="", debs=closure(index, row.packages, row.exclude))
        path = folder / f"debian-{row.name}.toml"
        lock = ToolLock(
            name=f"images/armv6/{path.name}", suite=wanted.suite, released=release.released, machines=(base,)
        )
        for deb in base.debs:
            fetch(deb, files, lock=lock, source=source)
        layer = write_base_layer(lock, MACHINE, files, None)
        lock = replace(lock, machines=(replace(base, layer=f"sha256:{layer.digest}"),))
        changes.append(_write(path, lock))
        progress(f"armv6/{row.name}")
    return changes


def lock_tools(folder: Path, index: PackageIndex, *, upgrade: bool) -> LockChange:
    """Lock what comes from PyPI; versions that still fit are kept. Raises ResolutionRefused, IndexUnreachable."""
    path = folder / "tools.txt"
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    tools = read_wanted(folder).tools
    text = HEADER + index.resolve(tools, lowest_python="3.11", previous="" if upgrade else before)
    if text == before:
        return LockChange(name="armv6/tools", change=Change.UNCHANGED)
    with replacing(path, what="armv6/tools") as file:
        file.write(text.encode())
    return LockChange(name="armv6/tools", change=Change.CHANGED if before else Change.ADDED)


def _write(path: Path, lock: ToolLock) -> LockChange:
    name = f"armv6/{path.stem}"
    try:
        before = read_set(path.parent, path.stem.removeprefix("debian-"))
    except LockFault:
        before = None
    if before is not None and before.machines == lock.machines:
        return LockChange(name=name, change=Change.UNCHANGED)
    with replacing(path, what=name) as file:
        file.write(set_text(lock).encode())
    return LockChange(name=name, change=Change.ADDED if before is None else Change.CHANGED)


def unpacked(lock: ToolLock, store: Path, *, source: Callable[[], Sources]) -> Tree:
    """The packages of a lock as a folder of the store; fetched and unpacked if it is not there.

    The folder is named by the digest of the tar that the packages make, and appears whole. Raises HashMismatch where
    they make another one than the lock says, and what fetching raises.
    """
    layer = lock.on(MACHINE).layer
    place = store / "armv6" / "trees" / layer.removeprefix("sha256:")
    with disk_errors(store):
        place.parent.mkdir(parents=True, exist_ok=True)
        with claimed(place.with_suffix(".lock")):
            if not place.is_dir():
                files = store / "files"
                files.mkdir(exist_ok=True)
                for deb in lock.on(MACHINE).debs:
                    fetch(deb, files, lock=lock, source=source())
                _unpack(lock, files, place)
    return Tree(path=place, digest=layer)


def _unpack(lock: ToolLock, files: Path, place: Path) -> None:
    for left in place.parent.glob(f"partial-{place.name}-*"):  # of a killed process: we hold the claim
        shutil.rmtree(left, ignore_errors=True)
    partial = Path(tempfile.mkdtemp(prefix=f"partial-{place.name}-", dir=place.parent))
    try:
        archive = partial / "packages.tar"
        with archive.open("wb") as file:
            made = "sha256:" + write_base_layer(lock, MACHINE, files, file).digest
        if made != lock.on(MACHINE).layer:
            raise HashMismatch(f"{lock.name}: the packages make {made}, the lock says another", tip=TIP)
        with tarfile.open(archive) as tar:
            tar.extractall(partial / "root", filter="tar")
        (partial / "root").chmod(0o755)
        (partial / "root").rename(place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
