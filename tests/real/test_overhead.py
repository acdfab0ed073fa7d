"""What a container costs a run job, with few jobs; `nox -s bench` measures all of them."""

from __future__ import annotations

import subprocess
import sys

import pytest
from command_line import ROOT
from containers import daemon_or_skip

pytestmark = pytest.mark.real
TRIES = 3
"""A busy machine gives a single measurement of 18 jobs another median by 10 ms and more."""


def test_a_container_costs_a_run_job_at_most_25_ms(store):
    daemon_or_skip().close()
    argv = [sys.executable, "tests/bench/overhead.py", "--store", str(store), "--releases", "3.8.0,3.10.0,3.13.0"]
    told = []
    for _ in range(TRIES):
        done = subprocess.run(
            [*argv, "--rounds", "2", "--samples", "3"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        told.append(done.stdout + done.stderr)
        if "NOT held" not in done.stdout:
            break
    assert "18 run jobs in both engines" in told[-1], told
    assert told[-1].endswith("\nheld\n"), told


def test_without_a_daemon_the_bench_says_loudly_that_it_was_not_run(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    argv = [sys.executable, "tests/bench/overhead.py", "--store", str(tmp_path / "store")]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("NOT RUN: what a container costs a job: no container daemon answers")
