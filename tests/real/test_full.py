"""The second tier (`nox -s tests_full`): what a newcomer does, with nothing cached, and the bench."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from containers import daemon_or_skip

pytestmark = [pytest.mark.real, pytest.mark.full]

ROOT = Path(__file__).parents[2]


def test_a_fresh_clone_with_empty_caches_prints_the_square_in_150_s(tmp_path):
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    own = ("UV_CACHE_DIR", "PIP_CACHE_DIR", "VIRTUAL_ENV", "PYTHONPATH")
    env = {name: value for name, value in os.environ.items() if name not in own}
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "nox", "-s", "matrix"],
        cwd=clone,
        env=env | {"XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - begun
    assert done.returncode == 0, done.stderr
    assert "225 cells: " in done.stdout + done.stderr
    assert "modules of compilers" in done.stdout
    assert seconds < 150, f"{seconds:.0f} s"


def test_the_bench_holds():
    done = subprocess.run(
        [sys.executable, "tests/bench/bench.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    print(done.stdout)
    assert re.search(r"^held$", done.stdout, re.MULTILINE), done.stdout + done.stderr
    daemon_or_skip().close()
    assert "225 run jobs in both engines" in done.stdout
