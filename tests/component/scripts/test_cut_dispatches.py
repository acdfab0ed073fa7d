"""The text of a module that is cut into dispatches: what is read of it, and the modules that are made of it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).parents[3] / "scripts"
FLOW = (SCRIPTS.parent / "tests" / "data" / "dispatches.mlir").read_text(encoding="utf-8")
"""As compilers print it: a function that waits, a size, a tied result, booleans, one executable called twice."""


@pytest.fixture
def cutter(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(SCRIPTS)
    for name in ("cut_dispatches", "flow_text"):
        sys.modules.pop(name, None)
    return importlib.import_module("cut_dispatches")


def test_the_dispatches_of_a_function_in_order_with_their_values_types_and_lines(cutter):
    flow = cutter.read_flow(FLOW, "main")
    assert [each.entry for each in flow.dispatches] == [
        "main$async_dispatch_0_a",
        "main$async_dispatch_1_b",
        "main$async_dispatch_2_c",
        "main$async_dispatch_2_c",
    ]
    first, second = flow.dispatches[:2]
    assert first.results == (("%1#0", "tensor<?xf32>{%dim}"), ("%1#1", "tensor<4xi1>"))
    assert second.results == (("%2", "tensor<4xf32>"),), "a result that is tied to an operand has its type"
    assert flow.arguments == [("%arg0", "!hal.buffer_view")], "the function is called, and waits for nothing"
    assert flow.outputs == ["%4"]
    assert cutter.lines_of(first, flow, "module.mlir") == [7], "where it is called from, and what fills, say nothing"
    assert cutter.lines_of(first, flow, "other.mlir") == []


def test_the_reference_returns_what_dispatches_take_and_make_as_far_as_a_file_can_hold_it(cutter):
    flow = cutter.read_flow(FLOW, "main")
    assert cutter.exported_values(flow) == ["%0", "%w", "%1#0", "%2", "%3", "%4"]
    text = "\n".join(cutter.reference_text(flow, "main", {"%0": 0, "%4": 1}, "#hal.device.target<other>"))
    assert "  util.global private @__device_0 = #hal.device.target<other> : !hal.device" in text
    assert "wait(" not in text and "barrier" not in text and text.count("util.func public") == 1
    assert "    %out_0 = hal.tensor.export %0 : tensor<?xf32>{%dim} -> !hal.buffer_view" in text
    assert text.index("util.return %out_0, %out_1") < text.index("dialect_resources")


def test_a_dispatch_alone_takes_what_a_file_can_hold_and_computes_the_rest_itself(cutter):
    flow = cutter.read_flow(FLOW, "main")
    text, taken, beside = cutter.single_text(flow, flow.dispatches[1], "main")
    whole = "\n".join(text)
    assert beside == [0], "its booleans fit no file: the dispatch that makes them is in it"
    assert "@main$async_dispatch_0 " in whole and "@main$async_dispatch_2" not in whole
    assert taken == ["input_0", "%w", "%0"], "a size is asked of the model's own input"
    assert whole.count("hal.tensor.import") == 2 and whole.count("= flow.dispatch") == 2
    assert "loc(" not in whole and "@weights" not in whole and "dialect_resources" not in whole


def test_equal_calls_of_one_executable_are_one_module_and_others_are_not(cutter):
    flow = cutter.read_flow(FLOW, "main")
    third, fourth = (cutter.single_text(flow, each, "main") for each in flow.dispatches[2:])
    assert third[0] == fourth[0]
    assert (third[1], fourth[1]) == (["%2"], ["%3"])


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("    %3 = flow", "  ^bb1:\n    %3 = flow", "the function has branches"),
        ("    %3 = flow", "      %3 = flow", "a dispatch in a loop or a condition"),
        ("@main", "@other", "no function main"),
        ("[%dim](%0, %w, %dim)", "[%dim](%0, %w", "a bracket without its end"),
    ],
)
def test_a_module_that_cannot_be_cut_says_why(cutter, before, after, said):
    with pytest.raises(cutter.Unreadable, match=said):
        cutter.read_flow(FLOW.replace(before, after), "main")
