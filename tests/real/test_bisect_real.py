"""`bisect` on real releases: the runtime since which a module of one compiler no longer loads."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from command_line import DATA, Ran, good, matrix

pytestmark = pytest.mark.real

GIVEN = (
    "--model",
    DATA / "linear.mlir",
    "--inputs",
    DATA / "linear_input.npy",
    "--expected",
    DATA / "linear_expected.npy",
)
OF_3_8 = (*GIVEN, "--axis", "runtime", "--compiler", "3.8.0")
THREE = ("--runtime", "3.8.0", "--runtime", "3.10.0", "--runtime", "3.13.0")


def jobs(ran: Ran) -> int:
    """Over all rounds of measuring, as the runs themselves say."""
    return sum(int(count) for count in re.findall(r"^(\d+) jobs run", ran.err, re.MULTILINE))


def test_the_first_runtime_that_refuses_a_module(store):
    ran = good("bisect", *OF_3_8, *THREE, "--good", "3.8.0", "--store", store)
    assert ran.out.startswith("runtime 3.10.0 is the first that fails\n")
    assert "3.8.0: passed" in ran.out and "3.10.0: failed at run: vm-bytecode-version" in ran.out
    assert jobs(ran) == 4 and "4 jobs run; the whole axis is at most 4" in ran.out
    (line,) = re.findall(r"python -m matrix (why .*)", ran.out)
    told = good(*shlex.split(line)).out
    assert "outcome    failed at run: vm-bytecode-version" in told and "runtime=3.10.0" in told
    again = good("bisect", *OF_3_8, *THREE, "--good", "3.8.0", "--store", store)
    assert jobs(again) == 0
    assert again.out.splitlines()[0] == ran.out.splitlines()[0]


def test_an_end_that_is_not_what_it_was_given_as(store):
    ran = matrix("bisect", *OF_3_8, *THREE, "--good", "3.13.0", "--bad", "3.8.0", "--store", store)
    assert (ran.status, ran.out) == (1, "")
    assert "--good 3.13.0: runtime 3.13.0 (failed at run: vm-bytecode-version), so it fails" in ran.err


def test_the_first_compiler_that_changes_a_figure(store):
    two = ("--compiler", "3.7.0", "--compiler", "3.8.0", "--runtime", "3.8.0")
    ran = good("bisect", *GIVEN, *two, "--axis", "compiler", "--by", "dispatches", "--store", store)
    assert ran.out.startswith("compiler 3.8.0 is the first that changes dispatches 3 to dispatches 1\n")


@pytest.mark.full
def test_fifteen_releases_take_fewer_jobs_than_measuring_them(store):
    ran = good("bisect", *OF_3_8, "--store", store, "--good", "3.8.0")
    assert ran.out.startswith("runtime 3.10.0 is the first that fails\n")
    assert jobs(ran) <= 6
    whole = matrix("bisect", *GIVEN, "--axis", "compiler", "--store", store)  # each on the runtime of its release
    assert whole.status == 1 and "2.9.0 (passed) and 3.13.0 (passed) end alike" in whole.err


def test_nothing_is_measured_for_words_that_make_no_line(tmp_path: Path):
    ran = matrix("bisect", *GIVEN, "--axis", "target", "--store", tmp_path / "store")
    assert ran.status == 2 and "names have no order" in ran.err
    assert not (tmp_path / "store").exists()
