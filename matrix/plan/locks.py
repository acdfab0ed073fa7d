"""The locks in `images/locks` and their pins. Reads that folder and nothing else.

A lock is a requirements file with hashes, as installers read it. Its first lines are comments: the requested pins and,
where no set of wheels exists, the resolver's reason. `load_locks` reads only these lines of all locks;
`pinned_packages` reads the packages of one.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from matrix.core.errors import LockFault
from matrix.core.records import Lock
from matrix.core.toml_reader import read_toml
from matrix.core.versions import ascending
from matrix.plan.stages import axes, environments, kinds
from matrix.plan.user_inputs import key_of, names, pins_fit
from matrix.plan.wanted import PIN, axis_packages, read_wanted

if TYPE_CHECKING:
    from matrix.plan.backends.backend import Backend

PINS = "# pins: "
REFUSED = "# not installable: "
RELOCK = "write it again: nox -s lock"
OWN_WHEELS, OWN_LOCKS = "wheels", "own"
"""Folders beside the locks of a store: wheels of users' own packages; locks of releases that have no committed one."""
NOWHERE = Path("/nonexistent")
"""In place of a store's folder of locks."""


DATES = "dates.toml"
"""The file, beside the locks, with the day on which each release was uploaded."""


class LockOutcome(StrEnum):
    """What happened to a lock. A refused one may be new or not: the file says that it is not installable. A skipped one
    is for torch's CPU build, whose index did not answer: it stays as it is."""

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"
    REFUSED = "refused"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class LockChange:
    """One lock and what happened to it; `detail` is the resolver's reason, or the packages that changed."""

    name: str
    change: LockOutcome
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedPackage:
    """One package of a lock: its exact version, and the sha256 of every wheel that the lock allows."""

    name: str
    version: str
    hashes: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LockIndex:
    """The locks of a folder, by name."""

    locks: tuple[Lock, ...]
    pythons: tuple[str, ...]
    extended: Mapping[str, Lock] = field(default_factory=dict)
    """Locks of the store, by key: resolved for users' models."""
    place: Path = NOWHERE
    """The folder of these locks."""

    def releases(self, axis: str, among: Collection[Backend] = ()) -> tuple[str, ...]:
        """The versions in the locks for an axis of releases, ascending; of an axis that backends share, those of the
        backends `among` which it is asked for, or of all."""
        return ascending(self._packages(axis, among)) if axes()[axis].package else self.pythons

    def package(self, axis: str, release: str) -> str:
        """The package of which a release of an axis is one: it may have had another name before."""
        return self._packages(axis).get(release, axes()[axis].package)

    def _packages(self, axis: str, among: Collection[Backend] = ()) -> dict[str, str]:
        """The releases of an axis that the locks pin, with the package of each."""
        if among:
            kinds_so = {kind.name for backend in among if (kind := backend.first_environment(axis))}
        else:
            kinds_so = {kind.name for kind in environments().values() if axis in kind.axes and not kind.follows}
        row = axes()[axis]
        pins = (pin for lock in self.locks if kind_of(lock) in kinds_so for pin in lock.pins)
        return {version: package for package, version in pins if package in (row.package, row.older_package)}

    def find(self, kind: str, pins: Mapping[str, str], *, variant: str = "cuda") -> Lock | None:
        """The lock with exactly these pins. `variant` only distinguishes exporters."""
        wanted = {normal(package): version for package, version in pins.items()}
        among = (lock for lock in self.locks if kind_of(lock) == kind and variant_of(lock) in ("", variant))
        return next((lock for lock in among if dict(lock.pins) == wanted), None)

    def with_packages(self, base: Lock, packages: tuple[str, ...], python: str) -> Lock:
        """The exporter lock that extends `base` by packages: the newest committed one that fits, else the store's, else
        one that must still be resolved. A refused base is returned as it is."""
        if base.refusal or not packages:
            return base
        beyond = {
            lock: {package: version for package, version in lock.pins if (package, version) not in base.pins}
            for lock in self.locks
            if set(base.pins) < set(lock.pins)
            and (kind_of(lock), variant_of(lock)) == (kind_of(base), variant_of(base))
        }
        fitting = [lock for lock, pins in beyond.items() if pins_fit(pins, packages)]
        if fitting:
            return max(fitting, key=lambda lock: [Version(beyond[lock][package]) for package in sorted(beyond[lock])])
        key = key_of(base.digest, packages, python)
        own = [self.place / OWN_WHEELS / each for each in own_digests(packages)]
        places = tuple(f"--find-links={folder}" for folder in own)
        if (found := self.extended.get(key)) and all(folder.is_dir() for folder in own):
            return replace(found, extends=base, packages=packages, places=places)
        variant = f".{variant_of(base)}" if variant_of(base) else ""
        return Lock(
            name="+".join((base.name.removesuffix(variant), *names(packages))) + variant,
            path=self.place / f"{key}{variant}.txt",
            digest="",
            pins=base.pins,
            extends=base,
            packages=packages,
            places=places,
        )


def own_digests(packages: Iterable[str]) -> tuple[str, ...]:
    """The digests of the required packages that are files or folders of a user."""
    addresses = (Requirement(word).url or "" for word in packages)
    return tuple(address.rpartition("=")[2] for address in addresses if address)


def kind_of(lock: Lock) -> str:
    """The kind of its environment: the first part of the lock's name."""
    return lock.name.partition("/")[0]


def variant_of(lock: Lock) -> str:
    """The build that it is for; "" if there is only one."""
    return lock.name.rpartition(".")[2] if environments()[kind_of(lock)].variants else ""


def normal(package: str) -> str:
    """The normalised name of a package (PEP 503)."""
    return re.sub(r"[-_.]+", "-", package).lower()


def lock_name(kind: str, pins: Mapping[str, str], variant: str = "cuda") -> str:
    """The path below `images/locks`, without `.txt`, of the lock with these pins. Raises KeyError for other pins."""
    packages = axis_packages(kind)
    if len({*packages.values()}) == 1:
        axis, package = next(iter(packages.items()))
        older = axes()[axis].older_package
        more = "".join(f"+{name}-{pins[name]}" for name in sorted(pins.keys() - {package, older}))
        return f"{kind}/{pins[older] if older in pins else pins[package]}{more}"
    named = [(axis, pins[package]) for axis, package in packages.items()]
    further = [(package, pins[package]) for package in sorted(pins.keys() - set(packages.values()))]
    return f"{kind}/{'+'.join(f'{name}-{version}' for name, version in (*named, *further))}.{variant}"


def header(pins: Iterable[tuple[str, str]]) -> str:
    """The first line of a lock, with its line end."""
    return PINS + " ".join(f"{package}=={version}" for package, version in pins) + "\n"


def load_locks(folder: Path, place: Path = NOWHERE) -> LockIndex:
    """All locks of a folder, and those at `place` in a store. Raises LockFault with the names of the committed files
    that cannot be read or understood."""
    wanted = read_wanted(folder)
    paths = sorted(path for kind in environments() for path in (folder / kind).glob("*.txt"))
    locks, faults = [], []
    for path in paths:
        try:
            locks.append(read_lock(path, path.relative_to(folder).with_suffix("").as_posix()))
        except LockFault as fault:
            faults.append(str(fault))
    if faults:
        raise LockFault("\n".join(faults), tip=RELOCK)
    return LockIndex(locks=tuple(locks), pythons=wanted.pythons, extended=extended_locks(place), place=place)


def extended_locks(place: Path) -> dict[str, Lock]:
    """The locks of a store. One that cannot be read is left out: it is resolved again."""
    found = {}
    for path in sorted(place.glob("*.txt")):
        key, _, variant = path.stem.partition(".")
        with contextlib.suppress(LockFault):
            found[key] = read_lock(path, "", variant=variant)
    return found


def read_lock(path: Path, name: str, *, variant: str = "") -> Lock:
    """One lock. Without a name it is an extended one, whose pins give the name. Raises LockFault."""
    try:
        content = path.read_bytes()
        comments = _comments(content)
    except OSError as error:
        raise LockFault(f"{name}.txt: cannot be read: {error.strerror}", tip=RELOCK) from error
    except UnicodeDecodeError:
        raise LockFault(f"{name}.txt: read bytes that are no text, expected a lock", tip=RELOCK) from None
    first = content.partition(b"\n")[0].decode(errors="replace")
    pins = _pins(name or path.stem, first)
    name = name or lock_name(_kind_of_extended(dict(pins)), dict(pins), variant)
    _check_name(name, pins)
    refusal = next((line.removeprefix(REFUSED).strip() for line in comments if line.startswith(REFUSED)), "")
    if not refusal and b"--hash=sha256:" not in content:
        raise LockFault(
            f"{name}.txt: read no wheel with a hash, expected some, or a line {REFUSED.strip()!r}", tip=RELOCK
        )
    return Lock(name=name, path=path, digest=hashlib.sha256(content).hexdigest(), pins=pins, refusal=refusal)


def _comments(content: bytes) -> list[str]:
    """The comment lines at the head; the lines with hashes are not even split."""
    lines = []
    while content.startswith(b"#"):
        line, _, content = content.partition(b"\n")
        lines.append(line.decode())
    return lines


def _pins(name: str, first: str) -> tuple[tuple[str, str], ...]:
    if not first.startswith(PINS):
        raise LockFault(
            f"{name}.txt: the first line: read {first[:80]!r}, expected {PINS.strip()!r} and the pins", tip=RELOCK
        )
    matches = [PIN.match(word) for word in first.removeprefix(PINS).split()]
    if not matches or None in matches:
        raise LockFault(f"{name}.txt: read {first[:400]!r}, expected package==version and more of them", tip=RELOCK)
    return tuple((normal(match[1]), match[2]) for match in matches if match)


def _kind_of_extended(pins: Mapping[str, str]) -> str:
    """The kind that accepts additional packages and pins these."""
    kinds_so = [kind for kind in dict.fromkeys(each.environment for each in kinds().values() if each.extended)]
    return next((kind for kind in kinds_so if pins.keys() >= set(axis_packages(kind).values())), kinds_so[0])


def _check_name(name: str, pins: tuple[tuple[str, str], ...]) -> None:
    kind, _, rest = name.partition("/")
    variant = rest.rpartition(".")[2]
    try:
        expected = lock_name(kind, dict(pins), variant)
    except KeyError as error:
        raise LockFault(f"{name}.txt: pins no {error.args[0]}", tip=RELOCK) from None
    variants = environments()[kind].variants
    if expected != name or (variants and variant not in variants):
        raise LockFault(f"{name}.txt: read pins that belong into {expected}.txt, expected its own", tip=RELOCK)


# -- the packages below the comments


def pinned_packages(lock: Lock, *, python: str, machine: str) -> tuple[PinnedPackage, ...]:
    """The packages of a lock that a Python (`3.11`) on a machine (`x86_64`) needs. Raises LockFault."""
    return parse_pinned_packages(lock.path.read_text(encoding="utf-8"), lock.name, python=python, machine=machine)


def parse_pinned_packages(content: str, name: str, *, python: str, machine: str) -> tuple[PinnedPackage, ...]:
    """The packages in the text of a lock. Raises LockFault."""
    target = marker_environment(python, machine)
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


def release_dates(folder: Path) -> dict[str, dict[str, datetime.date]]:
    """Package -> version -> the day (UTC) on which its first wheel was uploaded, as `dates.toml` has them; empty for a
    folder without the file. Raises LockFault."""
    if not (folder / DATES).exists():
        return {}
    top = read_toml(folder / DATES, str(folder / DATES), file_format=1, tip=RELOCK)
    found: dict[str, dict[str, datetime.date]] = {}
    for package in (key for key in top.content if key != "format"):
        rows = top.table(package)
        for version, day in rows.content.items():
            if type(day) is not datetime.date:
                rows.fault(version, f"read {day!r}, expected a date such as 2025-11-25, without quotes")
        found[package] = dict(rows.content)
    top.raise_faults(DATES, tip=RELOCK)
    return found


def marker_environment(python: str, machine: str) -> dict[str, str]:
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
