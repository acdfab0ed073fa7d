"""The backend ONNX Runtime on real releases: an .onnx that one loads and another refuses, its times, alone and beside
IREE's, a model converted.

What installs torch is of the second tier.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3

import pytest
from command_line import DATA, good, started

from matrix.core.keys import sha256

pytestmark = pytest.mark.real

GIVEN = """
format = 1
name = "given"
question = "Which of these releases load this model?"
stages = ["to-onnx", "onnx-run", "onnx-benchmark"]
[axes]
backend = "onnxruntime"
model = "given"
onnxruntime = ["1.17.3", "1.32.0"]
[models.given]
onnx = "linear.onnx"
inputs = ["input_0.npy"]
expected = ["expected_0.npy"]
[benchmark]
rounds = 2
passes = 1
baseline = { onnxruntime = "1.32.0" }
"""
BESIDE = """
format = 1
name = "beside"
question = "How fast is it with another system?"
stages = ["export", "compile", "run", "benchmark", "to-onnx", "onnx-run", "onnx-benchmark"]
[axes]
backend = ["iree", "onnxruntime"]
model = "given"
compiler = "3.13.0"
runtime = "3.13.0"
onnxruntime = "1.32.0"
[models.given]
onnx = "linear.onnx"
inputs = ["input_0.npy"]
expected = ["expected_0.npy"]
[benchmark]
rounds = 2
passes = 1
baseline = { backend = "iree" }
[[table]]
rows = "model"
columns = "runtime"
where = { backend = "iree" }
[[table]]
rows = "model"
columns = "onnxruntime"
where = { backend = "onnxruntime" }
"""
BOTH = """
format = 1
name = "both"
question = "Do both give the numbers of torch?"
[axes]
backend = ["iree", "onnxruntime"]
model = "linear"
torch = "2.9.1"
turbine = "3.9.0"
compiler = "3.13.0"
runtime = "3.13.0"
onnxruntime = "1.32.0"
"""


def test_a_model_is_loaded_by_one_release_and_refused_by_another(tmp_path):
    shutil.copytree(DATA / "onnx", tmp_path, dirs_exist_ok=True)
    spec = tmp_path / "given.toml"
    spec.write_text(GIVEN)
    run = json.loads(good("run", spec, "--store", tmp_path / "store", "--format", "json").out)
    told = {cell["axes"]["onnxruntime"]: (cell["outcome"], cell["signature"] or "") for cell in run["cells"]}
    assert told == {"1.17.3": ("failed", "onnx-ir-version"), "1.32.0": ("passed", "")}
    (table,) = run["times"]
    timed = next(row for row in table["rows"] if row["axes"]["onnxruntime"] == "1.32.0")
    assert len(timed["seconds_by_round"]) == 2
    why = good("why", "--preset", spec, "--store", tmp_path / "store", "onnxruntime=1.17.3").out
    assert "the model has ONNX IR version 10, and this runtime reads versions up to 9" in why
    assert "onnxruntime 1.17.3 -> 1.32.0" in why


def test_both_systems_are_timed_in_the_same_rounds_on_one_file(tmp_path):
    shutil.copytree(DATA / "onnx", tmp_path, dirs_exist_ok=True)
    spec, log = tmp_path / "beside.toml", tmp_path / "started"
    spec.write_text(BESIDE)
    run = good("run", spec, "--store", tmp_path / "store", "--format", "json", IREE_MATRIX_START_LOG=str(log))
    report = json.loads(run.out)
    assert [cell["outcome"] for cell in report["cells"]] == ["passed", "passed"]
    ((table),) = report["times"]
    iree, onnx = table["rows"]
    assert iree["baseline"] and len(iree["seconds_by_round"]) == len(onnx["seconds_by_round"]) == 2
    assert onnx["ratio"] == pytest.approx(onnx["median_seconds"] / iree["median_seconds"], rel=0.5)
    with contextlib.closing(sqlite3.connect(tmp_path / "store" / "store.sqlite")) as database:
        stage_of = dict(database.execute("SELECT key, stage FROM results"))
    timed = [stage_of[key] for key in started(log) if stage_of[key].endswith("benchmark")]
    assert len(timed) == 6 and timed[:2] == ["benchmark", "onnx-benchmark"], (
        "the second system does not wait for the first one's rounds"
    )
    shown = good("show", spec, "--store", tmp_path / "store").out
    (module,) = (
        file["bytes"] for job in report["jobs"].values() for name, file in job["artifacts"].items() if "vmfb" in name
    )
    assert f"{module / 1e3:.1f} kB" in shown
    sizes = [each["package_bytes"] for each in report["environments"].values()]
    assert {name for each in sizes for name in each} >= {"iree-base-runtime", "onnxruntime"}
    assert all(size > 1_000_000 for each in sizes for size in each.values())
    assert "ONNX Runtime 1.32.0 is faster than IREE 3.13.0 on" in shown


@pytest.mark.full
def test_both_backends_are_compared_with_the_same_reference(tmp_path):
    spec = tmp_path / "both.toml"
    spec.write_text(BOTH)
    run = json.loads(good("run", spec, "--store", tmp_path / "store", "--format", "json").out)
    assert {cell["axes"]["backend"]: cell["outcome"] for cell in run["cells"]} == {
        "iree": "passed",
        "onnxruntime": "passed",
    }
    front = [job for job in run["jobs"].values() if job["stage"] in ("export", "to-onnx")]
    for name in ("input_0.npy", "expected_0.npy"):
        assert len({job["artifacts"][name]["sha256"] for job in front}) == 1
    (converted,) = (job for job in front if job["stage"] == "to-onnx")
    assert converted["artifacts"]["converted.onnx"]["sha256"] == sha256(DATA / "onnx" / "linear.onnx")
