"""Locks the tools of `images/armv6/wanted.toml`: the Debian packages of cross compilers and qemu, and Python packages;
the drivers of `images/drivers/wanted.toml`, and what checks their code, of `images/checkers/wanted.toml`.

`matrix.images.debian.unpacked` reads the locks and unpacks the packages.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from matrix.core.disk import atomic_write
from matrix.core.errors import LockFault
from matrix.environments.index import PackageIndex
from matrix.images.debian.archive import UNSIGNED, fetch_deb, package_closure, suite_index, suite_release
from matrix.images.debian.layer import write_base_layer
from matrix.images.debian.lock import DEBIAN_FORMAT, DEBIAN_HEADER, MachineBase, machine_lines
from matrix.images.debian.mirror import Sources
from matrix.images.debian.unpacked import TOOLS_MACHINE, ToolLock, read_set
from matrix.images.debian.wanted import read_tool_wishes
from matrix.plan.locks import LockChange, LockOutcome


def set_text(lock: ToolLock) -> str:
    """The lock as TOML: the same text for the same lock."""
    lines = [
        f"format = {DEBIAN_FORMAT}",
        f"suite = {json.dumps(lock.suite)}",
        f"released = {json.dumps(lock.released)}",
    ]
    for base in lock.machines:
        lines += machine_lines(base)
    return DEBIAN_HEADER + "\n".join(lines) + "\n"


def lock_sets(folder: Path, *, files: Path, source: Sources, progress: Callable[[str], None]) -> list[LockChange]:
    """Locks every set of `wanted.toml`. Fetches the .debs into `files`, and writes only locks whose content changed.

    Raises IndexUnreachable, HashMismatch, ResolutionRefused, LockFault, ImageFault, DiskFull.
    """
    sets, changes = read_tool_wishes(folder).sets, []
    suites = {}
    with tempfile.TemporaryDirectory() as scratch:
        for suite in dict.fromkeys(row.suite for row in sets):
            release = suite_release(suite, source, Path(scratch))
            if not release.signed:
                progress(f"{folder.name}: {suite}: {UNSIGNED}")
            suites[suite] = release.released, suite_index(release, "amd64", Path(scratch))
    for row in sets:
        released, index = suites[row.suite]
        base = MachineBase(machine=TOOLS_MACHINE, layer="", debs=package_closure(index, row.packages, row.exclude))
        path = folder / f"debian-{row.name}.toml"
        name = f"images/{folder.name}/{path.name}"
        lock = ToolLock(name=name, suite=row.suite, released=released, machines=(base,))
        for deb in base.debs:
            fetch_deb(deb, files, lock=lock, source=source)
        layer = write_base_layer(lock, TOOLS_MACHINE, files, None)
        lock = replace(lock, machines=(replace(base, layer=f"sha256:{layer.digest}"),))
        changes.append(_write(path, lock))
        progress(f"{folder.name}/{row.name}")
    return changes


def lock_tools(folder: Path, index: PackageIndex, *, upgrade: bool) -> LockChange:
    """Locks the Python packages; keeps the versions that still fit. Raises ResolutionRefused, IndexUnreachable."""
    path = folder / "tools.txt"
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    tools = read_tool_wishes(folder).tools
    text = DEBIAN_HEADER + index.resolve(tools, lowest_python="3.11", previous="" if upgrade else before)
    name = f"{folder.name}/tools"
    if text == before:
        return LockChange(name=name, change=LockOutcome.UNCHANGED)
    with atomic_write(path, what=name) as file:
        file.write(text.encode())
    return LockChange(name=name, change=LockOutcome.CHANGED if before else LockOutcome.ADDED)


def _write(path: Path, lock: ToolLock) -> LockChange:
    name = f"{path.parent.name}/{path.stem}"
    try:
        before = read_set(path.parent, path.stem.removeprefix("debian-"))
    except LockFault:
        before = None
    if before is not None and before.machines == lock.machines:
        return LockChange(name=name, change=LockOutcome.UNCHANGED)
    with atomic_write(path, what=name) as file:
        file.write(set_text(lock).encode())
    return LockChange(name=name, change=LockOutcome.ADDED if before is None else LockOutcome.CHANGED)
