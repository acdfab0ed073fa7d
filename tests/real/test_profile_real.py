"""The verb `profile` on real releases: what is known of a module by hand, other cuts of a model, other machines."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from command_line import good, matrix

pytestmark = pytest.mark.real
if os.uname().machine != "x86_64":
    pytest.skip("NOT TESTED: the locked emulators are programs of x86_64", allow_module_level=True)
LINEAR = {"3.13.0": 3_386, "3.8.0": 21_680, "2.9.0": 43_177}
"""Instructions of the dispatch of `linear` on x86-64-v3, counted by another plugin, by hand."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("profiled")


def profiled(store: Path, *words: str) -> dict[str, Any]:
    return json.loads(good("profile", *words, "--store", store, "--format", "json", timeout=1500).out)


def check_sums(profile: dict[str, Any]) -> None:
    parts = ("in_dispatches", "in_other_module_code", "in_runtime")
    assert sum(profile[part] for part in parts) == profile["instructions"]
    kernel = profile["in_dispatches"] + profile["in_other_module_code"]
    assert profile["in_dispatches"] >= 0.98 * kernel > 0
    assert sum(each["instructions"] for each in profile["dispatches"]) == profile["in_dispatches"]
    for each in profile["dispatches"]:
        assert sum(part["instructions"] for part in each["operations"]) == each["instructions"]


def test_the_dispatch_of_a_linear_layer_its_operation_and_its_instructions(store):
    (profile,) = profiled(store, "linear", "--compiler", "3.13.0")["profiles"]
    check_sums(profile)
    (dispatch,) = profile["dispatches"]
    assert dispatch["instructions"] == LINEAR["3.13.0"]
    assert dispatch["calls"] == 1
    assert dispatch["name"].endswith("dispatch_0_matmul_4x32x64_f32")
    assert (dispatch["operation"]["name"], dispatch["operation"]["result"]) == ("torch.aten.linear", "4x32xf32")
    again = good("profile", "linear", "--compiler", "3.13.0", "--store", store)
    assert again.jobs_run == 0
    assert "3,386" in again.out and "torch.aten.linear 4x32xf32" in again.out


def test_both_tools_time_the_dispatch_of_a_linear_layer(store):
    words = ("linear", "--times", "--compiler", "3.13.0")
    (times,) = profiled(store, *words)["times"]
    assert [(each["method"], each["calls"]) for each in times["methods"]] == [
        ("tracy 0.11.2", 40),
        ("iree-profile", 40),
    ]
    (dispatch,) = times["dispatches"]
    assert dispatch["name"].endswith("dispatch_0_matmul_4x32x64_f32")
    assert dispatch["instructions"] == LINEAR["3.13.0"]
    assert 0 < dispatch["nanoseconds"] <= dispatch["quartiles"][0] and dispatch["nanoseconds"] < 20_000
    again = good("profile", *words, "--store", store)
    assert again.jobs_run == 0
    assert "by tracy 0.11.2, 40 calls" in again.out and "iree-profile, 40 calls more" in again.out


def test_a_module_without_debug_information_has_a_message_and_no_number(store):
    stripped = "--flags=--iree-llvmcpu-debug-symbols=false"
    ran = matrix("profile", "linear", "--compiler", "3.13.0", stripped, "--store", store)
    assert ran.status != 0
    assert "read no debug information, expected the names of its dispatches" in ran.err
    assert ran.out == ""


@pytest.mark.full
@pytest.mark.parametrize(("words", "said"), [
    ("--strip-all", "read no debug information, expected the names of its dispatches"),
    ("--strip-debug", "read no debug information, expected the names of its dispatches"),
])  # fmt: skip
@pytest.mark.parametrize("times", [(), ("--times",)])
def test_a_module_that_its_linker_stripped_has_a_message_and_no_number(store, tmp_path, words, said, times):
    good("profile", "linear", "--compiler", "3.13.0", "--store", store, timeout=1500)
    (linker,) = store.glob("environments/compiler-3.13.0-*/lib/python*/site-packages/iree/compiler/_mlir_libs/iree-lld")
    wrapper = tmp_path / "lld"
    wrapper.write_text(f'#!/bin/sh\nexec "{linker}" "$@" {words}\n')
    wrapper.chmod(0o755)
    flag = f"--flags=--iree-llvmcpu-embedded-linker-path={wrapper}"
    ran = matrix("profile", "linear", *times, "--compiler", "3.13.0", flag, "--store", store)
    assert ran.status != 0 and ran.out == ""
    assert said in ran.err
    document = json.loads(
        matrix(
            "run", "profile", "--model", "linear", "--runtime", "3.13.0", flag, "--store", store, "--format", "json"
        ).out
    )
    assert [cell["outcome"] for cell in document["cells"]] == ["passed"]
    assert not document.get("profiles")


@pytest.mark.full  # test_count_real has the refusals of the first tier
def test_what_the_counter_refuses_has_its_reason_and_no_number(store):
    ran = matrix("profile", "linear", "--compiler", "3.13.0", "--flags", "threads-2", "--store", store)
    assert ran.status != 0
    assert "another thread ran during a call" in ran.err
    assert ran.out == ""


@pytest.mark.full
@pytest.mark.parametrize("target", ["x86_64", "aarch64"])
def test_releases_are_compared_by_operation_on_each_machine(store, target):
    words = [word for release in ("3.8.0", "3.13.0") for word in ("--compiler", release)]
    found = profiled(store, "linear", *words, "--target", target)
    for profile in found["profiles"]:
        check_sums(profile)
        if target == "x86_64":
            assert profile["in_dispatches"] == LINEAR[profile["axes"]["compiler"]]
    changes = found["operations"]
    before, after = found["profiles"]
    assert sum(each["change"] for each in changes) == after["instructions"] - before["instructions"]
    largest = next(each for each in changes if each["name"] != "the runtime")
    assert largest["name"] == "torch.aten.linear" and largest["change"] < 0
    text = good("profile", "linear", *words, "--target", target, "--store", store)
    assert "torch.aten.linear" in text.out and text.jobs_run == 0


@pytest.mark.full
def test_a_model_of_many_dispatches_is_named_to_98_percent(store):
    words = [word for release in ("3.8.0", "3.13.0") for word in ("--compiler", release)]
    found = profiled(store, "mobilenet_v3_small", *words)
    for profile in found["profiles"]:
        check_sums(profile)
        assert len(profile["dispatches"]) > 50
        assert sum(bool(each["operation"]) for each in profile["dispatches"]) > 0.95 * len(profile["dispatches"])
    names = {each["name"] for each in found["operations"]}
    assert "torch.aten.conv2d" in names
