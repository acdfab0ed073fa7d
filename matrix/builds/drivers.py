"""Locked drivers of devices beside a runtime: Vulkan without a GPU. They are found by variables alone.

The loader and the driver are unpacked Debian packages: no root rights, no installation, nothing of the machine's own.
Source of the variables: the documents of the Vulkan loader, LoaderDriverInterface.md.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from matrix.core.data import data_root
from matrix.core.errors import EngineMissing
from matrix.core.keys import digest
from matrix.core.records import Environment
from matrix.core.toml_reader import Table, read_toml
from matrix.core.versions import did_you_mean
from matrix.images.debian.lock import DEBIAN_FORMAT
from matrix.images.debian.unpacked import TOOLS_MACHINE, ToolLock, read_set, unpack_debs
from matrix.images.debian.wanted import EDIT
from matrix.images.workshop import Workshop

DRIVERS = "drivers"
"""The folder in `images`."""
DRIVER_TREE, DRIVER_MANIFEST = "driver", "driver.json"
"""The unpacked packages in the folder of an environment, and what tells the loader of the driver in them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """A row of `drivers.toml`: the package whose version counts, paths in the unpacked packages, the version of Vulkan,
    the sizes of its device's subgroups, and the variables that the driver reads, as NAME=VALUE."""

    name: str
    package: str
    library: str
    libraries: str
    api: str
    subgroups: tuple[str, ...]
    settings: tuple[str, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes of a subgroup that its device has, as numbers."""
        return tuple(map(int, self.subgroups))

    @property
    def variables(self) -> tuple[tuple[str, str], ...]:
        """The variables of a tool that uses it; `{root}` is the folder of its environment."""
        found = f"{{root}}/{DRIVER_MANIFEST}"
        return (
            ("LD_LIBRARY_PATH", f"{{root}}/{DRIVER_TREE}/{self.libraries}"),
            ("VK_ICD_FILENAMES", found),  # of loaders before 1.3.207
            ("VK_DRIVER_FILES", found),
            *((name, value) for name, _, value in (setting.partition("=") for setting in self.settings)),
        )

    @property
    def manifest(self) -> str:
        """What the loader reads. A relative path is relative to this file."""
        icd = {"api_version": self.api, "library_path": f"{DRIVER_TREE}/{self.library}"}
        return json.dumps({"file_format_version": "1.0.0", "ICD": icd}) + "\n"


def read_drivers(folder: Path) -> Mapping[str, Driver]:
    """The rows of `images/drivers/drivers.toml`, by name. Raises LockFault with all faults of the file."""
    path = folder / "drivers.toml"
    place = f"images/{folder.name}/{path.name}"
    table = read_toml(path, place, file_format=DEBIAN_FORMAT, tip=EDIT)
    found = {name: _driver(name, table.table(name)) for name in table.content if name != "format"}
    table.raise_faults(place, tip=EDIT)
    return found


def shipped_drivers() -> Mapping[str, Driver]:
    """All drivers that a target can name."""
    return read_drivers(data_root() / "images" / DRIVERS)


def driver_identity(shop: Workshop, name: str) -> str:
    """The digest of a driver and of how it is set. Raises EngineMissing where there is none of that name."""
    row, lock = _find(shop, name)
    return digest({"driver": lock.on(TOOLS_MACHINE).layer, "settings": asdict(row)})


def with_driver(shop: Workshop, store: Path, name: str, root: Path, bare: Environment) -> Environment:
    """The environment at `root` with a driver beside its tools. Raises EngineMissing, and the errors of fetching."""
    row, lock = _find(shop, name)
    tree = unpack_debs(lock, TOOLS_MACHINE, store, source=lambda: shop.sources)
    (root / DRIVER_TREE).symlink_to(os.path.relpath(tree.path, root))
    (root / DRIVER_MANIFEST).write_text(row.manifest, encoding="utf-8")
    return replace(
        bare,
        digest=digest({"bare": bare.digest, "driver": driver_identity(shop, name)}),
        variables=(*bare.variables, *row.variables),
    )


def driver_facts(shop: Workshop, name: str) -> dict[str, object]:
    """What results say of a driver: its name and version, that of Vulkan, and the lock with all its packages."""
    row, lock = _find(shop, name)
    base = lock.on(TOOLS_MACHINE)
    versions = [deb.version for deb in base.debs if deb.package == row.package]
    return {"name": name, "version": versions[0], "vulkan": row.api, "lock": lock.name, "layer": base.layer}


def _find(shop: Workshop, name: str) -> tuple[Driver, ToolLock]:
    rows = read_drivers(shop.images / DRIVERS)
    if name not in rows:
        raise EngineMissing(
            f"no driver {name!r} is locked, expected one of {', '.join(sorted(rows))}{did_you_mean(name, rows)}",
            tip="name it as `driver` of the target, or lock it: images/drivers/wanted.toml",
        )
    return rows[name], read_set(shop.images / DRIVERS, name)


def _driver(name: str, row: Table) -> Driver:
    row.only(("package", "library", "libraries", "api", "subgroups", "settings"))
    for index, setting in enumerate(row.texts("settings")):
        if "=" not in setting:
            row.fault(f"settings[{index}]", f"read {setting!r}, expected NAME=VALUE")
    for index, size in enumerate(row.texts("subgroups")):
        if not (size.isascii() and size.isdigit()):
            row.fault(f"subgroups[{index}]", f"read {size!r}, expected a number of lanes, such as 8")
    return Driver(
        name=name,
        package=row.text("package", required=True),
        library=row.text("library", required=True),
        libraries=row.text("libraries", required=True),
        api=row.text("api", required=True),
        subgroups=row.texts("subgroups"),
        settings=row.texts("settings"),
    )
