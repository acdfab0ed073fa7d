"""The verb `tune` on real releases: what it tries, that it goes on, and that its table of flags is true."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from command_line import good, matrix
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
    assert matrix(*words).jobs_run == 0


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
