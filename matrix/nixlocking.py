"""Writes `images/nix`: the store paths of all environments that have layers, and of the orchestrator's own, computed
without Nix.

An environment is unpacked once to learn its digest, and again only if it has other wheels.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement

from matrix.assembler import Workshop
from matrix.baselocking import fetch_base
from matrix.environmenttree import write_environment
from matrix.errors import LockFault, NoImage
from matrix.index import PackageIndex
from matrix.layertable import TableWish, read_wanted
from matrix.locks import Change, LockChange, kind_of, load_locks
from matrix.mirror import replacing
from matrix.nar import nar_of
from matrix.nixtable import OWN, NixEnvironment, NixTable, Tree, Wheel, read_table, table_path, table_text
from matrix.records import EnvironmentRequest, Lock
from matrix.wheels import fetch, pinned_in

OWN_LOCK = f"{OWN}.txt"
OWN_TOOLS = {"uv": "bin/uv"}
BESIDE = ("pip",)
"""What the orchestrator runs and does not import: pip downloads wheels."""
HEADER = "# Written by `nox -s lock`: what this project itself needs, for the flake and to unpack wheels in Nix.\n"


def lock_nix(workshop: Workshop, progress: Callable[[str], None], *, upgrade: bool = False) -> tuple[LockChange, ...]:
    """Writes the tables of all Pythons and machines of `images/layers/wanted.toml`, from the layers as they are now.

    Raises what fetching a wheel raises, before that table is written.
    """
    folder = workshop.images / "nix"
    folder.mkdir(exist_ok=True)
    locks = load_locks(workshop.images / "locks").locks
    changes = [_lock_own(folder, workshop.index, upgrade=upgrade)]
    for wish in read_wanted(workshop.images / "layers"):
        name = f"nix/{wish.python}-{wish.machine}"
        progress(name)
        if wish.python not in workshop.bases():
            changes.append(LockChange(name=name, change=Change.SKIPPED, detail=f"no base for Python {wish.python}"))
            continue
        path = table_path(folder, wish.python, wish.machine)
        before = path.read_text(encoding="utf-8") if path.is_file() else ""
        text = table_text(make_table(workshop, wish, locks, _previous(folder, wish)))
        changes.append(_write(path, name, before, text))
    return tuple(changes)


def _previous(folder: Path, wish: TableWish) -> NixTable | None:
    """The table that is there; None for one that cannot be read: it is written anew."""
    try:
        return read_table(folder, wish.python, wish.machine)
    except LockFault:
        return None


def _write(path: Path, name: str, before: str, text: str) -> LockChange:
    if text == before:
        return LockChange(name=name, change=Change.UNCHANGED)
    with replacing(path, what=name) as file:
        file.write(text.encode())
    return LockChange(name=name, change=Change.CHANGED if before else Change.ADDED)


def _lock_own(folder: Path, index: PackageIndex, *, upgrade: bool) -> LockChange:
    path = folder / OWN_LOCK
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    wanted = [each for each in requires("iree-matrix") or () if "extra" not in str(Requirement(each).marker)]
    text = HEADER + index.resolve((*wanted, *BESIDE), lowest_python="3.11", previous="" if upgrade else before)
    return _write(path, f"nix/{OWN}", before, text)


def make_table(workshop: Workshop, wish: TableWish, locks: Iterable[Lock], previous: NixTable | None) -> NixTable:
    """The orchestrator's environment and those of all locks that are wished for and have layers."""
    known = {each.lock: each for each in previous.environments} if previous else {}
    environments = [_own(workshop, wish, known.get(OWN))]
    for lock in locks:
        if lock.refusal or not wish.wants(lock.name):
            continue
        request = EnvironmentRequest(kind=kind_of(lock), python=wish.python, lock=lock)
        try:
            environments.append(_environment(workshop, request, wish.machine, known.get(lock.name)))
        except NoImage:  # its layers are missing, and that is said where they are locked
            continue
    layer = workshop.bases()[wish.python].on(wish.machine).layer.removeprefix("sha256:")
    same = previous is not None and previous.layer == layer
    return NixTable(
        python=wish.python,
        machine=wish.machine,
        base=previous.base if previous and same else _base(workshop, wish),
        layer=layer,
        environments=tuple(environments),
    )


def _own(workshop: Workshop, wish: TableWish, known: NixEnvironment | None) -> NixEnvironment:
    text = (workshop.images / "nix" / OWN_LOCK).read_text(encoding="utf-8")
    packages = pinned_in(text, OWN_LOCK, python=wish.python, machine=wish.machine)
    had = {wheel.sha256 for wheel in known.wheels} if known else set()
    if known and len(had) == len(packages) and all(package.hashes & had for package in packages):
        return known
    found = fetch(
        packages,
        python=wish.python,
        machine=wish.machine,
        glibc=workshop.bases()[wish.python].glibc,
        index=workshop.index,
        files=workshop.files,
    )
    wheels = tuple(Wheel(file=each.file, sha256=each.sha256) for each in found)
    return NixEnvironment(
        lock=OWN, tree=_unpacked(workshop, OWN, wheels, wish.python), wheels=wheels, tools=dict(OWN_TOOLS)
    )


def _environment(
    workshop: Workshop, request: EnvironmentRequest, machine: str, known: NixEnvironment | None
) -> NixEnvironment:
    image = workshop.image(request, machine)
    name = request.lock.name
    wheels = tuple(Wheel(file=part.made_of, sha256=part.source) for part in image.layers[2:])
    if known is None or known.wheels != wheels:
        workshop.fetch(request, machine, image)
        tree = _unpacked(workshop, name, wheels, request.python)
    else:
        tree = known.tree
    return NixEnvironment(lock=name, tree=tree, wheels=wheels, tools=image.tools)


def _unpacked(workshop: Workshop, name: str, wheels: Iterable[Wheel], python: str) -> Tree:
    files = [path for wheel in wheels if (path := workshop.files.find(wheel.sha256))]
    with tempfile.TemporaryDirectory(dir=workshop.scratch, prefix="nix-") as scratch:
        write_environment(files, Path(scratch) / "out", python=python)
        nar = nar_of(Path(scratch) / "out")
    return Tree(name=f"iree-matrix-{name.replace('/', '-')}-py{python}", nar=nar)


def _base(workshop: Workshop, wish: TableWish) -> Tree:
    fetch_base(workshop.bases()[wish.python], wish.machine, workshop.files.folder, source=workshop.sources)
    name = f"iree-matrix-base-py{wish.python}-{wish.machine}"
    with workshop.base_tree(wish.python, wish.machine, name) as folder:
        return Tree(name=name, nar=nar_of(folder))
