"""A model written by the front ends of other systems, imported and compiled by one release. It installs torch several
times over, so it is of the second tier."""

from __future__ import annotations

import json

import pytest
from command_line import good

pytestmark = [pytest.mark.real, pytest.mark.full]

CROSS = """
format = 1
name = "cross"
question = "Is what each front end writes right on this release?"
[axes]
model = "linear"
front_end = "all"
torch = "2.9.1"
turbine = "3.9.0"
litert_torch = "0.9.0"
compiler = "3.13.0"
runtime = "= compiler"
"""


def test_what_each_front_end_writes_is_right_on_a_release_that_takes_it(tmp_path):
    spec = tmp_path / "cross.toml"
    spec.write_text(CROSS)
    run = json.loads(good("run", spec, "--store", tmp_path / "store", "--format", "json", timeout=1500).out)
    assert {cell["axes"]["front_end"]: cell["outcome"] for cell in run["cells"]} == dict.fromkeys(
        ("turbine", "onnx-dynamo", "onnx-torchscript", "litert"), "passed"
    )
    exported = [
        job["artifacts"]["model.onnx"]["sha256"] for job in run["jobs"].values() if job["stage"] == "onnx-export"
    ]
    assert len(set(exported)) == 2, "the two ways of torch.onnx write other files"
