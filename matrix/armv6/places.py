"""The trees that the tasks read, made real in the store: compilers, qemu, cmake, IREE's sources, the linker."""

from __future__ import annotations

import json
import shlex
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from matrix import environments, mirror, processes, pythons
from matrix.armv6.tasks import Tasks, Tree, claimed, tree_digest
from matrix.catalogue import data_root
from matrix.errors import EngineMissing, HashMismatch, IndexUnreachable, LockFault, MatrixError, StoreUnusable
from matrix.index import configured
from matrix.keys import digest, sha256
from matrix.locks import read_lock
from matrix.records import Environment, EnvironmentRequest, Lock
from matrix.store import disk_errors
from matrix.trees import HOST, read_set, unpacked

CRATE = "eerie-sys"
FETCH_SECONDS = 600.0
SCRIPTS = ("iree-lld", "system-ld")
SETS = ("armel", "native", "qemu")


def images() -> Path:
    """The committed data of 32-bit Arm: locks, toolchains, C sources."""
    return data_root() / "images" / "armv6"


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
        known = ", ".join(sorted((path.stem for path in locks.glob("*.txt")), key=_ascending))
        raise LockFault(f"no lock for the compiler {version}, only for {known}", tip="choose one of these")
    return environment("compiler", read_lock(locks / f"{version}.txt", f"compiler/{version}"), store)


def _ascending(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _tools_lock() -> Lock:
    path = images() / "tools.txt"
    if not path.is_file():
        raise LockFault("images/armv6/tools.txt does not exist", tip="write it anew: nox -s lock")
    return Lock(name="armv6/tools", path=path, digest=sha256(path), pins=())


def environment(kind: str, lock: Lock, store: Path) -> Environment:
    """The wheels of a lock, installed for the Python that runs this."""
    info = pythons.running()
    request = EnvironmentRequest(kind=kind, python=info.minor, lock=lock)
    place = store / "environments" / f"{lock.name.replace('/', '-')}-{environments.recipe(request, info)[:12]}"
    return environments.realise(request, info, place, index=configured())


def source_releases() -> tuple[str, ...]:
    """The IREE releases whose sources are pinned, the newest first."""
    found = (path.parent.name for path in (images() / "src").glob("*/Cargo.lock"))
    return tuple(sorted(found, key=_ascending, reverse=True))


def source_tree(given: Path | None, release: str = "") -> Tree:
    """IREE's sources: a folder that the user names, or a release's pinned crate (the newest), fetched by cargo, which
    checks it. Raises LockFault, EngineMissing, MatrixError."""
    folder = given or _crate_folder(release or source_releases()[0])
    if not (folder / "runtime" / "src" / "iree").is_dir() or not (folder / "CMakeLists.txt").is_file():
        raise LockFault(
            f"{folder}: no IREE source tree: it has no CMakeLists.txt beside runtime/src/iree",
            tip="give the folder that holds IREE's runtime/ and third_party/, submodules included",
        )
    return Tree(path=folder.resolve(), digest=tree_digest(folder))


def _crate_folder(release: str) -> Path:
    manifest = images() / "src" / release / "Cargo.toml"
    if not manifest.is_file():
        known = ", ".join(source_releases())
        raise LockFault(f"no sources of IREE {release} are pinned, only of {known}", tip="give --source FOLDER")
    cargo = shutil.which("cargo")
    if cargo is None:
        raise EngineMissing(
            "cargo is not on this machine; it fetches the crate that carries IREE's sources",
            tip="install Rust's cargo, or give --source FOLDER with IREE's sources",
        )
    words = [cargo, "metadata", "--locked", "--format-version", "1", "--manifest-path", str(manifest)]
    done = processes.run(words, timeout=FETCH_SECONDS)
    if not done.ok:
        raise _not_fetched(done, release)
    packages = json.loads(done.stdout)["packages"]
    return next(Path(row["manifest_path"]).parent / "iree" for row in packages if row["name"] == CRATE)


def _not_fetched(done: processes.Completed, release: str) -> MatrixError:
    """cargo checks the crate itself; what else it complains of is the way to its registry."""
    last = "\n".join(f"  | {line}" for line in done.tail.splitlines())
    if "checksum" in done.output:
        return HashMismatch(
            f"images/armv6/src/{release}/Cargo.lock: the crate is another one than locked\n{last}",
            tip="do not use this registry; if it is the right one, restore Cargo.lock from the repository",
        )
    return IndexUnreachable(
        f"cannot fetch IREE's sources {release}\n{last}",
        tip="check the network and cargo's settings, or give --source FOLDER with IREE's sources",
    )


def source_version(source: Tree) -> str:
    """`3.13.0` of `3.13.0.dev`: what IREE's tree says of itself."""
    try:
        text = json.loads((source.path / "runtime" / "version.json").read_bytes())["package-version"]
    except (OSError, ValueError, KeyError) as error:
        raise LockFault(
            f"{source.path}/runtime/version.json cannot be read: {error}", tip="give IREE's own tree"
        ) from None
    return ".".join(str(text).split(".")[:3])


def link_folder(folder: Path, helpers: Path, iree_lld: Path, armel: Tree) -> None:
    """Lay out the linker wrapper: scripts, objects, and `settings` with the places of the programs they call."""
    for path in sorted(helpers.iterdir()):
        if path.suffix in (".o", ".a"):
            shutil.copy(path, folder / path.name)
    for name in SCRIPTS:
        shutil.copy(images() / "link" / name, folder / name)
        (folder / name).chmod(0o755)
    prefix = armel.path / "usr" / "bin" / "arm-linux-gnueabi-"
    settings = {
        "IREE_LLD": iree_lld,
        "OBJCOPY": f"{prefix}objcopy",
        "READELF": f"{prefix}readelf",
        "CC": f"{prefix}gcc",
        "SYSROOT": armel.path,
        "TOOL_LIBRARIES": armel.path / "usr" / "lib" / "x86_64-linux-gnu",
    }
    lines = [f"{name}={shlex.quote(str(value))}\n" for name, value in settings.items()]
    (folder / "settings").write_text("".join(lines), encoding="utf-8")


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
                link_folder(partial, helpers, tool(compiler, "iree-lld"), armel)
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
