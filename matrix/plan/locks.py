"""The locks in `images/locks`: which exist, what they pin. Reads the folder and touches nothing else.

A lock is a requirements file with hashes, as an installer reads it. Its first lines are comments: the pins that it was
made for and, where no set of wheels exists, the resolver's reason. Only these lines are parsed here.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from packaging.version import Version

from matrix.core.errors import LockFault
from matrix.core.records import Lock
from matrix.core.toml_reader import Table
from matrix.core.versions import ascending
from matrix.plan.user_inputs import answer, key_of, names

COMPILER_PACKAGE = "iree-base-compiler"
RUNTIME_PACKAGE = "iree-base-runtime"
KINDS = ("compiler", "importer", "runtime", "exporter")
VARIANTS = ("cuda", "cpu")
WANTED = "wanted.toml"
PINS = "# pins: "
REFUSED = "# not installable: "
AXES = {
    "compiler": ("compiler", COMPILER_PACKAGE),
    "runtime": ("runtime", RUNTIME_PACKAGE),
    "torch": ("exporter", "torch"),
    "turbine": ("exporter", "iree-turbine"),
}
"""axis -> (kind of lock, package whose pin is the axis's value)."""
RELOCK = "write it anew: nox -s lock"
NOWHERE = Path("/nonexistent")
"""Instead of a store's folder of locks."""

_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9][A-Za-z0-9.!+_-]*)\Z")
_VERSION = re.compile(r"\d[A-Za-z0-9.!+_-]*\Z")
_PYTHON = re.compile(r"3\.\d{1,2}\Z")


class Change(StrEnum):
    """What became of a lock. A refused one may be new or not: the file says that it is not installable. A skipped
    one is of torch's CPU build, whose index is another one and was not reached: it stays as it is."""

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"
    REFUSED = "refused"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class LockChange:
    """One lock and what became of it; `detail` is the resolver's reason, or the packages that changed."""

    name: str
    change: Change
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageWish:
    """All releases of one package that a specifier admits, each in a lock of its own."""

    package: str
    specifier: str
    lowest_python: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExporterWish:
    """A set of exporter environments: every torch with every turbine that the selectors name."""

    place: str
    torch: tuple[str, ...]
    turbine: tuple[str, ...]
    lowest_python: str
    variants: tuple[str, ...]
    packages: tuple[str, ...] = ()
    """Exact requirements beside them, for models that come from a package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """`wanted.toml`: what there should be a lock for."""

    pythons: tuple[str, ...]
    packages: Mapping[str, PackageWish]
    exporters: tuple[ExporterWish, ...]
    beside: Mapping[str, Mapping[str, str]]
    """turbine -> package -> version, for the releases that have no IREE of their own minor release."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockIndex:
    """The locks of a folder, by name."""

    locks: tuple[Lock, ...]
    pythons: tuple[str, ...]
    extended: Mapping[str, Lock] = field(default_factory=dict)
    """Locks of the store, by key: what models of one's own asked for and was resolved."""
    place: Path = NOWHERE
    """The folder of these."""

    def releases(self, axis: str) -> tuple[str, ...]:
        """The versions that the locks know for compiler, runtime, torch, turbine or python, ascending by PEP 440."""
        if axis == "python":
            return self.pythons
        kind, package = AXES[axis]
        found = (dict(lock.pins).get(package, "") for lock in self.locks if kind_of(lock) == kind)
        return ascending(version for version in found if version)

    def find(self, kind: str, pins: Mapping[str, str], *, variant: str = "cuda") -> Lock | None:
        """The lock that was made for exactly these pins. `variant` only tells exporters apart."""
        wanted = {normal(package): version for package, version in pins.items()}
        among = (lock for lock in self.locks if kind_of(lock) == kind and variant_of(lock) in ("", variant))
        return next((lock for lock in among if dict(lock.pins) == wanted), None)

    def with_packages(self, base: Lock, packages: tuple[str, ...], python: str) -> Lock:
        """The exporter lock that extends `base` by packages: a committed one, the newest where several answer; else
        the store's; else one that is still to be resolved. A refused base stays what it is."""
        if base.refusal or not packages:
            return base
        beyond = {
            lock: {package: version for package, version in lock.pins if (package, version) not in base.pins}
            for lock in self.locks
            if set(base.pins) < set(lock.pins) and variant_of(lock) == variant_of(base)
        }
        fitting = [lock for lock, pins in beyond.items() if answer(pins, packages)]
        if fitting:
            return max(fitting, key=lambda lock: [Version(beyond[lock][package]) for package in sorted(beyond[lock])])
        key = key_of(base.digest, packages, python)
        if found := self.extended.get(key):
            return replace(found, extends=base, packages=packages)
        name, dot, variant = base.name.rpartition(".")
        return Lock(
            name="+".join((name, *names(packages))) + dot + variant,
            path=self.place / f"{key}.{variant}.txt",
            digest="",
            pins=base.pins,
            extends=base,
            packages=packages,
        )


def kind_of(lock: Lock) -> str:
    """compiler, importer, runtime or exporter: the first part of the lock's name."""
    return lock.name.partition("/")[0]


def variant_of(lock: Lock) -> str:
    """cuda or cpu for an exporter, "" for the others."""
    return lock.name.rpartition(".")[2] if kind_of(lock) == "exporter" else ""


def normal(package: str) -> str:
    """A package's name as PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", package).lower()


def lock_name(kind: str, pins: Mapping[str, str], variant: str = "cuda") -> str:
    """The path below `images/locks`, without `.txt`, of the lock for these pins. Raises KeyError for others."""
    if kind == "exporter":
        further = "".join(f"+{package}-{pins[package]}" for package in sorted(pins.keys() - {"torch", "iree-turbine"}))
        return f"exporter/torch-{pins['torch']}+turbine-{pins['iree-turbine']}{further}.{variant}"
    return f"{kind}/{pins[AXES['compiler' if kind == 'importer' else kind][1]]}"


def header(pins: Iterable[tuple[str, str]]) -> str:
    """The first line of a lock, with its line end."""
    return PINS + " ".join(f"{package}=={version}" for package, version in pins) + "\n"


def load_locks(folder: Path, place: Path = NOWHERE) -> LockIndex:
    """All locks of a folder, and those at `place` in a store. Raises LockFault with the names of the committed files
    that cannot be read or understood."""
    wanted = read_wanted(folder)
    paths = sorted(path for kind in KINDS for path in (folder / kind).glob("*.txt"))
    locks, faults = [], []
    for path in paths:
        try:
            locks.append(read_lock(path, path.relative_to(folder).with_suffix("").as_posix()))
        except LockFault as fault:
            faults.append(str(fault))
    if faults:
        raise LockFault("\n".join(faults), tip=RELOCK)
    return LockIndex(locks=tuple(locks), pythons=wanted.pythons, extended=_extended(place), place=place)


def _extended(place: Path) -> dict[str, Lock]:
    """The locks of a store. One that cannot be read is none: it is resolved again."""
    found = {}
    for path in sorted(place.glob("*.txt")):
        key, _, variant = path.stem.partition(".")
        with contextlib.suppress(LockFault):
            found[key] = read_lock(path, "", variant=variant)
    return found


def read_lock(path: Path, name: str, *, variant: str = "") -> Lock:
    """One lock; without a name an exporter's, whose pins name it. Raises LockFault."""
    try:
        content = path.read_bytes()
        comments = _comments(content)
    except OSError as error:
        raise LockFault(f"{name}.txt: cannot be read: {error.strerror}", tip=RELOCK) from error
    except UnicodeDecodeError:
        raise LockFault(f"{name}.txt: is not text", tip=RELOCK) from None
    pins = _pins(name or path.stem, comments)
    name = name or lock_name("exporter", dict(pins), variant)
    _check_name(name, pins)
    refusal = next((line.removeprefix(REFUSED).strip() for line in comments if line.startswith(REFUSED)), "")
    if not refusal and b"--hash=sha256:" not in content:
        raise LockFault(f"{name}.txt: holds neither wheels with hashes nor a line {REFUSED.strip()!r}", tip=RELOCK)
    return Lock(name=name, path=path, digest=hashlib.sha256(content).hexdigest(), pins=pins, refusal=refusal)


def _comments(content: bytes) -> list[str]:
    """The comment lines at the head, so that hashes are not even split into lines."""
    lines = []
    while content.startswith(b"#"):
        line, _, content = content.partition(b"\n")
        lines.append(line.decode())
    return lines


def _pins(name: str, comments: list[str]) -> tuple[tuple[str, str], ...]:
    if not comments or not comments[0].startswith(PINS):
        raise LockFault(f"{name}.txt: the first line is not {PINS.strip()!r} and the pins", tip=RELOCK)
    matches = [_PIN.match(word) for word in comments[0].removeprefix(PINS).split()]
    if not matches or None in matches:
        raise LockFault(f"{name}.txt: read {comments[0]!r}, expected package==version and more of them", tip=RELOCK)
    return tuple((normal(match[1]), match[2]) for match in matches if match)


def _check_name(name: str, pins: tuple[tuple[str, str], ...]) -> None:
    kind, _, rest = name.partition("/")
    variant = rest.rpartition(".")[2]
    try:
        expected = lock_name(kind, dict(pins), variant)
    except KeyError as error:
        raise LockFault(f"{name}.txt: pins no {error.args[0]}", tip=RELOCK) from None
    if expected != name or (kind == "exporter" and variant not in VARIANTS):
        raise LockFault(f"{name}.txt: its pins belong into {expected}.txt", tip=RELOCK)


def read_wanted(folder: Path) -> Wanted:
    """`wanted.toml`. Raises LockFault with all its faults."""
    import tomllib

    try:
        read = tomllib.loads((folder / WANTED).read_text(encoding="utf-8"))
    except OSError as error:
        raise LockFault(f"{WANTED}: cannot be read: {error.strerror}", tip="it belongs into images/locks") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LockFault(f"{WANTED}: {error}", tip="it belongs into images/locks as TOML") from None
    top = Table(read, "", [])
    top.only(("format", "pythons", "compiler", "runtime", "exporter", "beside"))
    if read.get("format") != 1:
        top.fault("format", f"read {read.get('format')!r}, expected 1")
    wanted = Wanted(
        pythons=_pythons(top),
        packages={kind: _package_wish(kind, top.table(kind)) for kind in ("compiler", "runtime")},
        exporters=tuple(_exporter_wish(row) for row in top.tables("exporter")),
        beside=_beside(top.table("beside")),
    )
    if top.faults:
        raise LockFault("\n".join(f"{WANTED}: {fault}" for fault in top.faults), tip="correct the file")
    return wanted


def _pythons(top: Table) -> tuple[str, ...]:
    read = top.texts("pythons")
    good = tuple(python for python in read if _PYTHON.match(python))
    if not read or good != read:
        top.fault("pythons", f"read {top.content.get('pythons')!r}, expected texts such as '3.11'")
    return ascending(good)


def _lowest_python(table: Table) -> str:
    return _formed(table, "lowest_python", _PYTHON, "a Python such as '3.9'")


def _formed(table: Table, key: str, form: re.Pattern[str], what: str) -> str:
    read = table.text(key, required=True)
    if read and not form.match(read):
        table.fault(key, f"read {read!r}, expected {what}")
        return ""
    return read


def _package_wish(kind: str, table: Table) -> PackageWish:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    table.only(("package", "specifier", "lowest_python"))
    specifier = table.text("specifier", required=True)
    try:
        SpecifierSet(specifier)
    except InvalidSpecifier:
        table.fault("specifier", f"read {specifier!r}, expected a PEP 440 specifier such as '>=2.9'")
    return PackageWish(
        package=table.choice("package", [AXES[kind][1]], AXES[kind][1]),
        specifier=specifier,
        lowest_python=_lowest_python(table),
    )


def _exporter_wish(table: Table) -> ExporterWish:
    table.only(("torch", "turbine", "lowest_python", "variants", "packages"))
    variants = table.texts("variants", ("cuda",))
    if unknown := [variant for variant in variants if variant not in VARIANTS]:
        table.fault("variants", f"read {unknown[0]!r}, expected cuda or cpu")
    terms = {axis: table.texts(axis) for axis in ("torch", "turbine")}
    for axis, read in terms.items():
        if not read:
            table.fault(axis, f"read {table.content.get(axis)!r}, expected versions or selectors")
    packages = table.texts("packages")
    for index, word in enumerate(packages):
        if not _PIN.match(word):
            table.fault(f"packages[{index}]", f"read {word!r}, expected an exact version: package==version")
    python = _lowest_python(table)
    return ExporterWish(place=table.place, lowest_python=python, variants=variants, packages=packages, **terms)


def _beside(table: Table) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for turbine in table.content:
        row = table.table(turbine)
        found[turbine] = {package: _formed(row, package, _VERSION, "an exact version") for package in row.content}
    return found
