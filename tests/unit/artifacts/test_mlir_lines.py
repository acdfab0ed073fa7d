"""The operations on lines of MLIR, of each front end."""

from __future__ import annotations

import pytest

from matrix.artifacts.contents.mlir_lines import LONGEST_MLIR_LINE, operations_at

LINES = {
    "%2 = torch.aten.linear %arg0, %0 : !torch.vtensor<[4,64],f32>, !torch.vtensor<[32,64],f32> "
    "-> !torch.vtensor<[4,32],f32>": ("torch.aten.linear", "4x32xf32"),
    '%3 = torch.operator "onnx.Conv"(%2) {a = 1} : (!torch.vtensor<[1,3],f32>) -> !torch.vtensor<[1,32],f32> ': (
        "onnx.Conv", "1x32xf32"),
    "%5:2 = linalg.generic {x} ins(%1 : tensor<4x8xf32>) outs(%2 : tensor<4x?xf32>) -> tensor<4x?xf32> {": (
        "linalg.generic", "4x?xf32"),
    '%r = "stablehlo.add"(%a, %b) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>': ("stablehlo.add", "4xf32"),
    "%6, %7 = arith.addf %a, %b : tensor<2xf16> loc(#loc3)": ("arith.addf", "2xf16"),
    "%1 = torch.aten.add %a : !torch.vtensor<[],f32> -> !torch.vtensor<[],f32>": ("torch.aten.add", "f32"),
    "util.global.store %3, @state : tensor<i8>": ("util.global.store", "i8"),
}  # fmt: skip
NONE = (
    "module @module {",
    "func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {",
    "return %0 : tensor<4xf32>",
    "}",
    "",
)


@pytest.mark.parametrize(("line", "expected"), LINES.items())
def test_an_operation_of_each_dialect(tmp_path, line, expected):
    path = tmp_path / "module.mlir"
    path.write_text(f"module {{\n  {line}\n}}\n")
    (found,) = operations_at(path, {2}).values()
    assert (found.line, found.name, found.result) == (2, *expected)
    assert found.text == line.strip()


@pytest.mark.parametrize("line", NONE)
def test_what_computes_nothing_is_no_operation(tmp_path, line):
    (tmp_path / "module.mlir").write_text(f"{line}\n")
    assert operations_at(tmp_path / "module.mlir", {1}) == {}


def test_a_line_with_a_large_constant_does_not_shift_those_after_it(tmp_path):
    path = tmp_path / "module.mlir"
    constant = f'%0 = arith.constant dense<"0x{"00" * LONGEST_MLIR_LINE * 300}"> : tensor<4xf32>'
    path.write_text(f"{constant}\n%1 = math.exp %0 : tensor<4xf32>\n")
    found = operations_at(path, {1, 2, 3})
    assert [each.name for each in found.values()] == ["arith.constant", "math.exp"]
    assert len(found[1].text) <= LONGEST_MLIR_LINE


@pytest.mark.parametrize("content", [b"ML\xefR\x00\x01\xff\n\xfe", b"\xff" * 9000, b""])
def test_bytecode_and_rubbish_have_none(tmp_path, content):
    (tmp_path / "module.mlir").write_bytes(content)
    assert operations_at(tmp_path / "module.mlir", {1, 2}) == {}
    assert operations_at(tmp_path / "none.mlir", {1}) == {}
