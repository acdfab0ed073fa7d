"""The backend OpenVINO on real releases: an .onnx on the oldest and the newest, with times; a model that one converts
and another one runs. What installs torch is of the second tier."""

from __future__ import annotations

import json
import shutil

import pytest
from command_line import DATA, good

pytestmark = pytest.mark.real

GIVEN = """
format = 1
name = "given"
question = "Which of these releases load this model?"
stages = ["to-ir", "openvino-run", "openvino-benchmark"]
[axes]
backend = "openvino"
model = "given"
openvino = ["2023.1.0", "2026.4.1"]
[models.given]
onnx = "linear.onnx"
inputs = ["input_0.npy"]
expected = ["expected_0.npy"]
[benchmark]
rounds = 2
passes = 1
baseline = { openvino = "2026.4.1" }
"""
CONVERTED = """
format = 1
name = "converted"
question = "Which of these releases load what the newest one converted?"
[axes]
backend = "openvino"
model = "linear"
ovc = "2026.4.1"
openvino = ["2023.1.0", "2026.4.1"]
"""


def test_an_onnx_is_right_and_timed_on_the_oldest_and_the_newest(tmp_path):
    shutil.copytree(DATA / "onnx", tmp_path, dirs_exist_ok=True)
    spec = tmp_path / "given.toml"
    spec.write_text(GIVEN)
    run = json.loads(good("run", spec, "--store", tmp_path / "store", "--format", "json").out)
    told = {cell["axes"]["openvino"]: cell["outcome"] for cell in run["cells"]}
    assert told == {"2023.1.0": "passed", "2026.4.1": "passed"}
    (table,) = run["times"]
    assert [len(row["seconds_by_round"]) for row in table["rows"]] == [2, 2]


@pytest.mark.full
def test_what_the_newest_converts_is_two_files_and_right_on_the_oldest(tmp_path):
    spec = tmp_path / "converted.toml"
    spec.write_text(CONVERTED)
    run = json.loads(good("run", spec, "--store", tmp_path / "store", "--format", "json").out)
    assert [cell["outcome"] for cell in run["cells"]] == ["passed", "passed"]
    ran = [job for job in run["jobs"].values() if job["stage"] == "openvino-run"]
    assert all({"converted.xml", "converted.bin", "input_0.npy"} <= job["inputs"].keys() for job in ran)
    (made,) = (job for job in run["jobs"].values() if job["stage"] == "to-ir")
    assert made["artifacts"]["converted.bin"]["bytes"] > 0
