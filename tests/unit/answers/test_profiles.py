"""What a profile says of one release, and which operation two releases differ in, however they cut the model."""

from __future__ import annotations

import json

import pytest
from profiled_runs import Place, profiled_run

from matrix.answers.differences import release_pairs, run_pairs
from matrix.answers.profiled.changes import operation_changes
from matrix.answers.profiled.published import find_profiles, profile_change_lines
from matrix.answers.profiled.words import comparison_of_profiles, profile_lines, profiles_document
from matrix.artifacts.contents.executed import ExecutedCode, ExecutedDispatch
from matrix.artifacts.contents.mlir_lines import MlirOperation
from matrix.core.errors import NoAnswer, UsageError
from matrix.results.measured.profiled_code import ModelOperation, code_profile, profiled_model, short_name
from matrix.results.measured.profiles import Profile, operation_kind, profile_of

SOURCE = "module.mlir"
NAMES = {10: "torch.aten.convolution", 12: "torch.aten.relu", 20: "torch.aten.linear"}
MODEL = profiled_model(
    SOURCE,
    {
        line: MlirOperation(line=line, name=name, result="4x8xf32", text=f"%{line} = {name} %a")
        for line, name in NAMES.items()
    },
)


def operation(line: int) -> ModelOperation:
    return next(each for each in MODEL.operations if each.line == line)


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
    code = ExecutedCode(instructions=kernel + runtime, kernel=kernel, unnamed=unnamed, dispatches=ordered)
    axes = {"model": "conv", "compiler": release, "target": "x86_64"}
    return profile_of(axes, code_profile(code, kernel + runtime, MODEL, mlir), MODEL)


APART = profile("3.8.0", dispatch("0_conv", {10: 900, 0: 40, 99: 10}), dispatch("1_relu", {12: 50}), runtime=100)
FUSED = profile("3.13.0", dispatch("0_conv_relu", {10: 300, 12: 30, 0: 20}), unnamed=5)


def test_code_of_no_line_counts_to_the_main_operation_of_its_dispatch():
    conv = APART.code.dispatches[0]
    assert APART.by_operation(conv) == {operation(10): 950}
    assert APART.main_operation(conv) == operation(10)
    assert (APART.code.runtime, APART.code.named, FUSED.code.named) == (100, 1000, 350)


def test_a_dispatch_of_which_no_line_has_an_operation_has_none():
    other = profile("3.8.0", dispatch("7", {0: 3, 99: 4}))
    (only,) = other.code.dispatches
    assert other.main_operation(only) is None
    assert other.by_operation(only) == {None: 7}
    assert other.by_kind() == {"other": 7, "the runtime": 50}


def test_kinds_of_operations_add_up_to_all_instructions():
    assert FUSED.by_kind() == {"convolution": 320, "activation": 30, "other": 5, "the runtime": 50}
    assert sum(APART.by_kind().values()) == APART.instructions
    named = (
        "onnx.Conv",
        "torch.aten.mm",
        "torch.aten.softmax.int",
        "torch.prims.convert_element_type",
        "torch.aten.what",
    )
    kinds = [operation_kind(name) for name in named]
    assert kinds == ["convolution", "matmul", "softmax", "data movement", "other"]


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
    text = f"%10 = {NAMES[10]} %a"
    renamed = profiled_model(SOURCE, {20: MlirOperation(line=20, name=NAMES[10], result="4x8xf32", text=text)})
    given = dispatch("0_x", {20: 950})
    code = ExecutedCode(instructions=1000, kernel=950, unnamed=0, dispatches=(given,))
    moved = profile_of({**APART.axes, "compiler": "3.13.0"}, code_profile(code, 1000, renamed, "other"), renamed)
    changes = operation_changes(APART, moved)
    assert [each.change for each in changes if each.operation == renamed.operations[0]] == [0]
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


def test_what_is_many_times_as_much_is_said_in_times():
    few, many = (profile(release, dispatch("0", {10: count})) for release, count in (("3.8.0", 7), ("3.9.0", 7000)))
    assert "  1,000 times  " in "\n".join(comparison_of_profiles(few, many))


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


# -- published ones

CONV, RELU = "torch.aten.convolution", "torch.aten.relu"
PLACES: dict[Place, dict[str, dict[str, int]]] = {
    ("conv", "x86_64", "3.8.0"): {"dispatch_0": {CONV: 900_000}, "dispatch_1": {RELU: 50_000}},
    ("conv", "x86_64", "3.9.0"): {"dispatch_0": {CONV: 900_000}, "dispatch_1": {RELU: 50_000}},
    ("conv", "x86_64", "3.13.0"): {"dispatch_0": {CONV: 300_000, RELU: 90_000}},
    ("conv", "aarch64", "3.8.0"): {"dispatch_0": {CONV: 2_000_000}},
    ("conv", "aarch64", "3.13.0"): {"dispatch_0": {CONV: 1_000_000}},
    ("other", "x86_64", "3.8.0"): {"dispatch_0": {RELU: 5_000}},
}
RUN = profiled_run(PLACES)


def test_a_published_profile_is_found_by_words():
    (newest,) = find_profiles([RUN], "conv", {})
    assert (newest.axes["compiler"], newest.axes["target"]) == ("3.13.0", "x86_64")
    both = find_profiles([RUN, RUN], "conv", {"compiler": ("3.8", "3.13.0"), "target": ("aarch64",)})
    assert [each.axes["compiler"] for each in both] == ["3.8.0", "3.13.0"]
    assert [each.axes["target"] for each in both] == ["aarch64"] * 2


def test_what_no_run_has_is_named_with_what_there_is():
    with pytest.raises(NoAnswer, match=r"no profile of 'con', expected one of conv, other"):
        find_profiles([RUN], "con", {})
    with pytest.raises(NoAnswer, match=r"--compiler: read 3\.7, of .* expected one of 3\.8\.0, 3\.9\.0, 3\.13\.0"):
        find_profiles([RUN], "conv", {"compiler": ("3.7",)})
    with pytest.raises(UsageError, match=r"3 cells, expected one, or two"):
        find_profiles([RUN], "conv", {"compiler": (">=3.8",)})


def test_two_releases_of_published_runs_say_which_operation_executes_more():
    lines = profile_change_lines(release_pairs([RUN], "compiler", "3.8.0", "3.13.0"))
    text = "\n".join(lines)
    assert "they say nothing of how long each takes" in lines[1]
    assert lines[2] == "  conv, x86_64: 950,050 -> 390,050 instructions"
    first, second = lines[3:5]
    assert first.endswith(f"{CONV} 4x8xf32: fewer, 900,000 -> 300,000 (-66.7 %), in dispatch_0")
    assert second.endswith(f"{RELU} 4x8xf32: more, 50,000 -> 90,000 (+80 %), in dispatch_1 -> dispatch_0")
    assert "  conv, aarch64: 2.00 M -> 1.00 M instructions" in lines
    assert "other" not in text


def test_releases_with_the_same_counts_say_nothing():
    assert profile_change_lines(release_pairs([RUN], "compiler", "3.8.0", "3.9.0")) == []
    assert profile_change_lines(run_pairs(RUN, RUN)) == []
