"""Reads what is to be locked: the bases in `images/base/wanted.toml`, the tools in `images/armv6/wanted.toml`, the
drivers in `images/drivers/wanted.toml`, what checks their code in `images/checkers/wanted.toml`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matrix.core.toml_reader import Table, read_toml
from matrix.images.debian.lock import (
    BASES,
    DEBIAN_FORMAT,
    DEBIAN_NAMES,
    PACKAGE_NAME,
    PYTHON_VERSION,
    SUITE_NAME,
    python_order,
)
from matrix.plan.backends.iree.source_builds import PLACE
from matrix.plan.wanted import WANTED

EDIT = "correct the file"


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseWish:
    """A row of `wanted.toml`: the suite and packages of the base of one Python.

    With `standalone` the Python is an archive, and packages named after it are left out.
    """

    python: str
    suite: str
    moving: bool
    standalone: bool
    machines: tuple[str, ...]
    packages: tuple[str, ...]
    exclude: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DebSet:
    """A row of `wanted.toml`: packages of a suite that are unpacked into one folder."""

    name: str
    suite: str
    packages: tuple[str, ...]
    exclude: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolWishes:
    """Such a `wanted.toml`: the sets of Debian packages, and the requirements of Python tools."""

    tools: tuple[str, ...]
    sets: tuple[DebSet, ...]


def read_base_wishes(folder: Path) -> tuple[BaseWish, ...]:
    """The rows of `images/base/wanted.toml`, by Python. Raises LockFault with all faults of the file."""
    name = f"{BASES}/{WANTED}"
    table = read_toml(folder / WANTED, name, file_format=DEBIAN_FORMAT, tip=EDIT)
    table.only(("format", "machines", "packages", "exclude", "base"))
    machines = table.texts("machines")
    for machine in machines:
        if machine not in DEBIAN_NAMES:
            table.fault("machines", f"read {machine!r}, expected some of {', '.join(DEBIAN_NAMES)}")
    packages, exclude = table.texts("packages"), table.texts("exclude")
    wishes = [_base_wish(row, machines, packages, exclude) for row in table.tables("base")]
    pythons = [wish.python for wish in wishes]
    for python in sorted({python for python in pythons if pythons.count(python) > 1}):
        table.fault("base", f"Python {python} has more than one row")
    table.raise_faults(name, tip=EDIT)
    return tuple(sorted(wishes, key=lambda wish: python_order(wish.python)))


def _base_wish(row: Table, machines: Sequence[str], packages: Sequence[str], exclude: Sequence[str]) -> BaseWish:
    row.only(("python", "suite", "moving", "standalone"))
    standalone = row.flag("standalone")
    python = row.matching("python", PYTHON_VERSION, 'a Python such as "3.11"')
    named = (name for name in packages if not (standalone and "{python}" in name))
    names = tuple(name.replace("{python}", python) for name in named)
    for name in (*names, *exclude):
        if python and not PACKAGE_NAME.match(name):
            row.fault("python", f"makes {name!r}, which is not the name of a Debian package")
    return BaseWish(
        python=python,
        suite=row.matching("suite", SUITE_NAME, "the code name of a Debian suite"),
        moving=row.flag("moving"),
        standalone=standalone,
        machines=tuple(machines),
        packages=tuple(sorted(names)),
        exclude=tuple(sorted(exclude)),
    )


def read_tool_wishes(folder: Path) -> ToolWishes:
    """The rows of `wanted.toml` in a folder such as `images/armv6`. Raises LockFault with all faults of the file."""
    name = f"images/{folder.name}/{WANTED}"
    table = read_toml(folder / WANTED, name, file_format=DEBIAN_FORMAT, tip=EDIT)
    table.only(("format", "suite", "tools", "set"))
    suite = table.text("suite", required=True)
    sets = []
    for row in table.tables("set"):
        row.only(("name", "suite", "packages", "exclude"))
        called = row.text("name", required=True)
        if called and not PLACE.fullmatch(f"{{{called}}}"):
            row.fault("name", f"read {called!r}, expected small letters: {{NAME}} stands for it in commands")
        own = row.text("suite") or suite
        sets.append(DebSet(name=called, suite=own, packages=row.texts("packages"), exclude=row.texts("exclude")))
    wanted = ToolWishes(tools=table.texts("tools"), sets=tuple(sets))
    table.raise_faults(name, tip=EDIT)
    return wanted
