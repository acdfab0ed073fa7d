"""Reads `images/locks/wanted.toml`: the locks that are wanted, as frozen records. Reads nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from matrix.core.toml_reader import Table, read_toml
from matrix.core.versions import ascending
from matrix.plan.stages import axes, environments

WANTED = "wanted.toml"
_OLDER = "older"
"""The table, in that of a package, of the releases under its older name."""
_BESIDE = "beside"
BELONGS = "it belongs into images/locks as TOML"
LATEST_MINORS = "latest-minors "
PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9][A-Za-z0-9.!+_-]*)\Z")
_VERSION = re.compile(r"\d[A-Za-z0-9.!+_-]*\Z")
_PYTHON = re.compile(r"3\.\d{1,2}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageWish:
    """All releases of one package that a specifier or selector allows, each in its own lock."""

    package: str
    specifier: str
    lowest_python: str
    beside: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(selector, requirements): what the locks of the selected releases hold too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CombinedWish:
    """A set of environments whose locks pin several axes: every combination of the releases that the selectors of each
    axis select."""

    place: str
    kind: str
    terms: Mapping[str, tuple[str, ...]]
    lowest_python: str
    variants: tuple[str, ...]
    packages: tuple[str, ...] = ()
    """Additional exact requirements, for models from a package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """`wanted.toml`: the wanted locks."""

    pythons: tuple[str, ...]
    packages: Mapping[str, PackageWish]
    older: Mapping[str, PackageWish]
    """By kind: the releases that a package had under its older name."""
    combined: tuple[CombinedWish, ...]
    beside: Mapping[str, Mapping[str, str]]
    """Release of a combination's last axis -> package -> version, if those packages have no release with its minor
    release."""


def axis_packages(kind: str) -> dict[str, str]:
    """The axes that a lock of a kind pins, with their packages. Several may be releases of one package: then the lock
    is of that package, and each axis chooses one."""
    return {axis: axes()[axis].package for axis in environments()[kind].axes}


def read_wanted(folder: Path) -> Wanted:
    """`wanted.toml`. Raises LockFault with all its faults."""
    top = read_toml(folder / WANTED, str(folder / WANTED), file_format=1, tip=BELONGS)
    kinds = {kind: axis_packages(kind) for kind, each in environments().items() if each.axes and not each.follows}
    top.only(("format", "pythons", *kinds, _BESIDE))
    single = {kind: next(iter(packages)) for kind, packages in kinds.items() if len({*packages.values()}) == 1}
    tables = {kind: top.table(kind) for kind in single if kind in top.content}
    wanted = Wanted(
        pythons=_pythons(top),
        packages={
            kind: _package_wish(axes()[single[kind]].package, table, (_OLDER, _BESIDE))
            for kind, table in tables.items()
        },
        older={
            kind: _package_wish(axes()[single[kind]].older_package, table.table(_OLDER))
            for kind, table in tables.items()
            if _OLDER in table.content
        },
        combined=tuple(_combined_wish(kind, row) for kind in kinds if kind not in single for row in top.tables(kind)),
        beside=_beside(top.table(_BESIDE)),
    )
    top.raise_faults(WANTED, tip="correct the file")
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


def _package_wish(package: str, table: Table, further: tuple[str, ...] = ()) -> PackageWish:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    table.only(("package", "specifier", "lowest_python", *further))
    specifier = table.text("specifier", required=True)
    beside = table.table(_BESIDE)
    for place, key, read in ((table, "specifier", specifier), *((beside, each, each) for each in beside.content)):
        try:
            SpecifierSet(read.removeprefix(LATEST_MINORS))
        except InvalidSpecifier:
            place.fault(key, f"read {read!r}, expected a PEP 440 specifier such as '>=2.9', or '{LATEST_MINORS}>=2.9'")
    return PackageWish(
        package=table.choice("package", [package], package),
        specifier=specifier,
        lowest_python=_lowest_python(table),
        beside=tuple((each, beside.texts(each)) for each in beside.content),
    )


def _combined_wish(kind: str, table: Table) -> CombinedWish:
    row = environments()[kind]
    table.only((*row.axes, "lowest_python", "variants", "packages"))
    variants = table.texts("variants", row.variants[:1])
    if unknown := [variant for variant in variants if variant not in row.variants]:
        table.fault("variants", f"read {unknown[0]!r}, expected {' or '.join(row.variants)}")
    terms = {axis: table.texts(axis) for axis in row.axes}
    for axis, read in terms.items():
        if not read:
            table.fault(axis, f"read {table.content.get(axis)!r}, expected versions or selectors")
    packages = table.texts("packages")
    for index, word in enumerate(packages):
        if not PIN.match(word):
            table.fault(f"packages[{index}]", f"read {word!r}, expected an exact version: package==version")
    python = _lowest_python(table)
    return CombinedWish(
        place=table.place, kind=kind, terms=terms, lowest_python=python, variants=variants, packages=packages
    )


def _beside(table: Table) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for release in table.content:
        row = table.table(release)
        found[release] = {package: _formed(row, package, _VERSION, "an exact version") for package in row.content}
    return found
