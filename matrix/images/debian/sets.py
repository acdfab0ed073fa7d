"""The Debian packages of the cross compiler and of qemu: what is wanted, and the writing of their locks.

`matrix.trees` reads them and unpacks the packages.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from matrix.core.disk import replacing
from matrix.core.errors import LockFault
from matrix.environments.index import PackageIndex
from matrix.images.debian.archive import UNSIGNED, closure, fetch, suite_index, suite_release
from matrix.images.debian.layer import write_base_layer
from matrix.images.debian.lock import MachineBase, machine_lines
from matrix.images.debian.mirror import Sources
from matrix.images.debian.unpacked import FORMAT, ToolLock, lock_table, raise_faults, read_set
from matrix.images.debian.unpacked import HOST as MACHINE
from matrix.plan.locks import Change, LockChange
from matrix.plan.source_builds import PLACE

__all__ = ["MACHINE", "lock_sets", "lock_tools", "read_set", "read_wanted", "set_text"]

HEADER = "# Written by `nox -s lock` from wanted.toml; edit that file, never this one.\n"


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


def read_wanted(folder: Path) -> Wanted:
    """Raises LockFault with all faults of the file."""
    table = lock_table(folder / "wanted.toml")
    table.only(("format", "suite", "tools", "set"))
    sets = []
    for row in table.tables("set"):
        row.only(("name", "packages", "exclude"))
        name = row.text("name", required=True)
        if name and not PLACE.fullmatch(f"{{{name}}}"):
            row.fault("name", f"read {name!r}, expected small letters: {{NAME}} stands for it in commands")
        sets.append(DebSet(name=name, packages=row.texts("packages"), exclude=row.texts("exclude")))
    wanted = Wanted(suite=table.text("suite", required=True), tools=table.texts("tools"), sets=tuple(sets))
    raise_faults(table, "wanted.toml")
    return wanted


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
