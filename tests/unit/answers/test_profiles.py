"""What a profile says of one release, and which operation two releases differ in, however they cut the model."""

from __future__ import annotations

import json

from matrix.answers.profiles import (
    Profile,
    comparison_of_profiles,
    operation_changes,
    profile_lines,
    profiles_document,
    short_name,
)
from matrix.artifacts.contents.executed import ExecutedCode, ExecutedDispatch
from matrix.artifacts.contents.mlir_lines import MlirOperation

SOURCE = "module.mlir"
NAMES = {10: "torch.aten.convolution", 12: "torch.aten.relu", 20: "torch.aten.linear"}


def operation(line: int) -> MlirOperation:
    return MlirOperation(line=line, name=NAMES[line], result="4x8xf32", text=f"%{line} = {NAMES[line]} %a")


def dispatch(name: str, lines: dict[int, int], *, folded: tuple[str, ...] = ()) -> ExecutedDispatch:
    """`lines` are instructions by line; those of line 99 have no operation."""
    return ExecutedDispatch(
        name=f"main$async_dispatch_{name}",
        instructions=sum(lines.values()),
        calls=3,
        lines={(SOURCE if line else "", line): count for line, count in lines.items()},
        folded=folded,
    )


def profile(
    release: str, *dispatches: ExecutedDispatch, runtime: int = 50, unnamed: int = 0, mlir: str = "m"
) -> Profile:
    kernel = sum(each.instructions for each in dispatches) + unnamed
    ordered = tuple(sorted(dispatches, key=lambda each: -each.instructions))
    return Profile(
        axes={"model": "conv", "compiler": release, "target": "x86_64"},
        instructions=kernel + runtime,
        code=ExecutedCode(instructions=kernel + runtime, kernel=kernel, unnamed=unnamed, dispatches=ordered),
        source=SOURCE,
        mlir=mlir,
        operations={line: operation(line) for line in NAMES},
    )


APART = profile("3.8.0", dispatch("0_conv", {10: 900, 0: 40, 99: 10}), dispatch("1_relu", {12: 50}), runtime=100)
FUSED = profile("3.13.0", dispatch("0_conv_relu", {10: 300, 12: 30, 0: 20}), unnamed=5)


def test_code_of_no_line_counts_to_the_main_operation_of_its_dispatch():
    conv = APART.code.dispatches[0]
    assert APART.by_operation(conv) == {operation(10): 950}
    assert APART.main_operation(conv) == operation(10)
    assert (APART.runtime, APART.named, FUSED.named) == (100, 1000, 350)


def test_a_dispatch_of_which_no_line_has_an_operation_has_none():
    other = dispatch("7", {0: 3, 99: 4})
    assert APART.main_operation(other) is None
    assert APART.by_operation(other) == {None: 7}


def test_releases_that_cut_differently_are_joined_by_operation():
    changes = {each.name: each for each in operation_changes(APART, FUSED)}
    assert next(iter(changes)) == "torch.aten.convolution"
    conv, relu = changes["torch.aten.convolution"], changes["torch.aten.relu"]
    assert (conv.before, conv.after, relu.before, relu.after) == (950, 320, 50, 30)
    assert relu.before_in == ("main$async_dispatch_1_relu",)
    assert relu.after_in == conv.after_in == ("main$async_dispatch_0_conv_relu",)
    assert (changes["the runtime"].change, changes["code of no dispatch"].change) == (-50, 5)


def test_the_changes_add_up_to_that_of_all_instructions():
    for before, after in ((APART, FUSED), (FUSED, APART), (APART, APART)):
        changes = operation_changes(before, after)
        assert sum(each.change for each in changes) == after.instructions - before.instructions
        assert sum(each.before for each in changes) == before.instructions


def test_what_read_other_mlir_is_joined_by_the_text_of_the_operation():
    moved = profile("3.13.0", dispatch("0_x", {20: 950}), mlir="other")
    renamed = MlirOperation(line=20, name=NAMES[10], result="4x8xf32", text=operation(10).text)
    moved = Profile(
        axes=moved.axes, instructions=moved.instructions, code=moved.code, source=SOURCE, mlir="other",
        operations={20: renamed},
    )  # fmt: skip
    changes = operation_changes(APART, moved)
    assert [each.change for each in changes if each.operation == renamed] == [0]
    assert any("different MLIR" in line for line in comparison_of_profiles(APART, moved))


def test_the_text_names_ten_and_says_what_is_left_out():
    many = profile("3.13.0", *(dispatch(str(number), {10: 100 - number}) for number in range(13)))
    lines = profile_lines(many)
    assert lines[0] == "conv, compiler 3.13.0, target x86_64"
    assert "(96.1 %) in 13 dispatches, 0 in other code of the module, 50 (3.9 %) in the runtime" in lines[1]
    assert sum("dispatch_" in line for line in lines) == 10
    assert lines[-1] == "3 further dispatches: 267 instructions"
    assert "module.mlir:10 torch.aten.convolution 4x8xf32" in lines[-2]


def test_a_folded_dispatch_is_named():
    lines = profile_lines(profile("3.13.0", dispatch("23_add", {10: 5}, folded=("main$async_dispatch_35_add",))))
    assert "dispatch_35_add has the code of dispatch_23_add and counts there" in lines


def test_two_releases_that_execute_the_same_say_so():
    assert "no operation changed" in comparison_of_profiles(APART, APART)


def test_the_comparison_names_both_sides_and_the_cuts():
    text = "\n".join(comparison_of_profiles(APART, FUSED))
    assert "before: compiler 3.8.0\n1,100 instructions a call" in text
    assert "after: compiler 3.13.0\n405 instructions a call" in text
    assert "-66.3 %" in text and "dispatch_0_conv -> dispatch_0_conv_relu" in text


def test_the_document_has_all_dispatches_and_of_two_the_changes():
    one, two = profiles_document([APART]), profiles_document([APART, FUSED])
    assert "operations" not in one
    assert json.loads(json.dumps(two)) == two
    (first, _), changes = two["profiles"], two["operations"]
    assert first["in_dispatches"] + first["in_other_module_code"] + first["in_runtime"] == first["instructions"]
    assert sum(each["share"] for each in first["dispatches"]) < 1
    assert changes[0]["operation"] == {"line": 10, "name": NAMES[10], "result": "4x8xf32"}


def test_a_name_without_a_dispatch_stays_whole():
    assert (short_name("main$async_dispatch_5_conv"), short_name("memcpy")) == ("dispatch_5_conv", "memcpy")
