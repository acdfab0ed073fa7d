"""The backend ONNX Runtime on real releases: an .onnx that one loads and another refuses, its times, a model converted.

What installs torch is of the second tier.
"""

from __future__ import annotations

import json
import shutil

import pytest
from command_line import DATA, good

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
