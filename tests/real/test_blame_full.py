"""The verb `blame` finds each seeded defect in its dispatch, on several models, releases and machines."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy
import pytest
from command_line import good, matrix
from seeded_defects import ADD, DIVIDE, MAXIMUM, MINIMUM, MULTIPLY, NO_INSTRUCTION, SUBTRACT, defective_linker

from matrix.builds.linker import HELPER_FLAGS

pytestmark = [pytest.mark.real, pytest.mark.full]
if os.uname().machine != "x86_64":
    pytest.skip("NOT TESTED: the seeded defects change code of x86_64", allow_module_level=True)

CHAIN = """func.func @main(%x: tensor<4x64xf32>, %w: tensor<64x32xf32>, %v: tensor<32x16xf32>)
    -> tensor<4x16xf32> {
  %zero = arith.constant 0.0 : f32
  %two = arith.constant dense<7.25> : tensor<4x16xf32>
  %e = tensor.empty() : tensor<4x32xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<4x32xf32>) -> tensor<4x32xf32>
  %m = linalg.matmul ins(%x, %w : tensor<4x64xf32>, tensor<64x32xf32>) outs(%f : tensor<4x32xf32>) -> tensor<4x32xf32>
  %s = linalg.softmax dimension(1) ins(%m : tensor<4x32xf32>) outs(%e : tensor<4x32xf32>) -> tensor<4x32xf32>
  %g = tensor.empty() : tensor<4x16xf32>
  %h = linalg.fill ins(%zero : f32) outs(%g : tensor<4x16xf32>) -> tensor<4x16xf32>
  %n = linalg.matmul ins(%s, %v : tensor<4x32xf32>, tensor<32x16xf32>) outs(%h : tensor<4x16xf32>) -> tensor<4x16xf32>
  %b = arith.addf %n, %two : tensor<4x16xf32>
  return %b : tensor<4x16xf32>
}
"""
LIMIT = 50_000


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("blamed") / "store"


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """A matmul, a softmax, a matmul with a constant; and what numpy computes of it in double."""
    folder = tmp_path_factory.mktemp("chain")
    random = numpy.random.default_rng(7)
    arrays = [(0.2 * random.standard_normal(shape)).astype(numpy.float32) for shape in ((4, 64), (64, 32), (32, 16))]
    x, w, v = (array.astype(numpy.float64) for array in arrays)
    shares = numpy.exp(x @ w)
    expected = (shares / shares.sum(axis=1, keepdims=True)) @ v + 7.25
    (folder / "chain.mlir").write_text(CHAIN, encoding="utf-8")
    numpy.save(folder / "expected.npy", expected.astype(numpy.float32))
    words: list[object] = ["--model", folder / "chain.mlir", "--expected", folder / "expected.npy"]
    for number, array in enumerate(arrays):
        numpy.save(folder / f"{number}.npy", array)
        words += ["--inputs", folder / f"{number}.npy"]
    return words


def blamed(store: Path, *words: object) -> dict[str, Any]:
    ran = matrix("blame", *words, "--store", store, "--format", "json", timeout=3000)
    assert ran.status == 0, ran.err
    found: dict[str, Any] = json.loads(ran.out)
    return found


def check_found(found: dict[str, Any], name: str) -> None:
    """The first wrong dispatch is the one with the defect, and all before it agree."""
    first = found["dispatches"][found["first_wrong"]]
    assert name in first["name"]
    assert not any(each["departs"] for each in found["dispatches"] if name not in each["name"])
    assert all(each["outcome"] in ("passed", "wrong_output") for each in found["dispatches"][: first["ordinal"]])


def check_small(folder: Path) -> None:
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    assert sum(sizes.values()) <= LIMIT, sizes
    assert {"README.md", "dispatch.mlir", "interpreted.mlir"} <= sizes.keys()


@pytest.mark.parametrize(
    ("release", "defect", "name"),
    [
        ("3.13.0", {"function": ".*softmax.*", "opcode": (DIVIDE, MULTIPLY)}, "softmax"),
        ("3.8.0", {"function": ".*softmax.*", "opcode": (ADD, SUBTRACT)}, "softmax"),
        ("2.9.0", {"constant": (7.25, 7.5)}, "unpack_elementwise"),
        ("3.10.0", {"constant": (7.25, -7.25)}, "matmul_4x16x32"),
    ],
)
def test_a_defect_in_a_chain_of_dispatches(release, defect, name, chain, store):
    tmp_path = store.parent / f"chain-{release}"
    tmp_path.mkdir()
    flag = defective_linker(tmp_path / "linker", **defect)
    folder = tmp_path / "reproducer"
    found = blamed(store, *chain, "--compiler", release, f"--flags={flag}", "--reproducer", folder)
    assert found["outcome"] == "wrong_output" and found["reference_equals_expected"]
    check_found(found, name)
    check_small(folder)


def test_a_dispatch_that_crashes_is_named(chain, store, tmp_path):
    flag = defective_linker(tmp_path / "linker", function=".*softmax.*", opcode=(DIVIDE, NO_INSTRUCTION))
    found = blamed(store, *chain, "--compiler", "3.13.0", f"--flags={flag}")
    assert found["outcome"] == "crashed"
    assert [each["outcome"] for each in found["dispatches"]] == ["passed", "crashed", "passed"]
    assert found["first_wrong"] == 1


BRANCHES = """func.func @main(%x: tensor<4x4xf32>, %n: tensor<i32>) -> tensor<4x4xf32> {
  %c = tensor.extract %n[] : tensor<i32>
  %z = arith.constant 0 : i32
  %p = arith.cmpi sgt, %c, %z : i32
  %r = scf.if %p -> tensor<4x4xf32> {
    %a = arith.addf %x, %x : tensor<4x4xf32>
    scf.yield %a : tensor<4x4xf32>
  } else {
    %b = arith.mulf %x, %x : tensor<4x4xf32>
    scf.yield %b : tensor<4x4xf32>
  }
  return %r : tensor<4x4xf32>
}
"""


def test_what_cannot_be_taken_apart_is_refused_with_its_reason(store, tmp_path):
    (tmp_path / "branches.mlir").write_text(BRANCHES, encoding="utf-8")
    numpy.save(tmp_path / "x.npy", numpy.ones((4, 4), numpy.float32))
    numpy.save(tmp_path / "n.npy", numpy.array(1, numpy.int32))
    words = ("--inputs", tmp_path / "x.npy", "--inputs", tmp_path / "n.npy", "--store", store)
    model = ("--model", tmp_path / "branches.mlir", "--compiler", "3.13.0")
    refused = matrix("blame", *model, *words, timeout=1500)
    assert refused.status == 1
    assert "cannot be cut into dispatches: a dispatch in a loop or a condition" in refused.err
    compiler = next(store.glob("environments/compiler-3.13.0-*/bin/iree-compile"))
    made = [compiler, "--iree-hal-target-backends=vmvx", tmp_path / "branches.mlir", "-o", tmp_path / "branches.vmfb"]
    subprocess.run(made, check=True)
    model = ("--model", tmp_path / "branches.vmfb", "--runtime", "3.13.0")
    refused = matrix("blame", *model, *words, timeout=1500)
    assert refused.status == 1
    assert "the module came without its source" in refused.err


def test_the_two_commands_of_a_reproducer_show_it(chain, store, tmp_path):
    flag = defective_linker(tmp_path / "linker", constant=(7.25, 7.5))
    folder = tmp_path / "reproducer"
    blamed(store, *chain, "--compiler", "3.13.0", f"--flags={flag}", "--reproducer", folder)
    places = [
        str(place) for kind in ("compiler", "runtime") for place in store.glob(f"environments/{kind}-3.13.0-*/bin")
    ]
    path = os.pathsep.join([*places, os.environ["PATH"]])
    lines = [line for line in (folder / "README.md").read_text().splitlines() if line.startswith("iree-compile")]
    assert len(lines) == 2
    (folder / "expected_0.npy").unlink()
    around = {**os.environ, "PATH": path}
    ran = [subprocess.run(["sh", "-c", line], cwd=folder, env=around, check=False) for line in lines]
    assert [each.returncode == 0 for each in ran] == [True, False], "VMVX computes what it should, the target does not"


@pytest.mark.parametrize(
    ("model", "function", "opcode"),
    [
        ("mobilenet_v2", "dispatch_20_conv", (MAXIMUM, MINIMUM)),
        ("mobilenet_v2", "dispatch_45_", (ADD, SUBTRACT)),
        ("llama_2l", "dispatch_1_reduction", (MULTIPLY, ADD)),
    ],
)
def test_a_defect_in_one_dispatch_of_a_whole_model(model, function, opcode, store):
    tmp_path = store.parent / function
    tmp_path.mkdir()
    flag = defective_linker(tmp_path / "linker", function=rf".*{function}.*", opcode=opcode)
    folder = tmp_path / "reproducer"
    words = (f"model={model}", "compiler=3.13.0", f"--flags={flag}", "--reproducer", folder)
    found = blamed(store, *words)
    assert found["outcome"] == "wrong_output"
    check_found(found, function)
    check_small(folder)
    if model == "mobilenet_v2":
        assert (folder / "inputs.json").exists(), "its inputs are larger than the limit: they are seeded"


@pytest.mark.parametrize("model", ["linear", "mobilenet_v2", "quartznet_5x5", "llama_2l"])
@pytest.mark.parametrize("release", ["2.9.0", "3.6.0", "3.13.0"])
def test_no_dispatch_of_a_right_cell_departs(model, release, store):
    if (model, release) == ("llama_2l", "3.6.0"):
        refused = matrix("blame", f"model={model}", f"compiler={release}", "--store", store, timeout=3000)
        assert refused.status == 1
        assert "VMVX of this compiler, the reference, does not take them: failed to legalize" in refused.err
        assert "'math.fpowi'" in refused.err
        return
    found = blamed(store, f"model={model}", f"compiler={release}")
    assert (found["outcome"], found["first_wrong"], found["reference_equals_expected"]) == ("passed", None, True)


# -- 32-bit Arm, under its emulator

ARM = (
    "--preset",
    "armv6-smoke",
    "--only",
    "runtime=zig-static",
    "--only",
    "target=armv6-bare",
    "--only",
    "route=embedded",
)
WRONG = {
    "fmaf": "float fmaf(float a, float b, float c) { return a * b; }",
    "fmaxf": "float fmaxf(float a, float b) { return a < b ? a : b - 1.0f; }",
    "division": """int __aeabi_idiv(int a, int b) {
  unsigned n = a < 0 ? -(unsigned)a : (unsigned)a, d = b < 0 ? -(unsigned)b : (unsigned)b, q = 0, r = 0;
  for (int bit = 31; bit >= 0; --bit) {
    r = r << 1 | (n >> bit & 1);
    if (r >= d) r -= d, q |= 1u << bit;
  }
  return (a < 0) != (b < 0) ? -(int)q - (r != 0) : (int)q;
}
""",
}
"""The last one rounds down: what differs are quotients below 0 with a rest."""


@pytest.fixture(scope="module")
def linker(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the repaired linker, to be made wrong."""
    folder = tmp_path_factory.mktemp("link") / "lld"
    good("armv6-lld", folder, "--compiler", "3.13.0", "--store", store, timeout=1500)
    return folder


def wrong_linker(linker: Path, folder: Path, name: str) -> str:
    """The flag of a linker with the empty `fmaf` that IREE bundles, or with a wrong function."""
    shutil.copytree(linker, folder)
    script = folder / "iree-lld"
    text = script.read_text(encoding="utf-8")
    if name == "empty":
        text = "\n".join(line for line in text.splitlines() if "-symbol=fmaf" not in line)
        text = text.replace(' "$here/$abi-fmaf.o"', "")
    else:
        settings = dict(line.split("=", 1) for line in (folder / "settings").read_text().splitlines())
        (folder / "wrong.c").write_text(WRONG[name], encoding="utf-8")
        cpu = ["-mcpu=arm1176jzf-s", "-marm", "-mfpu=vfp", "-mfloat-abi=softfp"]
        made = [settings["CC"], *cpu, *HELPER_FLAGS, "-c", "wrong.c", "-o", "wrong.o"]
        libraries = {"LD_LIBRARY_PATH": shlex.split(settings["TOOL_LIBRARIES"])[0], "PATH": os.environ["PATH"]}
        subprocess.run(made, cwd=folder, env=libraries, check=True)
        text = text.replace(
            '"$here/$abi-fmaf.o"', '"$here/wrong.o"' + (' "$here/$abi-fmaf.o"' if name != "fmaf" else "")
        )
    script.write_text(text + "\n", encoding="utf-8")
    return f"--iree-llvmcpu-embedded-linker-path={script}"


@pytest.mark.parametrize("name", ["empty", "fmaf", "fmaxf"])
def test_a_wrong_helper_of_the_linker_on_32_bit_arm(name, linker, chain, store, tmp_path):
    flag = wrong_linker(linker, tmp_path / "lld", name)
    found = blamed(store, *chain, *ARM, f"--flags={flag}", "--reproducer", tmp_path / "reproducer")
    assert found["outcome"] in ("wrong_output", "crashed")
    first = found["dispatches"][found["first_wrong"]]
    assert "softmax" in first["name"]
    assert [each["outcome"] for each in found["dispatches"] if "softmax" not in each["name"]] == ["passed", "passed"]
    check_small(tmp_path / "reproducer")


WHOLE_NUMBERS = """func.func @main(%x: tensor<4x64xi32>, %w: tensor<64x32xi32>, %d: tensor<4x16xi32>,
    %v: tensor<32x16xi32>) -> tensor<4x16xi32> {
  %zero = arith.constant 0 : i32
  %e = tensor.empty() : tensor<4x32xi32>
  %f = linalg.fill ins(%zero : i32) outs(%e : tensor<4x32xi32>) -> tensor<4x32xi32>
  %m = linalg.matmul ins(%x, %w : tensor<4x64xi32>, tensor<64x32xi32>) outs(%f : tensor<4x32xi32>) -> tensor<4x32xi32>
  %g = tensor.empty() : tensor<4x16xi32>
  %h = linalg.fill ins(%zero : i32) outs(%g : tensor<4x16xi32>) -> tensor<4x16xi32>
  %n = linalg.matmul ins(%m, %v : tensor<4x32xi32>, tensor<32x16xi32>) outs(%h : tensor<4x16xi32>) -> tensor<4x16xi32>
  %q = arith.divsi %n, %d : tensor<4x16xi32>
  return %q : tensor<4x16xi32>
}
"""


def test_a_wrong_division_of_the_linker_on_32_bit_arm(linker, store, tmp_path):
    """The code calls it as `__aeabi_idiv`, which is libgcc's `__divsi3`."""
    random = numpy.random.default_rng(7)
    x, w, v = (random.integers(-9, 9, shape, numpy.int32) for shape in ((4, 64), (64, 32), (32, 16)))
    d = random.integers(2, 9, (4, 16), numpy.int32)
    product = x @ w @ v
    expected = numpy.sign(product) * (abs(product) // d)
    assert (expected != product // d).any()
    (tmp_path / "whole.mlir").write_text(WHOLE_NUMBERS, encoding="utf-8")
    numpy.save(tmp_path / "expected.npy", expected.astype(numpy.int32))
    words: list[object] = ["--model", tmp_path / "whole.mlir", "--expected", tmp_path / "expected.npy"]
    for number, array in enumerate((x, w, d, v)):
        numpy.save(tmp_path / f"{number}.npy", array)
        words += ["--inputs", tmp_path / f"{number}.npy"]
    flag = wrong_linker(linker, tmp_path / "lld", "division")
    found = blamed(store, *words, *ARM, f"--flags={flag}", "--reproducer", tmp_path / "reproducer")
    assert found["outcome"] == "wrong_output" and found["reference_equals_expected"]
    first = found["dispatches"][found["first_wrong"]]
    assert first["ordinal"] > 0 and "4x16" in first["name"]
    assert [each["outcome"] for each in found["dispatches"][: first["ordinal"]]] == ["passed"] * first["ordinal"]
    check_small(tmp_path / "reproducer")


def test_a_module_that_does_not_compile_has_no_wrong_dispatch(chain, store):
    refused = matrix("blame", *chain, *ARM, "--store", store, timeout=3000)
    assert refused.status == 1 and refused.out == ""
    assert "cannot be taken apart" in refused.err
