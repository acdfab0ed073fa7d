"""Nightly builds and release candidates as values of the axes of releases: wheels in a folder or an index of one's own.

A version that has a committed lock is always the locked one. Any other gets a lock in the store, which names the sha256
of its wheels.
"""

from __future__ import annotations

import contextlib
import platform
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from email.parser import BytesHeaderParser
from pathlib import Path

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from matrix.core.disk import is_folder_at
from matrix.core.errors import LockFault, WheelFault
from matrix.core.keys import Json, digest
from matrix.core.records import Lock
from matrix.core.versions import is_version
from matrix.environments.index import FIND_LINKS, OWN_INDEX, PackageIndex, configured_index
from matrix.plan.backends.backend import Backend, EnvironmentKind
from matrix.plan.locks import OWN_LOCKS, LockIndex, lock_name, read_lock
from matrix.plan.spec import Spec

LOCK_FORMAT = 1
MOST_METADATA = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalWheel:
    """A wheel file in a folder: what its name says."""

    path: Path
    package: str
    version: str
    tags: frozenset[Tag]


def with_own_releases(locks: LockIndex, spec: Spec) -> LockIndex:
    """The locks, and one for each further release at the places that a spec names. Raises WheelFault,
    IndexUnreachable."""
    places = places_of(spec)
    if not places:
        return locks
    kinds = [kind for backend in spec.backends for kind in _chosen_alone(backend)]
    alone = [spec.axis_rows[axis] for axis in spec.axis_rows if any(axis in kind.axes for kind in kinds)]
    packages = tuple(dict.fromkeys(row.package for row in alone))
    found = _found(places, packages, spec)
    known = {pin for lock in locks.locks for pin in lock.pins}
    more = [
        replace(
            _lock(
                kind.name,
                ((package, version),),
                {"places": places, "python": spec.tools_python, "wheels": identity},
                locks.place / OWN_LOCKS,
            ),
            places=places,
        )
        for (package, version), identity in sorted(found.items())
        if (package, version) not in known
        for kind in kinds
        if package in {spec.axis_rows[axis].package for axis in kind.axes if axis in spec.axis_rows}
    ]
    return replace(locks, locks=(*locks.locks, *more))


def _chosen_alone(backend: Backend) -> list[EnvironmentKind]:
    """The environments of one axis whose releases nothing else goes with: torch has turbine beside it in IREE."""
    alone = [kind for kind in backend.environments if len(kind.axes) == 1]
    return [kind for kind in alone if (first := backend.first_environment(kind.axes[0])) and len(first.axes) == 1]


def places_of(spec: Spec) -> tuple[str, ...]:
    """The folders and indexes of a spec as uv's options. Raises WheelFault."""
    links = [FIND_LINKS + _folder_or_address(word, spec.base) for word in spec.find_links]
    return (*links, *(OWN_INDEX + _address(word, "--index") for word in spec.indexes))


def _folder_or_address(word: str, base: Path) -> str:
    if "://" in word:
        return _address(word, "--find-links")
    if not is_folder_at(base / word):
        raise WheelFault(
            f"--find-links: read {word!r}, expected a folder with wheels or the address of a page with links to some, "
            "and there is none",
            tip="paths in a spec are relative to its folder, paths on the command line to the folder you are in",
        )
    return str((base / word).resolve())


def _address(word: str, option: str) -> str:
    scheme, mark, rest = word.partition("://")
    if not mark or not scheme.isalpha() or not rest:
        raise WheelFault(
            f"{option}: read {word!r}, expected an address that begins with https:// or file://",
            tip="a folder with wheels is given with --find-links",
        )
    if "@" in rest.partition("/")[0]:
        raise WheelFault(
            f"{option}: read an address with a name or a password, expected one without: results repeat it",
            tip="put them into ~/.netrc, which pip and uv read",
        )
    return word


def _found(places: Sequence[str], packages: Sequence[str], spec: Spec) -> dict[tuple[str, str], str]:
    """(package, version) -> what tells its wheels from those of another day; for addresses the version does."""
    found: dict[tuple[str, str], str] = {}
    index = configured_index()
    for place in places:
        path = place.removeprefix(FIND_LINKS)
        if place.startswith(FIND_LINKS) and "://" not in path:
            wheels = wheels_in(Path(path), packages, spec)
            here = {(wheel.package, wheel.version): "" for wheel in wheels}
            for wheel in wheels:
                state = wheel.path.stat()
                here[wheel.package, wheel.version] += f"{wheel.path.name} {state.st_size} {state.st_mtime_ns}\n"
        else:
            here = dict.fromkeys(_listed(place, packages, spec.tools_python, index), place)
        for release, identity in here.items():
            found[release] = found.get(release, "") + identity
    return found


def _listed(place: str, packages: Iterable[str], python: str, index: PackageIndex) -> list[tuple[str, str]]:
    """The releases that an index or a page has for this machine. Raises WheelFault where there is none."""
    with ThreadPoolExecutor() as pool:
        answers = pool.map(lambda package: index.versions_at(place, package, python=python), packages)
    found = [(package, version) for package, versions in zip(packages, answers, strict=True) for version in versions]
    if not found:
        raise WheelFault(
            f"{place.replace('=', ' ', 1)}: no wheel of {' or '.join(packages)} for {_machine(python)}",
            tip="an index has a page for each package; --find-links takes one page with links to wheels",
        )
    return found


def wheels_in(folder: Path, packages: Sequence[str], spec: Spec) -> tuple[LocalWheel, ...]:
    """The wheels of some packages in a folder that fit this machine. Raises WheelFault with all that is
    wrong: damaged ones, none that fits, a version that the spec names and that does not fit."""
    faults: list[str] = []
    wheels = list(filter(None, (_read_name(path, packages, faults) for path in sorted(folder.glob("*.whl")))))
    supported = frozenset(_supported(spec.tools_python))
    fit = [wheel for wheel in wheels if wheel.tags & supported]
    faults += filter(None, map(_damage, fit))
    others = {(wheel.package, wheel.version): wheel.path.name for wheel in wheels if wheel not in fit}
    usable = {(wheel.package, wheel.version) for wheel in fit}
    needed = f"expected a wheel for {_machine(spec.tools_python)}"
    for axis, row in spec.axis_rows.items():
        for term in filter(is_version, spec.terms(axis)):
            release = row.package, str(Version(term))
            if release in others and release not in usable:
                faults.append(f"axes.{axis}: read {term!r}, {needed}, and there is {others[release]}")
    if not fit and not faults:
        has = f"{len(others)} for others, such as {min(others.values())}" if others else "none of them"
        faults.append(f"{needed} of {' or '.join(packages)}, and it has {has}")
    if faults:
        raise WheelFault(
            "\n".join(f"--find-links {folder}: {fault}" for fault in faults),
            tip="`tools_python` in a spec chooses another Python; remove files that are no whole wheels",
        )
    return tuple(fit)


def _read_name(path: Path, packages: Iterable[str], faults: list[str]) -> LocalWheel | None:
    """What a file's name says; None for other packages."""
    package = canonicalize_name(path.name.split("-")[0])
    if package not in packages:
        return None
    try:
        name, version, _, tags = parse_wheel_filename(path.name)
    except (InvalidWheelFilename, InvalidVersion):
        faults.append(f"{path.name}: expected the name of a wheel: NAME-VERSION-PYTHON-ABI-PLATFORM.whl")
        return None
    return LocalWheel(path=path, package=name, version=str(version), tags=tags)


def _supported(python: str) -> Iterable[Tag]:
    """The tags of wheels that a Python (`3.11`) takes on this machine."""
    major, minor = (int(part) for part in python.split("."))
    yield from cpython_tags((major, minor))
    yield from compatible_tags((major, minor), f"cp{major}{minor}")


def _damage(wheel: LocalWheel) -> str:
    """Why a wheel is not what its name says; empty if it is."""
    place = wheel.path.name.split("-")
    try:
        with zipfile.ZipFile(wheel.path) as archive, archive.open(f"{place[0]}-{place[1]}.dist-info/METADATA") as file:
            said = BytesHeaderParser().parsebytes(file.read(MOST_METADATA))
    except (zipfile.BadZipFile, OSError, KeyError, EOFError, NotImplementedError, RuntimeError):
        return f"{wheel.path.name}: expected a whole wheel, with METADATA of the name and version in its file name"
    name, version = str(said["Name"] or ""), str(said["Version"] or "")
    same = is_version(version) and Version(version) == Version(wheel.version)
    if canonicalize_name(name) == wheel.package and same:
        return ""
    return f"{wheel.path.name}: its METADATA says {name} {version}, expected what its file name says"


def _machine(python: str) -> str:
    return f"Python {python} on {platform.machine()}"


def _lock(kind: str, pins: tuple[tuple[str, str], ...], asked: Mapping[str, Json], folder: Path) -> Lock:
    """The lock of a release in the store, or one that must still be resolved, if there is none or it is damaged:
    `asked` is all that it depends on."""
    key = digest({**asked, "format": LOCK_FORMAT, "kind": kind, "pins": pins})[:32]
    path, name = folder / f"{key}.txt", lock_name(kind, dict(pins))
    with contextlib.suppress(LockFault):
        return read_lock(path, name)
    return Lock(name=name, path=path, digest="", pins=pins)
