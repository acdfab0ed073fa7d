"""Times of dispatches on real releases: by Tracy, by the runtime itself, beside the counts, and what has none.

The first tier has one of them in `test_profile_real.py`.
"""

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
ALL = ("2.9.0", *(f"3.{minor}.0" for minor in range(14)))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("timed")


def timed(store: Path, *words: str) -> dict[str, Any]:
    return json.loads(good("profile", *words, "--times", "--store", store, "--format", "json", timeout=3000).out)


def check_times(times: dict[str, Any], *, of: int) -> None:
    """`of` is the number of tools."""
    assert [each["calls"] for each in times["methods"]] == [40] * of
    rows = times["dispatches"]
    assert sum(each["nanoseconds"] or 0 for each in rows) == times["nanoseconds"] > 0
    for each in rows:
        assert 0 < each["nanoseconds"] <= each["quartiles"][0] <= each["quartiles"][2]
        assert each["instructions"] > 0


@pytest.mark.full
def test_what_cannot_be_timed_says_why_and_has_no_number(store):
    ran = matrix("profile", "linear", "--times", "--compiler", "3.13.0", "--target", "aarch64", "--store", store)
    assert ran.status != 0 and ran.out == ""
    assert "an emulator's times are not the machine's" in ran.err
    stripped = "--flags=--iree-llvmcpu-debug-symbols=false"
    ran = matrix("profile", "linear", "--times", "--compiler", "3.13.0", stripped, "--store", store)
    assert ran.status != 0 and ran.out == ""
    assert "read no debug information, expected the names of its dispatches" in ran.err


@pytest.mark.full
def test_every_release_is_timed_by_tracy_and_the_newest_by_themselves(store):
    words = [word for release in ALL for word in ("--runtime", release)]
    good("run", "profile_timed", *words, "--store", store, timeout=3000)
    for release in ALL:
        (times,) = timed(store, "linear", "--compiler", release)["times"]
        check_times(times, of=2 if release in ("3.12.0", "3.13.0") else 1)
        older = release in ("2.9.0", "3.0.0", "3.1.0")
        assert times["methods"][0]["method"] == ("tracy 0.11.0" if older else "tracy 0.11.2")


@pytest.mark.full
def test_two_releases_are_compared_by_operation(store):
    words = [word for release in ("3.8.0", "3.13.0") for word in ("--compiler", release)]
    found = timed(store, "linear", *words)
    before, after = found["times"]
    change = sum(each["change"] for each in found["operation_times"])
    assert change == pytest.approx(after["nanoseconds"] - before["nanoseconds"])
    assert found["operation_times"][0]["operation"] == "torch.aten.linear"
    text = good("profile", "linear", "--times", *words, "--store", store)
    assert "torch.aten.linear" in text.out and text.jobs_run == 0


@pytest.mark.full
def test_both_tools_agree_on_a_model_of_many_dispatches_and_with_the_counts(store):
    (times,) = timed(store, "mobilenet_v3_small", "--compiler", "3.13.0")["times"]
    check_times(times, of=2)
    low, middle, high = times["agreement"]["quartiles"]
    assert 0.9 < low <= middle <= high < 1.1
    assert times["rank_correlation"] > 0.8
    assert len({*times["top_by_time"]} & {*times["top_by_instructions"]}) >= 2
