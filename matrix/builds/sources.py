"""IREE's sources: pinned releases as crates, which cargo fetches and checks, or a user's own tree."""

from __future__ import annotations

import shutil
from pathlib import Path

from matrix.artifacts.json_reader import JsonFault, read_json
from matrix.core import processes
from matrix.core.errors import EngineMissing, HashMismatch, IndexUnreachable, LockFault, MatrixError
from matrix.core.keys import tree_digest
from matrix.core.versions import releases_first
from matrix.images.debian.unpacked import Tree

CRATE = "eerie-sys"
FETCH_SECONDS = 600.0


def source_releases(pins: Path) -> tuple[str, ...]:
    """The IREE releases with sources pinned below a folder (`images/armv6/src`), the newest first."""
    return tuple(releases_first(path.parent.name for path in pins.glob("*/Cargo.lock")))[::-1]


def own_sources(folder: Path) -> Tree:
    """A user's own IREE tree. Raises LockFault if it is none."""
    if not (folder / "runtime" / "src" / "iree").is_dir() or not (folder / "CMakeLists.txt").is_file():
        raise LockFault(
            f"{folder}: no IREE source tree: it has no CMakeLists.txt beside runtime/src/iree",
            tip="give the folder that holds IREE's runtime/ and third_party/, submodules included",
        )
    return Tree(path=folder.resolve(), digest=tree_digest(folder))


def pinned_sources(pins: Path, release: str) -> Tree:
    """The crate of a release, fetched by cargo, which checks it. Raises LockFault, EngineMissing, HashMismatch,
    IndexUnreachable."""
    manifest = pins / release / "Cargo.toml"
    if not manifest.is_file():
        known = ", ".join(source_releases(pins))
        raise LockFault(
            f"no sources of IREE {release} are pinned, only of {known}", tip="name an IREE tree of your own instead"
        )
    cargo = shutil.which("cargo")
    if cargo is None:
        raise EngineMissing(
            "cargo is not on this machine; it fetches the crate that carries IREE's sources",
            tip="install Rust's cargo, or name an IREE tree of your own instead",
        )
    words = [cargo, "metadata", "--locked", "--format-version", "1", "--manifest-path", str(manifest)]
    done = processes.run(words, timeout=FETCH_SECONDS)
    if not done.ok:
        raise _not_fetched(done, release)
    try:
        packages = read_json(done.stdout)["packages"]
        found = next(Path(row["manifest_path"]).parent / "iree" for row in packages if row["name"] == CRATE)
    except (JsonFault, KeyError, TypeError, StopIteration) as error:
        raise LockFault(
            f"cargo metadata: no place of {CRATE} in it: {error!r}", tip="upgrade cargo, or name an IREE tree of yours"
        ) from None
    return own_sources(found)


def _not_fetched(done: processes.Completed, release: str) -> MatrixError:
    """cargo checks the crate itself; its other failures concern its registry."""
    last = "\n".join(f"  | {line}" for line in done.tail.splitlines())
    if "checksum" in done.output:
        return HashMismatch(
            f"images/armv6/src/{release}/Cargo.lock: the crate is another one than locked\n{last}",
            tip="do not use this registry; if it is the right one, restore Cargo.lock from the repository",
        )
    return IndexUnreachable(
        f"cannot fetch IREE's sources {release}\n{last}",
        tip="check the network and cargo's settings, or name an IREE tree of your own instead",
    )


def source_version(source: Tree) -> str:
    """`3.13.0` of `3.13.0.dev`, the version in IREE's tree."""
    try:
        text = read_json((source.path / "runtime" / "version.json").read_bytes())["package-version"]
    except (OSError, ValueError, KeyError) as error:
        raise LockFault(
            f"{source.path}/runtime/version.json cannot be read: {error}", tip="give IREE's own tree"
        ) from None
    return ".".join(str(text).split(".")[:3])
