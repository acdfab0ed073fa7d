"""The verb `blame` on real releases: right modules, defects that were seeded, and the reproducer that it writes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy
import pytest
from command_line import matrix, new_store
from seeded_defects import defective_linker

pytestmark = pytest.mark.real
if os.uname().machine != "x86_64":
    pytest.skip("NOT TESTED: the seeded defects change code of x86_64", allow_module_level=True)

TWO_LAYERS = """func.func @main(%x: tensor<4x64xf32>, %w: tensor<64x32xf32>, %v: tensor<32x16xf32>)
    -> tensor<4x16xf32> {
  %zero = arith.constant 0.0 : f32
  %one = arith.constant dense<3.125> : tensor<4x32xf32>
  %two = arith.constant dense<7.25> : tensor<4x16xf32>
  %e = tensor.empty() : tensor<4x32xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<4x32xf32>) -> tensor<4x32xf32>
  %m = linalg.matmul ins(%x, %w : tensor<4x64xf32>, tensor<64x32xf32>) outs(%f : tensor<4x32xf32>) -> tensor<4x32xf32>
  %a = arith.addf %m, %one : tensor<4x32xf32>
  %g = tensor.empty() : tensor<4x16xf32>
  %h = linalg.fill ins(%zero : f32) outs(%g : tensor<4x16xf32>) -> tensor<4x16xf32>
  %n = linalg.matmul ins(%a, %v : tensor<4x32xf32>, tensor<32x16xf32>) outs(%h : tensor<4x16xf32>) -> tensor<4x16xf32>
  %b = arith.addf %n, %two : tensor<4x16xf32>
  return %b : tensor<4x16xf32>
}
"""


@pytest.fixture
def layers(tmp_path: Path) -> list[object]:
    """Two layers with a constant each, and their outputs as numpy computes them in double."""
    random = numpy.random.default_rng(7)
    arrays = [random.standard_normal(shape).astype(numpy.float32) for shape in ((4, 64), (64, 32), (32, 16))]
    x, w, v = (array.astype(numpy.float64) for array in arrays)
    (tmp_path / "layers.mlir").write_text(TWO_LAYERS, encoding="utf-8")
    numpy.save(tmp_path / "expected.npy", ((x @ w + 3.125) @ v + 7.25).astype(numpy.float32))
    words: list[object] = [f"model={tmp_path / 'layers.mlir'}", "--expected", tmp_path / "expected.npy"]
    for number, array in enumerate(arrays):
        numpy.save(tmp_path / f"{number}.npy", array)
        words += ["--inputs", tmp_path / f"{number}.npy"]
    return words


def blamed(*words: object, timeout: float = 300.0) -> dict[str, Any]:
    ran = matrix("blame", *words, "--format", "json", timeout=timeout)
    assert ran.status == 0, ran.err
    found: dict[str, Any] = json.loads(ran.out)
    return found


def test_a_flipped_constant_is_found_in_its_dispatch(layers, tmp_path, shared):
    store = new_store(tmp_path, shared)
    flag = defective_linker(tmp_path / "linker", constant=(7.25, 7.5))
    wrong = blamed(*layers, "--compiler", "3.13.0", f"--flags={flag}", "--store", store)
    assert (wrong["outcome"], wrong["first_wrong"], wrong["reference_equals_expected"]) == ("wrong_output", 1, True)
    assert wrong["dispatches"][0]["outcome"] == "passed"
    assert wrong["dispatches"][1]["operations"][0] == "linalg.matmul 4x16xf32"
    assert wrong["dispatches"][1]["lines"][0] == 12
    assert "7.5" not in wrong["dispatches"][1]["how"] and "0.25 absolute" in wrong["dispatches"][1]["how"]


@pytest.mark.full
def test_no_dispatch_of_a_right_cell_departs(tmp_path):
    store = tmp_path / "store"
    found = blamed("model=linear", "compiler=3.13.0", "--store", store, timeout=1500)
    assert (found["outcome"], found["first_wrong"], found["reference_equals_expected"]) == ("passed", None, True)
    assert [each["outcome"] for each in found["dispatches"]] == ["passed"]
