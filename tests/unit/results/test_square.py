"""The square: marks, headings, and its islands in words."""

from __future__ import annotations

import pytest
from reports import PASSED, npy, report_of
from samples import plan_of, result

from matrix.core.records import Outcome
from matrix.results.run import Run
from matrix.results.square import LegendRow, Square, headings, islands, legend, mark_of, squares, tried_words, words_of

RUNTIMES = ("2.9.0", "3.0.0", "3.1.0", "3.2.0", "3.3.0")


def said(passing: dict[str, list[str] | None], rows: str = "compiler", columns: str = "runtime") -> list[str]:
    return list(islands(rows, columns, passing, RUNTIMES, {rows: tuple(passing), columns: RUNTIMES}))


def test_neighbours_that_pass_on_the_same_are_one_island():
    assert said({"2.9.0": ["2.9.0", "3.0.0"], "3.0.0": ["2.9.0", "3.0.0"], "3.1.0": ["3.1.0"]}) == [
        "modules of compilers 2.9 to 3.0 run on runtimes 2.9 to 3.0",
        "modules of compiler 3.1 run on runtime 3.1",
    ]


def test_gaps_and_single_columns():
    assert said({"3.0.0": ["2.9.0", "3.1.0", "3.2.0"]}) == [
        "modules of compiler 3.0 run on runtimes 2.9 and 3.1 to 3.2"
    ]
    assert said({"3.0.0": ["2.9.0", "3.1.0", "3.3.0"]}) == ["modules of compiler 3.0 run on runtimes 2.9, 3.1 and 3.3"]
    assert said({"3.0.0": list(RUNTIMES)}) == ["modules of compiler 3.0 run on runtimes 2.9 to 3.3"]


def test_the_same_columns_further_down_are_another_island():
    assert said({"2.9.0": ["2.9.0"], "3.0.0": ["3.0.0"], "3.1.0": ["2.9.0"]}) == [
        "modules of compiler 2.9 run on runtime 2.9",
        "modules of compiler 3.0 run on runtime 3.0",
        "modules of compiler 3.1 run on runtime 2.9",
    ]


def test_no_passes_and_rows_that_are_not_measured():
    assert said({"2.9.0": [], "3.0.0": []}) == ["modules of compilers 2.9 to 3.0 run on no runtime"]
    assert said({"2.9.0": ["2.9.0"], "3.0.0": None, "3.1.0": ["2.9.0"]}) == [
        "modules of compiler 2.9 run on runtime 2.9",
        "modules of compiler 3.1 run on runtime 2.9",
    ]


def test_other_axes_have_other_words():
    assert said({"3.9": ["2.9.0"], "3.10": ["2.9.0"]}, rows="python") == ["Pythons 3.9 to 3.10 pass with runtime 2.9"]
    assert said({"a": ["2.9.0", "3.0.0"]}, rows="flags", columns="size") == ["flags a passes with sizes 2.9 to 3.0"]


@pytest.mark.parametrize(
    ("labels", "short"),
    [
        (("3.9.0", "3.10.0"), ("3.9", "3.10")),
        (("3.7.0", "3.7.1"), ("3.7.0", "3.7.1")),
        (("linear", "3.9.0"), ("linear", "3.9.0")),
        (("3.13.0", "3.14.0rc20261120"), ("3.13", "3.14.0rc20261120")),
        (("3.14.0rc20261120", "3.14.0"), ("3.14.0rc20261120", "3.14")),
        ((), ()),
    ],
)
def test_headings_are_short_where_that_tells_them_apart(labels, short):
    assert headings(labels) == short


def marks(square: Square) -> list[list[str]]:
    cells, run = square.cells, square.run
    return [
        [mark_of(run, cells[row, column]) if (row, column) in cells else "" for column in square.columns]
        for row in square.rows
    ]


def legend_of(run: Run) -> tuple[LegendRow, ...]:
    return legend(run.cells, lambda cell: mark_of(run, cell), words_of)


BODY = "[axes]\ncompiler = ['3.0.0', '2.9.0']\nruntime = ['2.9.0', '3.0.0']\nflags = ['default', 'o3']\n"


def test_one_square_for_each_combination_of_the_other_axes():
    plan = plan_of(BODY)
    first, second = squares(report_of(plan, [result(node.stage) for node in plan.nodes], {"expected_0.npy": npy(1)}))
    assert "flags default" in first.title and "flags o3" in second.title
    assert "compiler" not in first.title and "runtime" not in first.title
    assert (first.rows, first.columns) == (("2.9.0", "3.0.0"), ("2.9.0", "3.0.0"))
    assert marks(first) == [["ok", "ok"], ["ok", "ok"]]
    assert first.islands == ("modules of compilers 2.9 to 3.0 run on runtimes 2.9 to 3.0",)


def test_of_an_empty_store_nothing_is_claimed():
    plan = plan_of(BODY)
    for square in squares(report_of(plan, [None] * len(plan.nodes))):
        assert square.islands == ()
        assert {mark for row in marks(square) for mark in row} == {"."}


def test_cells_that_do_not_exist_are_blank():
    plan = plan_of(
        "[axes]\ncompiler = '3.0.0'\nruntime = '3.0.0'\n"
        "[[include]]\nwhen = { compiler = '2.9.0', runtime = '2.9.0' }\nreason = 'x'\n"
    )
    (square,) = squares(report_of(plan, [None] * len(plan.nodes)))
    assert marks(square) == [[".", ""], ["", "."]]


@pytest.mark.parametrize(
    ("results", "mark"),
    [
        ([*PASSED[:2], result(outcome=Outcome.FAILED, log="lld: error: x")], "K"),
        ([*PASSED[:2], result(outcome=Outcome.FAILED, log="nothing known")], "?"),
        ([*PASSED[:2], result(outcome=Outcome.FAILED, exit_code=0)], "Z"),
        ([*PASSED[:2], result(outcome=Outcome.CRASHED, signal=11)], "cr"),
        ([*PASSED[:2], result(outcome=Outcome.TIMED_OUT)], "to"),
        ([*PASSED[:2], result(outcome=Outcome.INFRASTRUCTURE)], "!!"),
        ([PASSED[0], result("compile", Outcome.FAILED, log="lld: error: x"), None], "cK"),
        ([PASSED[0], result("compile", Outcome.CRASHED, signal=11), None], "ccr"),
        ([result("export", Outcome.FAILED, log="nothing"), None, None], "e?"),
        ([result("export", Outcome.OUT_OF_MEMORY), None, None], "eom"),
        ([result("export", Outcome.FLAKY), None, None], "efl"),
        ([None, None, None], "."),
    ],
)
def test_marks(results, mark):
    report = report_of(plan_of("[axes]\ncompiler = '3.0.0'\nruntime = '3.0.0'\n"), results)
    assert mark_of(report, report.cells[0]) == mark
    (row,) = legend_of(report)
    assert (row.mark, row.count) == (mark, 1)
    assert row.words


def test_the_legend_counts_most_frequent_first():
    plan = plan_of("[axes]\ncompiler = '3.0.0'\nruntime = ['2.9.0', '3.0.0', '3.7.0']\n")
    report = report_of(plan, [*PASSED, None, None], {"expected_0.npy": npy(1)})
    assert [(row.mark, row.count) for row in legend_of(report)] == [(".", 2), ("ok", 1)]


@pytest.mark.parametrize("free", ["compiler", "runtime"])
def test_a_tied_axis_does_not_make_squares(free):
    tied = "runtime" if free == "compiler" else "compiler"
    axes = f"[axes]\n{free} = ['2.9.0', '3.0.0']\n{tied} = '= {free}'\nmodel = ['linear', 'copy']\n"
    plan = plan_of(axes + "[table]\nrows = 'model'\ncolumns = 'compiler'\n")
    (square,) = squares(report_of(plan, [None] * len(plan.nodes)))
    assert (square.rows, square.columns) == (("linear", "copy"), ("2.9.0", "3.0.0"))
    assert all(mark for row in marks(square) for mark in row)
    assert f"{tied} = {free}" in square.title
    assert "2.9.0" not in square.title


def test_names_stand_one_by_one_and_versions_in_spans():
    passing = {"linear": ["2.9.0"], "yolox": ["2.9.0"], "given": ["2.9.0"], "llama": []}
    assert said(passing, rows="model", columns="compiler") == [
        "models linear, yolox and given pass with compiler 2.9",
        "model llama passes with no compiler",
    ]


def test_a_span_has_only_what_was_tried():
    known = ("2.5.1", "2.6.0", "2.7.1", "2.8.0", "2.9.1")
    assert tried_words(known, known, known) == "2.5 to 2.9"
    some = ("2.5.1", "2.7.1", "2.8.0")
    assert tried_words(some, some, known) == "2.5 and 2.7 to 2.8 (3 of 5 releases were tried)"
