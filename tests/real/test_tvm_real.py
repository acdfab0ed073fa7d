"""The backend TVM on a real release: what it compiles is right on it, on one thread, timed and profiled. It installs
torch, so it is of the second tier."""

from __future__ import annotations

import json

import pytest
from command_line import good
from rounds import check_times_of_one_thread

pytestmark = [pytest.mark.real, pytest.mark.full]

COMPILED = """
format = 1
name = "compiled"
question = "Is what this release compiles right on it?"
stages = ["to-so", "so-run", "so-benchmark"]
[axes]
backend = "tvm"
model = ["linear", "mobilenet_v2"]
tvm_compiler = "= tvm"
tvm = "0.27.0.post1"
[benchmark]
rounds = 2
passes = 1
baseline = { tvm = "0.27.0.post1" }
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """What is compiled once is run, timed and profiled."""
    return tmp_path_factory.mktemp("store")


def test_what_a_release_compiles_is_right_on_it_and_timed_on_one_thread(tmp_path, store):
    spec = tmp_path / "compiled.toml"
    spec.write_text(COMPILED)
    run = json.loads(good("run", spec, "--store", store, "--format", "json", timeout=1500).out)
    assert {cell["axes"]["model"]: cell["outcome"] for cell in run["cells"]} == {
        "linear": "passed",
        "mobilenet_v2": "passed",
    }
    made = [job for job in run["jobs"].values() if job["stage"] == "to-so"]
    sizes = sorted(job["artifacts"]["converted.so"]["bytes"] for job in made)
    assert 32 * 64 * 4 < sizes[0] < 1_000_000 and 3_400_000 * 4 < sizes[1] < 30_000_000, "the weights are in them"
    check_times_of_one_thread(run, rows=2, rounds=2)


def test_the_kernels_of_mobilenet_v2(store):
    words = ("--only", "backend=tvm", "--tvm", "0.27.0.post1", "--store", store, "--format", "json")
    document = json.loads(good("profile", "mobilenet_v2", "--peers", *words, timeout=1500).out)
    (system,) = document["systems"]
    convolutions = [each for each in system["operations"] if "conv2d" in each["kind"]]
    assert len(convolutions) == 52
    assert convolutions[0]["shape"] == [1, 32, 112, 112]
    assert sum(each["least"] for each in system["operations"]) <= 1.2 * system["call"]["seconds"]
