"""A function of an MLIR file as operations: what a part of it needs comes along, and nothing else."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from matrix.artifacts.contents.mlir_parts import MlirFunction, read_function

DATA = Path(__file__).parents[2] / "data"
UPSAMPLE = (DATA / "upsample.mlir").read_text(encoding="utf-8")


def function_of(text: str) -> MlirFunction:
    found = read_function(text)
    assert found is not None
    return found


def place_of(function: MlirFunction, word: str) -> int:
    (place,) = [place for place, each in enumerate(function.operations) if word in each.text]
    return place


def test_a_function_of_torch_is_read():
    found = function_of(UPSAMPLE)
    four = "!torch.vtensor<[1,2,4,4],f32>"
    assert (found.name, found.arguments) == ("main", (("%arg0", four), ("%arg1", four)))
    assert found.attributes == " attributes {torch.assume_strict_symbolic_shapes}"
    assert len(found.operations) == 13
    upsample = found.operations[place_of(found, "upsample")]
    assert (upsample.results, upsample.uses) == (("%7",), ("%5", "%none", "%6"))
    assert upsample.type == "!torch.vtensor<[1,2,8,8],f32>"
    assert found.operations[place_of(found, "ListConstruct")].type == ""


def test_all_operations_give_the_file_with_its_resources():
    found = function_of(UPSAMPLE)
    text = found.file_of(range(13))
    assert [line.strip() for line in text.splitlines() if "torch." in line and "func.func" not in line][:-1] == [
        line.strip() for line in UPSAMPLE.splitlines() if "torch." in line and "func.func" not in line
    ][:-1]
    assert 'scale: "0x040000000000003F0000803F"' in text
    assert function_of(text).operations == found.operations
    assert function_of(text).file_of(range(13)) == text


def test_a_part_is_given_its_tensors_and_takes_its_constants_along():
    found = function_of(UPSAMPLE)
    kept = {place_of(found, "upsample")}
    assert found.size_of(kept) == 4
    assert found.file_of(kept).splitlines() == [
        "module @net {",
        "func.func @main(%5: !torch.vtensor<[1,2,4,4],f32>) -> (!torch.vtensor<[1,2,8,8],f32>)"
        " attributes {torch.assume_strict_symbolic_shapes} {",
        *(line for line in UPSAMPLE.splitlines() if any(f"    {name} =" in line for name in ("%none", "%float2"))),
        *(line for line in UPSAMPLE.splitlines() if any(f"    {name} =" in line for name in ("%6", "%7"))),
        "  return %7 : !torch.vtensor<[1,2,8,8],f32>",
        "}",
        "}",
    ]


def test_what_gives_no_tensor_is_no_file():
    found = function_of(UPSAMPLE)
    assert found.file_of({place_of(found, "constant.int")}) == ""
    assert found.file_of(()) == ""


@pytest.mark.parametrize("name", ["linear.mlir", "matmuls.mlir"])
def test_a_file_without_a_module_around_it(name):
    found = function_of((DATA / name).read_text(encoding="utf-8"))
    (*_, last) = [place for place, each in enumerate(found.operations) if each.type]
    text = found.file_of({last})
    assert "module" not in text and len(function_of(text).operations) == found.size_of({last})


def test_an_operation_with_a_region_is_one():
    text = """module {
  func.func @f(%a: tensor<4xf32> {some = "x, %y"}) -> tensor<4xf32> {
    %e = tensor.empty() : tensor<4xf32>
    %0 = linalg.generic #trait ins(%a : tensor<4xf32>) outs(%e : tensor<4xf32>) {
    ^bb0(%in: f32, %out: f32):
      %1 = arith.addf %in, %in : f32
      linalg.yield %1 : f32
    } -> tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}
"""
    found = function_of(text)
    assert [each.results for each in found.operations] == [("%e",), ("%0",)]
    assert found.file_of({1}).splitlines()[1] == (
        "func.func @f(%a: tensor<4xf32>, %e: tensor<4xf32>) -> (tensor<4xf32>) {"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "module {\n}\n",
        "func.func @f(%a: tensor<4xf32>) -> tensor<4xf32> {\n",
        "func.func @f(%a: i1) {\n  cf.br ^bb1\n^bb1:\n  return\n}\n",
        "func.func @f(%a: tensor<4xf32> -> tensor<4xf32> {\n  return %a : tensor<4xf32>\n}\n",
        "func.func @f() {\n  %0 = a.b {\n  return\n}\n",
    ],
)
def test_what_is_no_single_block_is_not_read(text):
    found = read_function(text)
    assert found is None or not found.operations


def test_damaged_text_ends_in_an_answer():
    draw = Random(15)
    for _ in range(300):
        text = list(UPSAMPLE)
        for _ in range(draw.randrange(1, 20)):
            text[draw.randrange(len(text))] = draw.choice('(){}[]<>%"#:,\n=^ a')
        found = read_function("".join(text))
        if found:
            found.file_of(draw.sample(range(len(found.operations)), min(3, len(found.operations))))
