"""`clean --environments` that is killed in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from stores import clean

from matrix.environments import folders
from matrix.run.store import Store

ROOT = Path(__file__).parents[3]
FILES = 20_000
CLEAN = """
import sys; from pathlib import Path
from matrix.cli.upkeep import clean_store
from matrix.run.store import Store
with Store(Path(sys.argv[1])) as store:
    print("cleaning", flush=True)
    clean_store(store, older_than_days=30, max_bytes=None, environments=True)
"""


def test_no_half_removed_environment_keeps_its_name(tmp_path):
    with Store(tmp_path / "store") as store:
        folder = store.places.environments / "compiler-3.8.0-py3.11-0123456789ab"
        for number in range(FILES):
            place = folder / "lib" / f"{number % 100}" / f"{number}.py"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(b"")
        (folder / folders.DESCRIPTION).write_text("{}")
    argv = [sys.executable, "-c", CLEAN, str(store.folder)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=env) as cleaning:
        cleaning.stdout.readline()
        while folder.is_dir() and sum(len(names) for _, _, names in os.walk(folder)) > FILES:
            time.sleep(0.001)
        os.kill(cleaning.pid, signal.SIGKILL)
    assert not folder.exists()
    with Store(tmp_path / "store") as store:
        clean(store)
        assert list(store.places.environments.iterdir()) == []
