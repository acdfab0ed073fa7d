"""The backend torch on a real release: what it exports and what inductor compiles is right on it, on one thread, and
timed. It installs torch, so it is of the second tier."""

from __future__ import annotations

import json

import pytest
from command_line import good
from rounds import check_times_of_one_thread

pytestmark = [pytest.mark.real, pytest.mark.full]

EXPORTED = """
format = 1
name = "exported"
question = "Is what this release exports right on it?"
stages = ["to-pt2", "pt2-run", "pt2-benchmark"]
[axes]
backend = "torch"
model = "linear"
torch = "2.9.1"
torch_mode = ["eager", "inductor"]
torch_runtime = "= torch"
[benchmark]
rounds = 2
passes = 1
baseline = { torch_mode = "eager" }
"""


def test_what_a_release_makes_of_a_model_is_right_on_it_and_timed_on_one_thread(tmp_path):
    spec = tmp_path / "exported.toml"
    spec.write_text(EXPORTED)
    run = json.loads(good("run", spec, "--store", tmp_path / "store", "--format", "json", timeout=1500).out)
    assert {cell["axes"]["torch_mode"]: cell["outcome"] for cell in run["cells"]} == {
        "eager": "passed",
        "inductor": "passed",
    }
    made = [job for job in run["jobs"].values() if job["stage"] == "to-pt2"]
    sizes = sorted(job["artifacts"]["converted.pt2"]["bytes"] for job in made)
    assert 32 * 64 * 4 < sizes[0] < 100_000 < sizes[1], "the weights are in both, and code in one"
    check_times_of_one_thread(run, rows=2, rounds=2)
