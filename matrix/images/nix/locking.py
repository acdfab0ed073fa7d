"""Writes `images/nix`: the store paths of all environments with layers, and of the orchestrator's environment.

Nix is not needed. An environment is unpacked once to compute its digest, and again only if its wheels change, or if
the code that unpacks wheels gives another result for the smallest environment.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement

from matrix.core.errors import ImageFault, LockFault, NoImage
from matrix.core.records import EnvironmentRequest, Lock
from matrix.environments.index import PackageIndex
from matrix.environments.wheels import fetch_wheels
from matrix.images.debian.base_locking import fetch_base
from matrix.images.layer_table import TableWish
from matrix.images.nix.environment_tree import write_environment
from matrix.images.nix.nar import nar_of
from matrix.images.nix.table import (
    ORCHESTRATOR,
    NixEnvironment,
    NixTable,
    StoreTree,
    Wheel,
    nix_table_text,
    read_nix_table,
)
from matrix.images.workshop import Workshop, lock_tables, write_locked
from matrix.plan.locks import LockChange, kind_of, load_locks, parse_pinned_packages

OWN_LOCK = f"{ORCHESTRATOR}.txt"
OWN_TOOLS = {"uv": "bin/uv"}
RUN_TOOLS = ("pip",)
"""Packages that the orchestrator runs but does not import: pip downloads wheels."""
ORCHESTRATOR_HEADER = (
    "# Written by `nox -s lock`: what this project itself needs, for the flake and to unpack wheels in Nix.\n"
)


def lock_nix(workshop: Workshop, progress: Callable[[str], None], *, upgrade: bool = False) -> tuple[LockChange, ...]:
    """Writes the tables of all Pythons and machines of `images/layers/wanted.toml`, from the current layers.

    The errors of fetching a wheel are raised before the table is written.
    """
    folder = workshop.images / "nix"
    folder.mkdir(exist_ok=True)
    locks = load_locks(workshop.images / "locks").locks
    own = _lock_own(folder, workshop.index, upgrade=upgrade)

    def text(wish: TableWish) -> str:
        return nix_table_text(make_table(workshop, wish, locks, _previous(folder, wish)))

    return (own, *lock_tables(workshop, "nix", text, progress))


def _previous(folder: Path, wish: TableWish) -> NixTable | None:
    """The existing table; None where it cannot be read: it is written again."""
    try:
        return read_nix_table(folder, wish.python, wish.machine)
    except LockFault:
        return None


def _lock_own(folder: Path, index: PackageIndex, *, upgrade: bool) -> LockChange:
    path = folder / OWN_LOCK
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    wanted = [each for each in requires("iree-matrix") or () if "extra" not in str(Requirement(each).marker)]
    text = ORCHESTRATOR_HEADER + index.resolve(
        (*wanted, *RUN_TOOLS), lowest_python="3.11", previous="" if upgrade else before
    )
    return write_locked(path, f"nix/{ORCHESTRATOR}", text)


def make_table(workshop: Workshop, wish: TableWish, locks: Iterable[Lock], previous: NixTable | None) -> NixTable:
    """The orchestrator's environment and those of all wanted locks with layers."""
    known = {each.lock: each for each in previous.environments} if previous and _holds(workshop, previous) else {}
    environments = [_own(workshop, wish, known.get(ORCHESTRATOR))]
    for lock in locks:
        if lock.refusal or not wish.wants(lock.name):
            continue
        request = EnvironmentRequest(kind=kind_of(lock), python=wish.python, lock=lock)
        try:
            environments.append(_environment(workshop, request, wish.machine, known.get(lock.name)))
        except NoImage:  # its layers are missing; the locking of layers reports that
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


def _holds(workshop: Workshop, table: NixTable) -> bool:
    """Whether the code still makes the smallest environment of the table. Raises the errors of fetching a wheel."""
    smallest = min(table.environments, key=lambda each: each.tree.nar.size)
    files = {wheel.file: wheel.sha256 for wheel in smallest.wheels}
    workshop.fetch_files(files, table.python, table.machine)
    return _unpacked(workshop, smallest.lock, smallest.wheels, table.python) == smallest.tree


def _own(workshop: Workshop, wish: TableWish, known: NixEnvironment | None) -> NixEnvironment:
    text = (workshop.images / "nix" / OWN_LOCK).read_text(encoding="utf-8")
    packages = parse_pinned_packages(text, OWN_LOCK, python=wish.python, machine=wish.machine)
    had = {wheel.sha256 for wheel in known.wheels} if known else set()
    if known and len(had) == len(packages) and all(package.hashes & had for package in packages):
        return known
    found = fetch_wheels(
        packages,
        python=wish.python,
        machine=wish.machine,
        glibc=workshop.bases()[wish.python].glibc,
        index=workshop.index,
        files=workshop.files,
    )
    wheels = tuple(Wheel(file=each.file, sha256=each.sha256) for each in found)
    return NixEnvironment(
        lock=ORCHESTRATOR,
        tree=_unpacked(workshop, ORCHESTRATOR, wheels, wish.python),
        wheels=wheels,
        tools=dict(OWN_TOOLS),
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


def _unpacked(workshop: Workshop, name: str, wheels: Iterable[Wheel], python: str) -> StoreTree:
    files = [_file(workshop, wheel) for wheel in wheels]
    with tempfile.TemporaryDirectory(dir=workshop.scratch, prefix="nix-") as scratch:
        write_environment(files, Path(scratch) / "out", python=python)
        nar = nar_of(Path(scratch) / "out")
    return StoreTree(name=f"iree-matrix-{name.replace('/', '-')}-py{python}", nar=nar)


def _file(workshop: Workshop, wheel: Wheel) -> Path:
    if found := workshop.files.find(wheel.sha256):
        return found
    raise ImageFault(f"{wheel.file}: not among the store's files any more", tip="run again: it is fetched again")


def _base(workshop: Workshop, wish: TableWish) -> StoreTree:
    fetch_base(workshop.bases()[wish.python], wish.machine, workshop.files.folder, source=workshop.sources)
    name = f"iree-matrix-base-py{wish.python}-{wish.machine}"
    with workshop.base_tree(wish.python, wish.machine, name) as folder:
        return StoreTree(name=name, nar=nar_of(folder))
