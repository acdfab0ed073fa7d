"""The committed digests of layers. With them every image ID is computed without unpacking anything. Reads files only.

`images/layers/3.11-x86_64.json` holds, for one Python on one machine, the wheel for each package of each lock, and the
digest of its layer. `nox -s lock` writes it, so a change of an image is a line in a diff.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from matrix.artifacts.json_reader import read_json
from matrix.core.errors import LockFault, NoImage
from matrix.core.records import EnvironmentRequest
from matrix.core.toml_reader import read_toml
from matrix.images.debian.lock import BaseLock
from matrix.images.image import Image, ImageLayer, make_image
from matrix.images.layer import Layer
from matrix.plan.locks import RELOCK, PinnedPackage, pinned_packages
from matrix.plan.wanted import WANTED

LAYERS_FORMAT = 1

LOWEST = ("numpy", "mpmath", "sympy", "ml-dtypes")
"""Packages of many environments, lowest layer first: images share a layer only if all layers below it are the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelLayer:
    """A wheel and its layer. `tools` are the paths of its programs, relative to site-packages."""

    name: str
    version: str
    file: str
    sha256: str
    size: int
    layer: Layer
    tools: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTable:
    """The layers of one Python on one machine. `base` and `skeleton` are below all wheels."""

    python: str
    machine: str
    base: Layer
    skeleton: Layer
    wheels: tuple[WheelLayer, ...]

    def find(self, package: PinnedPackage) -> WheelLayer | None:
        """The wheel for a package of a lock, if its layer is known."""
        for wheel in self.wheels:
            if wheel.name == package.name and wheel.sha256 in package.hashes:
                return wheel
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class TableWish:
    """A row of `wanted.toml`: a Python, a machine, and the locks (patterns of their names) whose wheels get layers."""

    python: str
    machine: str
    locks: tuple[str, ...]

    def wants(self, name: str) -> bool:
        """Whether each wheel of the lock gets a layer."""
        return any(fnmatchcase(name, pattern) for pattern in self.locks)


def table_path(folder: Path, python: str, machine: str) -> Path:
    """The path of the table of a Python on a machine, in `images/layers` or `images/nix`."""
    return folder / f"{python}-{machine}.json"


def read_table_wishes(folder: Path) -> tuple[TableWish, ...]:
    """The rows of `images/layers/wanted.toml`. Raises LockFault with all faults of the file."""
    name = f"images/layers/{WANTED}"
    top = read_toml(folder / WANTED, name, file_format=LAYERS_FORMAT, tip="correct the file")
    top.only(("format", "table"))
    rows = []
    for row in top.tables("table"):
        row.only(("python", "machine", "locks"))
        python, machine = row.text("python", required=True), row.text("machine", required=True)
        rows.append(TableWish(python=python, machine=machine, locks=row.texts("locks")))
    top.raise_faults(name, tip="correct the file")
    return tuple(rows)


def read_layer_table(folder: Path, python: str, machine: str) -> LayerTable | None:
    """The committed table, or None where there is none. Raises LockFault."""
    path = table_path(folder, python, machine)
    try:
        read: Any = read_json(path.read_bytes())
        if read["format"] != LAYERS_FORMAT:
            raise ValueError(f"format {read['format']!r}, expected {LAYERS_FORMAT}")
        return LayerTable(
            python=read["python"],
            machine=read["machine"],
            base=Layer(**read["base"]),
            skeleton=Layer(**read["skeleton"]),
            wheels=tuple(_wheel(row) for row in read["wheels"]),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LockFault(f"images/layers/{path.name}: {error}", tip=RELOCK) from None


def _wheel(row: Mapping[str, Any]) -> WheelLayer:
    return WheelLayer(**{**row, "layer": Layer(**row["layer"]), "tools": tuple(row["tools"])})


def layer_table_text(table: LayerTable) -> str:
    """The text of the committed file: sorted, one wheel per line, so that an upgrade is one line of a diff."""
    wheels = sorted(table.wheels, key=lambda wheel: (wheel.name, wheel.file))
    rows = ",\n".join("  " + json.dumps(asdict(wheel), sort_keys=True) for wheel in wheels)
    head = {"format": LAYERS_FORMAT, "python": table.python, "machine": table.machine}
    head |= {"base": asdict(table.base), "skeleton": asdict(table.skeleton)}
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(value, sort_keys=True)}" for name, value in head.items())
    return "{\n" + lines + ',\n "wheels": [\n' + rows + "\n ]\n}\n"


def compute_image(request: EnvironmentRequest, table: LayerTable | None, base: BaseLock | None) -> Image:
    """Computes the image of an environment. Raises NoImage with the reason, LockFault."""
    if request.toolchain:
        raise NoImage(
            "no image is made of a user's own tools", tip="only releases have images: they are made from locks"
        )
    if base is None or table is None:
        raise NoImage(
            f"no base image for Python {request.python}", tip="see wanted.toml in images/base and images/layers"
        )
    packages = pinned_packages(request.lock, python=table.python, machine=table.machine)
    wheels = []
    for package in packages:
        wheel = table.find(package)
        if wheel is None:
            raise NoImage(
                f"no layer for {package.name} {package.version} on {table.machine}", tip="`nox -s lock` makes it"
            )
        wheels.append(wheel)
    ordered = layer_order(wheels, [name for name, _ in request.lock.pins])
    layers = [
        ImageLayer(layer=table.base, made_of="base", source=table.base.digest),
        ImageLayer(layer=table.skeleton, made_of="skeleton", source=table.skeleton.digest),
        *(ImageLayer(layer=wheel.layer, made_of=wheel.file, source=wheel.sha256) for wheel in ordered),
    ]
    return make_image(
        request,
        machine=table.machine,
        layers=layers,
        python_version=base.python,
        c_library=f"glibc {base.glibc}",
        tools=_tools(ordered, table.python),
        distributions=sorted((package.name, package.version) for package in packages),
    )


def layer_order(wheels: Sequence[WheelLayer], pins: Sequence[str]) -> list[WheelLayer]:
    """Lowest first: the wheels that many images share, then the others by name, then the pinned ones."""

    def place(wheel: WheelLayer) -> tuple[int, int, str]:
        if wheel.name in LOWEST:
            return (0, LOWEST.index(wheel.name), "")
        return (2 if wheel.name in pins else 1, 0, wheel.name)

    return sorted(wheels, key=place)


def _tools(wheels: Sequence[WheelLayer], python: str) -> dict[str, str]:
    """Tool -> path below the environment; the first folder of a wheel with the tool wins."""
    tools: dict[str, str] = {}
    for wheel in wheels:
        for path in wheel.tools:
            tools.setdefault(path.rpartition("/")[2], f"lib/python{python}/site-packages/{path}")
    return tools
