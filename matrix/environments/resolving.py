"""Extends an exporter lock by the packages that a user's model asks for. The new lock is kept in the store.

The versions of torch, turbine and IREE stay the same; the other versions of the exporter lock are kept where they fit.
A resolved lock is not resolved again: a newer release of a package changes nothing until the model asks for another
version or the exporter lock changes.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from pathlib import Path

from matrix.core.disk import atomic_write
from matrix.core.records import EnvironmentRequest, Lock
from matrix.environments.locking import Resolver, Task, resolve
from matrix.environments.wheels import parse_pinned_packages, pinned_packages
from matrix.plan.locks import REFUSED, header, variant_of
from matrix.plan.user_inputs import names


def resolve_missing(
    requests: Iterable[EnvironmentRequest], index: Resolver, progress: Callable[[str], None]
) -> tuple[Path, ...]:
    """Writes the locks that are not resolved yet, and returns their paths. Where the resolver refuses, the lock holds
    the reason. Raises IndexUnreachable, DiskFull, StoreUnusable, MatrixError."""
    written = []
    for request in requests:
        lock = request.lock
        if lock.extends and not lock.digest and lock.path not in written:
            progress(f"resolving {' '.join(lock.packages)} with {lock.extends.name} for Python {request.python}")
            text = _text(lock, lock.extends, request.python, index)
            with atomic_write(lock.path, what=lock.name) as file:
                file.write(text.encode())
            written.append(lock.path)
    return tuple(written)


def _text(lock: Lock, base: Lock, python: str, index: Resolver) -> str:
    """The text of the lock. Its first line pins the requested packages in the versions that were resolved."""
    machine = platform.machine()
    iree = [each for each in pinned_packages(base, python=python, machine=machine) if each.name.startswith("iree-")]
    exact = {**dict(base.pins), **{each.name: each.version for each in iree}}
    task = Task(
        name=lock.name,
        pins=base.pins,
        requirements=(*(f"{package}=={version}" for package, version in exact.items()), *lock.packages),
        lowest_python=python,
        variant=variant_of(base),
    )
    text = resolve(task, (), index, base.path.read_text(encoding="utf-8"))
    if REFUSED in text:
        return text
    asked = names(lock.packages)
    got = {each.name: each.version for each in parse_pinned_packages(text, lock.name, python=python, machine=machine)}
    pins = (*base.pins, *((package, got[package]) for package in asked if package in got))
    return header(pins) + text.removeprefix(header(base.pins))
