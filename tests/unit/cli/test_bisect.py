"""The words of `bisect`: which line they mean, and what is said of where it turns."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest
from reports import report_of
from samples import plan_of as small_plan
from samples import result

from matrix.cli.bisect import Search, _with, answer_lines, line_of, line_question
from matrix.cli.main import main
from matrix.core.data import default_store
from matrix.core.errors import NoAnswer, UsageError
from matrix.core.records import JobResult, Outcome
from matrix.plan.graph import Plan
from matrix.plan.question import Question
from matrix.run.planning import plan_of

GIVEN = Path(__file__).parents[2] / "data" / "linear.mlir"
MISMATCH = (
    "vm/bytecode/verifier.c:1: INVALID_ARGUMENT; bytecode version mismatch; runtime supports 16.0, module has 15.0"
)


def line(axis: str, *, good: str = "", bad: str = "", **axes: str) -> tuple[Plan, tuple[str, ...]]:
    question = Question(models=(str(GIVEN),), axes={name: (term,) for name, term in axes.items()})
    plan = plan_of(line_question(question, axis))
    return plan, line_of(plan, axis, good, bad)


def others(plan: Plan, axis: str) -> set[str]:
    return {cell.labels[axis] for cell in plan.cells}


def test_a_compiler_goes_with_the_runtime_of_its_release():
    plan, order = line("compiler")
    assert (order[0], order[-1]) == ("2.9.0", "3.13.0")
    assert all(cell.labels["runtime"] == cell.labels["compiler"] for cell in plan.cells)
    assert "runtime = compiler" in _with(Search(plan=plan, axis="compiler", order=order))


def test_the_runtimes_that_load_what_one_compiler_wrote():
    plan, order = line("runtime", compiler="3.8.0")
    assert len(order) == 15
    assert others(plan, "compiler") == {"3.8.0"}
    assert "compiler 3.8.0" in _with(Search(plan=plan, axis="runtime", order=order))


def test_the_compilers_for_one_runtime():
    plan, order = line("compiler", runtime="3.8.0")
    assert len(order) == 15
    assert others(plan, "runtime") == {"3.8.0"}


def test_exporters_go_with_the_newest_compiler():
    plan = plan_of(line_question(Question(models=("linear",)), "torch"))
    order = line_of(plan, "torch", "", "")
    assert len(order) > 5
    assert others(plan, "compiler") == others(plan, "runtime") == {"3.13.0"}


def test_ends_cut_the_line_whichever_is_older():
    assert line("compiler", good="3.4", bad="3.7")[1] == ("3.4.0", "3.5.0", "3.6.0", "3.7.0")
    assert line("compiler", good="3.7.0", bad="3.4.0")[1] == ("3.4.0", "3.5.0", "3.6.0", "3.7.0")
    assert line("compiler", good="3.12.0")[1] == ("3.12.0", "3.13.0")
    assert line("compiler", bad="3.0.0")[1] == ("2.9.0", "3.0.0")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"axis": "flags"}, "names have no order"),
        ({"axis": "colour"}, "expected one of model, python"),
        ({"axis": "compiler", "good": "3.99.0"}, "--good: unknown version '3.99.0'"),
        ({"axis": "compiler", "bad": ">=3.4"}, "--bad: read '>=3.4', which means 10 values, expected one"),
        ({"axis": "compiler", "good": "3.8.0", "bad": "3.8.0"}, "expected two ends that differ"),
    ],
)
def test_words_that_make_no_line(words, told):
    with pytest.raises(UsageError) as caught:
        line(**words)
    assert told in str(caught.value)
    assert caught.value.tip


def test_several_cells_for_one_value_are_no_line():
    with pytest.raises(UsageError, match=r"15 cells have compiler 2\.9\.0, expected one .* differ in runtime: 2\.9"):
        line_of(plan_of(line_question(Question(preset="portability"), "compiler")), "compiler", "", "")


def test_the_axis_must_be_named(capsys):
    assert main(["bisect", "--model", "linear"]) == 2
    assert "--axis" in capsys.readouterr().err


# -- the answer: five releases of the sample catalogue, and one that it refuses


ORDER = ("2.9.0", "3.0.0", "3.7.0", "3.7.1", "3.10.0")
BODY = f"[axes]\nmodel = 'given'\ncompiler = '3.7.0'\nruntime = {list(ORDER)}\n"


def searched(marks: str) -> Search:
    """A search that knows what the marks say: + passed, - failed, ? its engine failed, a blank not looked at."""
    plan = small_plan(BODY)
    compiled = result("compile")
    ends: dict[str, JobResult | None] = {
        "+": result(),
        "-": result(outcome=Outcome.FAILED, log=MISMATCH),
        "x": result(outcome=Outcome.CRASHED, end="signalled", signal=11),
        "?": result(outcome=Outcome.INFRASTRUCTURE, end="lost"),
        " ": None,
    }
    results: list[JobResult | None] = [None] * len(plan.nodes)
    for cell, mark in zip(plan.cells, marks, strict=True):
        one, other = cell.nodes
        results[one], results[other] = compiled, ends[mark]
    report = report_of(plan, results)
    looked = {
        cell.axes["runtime"]: (report, cell) for cell, mark in zip(report.cells, marks, strict=True) if mark != " "
    }
    return Search(plan=plan, axis="runtime", order=ORDER, cells=looked, jobs=3)


def said(marks: str, *, good: str = "", bad: str = "") -> str:
    options = Namespace(good=good, bad=bad, store=default_store(), engine="venv", axis="runtime")
    return "\n".join(answer_lines(searched(marks), options))


def test_the_first_bad_release_with_its_evidence():
    text = said("+ +--")
    assert text.startswith("runtime 3.7.1 is the first that fails\n")
    assert "3.7.0: passed" in text and "3.7.1: failed at run: vm-bytecode-version" in text
    assert "the runtime reads 16.0" in text
    assert "model given, compiler 3.7.0, target x86_64, flags default" in text
    assert "known of 4 of 5 values; not of 3.0.0" in text
    assert "3 jobs run; the whole axis is at most 6" in text
    assert "python -m matrix why --preset small.toml runtime=3.7.1" in text
    assert "python -m matrix run small.toml --only runtime=3.7.1" in text


def test_the_first_good_release_shows_why_the_one_before_fails():
    text = said("--+++")
    assert text.startswith("runtime 3.7.0 is the first that passes\n")
    assert "runtime=3.0.0" in text and "the runtime reads 16.0" in text


def test_more_turns_and_other_failures_are_said():
    text = said("+-+x-")
    assert text.startswith("runtime 3.0.0 is the first that fails\n")
    assert "it turns again: 3.0.0 fails, 3.7.0 passes" in text
    assert "it turns again: 3.7.0 passes, 3.7.1 fails" in text
    assert "it fails in another way at 3.7.1: crashed at run: signal-11" in text


def test_a_release_that_cannot_be_measured_leaves_a_range():
    text = said("++?--")
    assert text.startswith("runtime 3.7.1 is the first that fails of those that can be measured; 3.0.0 is the last")
    assert "3.7.0: infrastructure" in text


@pytest.mark.parametrize(
    ("marks", "ends", "told"),
    [
        ("+   +", {}, "2.9.0 (passed) and 3.10.0 (passed) end alike"),
        ("?   -", {}, "runtime 2.9.0 cannot be measured: infrastructure"),
        ("-+  +", {"good": "2.9.0"}, "--good 2.9.0: runtime 2.9.0 (failed at run: vm-bytecode-version), so it fails"),
        ("++  +", {"bad": "3.10"}, "--bad 3.10: runtime 3.10.0 (passed), so it passes"),
    ],
)
def test_where_nothing_turns_or_an_end_is_another(marks, ends, told):
    with pytest.raises(NoAnswer) as caught:
        said(marks, **ends)
    assert told in str(caught.value)
    assert caught.value.tip
