"""The trees that the tasks read, made real in the store: compilers, qemu, cmake, IREE's sources, the linker."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from matrix.builds.linker import SCRIPTS, link_folder
from matrix.builds.sources import own_sources, pinned_sources, source_releases
from matrix.builds.tasks import Tasks
from matrix.builds.toolchain_tasks import MACHINE
from matrix.core.data import data_root
from matrix.core.disk import claimed, disk_errors
from matrix.core.errors import LockFault, StoreUnusable
from matrix.core.keys import digest, sha256
from matrix.core.records import Environment, EnvironmentRequest, Lock
from matrix.core.versions import in_order
from matrix.environments import installed, interpreters
from matrix.environments.index import configured_index
from matrix.images.debian import mirror
from matrix.images.debian.unpacked import HOST, Tree, read_set, unpacked
from matrix.plan.locks import read_lock
from matrix.plan.source_builds import CrossToolchain, read_toolchains

SETS = ("armel", "native", "qemu")


def images() -> Path:
    """The committed data of 32-bit Arm: locks, toolchains, C sources."""
    return data_root() / "images" / "armv6"


def toolchains() -> Mapping[str, CrossToolchain]:
    """All of `toolchains.toml`, by name."""
    return read_toolchains(images() / "toolchains.toml")


def board_toolchains() -> dict[str, CrossToolchain]:
    """Those for the ARM1176."""
    return {name: row for name, row in toolchains().items() if row.machine == MACHINE}


def tool_trees(store: Path) -> dict[str, Tree]:
    """`armel`, `qemu`, `zig`, `bin` (cmake and ninja) and the cache of zig. Fetches what is missing.

    Raises IndexUnreachable, HashMismatch, PackageGone, LockFault, EngineMissing, DiskFull.
    """
    trees = {name: package_tree(name, store) for name in SETS}
    tools = environment("tools", _tools_lock(), store)
    trees["bin"] = Tree(path=tools.root / "bin", digest=tools.digest)
    site = next(tools.root.glob("lib/python*/site-packages"))
    trees["zig"] = Tree(path=site / "ziglang", digest=tools.digest)
    cache = store / "armv6" / "zig-cache"
    with disk_errors(store):
        cache.mkdir(parents=True, exist_ok=True)
    return trees | {"zig-cache": Tree(path=cache, digest="")}


def package_tree(name: str, store: Path) -> Tree:
    """The Debian packages of one set."""
    return unpacked(read_set(images(), name), HOST, store, source=mirror.sources)


def compiler_environment(version: str, store: Path) -> Environment:
    """The environment of a compiler release, as the matrix has it."""
    locks = data_root() / "images" / "locks" / "compiler"
    if not (locks / f"{version}.txt").is_file():
        known = ", ".join(in_order(path.stem for path in locks.glob("*.txt")))
        raise LockFault(f"no lock for the compiler {version}, only for {known}", tip="choose one of these")
    return environment("compiler", read_lock(locks / f"{version}.txt", f"compiler/{version}"), store)


def _tools_lock() -> Lock:
    path = images() / "tools.txt"
    if not path.is_file():
        raise LockFault("images/armv6/tools.txt does not exist", tip="write it anew: nox -s lock")
    return Lock(name="armv6/tools", path=path, digest=sha256(path), pins=())


def environment(kind: str, lock: Lock, store: Path) -> Environment:
    """The wheels of a lock, installed for the Python that runs this."""
    info = interpreters.running()
    request = EnvironmentRequest(kind=kind, python=info.minor, lock=lock)
    place = store / "environments" / f"{lock.name.replace('/', '-')}-{installed.request_digest(request, info)[:12]}"
    return installed.realise(request, info, place, index=configured_index())


def source_tree(given: Path | None) -> Tree:
    """IREE's sources: a folder that the user names, or the newest pinned release."""
    pins = images() / "src"
    return own_sources(given) if given else pinned_sources(pins, source_releases(pins)[0])


def link_tree(tasks: Tasks, helpers: Path, compiler: Environment, armel: Tree) -> Tree:
    """The linker's folder for one compiler, in the store, named by what is in it and what it calls."""
    parts = {path.name: sha256(path) for path in sorted(helpers.iterdir()) if path.suffix in (".o", ".a")}
    scripts = {name: sha256(images() / "link" / name) for name in SCRIPTS}
    name = digest({"parts": parts, "scripts": scripts, "compiler": compiler.digest, "armel": armel.digest})
    place = tasks.folder / "trees" / f"link-{name}"
    with disk_errors(tasks.folder):
        place.parent.mkdir(exist_ok=True)
    with disk_errors(tasks.folder), claimed(place.with_suffix(".lock")):
        if not place.is_dir():
            partial = Path(tempfile.mkdtemp(prefix="partial-link-", dir=place.parent))
            try:
                link_folder(partial, helpers, tool(compiler, "iree-lld"), sources=images() / "link", armel=armel)
                partial.rename(place)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return Tree(path=place, digest=name)


def tool(environment: Environment, name: str) -> Path:
    """A tool of an environment. Raises StoreUnusable."""
    if name not in environment.tools:
        raise StoreUnusable(f"{environment.request_label} has no {name}", tip="`clean --environments`, then run again")
    return environment.root / environment.tools[name]


def with_compiler(trees: Mapping[str, Tree], environment: Environment, link: Tree) -> dict[str, Tree]:
    folder = tool(environment, "iree-compile").parent
    return {**trees, "compiler": Tree(path=folder, digest=environment.digest), "link": link}
