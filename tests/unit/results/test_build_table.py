"""What runtimes from source weigh, and the memory of what ran on them, beside the squares."""

from __future__ import annotations

import dataclasses

from built_reports import built_report
from reports import npy, report_of
from samples import catalogue, result, spec_of

from matrix.core.records import JobResult, Outcome
from matrix.plan.graph import make_plan
from matrix.results.formats import as_html, as_markdown, as_table
from matrix.results.run import Run
from matrix.results.weights import BUILDS


def rows(report: Run) -> list[list[str]]:
    """Of the table of modules."""
    grid = list(BUILDS.blocks(report))[3]
    return [list(grid.headings), *map(list, grid.rows)]


def ran(peak: int) -> JobResult:
    job = result("run")
    return dataclasses.replace(job, end=dataclasses.replace(job.end, peak_bytes=peak))


def test_nothing_is_said_of_wheels() -> None:
    plan = make_plan(spec_of(), catalogue())
    made = report_of(plan, [result(node.stage) for node in plan.nodes], {"expected_0.npy": npy(1)})
    assert list(BUILDS.blocks(made)) == []


def test_a_program_weighs_what_it_is_with_and_without_debug_symbols() -> None:
    said = as_markdown(built_report({}))
    assert "| board     |                 1 |                    1 |" in said
    assert "3.0.0" not in [row[0] for row in list(BUILDS.blocks(built_report({})))[1].rows]


def test_each_place_has_the_newest_compiler_that_is_right_there_and_its_peak() -> None:
    failed = result(outcome=Outcome.FAILED, log="error: odd")
    made = built_report({("board", "3.0.0"): failed, ("board", "2.9.0"): ran(60 << 20), ("mine", "3.0.0"): ran(0)})
    head, *modules = rows(made)
    assert head == ["compiler", "runtime", "target", ".vmfb bytes", "peak MiB"]
    assert modules == [["3.0.0", "mine", "x86_64", "1", "-"], ["2.9.0", "board", "aarch64", "1", "60"]]


def test_it_stands_in_every_format_that_people_read() -> None:
    made = built_report({})
    for text in (as_table(made), as_markdown(made), as_html(made)):
        assert "runtimes built from source: bytes on the board" in text
