"""A store in another process, and results put into one."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from samples import result

from matrix.cli.upkeep import clean_store
from matrix.core.keys import now
from matrix.core.records import Artifact
from matrix.run.store import Store

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def other(folder: Path, code: str, *arguments: str):
    """Another process with the store open as `store`; it says `ready` after `code` and waits to be ended."""
    text = (
        "import sys, time, pathlib\nfrom matrix.run.store import Store\n"
        f"store = Store(pathlib.Path(sys.argv[1]))\n{code}\nprint('ready', flush=True)\nsys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", text, str(folder), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def put(store: Store, content: bytes, name: str = "module.vmfb") -> Artifact:
    path = store.places.scratch / "made"
    path.write_bytes(content)
    return store.put(path, name)


def filled(store: Store) -> None:
    """Three results: an old one that a table shows, an old one that none shows, a new one; and a blob of no result."""
    for key, finished_at in (("shown", "2020-01-01T00:00:00Z"), ("old", "2020-01-01T00:00:00Z"), ("new", now())):
        outputs = [put(store, key.encode() * 100)]
        store.record(result("compile", key=key, outputs=outputs, finished_at=finished_at))
    show(store, "portability", ["shown"])
    put(store, b"nobody's" * 100)


def show(store: Store, name: str, keys: Iterable[str], *, whole: bool = True) -> None:
    store.begin_table(name)
    store.remember_shown(keys, whole=whole)


def clean(store: Store, *, days: float = 30.0, max_bytes: int | None = None, environments: bool = False):
    return clean_store(store, older_than_days=days, max_bytes=max_bytes, environments=environments)


def known(store: Store) -> set[str]:
    return {key for key in ("shown", "old", "new") if store.result(key)}
