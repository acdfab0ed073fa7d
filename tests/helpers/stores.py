"""A store in another process, and results put into one."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

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
