"""The cache of wheels, while another process installs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from matrix.environments.wheel_cache import WheelCache


def written(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))
    return path


def test_nothing_is_pruned_while_an_install_runs(tmp_path):
    cache = WheelCache(tmp_path / "wheels")
    written(cache.folder / "archive-v0" / "half" / "lib.so", 10)
    code = (
        "import sys, pathlib; from matrix.environments.wheel_cache import WheelCache as W; "
        "W(pathlib.Path(sys.argv[1])).prune()"
    )
    with cache.in_use():
        other = subprocess.Popen([sys.executable, "-c", code, str(cache.folder)])
        with contextlib.suppress(subprocess.TimeoutExpired):
            other.wait(timeout=1.0)
        assert other.poll() is None
        assert (cache.folder / "archive-v0" / "half").exists()
    assert other.wait(timeout=30) == 0
    assert not (cache.folder / "archive-v0" / "half").exists()
