"""Locks the bases of `images/base/wanted.toml`: resolves and fetches the packages, and computes the layers."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from matrix.core.disk import atomic_write
from matrix.core.errors import IndexUnreachable, LockFault, ResolutionRefused
from matrix.images.debian import archive, python_archive
from matrix.images.debian.layer import write_base_layer
from matrix.images.debian.lock import (
    DEBIAN_NAMES,
    BaseLock,
    DebFile,
    DebLock,
    MachineBase,
    base_paths,
    base_text,
    read_base,
)
from matrix.images.debian.mirror import Sources, find_sources
from matrix.images.debian.wanted import BaseWish, read_base_wishes
from matrix.plan.locks import LockChange, LockOutcome


def fetch_base(lock: DebLock, machine: str, files: Path, *, source: Sources | None = None) -> tuple[Path, ...]:
    """Fetches all files of a base, or of a set of tools, for one machine into `files`. Checks those that are there."""
    base = lock.on(machine)
    found = [archive.fetch_deb(deb, files, lock=lock, source=source) for deb in base.debs]
    if base.python is not None:
        found.append(python_archive.fetch_python(base.python, files, named_in=lock.name))
    return tuple(found)


def lock_base(
    wish: BaseWish, files: Path, *, source: Sources, progress: Callable[[str], None] | None = None
) -> BaseLock:
    """Resolves one base for all its machines, fetches its .debs into `files` and computes the digests of its layers."""
    say = progress or (lambda _: None)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        release = archive.suite_release(wish.suite, source, scratch)
        if not release.signed:
            say(f"base/{wish.python}: {wish.suite}: {archive.UNSIGNED}")
        found = {
            machine: archive.package_closure(
                archive.suite_index(release, DEBIAN_NAMES[machine], scratch), wish.packages, wish.exclude
            )
            for machine in wish.machines
        }
    lock = BaseLock(
        python=wish.python,
        suite=wish.suite,
        moving=wish.moving,
        released=release.released,
        glibc=_glibc(found[wish.machines[0]]),
        packages=wish.packages,
        exclude=wish.exclude,
        machines=tuple(
            MachineBase(
                machine=machine,
                layer="",
                debs=debs,
                python=python_archive.lock_python(wish.python, machine, files) if wish.standalone else None,
            )
            for machine, debs in found.items()
        ),
    )
    return replace(lock, machines=tuple(_with_layer(lock, base, files, source) for base in lock.machines))


def _with_layer(lock: BaseLock, base: MachineBase, files: Path, source: Sources) -> MachineBase:
    fetch_base(lock, base.machine, files, source=source)
    layer = write_base_layer(lock, base.machine, files, None)
    return replace(base, layer=f"sha256:{layer.digest}")


def _glibc(debs: Sequence[DebFile]) -> str:
    version = next((deb.version for deb in debs if deb.package == "libc6"), "none")
    return version.partition(":")[2].partition("-")[0] if ":" in version else version.partition("-")[0]


def lock_all_bases(
    folder: Path, *, files: Path, source: Sources | None = None, progress: Callable[[str], None] | None = None
) -> tuple[LockChange, ...]:
    """Locks the bases that `wanted.toml` in `folder` asks for. Returns what changed, by name (`base/3.11`).

    The .debs are fetched into `files`. Where a base of a moving suite, or one with a standalone Python, cannot be
    locked, its lock stays as it is. Raises IndexUnreachable, HashMismatch, ResolutionRefused, LockFault, ImageFault or
    DiskFull before any lock is written.
    """
    wishes = read_base_wishes(folder)
    source = source or find_sources()
    before = {path: _before(path) for path in base_paths(folder)}
    made: dict[Path, tuple[BaseLock | None, str]] = {}
    for wish in wishes:
        path = folder / f"{wish.python}.toml"
        try:
            made[path] = lock_base(wish, files, source=source, progress=progress), ""
        except (IndexUnreachable, ResolutionRefused) as error:
            if not (wish.moving or wish.standalone):
                raise
            made[path] = None, str(error)
        if progress:
            progress(f"base/{wish.python}")
    changes = [_write(path, before.get(path), lock, reason) for path, (lock, reason) in made.items()]
    for path in sorted(before.keys() - made.keys()):
        path.unlink()
        changes.append(LockChange(name=f"base/{path.stem}", change=LockOutcome.REMOVED))
    return tuple(changes)


def _before(path: Path) -> BaseLock | None:
    """The existing lock; None where it cannot be read: it is written again."""
    try:
        return read_base(path)
    except LockFault:
        return None


def _write(path: Path, before: BaseLock | None, lock: BaseLock | None, reason: str) -> LockChange:
    """Writes the lock if its content changed. A new date of the index alone is no change."""
    name = f"base/{path.stem}"
    if lock is None:
        return LockChange(name=name, change=LockOutcome.SKIPPED, detail=reason)
    if before is not None and replace(lock, released=before.released) == before:
        return LockChange(name=name, change=LockOutcome.UNCHANGED)
    with atomic_write(path, what=name) as file:
        file.write(base_text(lock).encode())
    if before is None:
        return LockChange(name=name, change=LockOutcome.ADDED)
    return LockChange(name=name, change=LockOutcome.CHANGED, detail=difference(before, lock))


def difference(before: BaseLock, lock: BaseLock) -> str:
    """The packages with new versions, as `libc6 2.36-9+deb12u10 -> 2.36-9+deb12u14`; if none, what else differs."""
    old, new = _versions(before), _versions(lock)
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    return ", ".join(f"{name} {old.get(name, '-')} -> {new.get(name, '-')}" for name in names) or (
        "as wanted.toml asks" if before.machines == lock.machines else "files or layers of the same versions"
    )


def _versions(lock: BaseLock) -> dict[str, str]:
    found: dict[str, set[str]] = {}
    for base in lock.machines:
        for deb in base.debs:
            found.setdefault(deb.package, set()).add(deb.version)
        if base.python is not None:
            found.setdefault("python", set()).add(base.python.version)
    return {name: "/".join(sorted(versions)) for name, versions in found.items()}
