"""The committed NAR digests of environments. With them every store path is computed. Reads files only.

`images/nix/3.11-x86_64.json` is the input of `images/nix/environments.nix`, for one Python on one machine: the base,
the wheels of each environment, lowest layer first, and the digest of the result. `nox -s lock` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matrix.artifacts.json_reader import read_json
from matrix.core.errors import LockFault, NoImage
from matrix.core.records import EnvironmentRequest
from matrix.images.image import Image
from matrix.images.layer_table import table_path
from matrix.images.nix.nar import Nar, file_path, tree_path
from matrix.plan.locks import RELOCK

NIX_FORMAT = 1
EXPRESSION = "environments.nix"
ORCHESTRATOR = "matrix"
"""The name of the project's own environment in the table. It has no lock in `images/locks`."""
ROOT_DIGITS = 12
"""How many digits of an environment's digest are in the name of its garbage collector root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreTree:
    """A folder in a Nix store. Its path depends on its name and the digest of its content, `nar`."""

    name: str
    nar: Nar

    @property
    def path(self) -> str:
        return tree_path(self.name, self.nar.digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """A wheel file, by its sha256."""

    file: str
    sha256: str

    @property
    def path(self) -> str:
        return file_path(self.file, self.sha256)


@dataclass(frozen=True, slots=True, kw_only=True)
class NixEnvironment:
    """The environment of a lock: its wheels in the order of the image's layers, the resulting folder, its tools."""

    lock: str
    tree: StoreTree
    wheels: tuple[Wheel, ...]
    tools: Mapping[str, str]

    @property
    def attribute(self) -> str:
        """Its name in the expression and the flake."""
        return self.lock.replace("/", "-").replace(".", "_").replace("+", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class NixTable:
    """The environments of one Python on one machine, including ORCHESTRATOR. `layer` is the digest of the image layer
    that the base is made of."""

    python: str
    machine: str
    base: StoreTree
    layer: str
    environments: tuple[NixEnvironment, ...]

    @property
    def own(self) -> NixEnvironment:
        """The orchestrator's environment."""
        return next(each for each in self.environments if each.lock == ORCHESTRATOR)

    @property
    def installer(self) -> Wheel:
        """The wheel of the package that unpacks the others."""
        return next(wheel for wheel in self.own.wheels if wheel.file.startswith("installer-"))

    def find(self, request: EnvironmentRequest, image: Image) -> NixEnvironment:
        """The environment of an image. Raises NoImage where the table does not have it, or has it with other wheels."""
        made_of = tuple((part.made_of, part.source) for part in image.layers[2:])
        for found in self.environments:
            if found.lock == request.lock.name:
                if made_of == tuple((wheel.file, wheel.sha256) for wheel in found.wheels):
                    return found
                raise NoImage(f"{request.label}: images/nix names other wheels than images/layers", tip=RELOCK)
        raise NoImage(f"{request.label}: images/nix has no store path of it", tip=RELOCK)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreEnvironment:
    """An environment with its table: its paths in the Nix store."""

    table: NixTable
    environment: NixEnvironment

    @property
    def name(self) -> str:
        """The name of a link to it."""
        return f"{self.environment.lock.replace('/', '-')}-py{self.table.python}"

    @property
    def trees(self) -> tuple[StoreTree, StoreTree]:
        """Its folders in the Nix store."""
        return self.table.base, self.environment.tree

    @property
    def base(self) -> Path:
        return Path(self.table.base.path)

    @property
    def tree(self) -> Path:
        return Path(self.environment.tree.path)


class NixTables:
    """The committed tables of one machine, each read once."""

    def __init__(self, folder: Path, machine: str) -> None:
        self._folder, self._machine = folder, machine
        self._tables: dict[str, NixTable | None] = {}

    def find(self, request: EnvironmentRequest, image: Image) -> StoreEnvironment:
        """Raises NoImage with the reason, LockFault."""
        table = self._table(request.python)
        return StoreEnvironment(table=table, environment=table.find(request, image))

    def own(self, python: str) -> StoreEnvironment:
        """The orchestrator's environment. Raises NoImage, LockFault."""
        table = self._table(python)
        return StoreEnvironment(table=table, environment=table.own)

    def _table(self, python: str) -> NixTable:
        if python not in self._tables:
            self._tables[python] = read_nix_table(self._folder, python, self._machine)
        table = self._tables[python]
        if table is None:
            raise NoImage(f"no store paths for Python {python} on {self._machine}", tip="see images/nix")
        return table


def pythons_with_tables(folder: Path, machine: str) -> list[str]:
    return sorted(path.stem.removesuffix(f"-{machine}") for path in folder.glob(f"*-{machine}.json"))


def read_nix_table(folder: Path, python: str, machine: str) -> NixTable | None:
    """The committed table, or None where there is none. Raises LockFault."""
    path = table_path(folder, python, machine)
    try:
        read: Any = read_json(path.read_bytes())
        if read["format"] != NIX_FORMAT:
            raise ValueError(f"format {read['format']!r}, expected {NIX_FORMAT}")
        wheels = {file: Wheel(file=file, sha256=digest) for file, digest in read["wheels"].items()}
        return NixTable(
            python=read["python"],
            machine=read["machine"],
            base=_tree(read["base"]),
            layer=read["base"]["layer"],
            environments=tuple(_environment(row, wheels) for row in read["environments"]),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LockFault(f"images/nix/{path.name}: {type(error).__name__}: {error}", tip=RELOCK) from None


def _tree(row: Mapping[str, Any]) -> StoreTree:
    tree = StoreTree(name=row["name"], nar=Nar(digest=row["nar"], size=row["size"]))
    if row["path"] != tree.path:
        raise ValueError(f"{tree.name}: read the path {row['path']!r}, its digest says {tree.path!r}")
    return tree


def _environment(row: Mapping[str, Any], wheels: Mapping[str, Wheel]) -> NixEnvironment:
    return NixEnvironment(
        lock=row["lock"],
        tree=_tree(row),
        wheels=tuple(wheels[file] for file in row["wheels"]),
        tools=_tools(row["tools"]),
    )


def _tools(paths: Iterable[str]) -> dict[str, str]:
    """Tool -> path below the environment."""
    return {path.rpartition("/")[2]: path for path in paths}


def nix_table_text(table: NixTable) -> str:
    """The text of the committed file: sorted, one line per wheel and environment, for short diffs."""
    environments = sorted(table.environments, key=lambda each: each.lock)
    every = {wheel.file: wheel.sha256 for each in environments for wheel in each.wheels}
    head: dict[str, object] = {
        "format": NIX_FORMAT,
        "python": table.python,
        "machine": table.machine,
        "base": {**_facts(table.base), "layer": table.layer},
        "installer": table.installer.file,
    }
    rows: list[Mapping[str, object]] = [
        {
            "lock": each.lock,
            **_facts(each.tree),
            "tools": sorted(each.tools.values()),
            "wheels": [wheel.file for wheel in each.wheels],
        }
        for each in environments
    ]
    files = (f"{json.dumps(file)}: {json.dumps(every[file])}" for file in sorted(every))
    lines = [f" {json.dumps(name)}: {json.dumps(value)}" for name, value in head.items()]
    lines.append(' "wheels": {\n' + _joined(files) + "\n }")
    lines.append(' "environments": [\n' + _joined(json.dumps(row) for row in rows) + "\n ]")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _joined(rows: Iterable[str]) -> str:
    return ",\n".join(f"  {row}" for row in rows)


def _facts(tree: StoreTree) -> dict[str, object]:
    return {"name": tree.name, "path": tree.path, "nar": tree.nar.digest, "size": tree.nar.size}
