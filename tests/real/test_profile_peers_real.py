"""`profile MODEL --peers` on real runtimes: a model of one operation, which is known by hand, and MobileNetV2."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from command_line import DATA, good

pytestmark = pytest.mark.real
RELEASES = ("--onnxruntime", "1.32.0", "--openvino", "2026.4.1")


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
    return {system["axes"]["backend"]: system for system in document["systems"]}


def test_the_one_operation_of_a_linear_layer_with_each_system(tmp_path):
    shutil.copytree(DATA / "onnx", tmp_path, dirs_exist_ok=True)
    given = ("--inputs", tmp_path / "input_0.npy", "--expected", tmp_path / "expected_0.npy")
    found = profiled(tmp_path / "store", tmp_path / "linear.onnx", *given)
    assert found.keys() == {"onnxruntime", "openvino"}
    told = {name: [(each["kind"], each["shape"]) for each in one["operations"]] for name, one in found.items()}
    assert told == {"onnxruntime": [("Gemm", [4, 32])], "openvino": [("FullyConnected", [4, 32])]}
    for system in found.values():
        check_sums(system)


@pytest.mark.full
def test_the_operations_of_mobilenet_v2(tmp_path):
    again = good("profile", "mobilenet_v2", "--peers", *RELEASES, "--store", tmp_path, timeout=1500)
    assert "mobilenet_v2 with onnxruntime" in again.out and "mobilenet_v2 with openvino" in again.out
    found = profiled(tmp_path, "mobilenet_v2")
    for system in found.values():
        check_sums(system)
        convolutions = [each for each in system["operations"] if "Conv" in each["kind"]]
        assert len(convolutions) == 52
        assert sum(each["share"] for each in convolutions) > 0.8
    origins = [name for each in found["openvino"]["operations"] for name in each["of"]]
    assert sum("batch_norm" in name for name in origins) == 52, "all are fused with their convolution"
