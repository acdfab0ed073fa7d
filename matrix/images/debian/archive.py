"""Debian's archive: the signed index of a suite, the closure of the wanted packages, the fetching of their files.

The chain of trust: gpgv checks the signature of `InRelease`, if Debian's keyring is installed (if not, a message says
so). `InRelease` has the sha256 of the list of packages, which has the sha256 of every .deb, which goes into the lock.
python-debian reads all formats. Only the main archive of a suite is used; see `images/base/wanted.toml`.
"""

from __future__ import annotations

import lzma
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from pathlib import Path
from shutil import which
from typing import Any

from debian.deb822 import Deb822, Packages, PkgRelation, Release
from debian.debian_support import version_compare

from matrix.core import processes
from matrix.core.errors import HashMismatch, IndexUnreachable, PackageGone, ResolutionRefused
from matrix.images.debian.lock import DEBIAN_NAMES, DebFile, DebLock, stored_file
from matrix.images.debian.mirror import (
    MIRROR_VARIABLE,
    SNAPSHOT_VARIABLE,
    NotOnServer,
    Sources,
    download,
    find_sources,
    is_fetched,
)

FIELDS = ["Package", "Version", "Architecture", "Depends", "Pre-Depends", "Provides", "Filename", "Size", "SHA256"]
KEYRINGS = tuple(Path("/usr/share/keyrings") / f"debian-archive-keyring.{suffix}" for suffix in ("pgp", "gpg"))
UNSIGNED = "its signature was not checked: gpgv and Debian's keyring (debian-archive-keyring) are not installed"
RELATIONS = {
    "<<": lambda sign: sign < 0,
    "<=": lambda sign: sign <= 0,
    "=": lambda sign: sign == 0,
    ">=": lambda sign: sign >= 0,
    ">>": lambda sign: sign > 0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A package's name, perhaps with a bound on its version: a dependency, or a name that a package provides."""

    name: str
    operator: str = ""
    version: str = ""

    def admits(self, version: str) -> bool:
        return not self.operator or RELATIONS[self.operator](version_compare(version, self.version))


@dataclass(frozen=True, slots=True, kw_only=True)
class Available:
    """A package of a suite: its file, and its dependencies and provided names as text.

    The texts are parsed only for the packages of a closure: a suite has 60,000.
    """

    deb: DebFile
    depends: str = ""
    provides: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteRelease:
    """A suite as `InRelease` describes it. `files` maps a path below `dists/SUITE` to its sha256; `signed`: a good
    signature of Debian was verified; `released` is ISO 8601 in UTC."""

    suite: str
    source: str
    released: str
    files: Mapping[str, str]
    signed: bool


class SuiteIndex:
    """The packages of one suite and architecture."""

    def __init__(self, suite: str, architecture: str, packages: Iterable[Available]) -> None:
        self.suite = suite
        self.architecture = architecture
        self._by_name: dict[str, Available] = {}
        self._providers: dict[str, list[tuple[Relation, Available]]] = {}
        for package in packages:
            known = self._by_name.get(package.deb.package)
            if known is None or version_compare(package.deb.version, known.deb.version) > 0:
                self._by_name[package.deb.package] = package
            for provided in (relation for group in relations(package.provides) for relation in group):
                self._providers.setdefault(provided.name, []).append((provided, package))

    def named(self, name: str) -> Available | None:
        """The newest package of this name."""
        return self._by_name.get(name)

    def find(self, relation: Relation) -> Available | None:
        """The package of this name, or else the first by name that provides it; its version is within the bound."""
        package = self.named(relation.name)
        if package is not None and relation.admits(package.deb.version):
            return package
        fitting = [
            provider
            for provided, provider in self._providers.get(relation.name, [])
            if not relation.operator or (provided.version and relation.admits(provided.version))
        ]
        return min(fitting, key=lambda provider: provider.deb.package, default=None)


def package_closure(index: SuiteIndex, packages: Sequence[str], exclude: Sequence[str]) -> tuple[DebFile, ...]:
    """The .debs of `packages` and of all their dependencies, by name. Pure.

    Of the alternatives of a dependency the first counts that exists or is excluded; an excluded package counts as
    installed. Raises ResolutionRefused for a package that the suite does not have.
    """
    chosen: dict[str, Available] = {}
    queue = [(Relation(name=name), "wanted.toml") for name in packages]
    while queue:
        relation, by = queue.pop(0)
        found = index.find(relation)
        if found is None:
            raise ResolutionRefused(
                f"{index.suite} ({index.architecture}) has no {relation.name}, which {by} asks for",
                tip="images/base/wanted.toml: correct `packages`, or name it in `exclude` if the base works without it",
            )
        if found.deb.package in chosen:
            continue
        chosen[found.deb.package] = found
        for group in relations(found.depends):
            needed = _first(index, group, exclude)
            if needed is not None:
                queue.append((needed, found.deb.package))
    return tuple(chosen[name].deb for name in sorted(chosen))


def _first(index: SuiteIndex, group: Sequence[Relation], exclude: Sequence[str]) -> Relation | None:
    """The alternative that counts; None where it is excluded."""
    for relation in group:
        if relation.name in exclude:
            return None
        if index.find(relation) is not None:
            return relation
    return group[0]


def parse_packages(lines: Iterable[bytes]) -> Iterator[Available]:
    """The paragraphs of a `Packages` file."""
    for paragraph in Packages.iter_paragraphs(lines, fields=FIELDS, use_apt_pkg=False):
        depends = (paragraph.get("Pre-Depends", ""), paragraph.get("Depends", ""))
        yield Available(
            deb=DebFile(
                package=paragraph["Package"],
                version=paragraph["Version"],
                architecture=paragraph["Architecture"],
                path=paragraph["Filename"],
                size=int(paragraph["Size"]),
                sha256=paragraph["SHA256"],
            ),
            depends=", ".join(text for text in depends if text),
            provides=paragraph.get("Provides", ""),
        )


def relations(text: str) -> tuple[tuple[Relation, ...], ...]:
    """Parses a field such as Depends into groups of alternatives."""
    if not text:
        return ()
    return tuple(tuple(_relation(row) for row in group) for group in PkgRelation.parse_relations(text))


def _relation(row: Mapping[str, Any]) -> Relation:
    operator, version = row.get("version") or ("", "")
    return Relation(name=row["name"], operator=operator, version=version)


def suite_release(suite: str, source: Sources, scratch: Path) -> SuiteRelease:
    """The `InRelease` of a suite, from the first source that has it: for an old suite this may be the snapshot.

    Raises IndexUnreachable, and HashMismatch for a bad signature.
    """
    what = f"the index of Debian's {suite}"
    seen = "no mirror has it"
    for mirror in source.every:
        target = scratch / f"{suite}.InRelease"
        try:
            download(mirror, f"dists/{suite}/InRelease", target, what=what, named_in="")
        except NotOnServer:
            continue
        text, signed = _verified(target, what)
        release = Release(text.splitlines())
        if release.get("Origin") == "Debian" and suite in (release.get("Codename"), release.get("Suite")):
            moment = parsedate_to_datetime(release["Date"].replace("UTC", "+0000")).astimezone(UTC)
            return SuiteRelease(
                suite=suite,
                source=mirror,
                released=moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
                files={row["name"]: row["sha256"] for row in release["SHA256"]},
                signed=signed,
            )
        seen = f"the mirror's is of {release.get('Origin', 'nobody')!r}, {release.get('Codename', 'nothing')!r}"
    raise IndexUnreachable(f"{what}: {seen}", tip=f"set {MIRROR_VARIABLE} to a mirror of Debian's that has the suite")


def _verified(path: Path, what: str) -> tuple[bytes, bool]:
    """The signed text without the signature, and whether the signature was verified.

    With gpgv and the keyring, a text without a good signature is refused. gpgv writes the text, so that only verified
    text is read. A second signature by a key that is too new for the keyring does not matter.
    """
    keyring = next((ring for ring in KEYRINGS if ring.exists()), None)
    gpgv = which("gpgv")
    if gpgv is None or keyring is None:
        return b"\n".join(Deb822.split_gpg_and_payload(iter(path.read_bytes().splitlines()))[1]), False
    text = path.with_suffix(".verified")
    argv = [gpgv, "--status-fd", "1", "--keyring", str(keyring), "--output", str(text), str(path)]
    done = processes.run(argv, timeout=60)
    states = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("[GNUPG:] ")}
    if "VALIDSIG" not in states or states & {"BADSIG", "REVKEYSIG"} or not text.exists():
        raise HashMismatch(
            f"{what}: it has no good signature of Debian's",
            tip=f"upgrade debian-archive-keyring if it is old; if not, do not use this mirror\n{done.tail}",
        )
    return text.read_bytes(), True


def suite_index(release: SuiteRelease, architecture: str, scratch: Path) -> SuiteIndex:
    """The packages of a suite. Raises IndexUnreachable and HashMismatch."""
    path = f"main/binary-{architecture}/Packages.xz"
    what = f"the list of {release.suite}'s packages for {architecture}"
    target = scratch / f"{release.suite}-{architecture}.xz"
    sha256 = release.files.get(path, "")
    try:
        if not sha256:
            raise NotOnServer(path)
        download(
            release.source, f"dists/{release.suite}/{path}", target, what=what, named_in="InRelease", sha256=sha256
        )
    except NotOnServer:
        raise IndexUnreachable(f"{what}: the mirror has none", tip=f"set {MIRROR_VARIABLE}") from None
    with lzma.open(target) as lines:
        return SuiteIndex(release.suite, architecture, parse_packages(lines))


def fetch_deb(deb: DebFile, files: Path, *, lock: DebLock, source: Sources | None = None) -> Path:
    """The path of a .deb in `files`: the stored file, else fetched from a mirror, else from the snapshot.

    The sha256 is checked each time. Raises HashMismatch (also for a damaged stored file), IndexUnreachable, DiskFull,
    and PackageGone where no source has the file any more.
    """
    target = stored_file(files, deb)
    what = f"{deb.label} of {lock.name}"
    if is_fetched(target, deb.sha256, what=what):
        return target
    source = source or find_sources()
    for address in source.every:
        try:
            download(address, deb.path, target, what=what, named_in=lock.name, size=deb.size, sha256=deb.sha256)
        except NotOnServer:
            continue
        return target
    raise _gone(deb, lock, source)


def _gone(deb: DebFile, lock: DebLock, source: Sources) -> PackageGone:
    """The error for a file that no source has, with the version that replaced it if the index can be read."""
    reason = "and its index cannot be read"
    try:
        with tempfile.TemporaryDirectory() as scratch:
            release = suite_release(lock.suite, source, Path(scratch))
            index = suite_index(release, _binary_architecture(deb, lock), Path(scratch))
    except (IndexUnreachable, HashMismatch):
        pass
    else:
        current = index.named(deb.package)
        if current is None:
            reason = f"{lock.suite} has no package of that name any more"
        elif current.deb.version == deb.version:
            reason = f"though {lock.suite} still lists this version"
        else:
            reason = f"superseded by {current.deb.version}"
    return PackageGone(
        f"{deb.label}: the mirror no longer has this file, which {lock.name} names: {reason}",
        tip=f"lock the bases again (nox -s lock), or set {SNAPSHOT_VARIABLE} to the snapshot archive's address for a "
        f"time soon after {lock.released}",
    )


def _binary_architecture(deb: DebFile, lock: DebLock) -> str:
    """The architecture whose list has the package; every list has those of `all`."""
    return DEBIAN_NAMES[lock.machines[0].machine] if deb.architecture == "all" else deb.architecture
