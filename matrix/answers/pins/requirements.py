"""Requirements files with hashes for the environments of a tested cell, from the committed locks. Reads files only."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from matrix.core.errors import LockFault
from matrix.core.keys import sha256
from matrix.core.records import EnvironmentRequest, Lock
from matrix.core.versions import is_nightly
from matrix.plan.backends.shared import BARE
from matrix.plan.locks import NOWHERE, OWN_LOCKS, PinnedPackage, extended_locks, kind_of, pinned_packages, read_lock
from matrix.results.run import Cell, FinishedJob, RealisedEnvironment, Run

NO_WHEELS = ("own/", "builder/", "built/", BARE.name)
"""The prefixes of locks without wheels: of users' toolchains and of builds from source."""
LOCK_NAME = re.compile(r"\w+/[\w.+-]+")
PYTHON_MINOR = re.compile(r"3\.\d{1,2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedEnvironment:
    """The environment of one stage: its lock, its Python (`3.11`) and machine, and the packages for them."""

    request: EnvironmentRequest
    machine: str
    packages: tuple[PinnedPackage, ...]

    @property
    def versions(self) -> dict[str, str]:
        return {package.name: package.version for package in self.packages}


@dataclass(frozen=True, slots=True, kw_only=True)
class RequirementsFile:
    """Environments that can be installed together: with one Python, and one version of each package."""

    python: str
    environments: tuple[LockedEnvironment, ...]

    @property
    def name(self) -> str:
        return "-".join(each.request.kind for each in self.environments)

    @property
    def locks(self) -> tuple[Lock, ...]:
        return tuple(each.request.lock for each in self.environments)


def environments_of(run: Run, cell: Cell, images: Path, *, place: Path = NOWHERE) -> tuple[LockedEnvironment, ...]:
    """The environments of the cell's stages, in order. `place` has the locks of a store: those with a model's packages.
    Raises LockFault where a lock is not the one that was tested."""
    extended = {lock.digest: lock for lock in extended_locks(place).values()}
    found: dict[str, LockedEnvironment] = {}
    for job in run.jobs_of(cell):
        if not job.lock.startswith(NO_WHEELS):
            lock = extended.get(job.lock_sha256) or _of_nightly(job, place) or _committed(job, images / "locks")
            found.setdefault(job.lock, _tested(job, run.environments.get(job.environment), lock))
    return tuple(found.values())


def _of_nightly(job: FinishedJob, place: Path) -> Lock | None:
    """The lock of a nightly build in a store; None for another release. Raises LockFault where the store has none."""
    release = job.lock.rpartition("/")[2]
    if not (LOCK_NAME.fullmatch(job.lock) and is_nightly(release)):
        return None
    for path in sorted((place / OWN_LOCKS).glob("*.txt")):
        if sha256(path) == job.lock_sha256:
            return read_lock(path, job.lock)
    raise LockFault(
        f"{job.lock}: no lock of this nightly build is here, expected the one that was tested",
        tip="ask with the store that measured it (--store), or pin it by hand with its --find-links or --index",
    )


def _committed(job: FinishedJob, locks: Path) -> Lock:
    if not LOCK_NAME.fullmatch(job.lock):  # the text of a results file is no path
        raise LockFault(f"read {job.lock!r}, expected the name of a lock", tip="measure the cell again")
    return read_lock(locks / f"{job.lock}.txt", job.lock)


def _tested(job: FinishedJob, environment: RealisedEnvironment | None, lock: Lock) -> LockedEnvironment:
    if environment is None or not environment.python:
        raise LockFault(f"{job.lock}: the results do not say which Python it was on", tip="measure the cell again")
    python, machine = ".".join(environment.python.split(".")[:2]), job.machine.partition(",")[0]
    if not PYTHON_MINOR.fullmatch(python):
        raise LockFault(f"{job.lock}: read Python {python}, expected one such as 3.11", tip="measure the cell again")
    packages = _packages(lock, python, machine)
    if lock.digest != job.lock_sha256:
        _same_versions(lock, packages, environment)
    request = EnvironmentRequest(kind=kind_of(lock), python=python, lock=lock)
    return LockedEnvironment(request=request, machine=machine, packages=packages)


@functools.lru_cache(maxsize=128)
def _packages(lock: Lock, python: str, machine: str) -> tuple[PinnedPackage, ...]:
    return pinned_packages(lock, python=python, machine=machine)


def _same_versions(lock: Lock, packages: Sequence[PinnedPackage], environment: RealisedEnvironment) -> None:
    """A changed lock is still valid if its wheels for this Python are the ones that were installed."""
    installed: dict[str, str] = {canonicalize_name(name): text for name, text in environment.distributions.items()}
    differing = [
        f"{package.name} {package.version}, tested {installed.get(package.name, 'none')}"
        for package in packages
        if _base(installed.get(package.name)) != _base(package.version)
    ]
    if differing:
        raise LockFault(
            f"{lock.name}.txt is not the lock that was tested: {', '.join(differing)}",
            tip="measure the combination again: the command is under `reproduce`",
        )


def _base(version: str | None) -> str:
    """`3.8.0` also for `3.8.0rc20250101`: in some releases of IREE the wheel's name and METADATA differ."""
    try:
        return Version(version).base_version if version else ""
    except InvalidVersion:  # the text of a results file
        return str(version)


def requirements_files(environments: Sequence[LockedEnvironment]) -> tuple[RequirementsFile, ...]:
    """As few files as the versions allow, the last stage first: the runtime's file is the one for the board."""
    groups: list[list[LockedEnvironment]] = []
    for each in reversed(environments):
        for group in groups:
            if all(_fit(each, other) for other in group):
                group.append(each)
                break
        else:
            groups.append([each])
    return tuple(RequirementsFile(python=group[0].request.python, environments=tuple(group)) for group in groups)


def _fit(one: LockedEnvironment, other: LockedEnvironment) -> bool:
    return one.request.python == other.request.python and all(
        other.versions.get(name, version) == version for name, version in one.versions.items()
    )


def requirements_text(file: RequirementsFile, *, heading: Sequence[str], name: str) -> str:
    """The text of the file, for pip and uv with --require-hashes."""
    packages = {package.name: package for each in file.environments for package in each.packages}
    lines = [
        *(f"# {' '.join(line.split())}" for line in heading),
        f"# Python {file.python}, {file.environments[0].machine}:"
        f" python{file.python} -m pip install --require-hashes -r {name}",
        *(f"# of images/locks/{lock.name}.txt, sha256 {lock.digest}" for lock in file.locks),
    ]
    if len(file.environments) > 1:
        lines.append("# tested in an environment for each lock; here together, at the same versions")
    for package in sorted(packages.values(), key=lambda package: package.name):
        hashes = " \\\n".join(f"    --hash=sha256:{digest}" for digest in sorted(package.hashes))
        lines.append(f"{package.name}=={package.version} \\\n{hashes}")
    return "\n".join(lines) + "\n"
