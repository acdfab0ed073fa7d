"""The wheels of a lock for one Python and one machine: their hashes, and the files.

A lock holds the hashes of every wheel of a release. Only an installer knows which of them fits a Python and a machine:
pip decides it once (`fetch_wheels`), and the answer is committed in a table of layers (`images/layers`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

from matrix.core.errors import HashMismatch, NotInstallable, WheelLacking
from matrix.core.keys import sha256
from matrix.environments.index import PackageIndex
from matrix.environments.index_failures import INDEX_TIP
from matrix.plan.locks import PinnedPackage, parse_pinned_packages


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelFile:
    """A wheel as a file: package, file name, sha256, size in bytes."""

    name: str
    file: str
    sha256: str
    size: int


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
        try:
            index.download(wanted, python=python, machine=machine, glibc=glibc, folder=folder / "wheels")
        except NotInstallable as refused:
            raise confirmed(refused, packages, index, what=f"cannot fetch wheels for {machine}") from None
        return tuple(_store_wheel(path, packages, files) for path in sorted((folder / "wheels").iterdir()))


def confirmed(
    refused: NotInstallable, packages: Sequence[PinnedPackage], index: PackageIndex, *, what: str, variant: str = "cuda"
) -> Exception:
    """What a refusal is: a finding only where the index offers every wheel that a lock names, and none of them fits.
    Those wheels exist, so an index without one of them (a mirror, or none at all) says nothing about a release."""
    text = index.offered([f"{package.name}=={package.version}" for package in packages], variant=variant)
    offered = {
        (package.name, package.version): package.hashes
        for package in parse_pinned_packages(text, "the index", python="3.11", machine="")
    }
    for package in packages:
        lacking = package.hashes - offered.get((package.name, package.version), frozenset())
        if lacking:
            return WheelLacking(
                f"{what}: the package index lacks {len(lacking)} of the {len(package.hashes)} wheels of {package.name} "
                f"{package.version} that the lock names; it says: {refused.reason}",
                tip=INDEX_TIP,
            )
    return refused


def _store_wheel(path: Path, packages: Iterable[PinnedPackage], files: FetchedFiles) -> WheelFile:
    name = canonicalize_name(path.name.split("-")[0])
    digest, size = sha256(path), path.stat().st_size
    allowed: Mapping[str, frozenset[str]] = {package.name: package.hashes for package in packages}
    if digest not in allowed.get(name, frozenset()):
        raise HashMismatch(f"{path.name}: sha256 {digest} is not one that the lock names", tip="fetch it again")
    files.add(path, digest)
    return WheelFile(name=name, file=path.name, sha256=digest, size=size)
