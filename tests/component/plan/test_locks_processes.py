"""Reading locks imports no client of an index."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SHIPPED = Path(__file__).parents[3] / "images" / "locks"


def test_reading_locks_starts_no_client():
    code = (
        "import sys, pathlib, matrix.plan.locks as l; "
        f"l.load_locks(pathlib.Path({str(SHIPPED)!r})); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "matrix.plan.locks" in loaded
    assert not loaded & {"uv", "concurrent.futures", "importlib.metadata", "matrix.environments.index"}
