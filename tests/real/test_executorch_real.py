"""The backend ExecuTorch on a real release: what it converts is right on it, on one thread, and timed. It installs
torch, so it is of the second tier."""

from __future__ import annotations

import json

import pytest
from command_line import good
from rounds import check_times_of_one_thread

pytestmark = [pytest.mark.real, pytest.mark.full]

CONVERTED = """
format = 1
name = "converted"
question = "Is what this release converts right on it?"
stages = ["to-pte", "executorch-run", "executorch-benchmark"]
[axes]
backend = "executorch"
model = "linear"
exir = "1.5.1"
executorch = "1.5.1"
[benchmark]
rounds = 2
passes = 1
baseline = { executorch = "1.5.1" }
"""


def test_what_a_release_converts_is_right_on_it_and_timed_on_one_thread(tmp_path):
    spec = tmp_path / "converted.toml"
    spec.write_text(CONVERTED)
    run = json.loads(good("run", spec, "--store", tmp_path / "store", "--format", "json", timeout=1500).out)
    (cell,) = run["cells"]
    assert cell["outcome"] == "passed", cell
    (made,) = (job for job in run["jobs"].values() if job["stage"] == "to-pte")
    assert made["artifacts"]["converted.pte"]["bytes"] > 32 * 64 * 4, "the weights are in it"
    check_times_of_one_thread(run, rows=1, rounds=2)
