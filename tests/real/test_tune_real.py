"""The verb `tune` on real releases: what it tries, that it goes on, and that its table of flags is true."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from command_line import begin, end, good, new_store, rows, started, wait_for
from pace import allowed
from packaging.version import Version

from matrix.answers.tuning.halving import shipped_flags

pytestmark = pytest.mark.real
if os.uname().machine != "x86_64":
    pytest.skip("NOT TESTED: the locked emulators are programs of x86_64", allow_module_level=True)
MATMUL = "--iree-opt-data-tiling=true"
"""A linear layer of 3.13 executes 45 % more instructions with it."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tuned")


def test_a_set_is_counted_compared_and_not_measured_twice(store):
    words = ("tune", "linear", "--compiler", "3.13.0", f"--flags={MATMUL}", "--store", store)
    document = json.loads(good(*words, "--format", "json", timeout=600).out)
    default, other = document["sets"]
    assert (default["words"], other["words"]) == ([], [MATMUL])
    assert default["right"] and other["right"]
    assert 1.2 < other["instructions"] / default["instructions"] < 2
    assert document["best"] is None and document["times"] == []
    again = good(*words)
    assert again.out.startswith("no set among 1 executes fewer instructions than the default")
    assert "0 jobs run" in again.out


@pytest.mark.full
def test_a_flag_that_the_compiler_does_not_know_is_not_usable(store):
    ran = good("tune", "linear", "--compiler", "3.13.0", "--flags=--iree-no-such-flag=1", "--store", store)
    assert "failed at compile" in ran.out


@pytest.mark.full
def test_a_gain_is_confirmed_by_times_and_a_small_budget_goes_on(store):
    flag = "--iree-opt-data-tiling=false"
    slow = "--iree-llvmcpu-enable-ukernels=none"
    words = ("tune", "linear", "--compiler", "3.3.0", f"--flags={flag}", f"--flags={slow}", "--store", store)
    document = json.loads(good(*words, "--format", "json", timeout=1500).out)
    assert len(document["sets"]) >= 3
    fewer = [each for each in document["sets"] if each["instructions"] < document["sets"][0]["instructions"]]
    assert bool(fewer) is bool(document["times"])
    for each in document["times"]:
        assert each["seconds"] > 0 and each["interval"][0] <= each["ratio"] <= each["interval"][1]
    assert "0 jobs run" in good(*words).out


@pytest.mark.full
@pytest.mark.parametrize("release", ["2.9.0", "3.3.0", "3.8.0", "3.11.0", "3.13.0"])
def test_the_table_says_truly_since_when_a_flag_exists(store, release):
    good("tune", "linear", "--compiler", release, f"--flags={MATMUL}", "--store", store, timeout=900)
    (compiler,) = (store / "environments").glob(f"compiler-{release}-*/bin/iree-compile")
    told = subprocess.run([compiler, "--help-hidden"], capture_output=True, text=True, timeout=120, check=True).stdout
    known = set(re.findall(r"^ *(--iree-[\w-]+)", told, re.MULTILINE))
    for flag in shipped_flags():
        names = {word.partition("=")[0] for word in flag.words}
        assert (names <= known) is (Version(flag.since) <= Version(release)), flag


SETS = ("--iree-opt-level=O2", MATMUL, "--iree-llvmcpu-enable-ukernels=none")


@pytest.mark.full
def test_ctrl_c_in_the_middle_and_the_same_command_goes_on(store, tmp_path):
    words = ["tune", "linear", "--compiler", "3.13.0", *(f"--flags={flag}" for flag in SETS), "--format", "json"]
    whole = json.loads(good(*words, "--store", store, timeout=1500).out)
    own, log = new_store(tmp_path / "store", store), tmp_path / "starts"
    process = begin(*words, "--store", own, IREE_MATRIX_START_LOG=str(log))
    wait_for(lambda: len(started(log)) >= 6, seconds=120)
    os.kill(process.pid, signal.SIGINT)
    ran = end(process)
    assert ran.status == 130 and ran.out == ""
    assert "the same command continues from there" in ran.err
    first = started(log)
    assert set(first) == rows(own).keys(), "what ran was finished and kept"
    again = good(*words, "--store", own, timeout=1500, IREE_MATRIX_START_LOG=str(log))
    assert len(started(log)) == len(set(started(log))), "nothing was measured twice"
    assert again.jobs_run == len(started(log)) - len(first) > 0
    document = json.loads(again.out)
    counted = [(each["words"], each["instructions"], each["right"]) for each in document["sets"]]
    assert counted == [(each["words"], each["instructions"], each["right"]) for each in whole["sets"]]
    assert "0 jobs run" in good(*words[:-2], "--store", own).out


@pytest.mark.full
def test_the_budget_is_held_and_the_same_command_goes_on(store):
    """A set of MobileNetV3 takes 10 s and more: its shipped sets are not all tried in a minute."""
    words = ["tune", "mobilenet_v3_small", "--compiler", "3.13.0", "--store", store, "--format", "json"]
    begun = time.monotonic()
    ran = good(*words, "--minutes", "1", timeout=1500)
    assert time.monotonic() - begun < allowed(60 + 60)
    document = json.loads(ran.out)
    assert document["left"] and document["times"] == []
    assert "the budget of 1 minutes is over" in ran.err
    more = json.loads(good(*words, "--minutes", "1", timeout=1500).out)
    known = {tuple(each["words"]): each["instructions"] for each in more["sets"]}
    assert all(known[tuple(each["words"])] == each["instructions"] for each in document["sets"])
    assert len(known) > len(document["sets"])
