"""Targets beside each other: the same everywhere, and differences named with their place."""

from __future__ import annotations

import dataclasses
import json

from built_reports import EMULATOR, built_report
from reports import npy, report_of
from samples import catalogue, result, spec_of

from matrix.core.records import JobResult, Outcome
from matrix.plan.graph import make_plan
from matrix.results.compared.targets import compare_builds, compare_targets
from matrix.results.files import parse_run
from matrix.results.formats import as_html, as_markdown, as_table, run_as_json
from matrix.results.run import Run
from matrix.results.sentences import comparison_sentences as sentences

BODY = (
    "[axes]\nmodel='given'\ncompiler=['2.9.0', '3.0.0']\nruntime=['2.9.0', '3.0.0', '3.10.0']\n"
    "target=['x86_64', 'aarch64']\n"
)


def report(ends: dict[tuple[str, str, str], JobResult | None]) -> Run:
    """All cells passed, but for those that `ends` names by target, compiler and runtime."""
    known = catalogue()
    arm = dataclasses.replace(known.targets["aarch64"], emulator=EMULATOR)
    plan = make_plan(spec_of(BODY), dataclasses.replace(known, targets={**known.targets, "aarch64": arm}))
    results: list[JobResult | None] = [result(node.stage) for node in plan.nodes]
    for cell in plan.cells:
        place = (cell.labels["target"], cell.labels["compiler"], cell.labels["runtime"])
        results[cell.nodes[-1]] = ends.get(place, result("run"))
    return report_of(plan, results, {"expected_0.npy": npy(1)})


def test_nothing_is_said_of_one_target():
    plan = make_plan(spec_of(), catalogue())
    assert sentences(report_of(plan, [result(node.stage) for node in plan.nodes], {"expected_0.npy": npy(1)})) == ()


def test_the_same_everywhere():
    assert sentences(report({})) == ("aarch64 ends as x86_64 does in all 6 cells",)


def test_differences_are_named_with_their_place_the_most_frequent_first():
    crashed = result(outcome=Outcome.CRASHED, end="signalled", signal=4, log="Illegal")
    failed = result(outcome=Outcome.FAILED, log="error: odd")
    ends = {("aarch64", "3.0.0", runtime): crashed for runtime in ("2.9.0", "3.0.0")}
    both = {("x86_64", "2.9.0", "2.9.0"): failed, ("aarch64", "2.9.0", "2.9.0"): failed}
    (row,) = compare_targets(report(ends | both | {("x86_64", "2.9.0", "3.10.0"): failed}))
    assert (row.cells, row.same, row.unmeasured) == (6, 3, 0)
    assert row.words == "aarch64 ends as x86_64 does in 3 of 6 cells"
    assert row.differences == (
        "aarch64 crashed at run: signal-4 where x86_64 passed in 2 of them: compiler 3.0; runtime 2.9 to 3.0",
        "aarch64 passed where x86_64 failed at run: unrecognised in 1 of them: compiler 2.9; runtime 3.10",
    )


def test_what_one_of_them_lacks_is_counted_and_not_compared():
    (row,) = compare_targets(report({("aarch64", "2.9.0", "2.9.0"): None}))
    assert (row.cells, row.same, row.unmeasured) == (5, 5, 1)
    assert row.words.endswith("all 5 cells; 1 more are measured on one of them only")


def test_nothing_is_said_to_end_alike_where_one_of_them_has_nothing():
    nothing = {("aarch64", cell.axes["compiler"], cell.axes["runtime"]): None for cell in report({}).cells}
    (row,) = compare_targets(report(nothing))
    assert row.words == "no cell is measured on both aarch64 and x86_64, 6 on one of them only"


def test_every_format_says_it_and_how_the_target_is_emulated():
    made = report({})
    said, how = "aarch64 ends as x86_64 does in all 6 cells", "emulated, no times: " + " ".join(EMULATOR)
    for text in (as_table(made), as_markdown(made), as_html(made)):
        assert said in text
        assert how in text
    document = json.loads(run_as_json(made))
    assert said in document["sentences"]
    assert parse_run(document, source="x").notes("target") == {"aarch64": how}


def test_a_build_stands_beside_the_wheel_of_its_release():
    made = built_report({})
    assert sentences(made) == (
        "aarch64 ends as x86_64 does in all 2 cells, on runtimes built from source, compared with the wheels of the "
        "same releases",
        "mine ends as the wheel 3.0.0 does in all 2 cells",
    )
    assert [(row.subject, row.built) for row in (*compare_targets(made), *compare_builds(made))] == [
        ("aarch64", 2),
        ("mine", 0),
    ]


def test_a_build_that_ends_otherwise_is_named():
    failed = result(outcome=Outcome.FAILED, log="error: odd")
    made = built_report({("board", "2.9.0"): failed, ("mine", "3.0.0"): failed})
    assert sentences(made)[1:] == (
        "aarch64 failed at run: unrecognised where x86_64 passed in 1 of them: compiler 2.9; runtime board",
        "mine ends as the wheel 3.0.0 does in 1 of 2 cells",
        "mine failed at run: unrecognised where the wheel 3.0.0 passed in 1 of them: compiler 3.0; runtime mine",
    )
    assert sentences(parse_run(json.loads(run_as_json(made)), source="x")) == sentences(made)


def test_a_build_that_fails_says_nothing_of_the_modules():
    made = built_report({})
    place = next(index for index, cell in enumerate(made.cells) if cell.axes["runtime"] == "board")
    failed = dataclasses.replace(made.cells[place], outcome=Outcome.FAILED, stage="build")
    made = dataclasses.replace(made, cells=(*made.cells[:place], failed, *made.cells[place + 1 :]))
    (row,) = compare_targets(made)
    assert (row.cells, row.same, row.unmeasured) == (1, 1, 1)
