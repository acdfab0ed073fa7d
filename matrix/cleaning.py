"""Frees space in a store, and never what a shown table needs."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from matrix.errors import MatrixError, StoreUnusable
from matrix.footprint import Footprint, WheelCache
from matrix.nar import file_path
from matrix.nixstore import NixStore
from matrix.nixtable import OWN, ROOT_DIGITS
from matrix.store import Store


def clean_store(store: Store, *, older_than_days: float, max_bytes: int | None, environments: bool) -> dict[str, int]:
    """Removes leftovers, results older than that which no table shows, and blobs that no result names; then, where
    asked or while the store is larger than `max_bytes`, environments, oldest first: they are made again when needed.

    Returns the bytes freed by part. Raises StoreUnusable while a run uses the store.
    """
    if not store.hold(alone=True):
        raise StoreUnusable(f"{store.folder}: a run is using it", tip="clean when it is over")
    before = datetime.now(UTC) - timedelta(days=older_than_days)
    store.forget_results(older_than=before.strftime("%Y-%m-%dT%H:%M:%SZ"))
    freed = {"blobs": store.drop_unreferenced_blobs(), "unfinished environments": 0, "environments": 0}
    standing = []
    for path in sorted(store.environments.iterdir()):
        if not path.is_dir():  # the claim on making an environment; nobody holds it while we are alone
            path.unlink()
        elif ".partial-" in path.name:
            freed["unfinished environments"] += _remove(path)
        else:
            standing.append(path)
    size = size_of(store.folder)
    for folder in sorted(standing, key=lambda path: path.stat().st_mtime):
        if environments or (max_bytes is not None and size > max_bytes):
            gone = _remove(folder)
            freed["environments"] += gone
            size -= gone
    before_wheels = Footprint().add([store.wheels])
    WheelCache(store.wheels).let_go()
    freed["wheels"] = before_wheels - Footprint().add([store.wheels])
    if store.roots.is_dir():
        freed["paths of the Nix store"] = _let_nix_go(store, environments=environments)
    return freed


def _let_nix_go(store: Store, *, environments: bool) -> int:
    """Drops the roots of environments that no result names (`environments`: of all), and from the Nix store what they
    and the wheels held there and nothing else does."""
    kept = set() if environments else {OWN, *(digest[:ROOT_DIGITS] for digest in store.environments_of_results())}
    dropped = [root for root in store.roots.iterdir() if root.name.rpartition("-")[2] not in kept]
    paths = [str(root.readlink()) for root in dropped]
    for root in dropped:
        root.unlink()
    wheels = [file_path(path.name, path.parent.name) for path in (store.folder / "files").glob("*/*/*.whl")]
    try:
        nix = NixStore()
        there = [path for path in paths if Path(path).exists()]
        needed = nix.closure(*there) if there else {}
        return nix.delete(dict.fromkeys([*paths, *sorted(needed), *filter(os.path.exists, wheels)]))
    except MatrixError:  # Nix is gone: what it keeps is its own business
        return 0


def _remove(folder: Path) -> int:
    size = size_of(folder)
    shutil.rmtree(folder, ignore_errors=True)
    return size


def size_of(folder: Path) -> int:
    """Bytes on the disk below a folder. Files hardlinked from uv's cache are counted, though uv keeps them."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118 - twice as fast as pathlib here
            except FileNotFoundError:
                continue
    return total
