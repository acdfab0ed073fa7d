"""Times of dispatches beside what they execute: what waits, how two tools agree, two releases by operation."""

from __future__ import annotations

import json
from collections.abc import Mapping

from matrix.answers.timing.joined import CellTimes, TimedProfile, agreement_of, operation_times
from matrix.answers.timing.words import timed_comparison, timed_document, timed_lines
from matrix.artifacts.timings.dispatch_times import DispatchTimes, Invocation
from matrix.results.measured.profiled_code import CodeProfile, ModelOperation, ProfiledDispatch, ProfiledModel
from matrix.results.measured.profiles import Profile, profile_of

NAME = "main$async_dispatch_{}".format
MODEL = ProfiledModel(
    source="module.mlir",
    operations=(
        ModelOperation(line=10, name="torch.aten.convolution", result="4x8xf32", digest="c"),
        ModelOperation(line=12, name="torch.aten.relu", result="4x8xf32", digest="r"),
    ),
)


def dispatch(name: str, lines: Mapping[int, int], *, folded: tuple[str, ...] = ()) -> ProfiledDispatch:
    """`lines` are instructions by the line of the operation."""
    parts = {str(line): count for line, count in lines.items()}
    return ProfiledDispatch(name=NAME(name), instructions=sum(parts.values()), calls=3, operations=parts, folded=folded)


def profile(release: str, *dispatches: ProfiledDispatch) -> Profile:
    ordered = tuple(sorted(dispatches, key=lambda each: -each.instructions))
    whole = sum(each.instructions for each in dispatches) + 50
    axes = {"model": "conv", "compiler": release, "target": "x86_64"}
    return profile_of(axes, CodeProfile(instructions=whole, mlir="m", dispatches=ordered), MODEL)


def times(spent: Mapping[str, int], *, method: str = "tracy 0.11.2") -> DispatchTimes:
    """Each dispatch once, in three calls: the shortest is the first, and of its workgroups it is 10 ns less."""
    rows = [
        Invocation(name=NAME(name), nanoseconds=(least + 10, 2 * least + 10, 4 * least + 10), least=least)
        for name, least in spent.items()
    ]
    return DispatchTimes(method=method, calls=3, invocations=tuple(rows))


def timed(
    release: str, spent: Mapping[str, int], *dispatches: ProfiledDispatch, other: Mapping[str, int] | None = None
):
    beside = times(other, method="iree-profile") if other else None
    return TimedProfile(profile=profile(release, *dispatches), times=CellTimes(traced=times(spent), profiled=beside))


COUNTED = {str(number): 1000 - 100 * number for number in range(7)}
"""Instructions: the first dispatch executes most."""
DISPATCHES = [dispatch(name, {10: count}) for name, count in COUNTED.items()]
SLOW = {**{name: count // 10 for name, count in COUNTED.items()}, "6": 500}
"""Ten instructions a nanosecond each, and the last dispatch 0.8."""


def test_dispatches_are_ordered_by_time_and_have_their_instructions_beside():
    found = timed("3.13.0", SLOW, *DISPATCHES)
    assert [each.name for each in found.dispatches][:3] == [NAME(6), NAME(0), NAME(1)]
    first = found.dispatches[0]
    assert first.time and first.counted and (first.time.least, first.counted.instructions) == (500, 400)
    assert first.rate == 0.8


def test_what_only_takes_long_and_what_only_executes_much_are_named():
    lines = "\n".join(timed_lines(timed("3.13.0", SLOW, *DISPATCHES)))
    assert "of the first 5 by time and by instructions 4 are the same; rank correlation over all 0.25" in lines
    assert "by time alone: dispatch_6, 0.8 instructions a nanosecond: it may be memory-bound" in lines
    assert "by instructions alone: dispatch_4, 10 instructions a nanosecond" in lines


def test_where_time_and_instructions_agree_nothing_is_said_to_wait():
    spent = {name: count // 10 for name, count in COUNTED.items()}
    lines = "\n".join(timed_lines(timed("3.13.0", spent, *DISPATCHES)))
    assert "of the first 5 by time and by instructions 5 are the same; rank correlation over all 1.00" in lines
    assert "alone" not in lines


def test_a_dispatch_without_a_time_has_none_and_comes_last():
    found = timed("3.13.0", {"1": 30}, *DISPATCHES[:2])
    assert [each.name for each in found.dispatches] == [NAME(1), NAME(0)]
    assert found.dispatches[1].rate is None
    assert "not timed" in timed_lines(found)[-4]
    assert timed_document([found])["times"][0]["dispatches"][1]["nanoseconds"] is None


def test_a_dispatch_that_was_not_counted_has_no_instructions():
    found = timed("3.13.0", {"0": 30, "9_transfer": 90}, DISPATCHES[0])
    assert "not counted" in "\n".join(timed_lines(found))
    assert found.dispatches[0].rate is None


def test_times_of_a_folded_dispatch_count_where_its_instructions_do():
    kept = dispatch("0", {10: 900}, folded=(NAME(1),))
    found = timed("3.13.0", {"0": 30, "1": 40}, kept)
    (only,) = found.dispatches
    assert only.time and (only.time.least, only.time.invocations) == (70, 2)


def test_two_tools_are_compared_by_the_shortest_of_each_invocation():
    found = agreement_of(times({"0": 90, "1": 190}), times({"0": 90, "1": 290, "2": 5}))
    assert found and (found.dispatches, found.ends) == (2, (1.0, 1.5))
    one = timed("3.13.0", {"0": 90}, DISPATCHES[0], other={"0": 100})
    assert "iree-profile, 3 calls more: 1.100 of it in all" in "\n".join(timed_lines(one))
    assert agreement_of(times({"0": 90}), times({"1": 90})) is None


APART = timed("3.8.0", {"0_conv": 900, "1_relu": 300}, dispatch("0_conv", {10: 900}), dispatch("1_relu", {12: 50}))
FUSED = timed("3.13.0", {"0_conv_relu": 400}, dispatch("0_conv_relu", {10: 300, 12: 100}))


def test_releases_that_cut_differently_are_joined_by_operation():
    changes = {each.operation.name: each for each in operation_times(APART, FUSED)}
    conv, relu = changes["torch.aten.convolution"], changes["torch.aten.relu"]
    assert (conv.before, conv.after, relu.before, relu.after) == (900, 300, 300, 100)
    assert sum(each.change for each in changes.values()) == 400 - 1200
    assert relu.after_in == (NAME("0_conv_relu"),)


def test_the_comparison_names_both_sides_and_their_operations():
    lines = timed_comparison(APART, FUSED)
    assert lines[0] == "conv, target x86_64"
    assert lines[1] == "before: compiler 3.8.0"
    text = "\n".join(lines)
    assert "1.2 us a call in 2 dispatches, by tracy 0.11.2" in text
    assert "-0.6 us" in text and "-66.7 %" in text and "dispatch_0_conv -> dispatch_0_conv_relu" in text


def test_the_document_has_each_tool_and_each_dispatch():
    both = [timed("3.8.0", SLOW, *DISPATCHES, other=SLOW), timed("3.13.0", SLOW, *DISPATCHES)]
    document = timed_document(both)
    assert json.loads(json.dumps(document)) == document
    first, second = document["times"]
    assert [each["method"] for each in first["methods"]] == ["tracy 0.11.2", "iree-profile"]
    assert first["agreement"]["whole"] == 1.0 and second["agreement"] is None
    assert sum(each["share"] for each in first["dispatches"]) == 1.0
    assert len(document["operation_times"]) == 1
