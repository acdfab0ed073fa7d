"""The committed digests of environments as Nix names them, from which every store path follows. Reads files only.

`images/nix/3.11-x86_64.json` holds, for one Python on one machine, what `images/nix/environments.nix` builds: the base,
the wheels of each environment, lowest layer first, and the digest of what they make. `nox -s lock` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matrix.core.errors import LockFault, NoImage
from matrix.core.records import EnvironmentRequest
from matrix.images.image import Image
from matrix.images.layer_table import table_path
from matrix.images.nix.nar import Nar, file_path, tree_path
from matrix.plan.locks import RELOCK

FORMAT = 1
EXPRESSION = "environments.nix"
OWN = "matrix"
"""What the table calls the environment of this project itself, which no lock of `images/locks` is of."""
ROOT_DIGITS = 12
"""Of an environment's digest, at the end of the name of the link that keeps it from the collector."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A folder that Nix keeps: `nar` is of its content, and with the name it says where."""

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
    """A lock's environment: the wheels in the order of the image's layers, what they make, the tools in it."""

    lock: str
    tree: Tree
    wheels: tuple[Wheel, ...]
    tools: Mapping[str, str]

    @property
    def attribute(self) -> str:
        """What the expression and the flake call it."""
        return self.lock.replace("/", "-").replace(".", "_").replace("+", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class NixTable:
    """The environments of one Python on one machine, OWN among them. `layer` is the digest of the image layer that the
    base is of."""

    python: str
    machine: str
    base: Tree
    layer: str
    environments: tuple[NixEnvironment, ...]

    @property
    def own(self) -> NixEnvironment:
        """The orchestrator's."""
        return next(each for each in self.environments if each.lock == OWN)

    @property
    def installer(self) -> Wheel:
        """The wheel whose code unpacks the others."""
        return next(wheel for wheel in self.own.wheels if wheel.file.startswith("installer-"))

    def find(self, request: EnvironmentRequest, image: Image) -> NixEnvironment:
        """The environment of an image. Raises NoImage where the table has none, or one of other files."""
        made_of = tuple((part.made_of, part.source) for part in image.layers[2:])
        for found in self.environments:
            if found.lock == request.lock.name:
                if made_of == tuple((wheel.file, wheel.sha256) for wheel in found.wheels):
                    return found
                raise NoImage(f"{request.label}: images/nix names other wheels than images/layers", tip=RELOCK)
        raise NoImage(f"{request.label}: images/nix has no store path of it", tip=RELOCK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an environment is in the Nix store, or will be: its row of a table."""

    table: NixTable
    environment: NixEnvironment

    @property
    def name(self) -> str:
        """For a link to it."""
        return f"{self.environment.lock.replace('/', '-')}-py{self.table.python}"

    @property
    def trees(self) -> tuple[Tree, Tree]:
        """What the Nix store has of it."""
        return self.table.base, self.environment.tree

    @property
    def base(self) -> Path:
        return Path(self.table.base.path)

    @property
    def tree(self) -> Path:
        return Path(self.environment.tree.path)


class Places:
    """The committed tables of one machine, each read once."""

    def __init__(self, folder: Path, machine: str) -> None:
        self._folder, self._machine = folder, machine
        self._tables: dict[str, NixTable | None] = {}

    def find(self, request: EnvironmentRequest, image: Image) -> Place:
        """Raises NoImage with the reason, LockFault."""
        table = self._table(request.python)
        return Place(table=table, environment=table.find(request, image))

    def own(self, python: str) -> Place:
        """Of the orchestrator's environment. Raises NoImage, LockFault."""
        table = self._table(python)
        return Place(table=table, environment=table.own)

    def _table(self, python: str) -> NixTable:
        if python not in self._tables:
            self._tables[python] = read_table(self._folder, python, self._machine)
        table = self._tables[python]
        if table is None:
            raise NoImage(f"no store paths for Python {python} on {self._machine}", tip="see images/nix")
        return table


def pythons_with_tables(folder: Path, machine: str) -> list[str]:
    return sorted(path.stem.removesuffix(f"-{machine}") for path in folder.glob(f"*-{machine}.json"))


def read_table(folder: Path, python: str, machine: str) -> NixTable | None:
    """The committed table, or None where there is none. Raises LockFault."""
    path = table_path(folder, python, machine)
    try:
        read: Any = json.loads(path.read_bytes())
        if read["format"] != FORMAT:
            raise ValueError(f"format {read['format']!r}, expected {FORMAT}")
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


def _tree(row: Mapping[str, Any]) -> Tree:
    tree = Tree(name=row["name"], nar=Nar(digest=row["nar"], size=row["size"]))
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


def table_text(table: NixTable) -> str:
    """What is committed: a line a wheel and an environment, sorted, so that an upgrade reads as one."""
    environments = sorted(table.environments, key=lambda each: each.lock)
    every = {wheel.file: wheel.sha256 for each in environments for wheel in each.wheels}
    head: dict[str, object] = {
        "format": FORMAT,
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


def _facts(tree: Tree) -> dict[str, object]:
    return {"name": tree.name, "path": tree.path, "nar": tree.nar.digest, "size": tree.nar.size}
