"""Resolves the locks that are kept in the store: an exporter lock extended by the packages that a user's model asks
for, and that of a release whose wheels lie in a folder or an index of the user's own.

The versions of torch, turbine and IREE stay the same; the other versions of the exporter lock are kept where they fit.
A resolved lock is not resolved again: a newer release of a package changes nothing until the model asks for another
version or the exporter lock changes.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from matrix.core.disk import atomic_write
from matrix.core.errors import ModelUnusable, PackageUnknown
from matrix.core.records import EnvironmentRequest, Lock
from matrix.environments.interpreters import find
from matrix.environments.locking import Resolver, Task, resolve
from matrix.environments.own.packages import only_own, pinned_own
from matrix.plan.locks import OWN_WHEELS, REFUSED, header, parse_pinned_packages, pinned_packages, variant_of
from matrix.plan.stages import environments
from matrix.plan.user_inputs import names


def resolve_missing(
    requests: Iterable[EnvironmentRequest], index: Resolver, progress: Callable[[str], None]
) -> tuple[Path, ...]:
    """Writes the locks that are not resolved yet, and returns their paths. Where the resolver refuses, the lock holds
    the reason. Raises IndexUnreachable, DiskFull, StoreUnusable, MatrixError."""
    written = []
    for request in requests:
        lock = request.lock
        if lock.digest or lock.path in written or not (lock.extends or lock.places):
            continue
        beside = f" {' '.join(word.partition(' @ ')[0] for word in lock.packages)} with" if lock.packages else ""
        progress(f"resolving{beside} {(lock.extends or lock).name} for Python {request.python}")
        text = _text(lock, lock.extends, request.python, index) if lock.extends else _of_release(request, index)
        with atomic_write(lock.path, what=lock.name) as file:
            file.write(text.encode())
        written.append(lock.path)
    return tuple(written)


def _of_release(request: EnvironmentRequest, index: Resolver) -> str:
    """The text of the lock of a release whose wheels lie at a user's own places."""
    lock, kind = request.lock, environments()[request.kind]
    task = Task(
        name=lock.name,
        pins=lock.pins,
        requirements=tuple(f"{package}{kind.extra}=={version}" for package, version in lock.pins),
        lowest_python=request.python,
        variant="",
    )
    return resolve(task, (), index.at(lock.places), "")


def _text(lock: Lock, base: Lock, python: str, index: Resolver) -> str:
    """The text of the lock. Its first line pins the requested packages in the versions that were resolved."""
    machine = platform.machine()
    iree = [each for each in pinned_packages(base, python=python, machine=machine) if each.name.startswith("iree-")]
    exact = {**dict(base.pins), **{each.name: each.version for each in iree}}
    packages: tuple[str, ...] = lock.packages
    own: Mapping[str, str] = {}
    if lock.places:
        packages, own = pinned_own(packages, lock.path.parent / OWN_WHEELS, index, find(python).path)
        index = index.at(lock.places)
    task = Task(
        name=lock.name,
        pins=base.pins,
        requirements=(*(f"{package}=={version}" for package, version in exact.items()), *packages),
        lowest_python=python,
        variant=variant_of(base),
    )
    try:
        text = resolve(task, (), index, base.path.read_text(encoding="utf-8"))
    except PackageUnknown as unknown:
        if unknown.package in names(lock.packages) and index.releases(base.pins[0][0], pythons=[python]):
            raise ModelUnusable(
                f"PACKAGES: the package index has no package {unknown.package!r}, expected the name of one",
                tip="check its spelling; for a package of another index set UV_DEFAULT_INDEX and PIP_INDEX_URL",
            ) from None
        raise
    if REFUSED in text:
        return text
    text = only_own(text, own)
    asked = names(lock.packages)
    got = {each.name: each.version for each in parse_pinned_packages(text, lock.name, python=python, machine=machine)}
    pins = (*base.pins, *((package, got[package]) for package in asked if package in got))
    return header(pins) + text.removeprefix(header(base.pins))
