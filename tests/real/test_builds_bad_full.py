"""Builds that fail, and a model that the board has no memory for: each a typed outcome with its next step, kept like
any other, and nothing half-built beside it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from command_line import DATA, good

pytestmark = [pytest.mark.real, pytest.mark.full]
SPEC = """
format = 1
name = "bad"
question = "What becomes of builds that fail?"
[axes]
model = ["linear1", "large"]
compiler = "3.13.0"
runtime = ["cmake", "syntax", "board"]
target = ["x86_64", "armv6"]
[builds.cmake]
source = "old-cmake"
toolchain = "native"
[builds.syntax]
source = "syntax"
toolchain = "native"
[builds.board]
source = "3.13.0"
toolchain = "armel-static"
[limits.run]
memory_mib = 512
[models.linear1]
mlir = "linear.mlir"
inputs = ["input.npy"]
expected = ["expected.npy"]
[models.large]
mlir = "large.mlir"
inputs = ["input.npy"]
expected = ["expected.npy"]
[[table]]
rows = "compiler"
columns = "runtime"
where = { model = "linear1", target = "x86_64", runtime = ["cmake", "syntax"] }
[[table]]
rows = "compiler"
columns = "runtime"
where = { model = "large", target = "armv6", runtime = "board" }
"""
LARGE = """
func.func @main(%x: tensor<4x8xf32>) -> tensor<800000x256xf32> {
  %zero = arith.constant 0 : index
  %value = tensor.extract %x[%zero, %zero] : tensor<4x8xf32>
  %empty = tensor.empty() : tensor<800000x256xf32>
  %out = linalg.fill ins(%value : f32) outs(%empty : tensor<800000x256xf32>) -> tensor<800000x256xf32>
  return %out : tensor<800000x256xf32>
}
"""
"""A result of 780 MiB."""
TREES = {
    "old-cmake": "cmake_minimum_required(VERSION 99.0)\nproject(IREE C)\n",
    "syntax": "cmake_minimum_required(VERSION 3.20)\nproject(IREE C)\n"
    "foreach(tool iree-flatcc-cli iree-c-embed-data iree-run-module)\n"
    "  add_executable(${tool} main.c)\nendforeach()\n",
}
"""CMakeLists.txt of source trees of one's own."""
Cells = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Cells]:
    """(spec, store, cells by runtime)."""
    folder = tmp_path_factory.mktemp("bad")
    for name, text in TREES.items():
        (folder / name / "runtime" / "src" / "iree").mkdir(parents=True)
        (folder / name / "CMakeLists.txt").write_text(text)
        (folder / name / "main.c").write_text("int main(void) { return 0 }\n")
    for name, source in (("input", "linear_input"), ("expected", "linear_expected")):
        shutil.copy(DATA / f"{source}.npy", folder / f"{name}.npy")
    shutil.copy(DATA / "linear.mlir", folder)
    (folder / "large.mlir").write_text(LARGE)
    spec = folder / "bad.toml"
    spec.write_text(SPEC)
    store = folder / "store"
    ran = good("run", spec, "--store", store, "--format", "json", timeout=3600)
    return spec, store, {cell["axes"]["runtime"]: cell for cell in json.loads(ran.out)["cells"]}


@pytest.mark.parametrize(
    ("runtime", "outcome", "stage", "signature", "said"),
    [
        ("cmake", "failed", "build", "cmake-old", "the sources want cmake 99.0, the locked one is "),
        ("syntax", "failed", "build", "c-error", "the C compiler refuses main.c: "),
        ("board", "out_of_memory", "run", "memory-limit", "ended at "),
    ],
)
def test_each_is_a_typed_outcome_of_its_stage(
    runtime: str, outcome: str, stage: str, signature: str, said: str, *, run: tuple[Path, Path, Cells]
) -> None:
    cell = run[2][runtime]
    assert (cell["outcome"], cell["stage"], cell["signature"]) == (outcome, stage, signature)
    assert said in cell["evidence"]["means"]


def test_the_next_step_is_said_and_the_log_names_no_folder_of_this_machine(run: tuple[Path, Path, Cells]) -> None:
    spec, store, _ = run
    why = good("why", "--preset", spec, "--store", store, "runtime=cmake", "--log").out
    assert "lock a newer one" in why
    assert "cmake_minimum_required" in why
    assert str(store.parent) not in why.replace(str(spec), "").replace(str(store), "")


def test_nothing_half_built_is_left_and_nothing_is_tried_again(run: tuple[Path, Path, Cells]) -> None:
    spec, store, _ = run
    left = [path for path in store.rglob("*") if path.name in ("CMakeCache.txt", "build.ninja")]
    assert not left
    assert good("run", spec, "--store", store, timeout=300).jobs_run == 0
