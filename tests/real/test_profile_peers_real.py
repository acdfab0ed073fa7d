"""`profile MODEL --peers` on real runtimes: a model of one operation, which is known by hand, and MobileNetV2."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from command_line import DATA, good

pytestmark = pytest.mark.real
RELEASES = ("--onnxruntime", "1.32.0", "--openvino", "2026.4.1", "--tvm", "0.27.0.post1", "--runtime", "3.13.0")


def check_sums(system: dict[str, Any]) -> None:
    operations = system["operations"]
    assert sum(each["seconds"] for each in operations) == pytest.approx(system["in_operations"])
    if system["in_operations"]:  # a counter of microseconds may have nothing of a linear layer
        assert sum(each["share"] for each in operations) == pytest.approx(1.0)
    for each in (*operations, system["call"]):
        assert 0 <= each["least"] <= each["low"] <= each["seconds"] <= each["high"]
    # operations are parts of a call, but for the rounding of counters; the least is free of other programs
    assert sum(each["least"] for each in operations) <= 1.2 * system["call"]["seconds"] + 2e-6 * len(operations)


def profiled(store: Path, *words: str) -> dict[str, Any]:
    said = good("profile", *words, "--peers", *RELEASES, "--store", store, "--format", "json", timeout=1500)
    document: dict[str, Any] = json.loads(said.out)
    return document


@pytest.mark.parametrize(("system", "kind"), [("onnxruntime", "Gemm"), ("openvino", "FullyConnected")])
def test_the_one_operation_of_a_linear_layer(tmp_path, system, kind):
    shutil.copytree(DATA / "onnx", tmp_path, dirs_exist_ok=True)
    given = ("--inputs", tmp_path / "input_0.npy", "--expected", tmp_path / "expected_0.npy")
    found = profiled(tmp_path / "store", tmp_path / "linear.onnx", *given, "--only", f"backend={system}")
    (only,) = found["systems"]
    assert [(each["kind"], each["shape"]) for each in only["operations"]] == [(kind, [4, 32])]
    check_sums(only)
    assert found["losses"] == [], "nothing of IREE was asked"


@pytest.mark.full
def test_the_operations_of_mobilenet_v2(tmp_path):
    told = good("profile", "mobilenet_v2", "--peers", *RELEASES, "--store", tmp_path, timeout=1500).out
    assert "where iree loses most to the best of onnxruntime, openvino and tvm" in told
    found = profiled(tmp_path, "mobilenet_v2")
    systems = {system["axes"]["backend"]: system for system in found["systems"]}
    assert systems.keys() == {"onnxruntime", "openvino", "tvm"}
    for system in systems.values():
        check_sums(system)
        convolutions = [each for each in system["operations"] if "conv" in each["kind"].lower()]
        assert len(convolutions) == 52
        assert sum(each["share"] for each in convolutions) > 0.5
    origins = [name for each in systems["openvino"]["operations"] for name in each["of"]]
    assert sum("batch_norm" in name for name in origins) == 52, "all are fused with their convolution"
    (losses,) = found["losses"]
    joined = [each for each in losses["joined"] if each["kind"] == "convolution"]
    assert 45 <= len(joined) <= 52 and all(len(each["partners"]) == 3 for each in joined)
    assert [each["loss"] for each in losses["joined"]] == sorted(each["loss"] for each in losses["joined"])[::-1]
