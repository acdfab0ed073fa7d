"""The wheels of a lock for one Python and one machine: their hashes, and the files.

A lock holds the hashes of every wheel of a release. Only an installer knows which of them fits a Python and a machine:
pip decides it once (`fetch_wheels`), and the answer is committed in a table of layers (`images/layers`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from matrix.core.errors import HashMismatch, LockFault
from matrix.core.keys import sha256
from matrix.core.records import Lock
from matrix.environments.index import PackageIndex
from matrix.plan.locks import RELOCK


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedPackage:
    """One package of a lock: its exact version, and the sha256 of every wheel that the lock allows."""

    name: str
    version: str
    hashes: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelFile:
    """A wheel as a file: package, file name, sha256, size in bytes."""

    name: str
    file: str
    sha256: str
    size: int


def pinned_packages(lock: Lock, *, python: str, machine: str) -> tuple[PinnedPackage, ...]:
    """The packages of a lock that a Python (`3.11`) on a machine (`x86_64`) needs. Raises LockFault."""
    return parse_pinned_packages(lock.path.read_text(encoding="utf-8"), lock.name, python=python, machine=machine)


def parse_pinned_packages(content: str, name: str, *, python: str, machine: str) -> tuple[PinnedPackage, ...]:
    """The packages in the text of a lock. Raises LockFault."""
    target = _marker_environment(python, machine)
    found = []
    for line in content.replace("\\\n", " ").splitlines():
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        words, *hashes = text.split("--hash=sha256:")
        try:
            requirement = Requirement(words.strip())
        except InvalidRequirement as error:
            raise LockFault(f"{name}.txt: {error}", tip=RELOCK) from None
        if requirement.marker is None or requirement.marker.evaluate(target):
            version = next(iter(requirement.specifier)).version
            digests = frozenset(digest.strip() for digest in hashes)
            found.append(PinnedPackage(name=canonicalize_name(requirement.name), version=version, hashes=digests))
    return tuple(found)


def _marker_environment(python: str, machine: str) -> dict[str, str]:
    """The variables of PEP 508 markers for the target, not for this interpreter."""
    return {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "implementation_version": f"{python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "platform_machine": machine,
        "platform_system": "Linux",
        "platform_release": "",
        "platform_version": "",
        "sys_platform": "linux",
        "os_name": "posix",
    }


class FetchedFiles:
    """The store's folder of fetched files: `<first two digits>/<sha256>/<file name>`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, digest: str) -> Path | None:
        """The file with this sha256; None where it was not fetched. Raises HashMismatch where its bytes changed."""
        place = self.folder / digest[:2] / digest
        for path in place.glob("*"):
            if sha256(path) != digest:
                raise HashMismatch(
                    f"{path.name}: its bytes changed on this disk, expected sha256 {digest}",
                    tip=f"remove {place} and run again: it is fetched again",
                )
            return path
        return None

    def add(self, path: Path, digest: str) -> Path:
        """Moves a file into the store. A file that is there already is replaced by the same bytes."""
        place = self.folder / digest[:2] / digest
        place.mkdir(parents=True, exist_ok=True)
        final = place / path.name
        path.replace(final)
        return final


def fetch_wheels(
    packages: Sequence[PinnedPackage],
    *,
    python: str,
    machine: str,
    glibc: str,
    index: PackageIndex,
    files: FetchedFiles,
) -> tuple[WheelFile, ...]:
    """The wheels of these packages for a Python and a machine, downloaded by pip and checked against the lock.

    Raises NotInstallable, IndexUnreachable, HashMismatch, DiskFull.
    """
    files.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=files.folder, prefix="fetch-") as scratch:
        folder = Path(scratch)
        lines = (
            f"{package.name}=={package.version} " + " ".join(f"--hash=sha256:{digest}" for digest in package.hashes)
            for package in packages
        )
        wanted = folder / "wanted.txt"
        wanted.write_text("\n".join(lines) + "\n", encoding="utf-8")
        index.download(wanted, python=python, machine=machine, glibc=glibc, folder=folder / "wheels")
        return tuple(_store_wheel(path, packages, files) for path in sorted((folder / "wheels").iterdir()))


def _store_wheel(path: Path, packages: Iterable[PinnedPackage], files: FetchedFiles) -> WheelFile:
    name = canonicalize_name(path.name.split("-")[0])
    digest, size = sha256(path), path.stat().st_size
    allowed: Mapping[str, frozenset[str]] = {package.name: package.hashes for package in packages}
    if digest not in allowed.get(name, frozenset()):
        raise HashMismatch(f"{path.name}: sha256 {digest} is not one that the lock names", tip="fetch it again")
    files.add(path, digest)
    return WheelFile(name=name, file=path.name, sha256=digest, size=size)
