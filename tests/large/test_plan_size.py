"""A matrix of 100,000 cells is planned in a moment and in little memory.

Seconds are of CPU time, the least of three tries: one thread does it all, and what else a machine does on the same
core makes it slower and never faster.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS, MEBIBYTES, TRIES = 3.0, 400, 3
HEAD = """
format = 1
name = "large"
question = "How long does planning take?"
[axes]
torch = "2.9.1"
turbine = "3.9.0"
compiler = "latest-minors >=2.9,<=3.13"
runtime = "latest-minors >=2.9,<=3.13"
"""
MEASURED = """
import json, re, sys, time
from pathlib import Path
from matrix.schedule import Schedule
from matrix.asked import Question
from matrix.workplace import plan_of
plan = plan_of(Question(preset=sys.argv[1]))
schedule = Schedule(plan)
assert schedule.take() is not None and len(plan.environments()) == 31
seconds = time.process_time()
status = Path("/proc/self/status").read_text()  # ru_maxrss would be the parent's too
peak = int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) / 1024
print(json.dumps([len(plan.cells), len(plan.nodes), seconds, peak]))
"""


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """15 compilers x 15 runtimes x 20 sets of compile flags x 23 of run flags."""
    rows = [f'[axis.opt.v{number}]\ncompile = ["--opt={number}"]' for number in range(20)]
    rows += [f'[axis.level.v{number}]\nrun = ["--level={number}"]' for number in range(23)]
    path = tmp_path / "large.toml"
    path.write_text(HEAD + "\n".join(rows))
    return path


def children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(*words: str) -> tuple[str, float]:
    begun = children()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, children() - begun


def least(measured: Callable[[], float]) -> float:
    """Of some tries, as many as it takes to stay below the limit."""
    seconds = measured()
    for _ in range(TRIES - 1):
        if seconds >= SECONDS:
            seconds = min(seconds, measured())
    return seconds


def test_100_000_cells_are_planned_in_3_s_and_400_mib(large):
    def measured() -> float:
        cells, nodes, seconds, peak = json.loads(run("-c", MEASURED, str(large))[0])
        assert (cells, nodes) == (103_500, 1 + 300 + 103_500)
        assert peak < MEBIBYTES
        return seconds

    assert least(measured) < SECONDS


def test_the_command_says_so_in_3_s_and_makes_no_store(large, tmp_path):
    def measured() -> float:
        text, seconds = run("-m", "matrix", "plan", str(large), "--store", str(tmp_path / "store"))
        assert "103500" in text.replace(",", "")
        return seconds

    assert least(measured) < SECONDS
    assert not (tmp_path / "store").exists()
