"""What `blame` says of dispatches that agree, depart, crash, or were left out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from matrix.answers.blaming.answer import Blame, LookedAt, blame_document, blame_lines
from matrix.artifacts.compiler.cut import CutDispatch, CutModule, read_cut
from matrix.artifacts.contents.mlir_lines import MlirOperation
from matrix.artifacts.json_reader import JsonFault
from matrix.core.records import Outcome
from matrix.results.judge import EQUAL, Comparison
from matrix.results.run import Cell

WRONG = Comparison(
    error=0.5, tolerance=1e-4, text="output 0: worst at [1]: 2, expected 1, scale 2", absolute=1.0, wrong=0.25
)
ROUNDING = replace(WRONG, error=8e-7, wrong=0.00001)


def looked(ordinal: int, outcome: Outcome | None = Outcome.PASSED, compared: Comparison | None = EQUAL) -> LookedAt:
    dispatch = CutDispatch(
        ordinal=ordinal, name=f"main_dispatch_{ordinal}", lines=(4,), module=ordinal, takes=(), makes=(), beside=()
    )
    operation = MlirOperation(line=4, name="torch.aten.relu", result="4xf32", text="")
    cell = Cell(axes={"model": "m"}, outcome=outcome, stage="run", comparison=compared) if outcome else None
    return LookedAt(dispatch=dispatch, operations=(operation,), cell=cell, left_out="" if cell else "NaN")


def blame(
    *dispatches: LookedAt, outcome: Outcome = Outcome.WRONG_OUTPUT, reference: Comparison | None = EQUAL
) -> Blame:
    cell = Cell(axes={"model": "m"}, outcome=outcome, stage="run")
    module = CutModule(function="main", outputs=(), elsewhere=0, dispatches=tuple(each.dispatch for each in dispatches))
    return Blame(cell=cell, reference=reference, module=module, looked=dispatches)


def test_the_first_that_departs_is_named_with_what_it_computes_and_what_agrees_before_it():
    found = blame(looked(0), looked(1), looked(2, Outcome.WRONG_OUTPUT, WRONG), looked(3, Outcome.WRONG_OUTPUT, WRONG))
    text = "\n".join(blame_lines(found))
    assert "dispatch 2 of 0 to 3, main_dispatch_2" in text
    assert "line 4 torch.aten.relu 4xf32" in text
    assert "worst at [1]: 2, expected 1" in text
    assert "all 2 agree" in text
    assert "1 dispatch: 3" in text
    assert blame_document(found)["first_wrong"] == 2


def test_a_crash_is_a_departure_too():
    found = blame(looked(0), looked(1, Outcome.CRASHED, None))
    assert found.first is not None and found.first.dispatch.ordinal == 1
    assert "crashed at run" in "\n".join(blame_lines(found))


def test_a_few_elements_within_the_tolerance_of_the_whole_scale_are_rounding():
    assert not looked(0, Outcome.WRONG_OUTPUT, ROUNDING).departs
    assert looked(0, Outcome.WRONG_OUTPUT, ROUNDING).agrees
    assert looked(0, Outcome.WRONG_OUTPUT, replace(ROUNDING, wrong=0.01)).departs, "many elements"
    assert looked(0, Outcome.WRONG_OUTPUT, replace(ROUNDING, error=0.01)).departs, "far off"
    assert looked(0, Outcome.WRONG_OUTPUT, replace(ROUNDING, error=None)).departs, "not finite"
    assert looked(0, Outcome.WRONG_OUTPUT, replace(ROUNDING, tolerance=0.0)).departs, "whole numbers are not rounded"


@pytest.mark.parametrize(
    ("outcome", "reference", "said"),
    [
        (Outcome.PASSED, EQUAL, "no dispatch departs"),
        (Outcome.WRONG_OUTPUT, EQUAL, "the fault is between them"),
        (Outcome.WRONG_OUTPUT, WRONG, "the fault is before the cut"),
        (Outcome.WRONG_OUTPUT, None, "there are no expected outputs"),
    ],
)
def test_where_no_dispatch_departs_the_reference_says_where_the_fault_is(outcome, reference, said):
    text = "\n".join(blame_lines(blame(looked(0), outcome=outcome, reference=reference)))
    assert said in text
    assert ("IT IS WRONG TOO" in text) == (reference is WRONG)


def test_what_is_not_known_before_the_first_wrong_one_is_said():
    found = blame(looked(0, None), looked(1), looked(2, Outcome.WRONG_OUTPUT, WRONG))
    text = "\n".join(blame_lines(found))
    assert "1 of 2 agree; not known: 0" in text
    assert "dispatch 0: NaN" in text


@pytest.mark.parametrize("content", [b"", b"{}", b'{"format": 2}', b'{"format": 1, "function": "f", "outputs": 3}'])
def test_a_damaged_record_of_a_cut_module_is_refused(content):
    with pytest.raises(JsonFault):
        read_cut(content)
