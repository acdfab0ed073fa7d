"""Times of real releases: alone, in rounds, with a noise floor; a compiler that is not deterministic; sets of flags."""

from __future__ import annotations

import csv
import io
import json
import shutil

import pytest
from command_line import DATA, good, started

pytestmark = pytest.mark.real

SPEC = """
format = 1
name = "timed"
question = "What does a release cost?"
stages = ["export", "compile", "run"{more}]

[axes]
model = "linear4"
compiler = "= runtime"
runtime = {releases}
flags = {flags}

[models.linear4]
mlir = "linear.mlir"
inputs = ["linear_input.npy"]
expected = ["linear_expected.npy"]

[repeat]
compile = 5

[table]
rows = "compiler"
columns = "flags"
"""
COMPILES = 5
"""3.10.0 writes one of six files, by chance: that five are the same is seen once in a thousand runs of this test."""

BENCHMARK = """
[benchmark]
rounds = 4
passes = 1
baseline = { compiler = "3.8.0", runtime = "3.8.0" }
"""


@pytest.fixture(scope="module")
def timed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("timed")
    for name in ("linear.mlir", "linear_input.npy", "linear_expected.npy"):
        shutil.copy(DATA / name, folder)
    spec = folder / "timed.toml"
    releases = ["3.8.0", "3.10.0"]
    spec.write_text(SPEC.format(more=', "benchmark"', releases=releases, flags=["default"]) + BENCHMARK)
    log = folder / "started"
    ran = good("run", spec, "--store", folder / "store", "--format", "json", IREE_MATRIX_START_LOG=str(log))
    return folder, spec, json.loads(ran.out), log


def test_rounds_are_measured_last_and_once(timed):
    folder, spec, report, log = timed
    keys = started(log)
    assert len(keys) == len(set(keys)) == COMPILES * 2 + 2 + 3 * 4
    again = good("run", spec, "--store", folder / "store", "--format", "json", IREE_MATRIX_START_LOG=str(log))
    assert again.jobs_run == 0
    assert json.loads(again.out)["times"] == report["times"]
    ((table),) = report["times"]
    assert [len(row["seconds_by_round"]) for row in table["rows"]] == [4, 4]
    assert all("--device=local-sync" in row["command"] for row in table["rows"])
    assert len(table["twin_seconds_by_round"]) == 4
    assert table["noise_floor"] >= 1.01
    for row in table["rows"]:
        assert 1e-8 < row["median_seconds"] < 1e-2
        assert row["vmfb_bytes"] > 1000
        assert row["mlir_bytes"] == (DATA / "linear.mlir").stat().st_size
        assert row["compile_cpu_seconds"] > 0


def test_neither_host_nor_paths_are_in_the_store(timed):
    folder, _, _, _ = timed
    times = [path for path in (folder / "store" / "blobs").glob("*/*") if b'"load_avg"' in path.read_bytes()]
    assert len(times) >= 12
    for path in times:
        assert b"host_name" not in path.read_bytes()
        assert b"executable" not in path.read_bytes()


def test_the_compiler_that_writes_other_bytes_each_time_is_named(timed):
    _, _, report, _ = timed
    found = {row["compiler"]: row["unequal"] for row in report["compiled_again"]}
    assert found["3.8.0"] == 0
    assert found["3.10.0"] > 0
    (differing,) = [row["differing"] for row in report["compiled_again"] if row["compiler"] == "3.10.0"]
    assert differing["VM bytecode"] > 0 and "dispatches" not in differing


def test_the_audit_is_of_the_real_modules(timed):
    _, _, report, _ = timed
    assert len(report["modules"]) == 2
    for module in report["modules"]:
        assert sum(module["parts"].values()) == module["bytes"]
        assert module["strings"]["file name"] > 0


def test_a_flag_that_a_release_does_not_know_is_its_signature(timed, tmp_path):
    folder, _, _, _ = timed
    spec = folder / "flags.toml"
    flags = ["default", "O2", "release", "host-cpu", "threads-2"]
    spec.write_text(
        SPEC.format(more="", releases=["3.2.0", "3.8.0"], flags=flags).replace("compile = 5", "compile = 1")
    )
    table = good("run", spec, "--store", folder / "store", "--format", "csv").out
    ends = {
        (row["compiler"], row["flags"]): row["signature"] or row["outcome"]
        for row in csv.DictReader(io.StringIO(table))
    }
    assert ends.pop(("3.2.0", "O2")) == "unknown-flag"
    assert set(ends.values()) == {"passed"}
