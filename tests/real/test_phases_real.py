"""The CPU time of compiles by phase on real releases: it adds up, the kept module stays, what cannot be measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import DATA, good, matrix

from matrix.artifacts.compiler.phases import LAST_PHASE

pytestmark = pytest.mark.real
LINEAR = DATA / "linear.mlir"
MODULE = ("input", "abi", "global-optimization", "executable-targets", "hal", "vm", LAST_PHASE)
"""Phases that all releases have."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("phased")


def phases(store: Path, *words: object, model: object = LINEAR) -> dict[str, Any]:
    ran = good("phases", model, *words, "--store", store, "--format", "json", timeout=1500)
    return json.loads(ran.out)


def test_the_phases_of_a_compile_add_up_and_the_kept_module_stays(store):
    found = phases(store, "--compiler", "3.13.0")
    (compiled,) = found["compiles"]
    assert {*MODULE} <= compiled["phases"].keys()
    assert len(compiled["phases"]) == 13
    for number, whole in enumerate(compiled["cpu_seconds"]):
        assert sum(each[number] for each in compiled["phases"].values()) == pytest.approx(whole, abs=1e-3)
    alone = good("run", "phases", "--model", LINEAR, "--compiler", "3.13.0", "--store", store, "--format", "json")
    assert alone.jobs_run == 0
    run = json.loads(alone.out)
    (kept,) = (job for job in run["jobs"].values() if job["stage"] == "compile")
    phased = [job for job in run["jobs"].values() if job["stage"] == "phases"]
    assert [*kept["artifacts"]] == ["module.vmfb", "statistics.csv"]
    assert not any("phases" in word for word in kept["command"])
    assert len(phased) == len(compiled["cpu_seconds"])
    assert all([*turn["artifacts"]] == ["phases.json"] for turn in phased)


def test_an_error_in_a_phase_has_the_phases_until_there(store):
    flags = "--flags=--iree-llvmcpu-embedded-linker-path=/no/such/linker"
    ran = matrix("phases", LINEAR, "--compiler", "3.13.0", flags, "--store", store)
    assert ran.status == 0, ran.err
    assert "the compiler ended behind the phase executable-targets: failed" in ran.out
    assert "global-optimization" in ran.out


@pytest.mark.full
def test_a_compiler_that_does_not_know_the_flags_is_untested_with_the_reason(store):
    """The flag is of May 2023."""
    ran = matrix("phases", "linear", "--compiler", "20230209.425", "--store", store, timeout=1500)
    assert ran.status != 0
    assert "untested: this compiler does not know --dump-compilation-phases-to" in ran.err
    assert ran.out == ""


@pytest.mark.full
def test_tools_of_your_own_have_phases_too(store):
    phases(store, "--compiler", "3.13.0")
    folder = next(store.glob("environments/compiler-3.13.0-*/lib/python*/site-packages"))
    (compiled,) = phases(store, "--compiler", folder)["compiles"]
    assert {*MODULE} <= compiled["phases"].keys()


@pytest.mark.full
def test_all_releases_know_the_flags_and_their_passes_add_up(store):
    for release in ("2.9.0", "3.3.0", "3.8.0", "3.11.0", "3.13.0"):
        ran = good(
            "phases", LINEAR, "--compiler", release, "--passes", "--store", store, "--format", "json", timeout=1500
        )
        (compiled,) = json.loads(ran.out)["compiles"]
        assert {*MODULE} <= compiled["phases"].keys(), release
        run = json.loads(
            good("run", "passes", "--model", LINEAR, "--compiler", release, "--store", store, "--format", "json").out
        )
        turns = [job["measurements"] for job in run["jobs"].values() if job["stage"] == "pass-times"]
        assert turns
        for measured in turns:
            for number, (cpu, _) in enumerate(measured["passed_seconds"]):
                told = sum(each[number] for each in measured["pass_seconds"].values())
                assert 0.6 * cpu < told < 1.1 * cpu, release


@pytest.mark.full
def test_two_releases_are_compared_by_phase_and_by_pass(store):
    """A compile of `linear` by 2.9 takes twice the CPU time: 1.3 s and 0.6 s."""
    sides = ("--compiler", "2.9.0", "--compiler", "3.13.0")
    ran = good("phases", "linear", *sides, "--passes", "--store", store, timeout=1500)
    assert "before: compiler 2.9.0: " in ran.out and "after: compiler 3.13.0: " in ran.out
    assert "pass, on one thread" in ran.out and "SerializeTargetExecutables" in ran.out
    document = json.loads(good("phases", "linear", *sides, "--passes", "--store", store, "--format", "json").out)
    before, after = (sum(each["cpu_seconds"]) for each in document["compiles"])
    assert before > 1.25 * after


@pytest.mark.full
def test_the_first_release_whose_phase_is_another(store):
    words = ("--model", LINEAR, "--axis", "compiler", "--compiler", ">=2.9", "--good", "3.13.0")
    ran = good("bisect", *words, "--by", "compile-cpu", "--store", store, timeout=1500)
    assert "CPU time of a compile" in ran.out
