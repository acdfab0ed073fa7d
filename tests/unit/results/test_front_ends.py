"""Which exporters write the same MLIR, in words, and which compilers take it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import pytest
from reports import npy, report_of
from samples import catalogue, lock, result, spec_of

from matrix.core.records import Artifact, JobResult, Outcome
from matrix.plan.graph import Plan, make_plan
from matrix.plan.locks import LockIndex
from matrix.plan.question import Question
from matrix.plan.stages import Node
from matrix.results.compared.exporters import blocks, groups, portability
from matrix.results.files import parse_run
from matrix.results.formats import as_html, as_markdown, as_table, run_as_json
from matrix.results.run import Run
from matrix.results.square import mark_of, squares
from matrix.run.planning import plan_of

TORCHES, TURBINES = ("2.3.1", "2.5.1", "2.9.1"), ("3.0.0", "3.7.0", "3.9.0")
BODY = (
    "[axes]\ntorch = 'all'\nturbine = 'all'\ncompiler = ['2.9.0', '3.7.0', '3.10.0']\nruntime = '= compiler'\n"
    "python = {pythons}\n"
)


def plan(pythons: str = "'3.11'", tables: str = "") -> Plan:
    known = catalogue()
    more = [lock("exporter", {"torch": torch, "iree-turbine": turbine}) for torch in TORCHES for turbine in TURBINES]
    others = [each for each in known.locks.locks if not each.name.startswith("exporter")]
    wide = dataclasses.replace(known, locks=LockIndex(locks=(*others, *more), pythons=known.locks.pythons))
    return make_plan(spec_of(BODY.format(pythons=pythons) + tables), wide)


def report(planned: Plan, mlir: Callable[[str], str], fails: Callable[[Node], bool] = lambda _: False) -> Run:
    """Every job passes but those that are said to; the MLIR of an export is `mlir` of its label."""

    def ended(node: Node) -> JobResult | None:
        if fails(node):
            return result(node.stage, Outcome.FAILED, log="failed to legalize operation 'x.y'")
        if any(fails(planned.nodes[above]) for above in node.above):
            return None
        if node.stage == "export":
            made = [("module.mlir", mlir(node.label)), ("input_0.npy", "i"), ("expected_0.npy", "expected_0.npy")]
            return result(node.stage, outputs=[Artifact(name=name, digest=digest, size=1) for name, digest in made])
        return result(node.stage)

    return report_of(planned, [ended(node) for node in planned.nodes], {"expected_0.npy": npy(1)})


def said(pythons: str, mlir: Callable[[str], str]) -> list[str]:
    return [group.words for group in groups(report(plan(pythons), mlir))]


def test_all_write_the_same():
    assert said("'3.11'", lambda _: "0834ac834896064f") == [
        "linear: torch 2.3 to 2.9 with turbine 3.0 to 3.9 write identical MLIR (sha256 0834ac834896)"
    ]


def test_one_that_writes_otherwise_leaves_a_gap():
    assert said("'3.11'", lambda label: "b" if "2.5.1" in label and "3.7.0" in label else "a") == [
        "linear: torch 2.3 and 2.9 with turbine 3.0 to 3.9; torch 2.5 with turbine 3.0 and 3.9 write identical MLIR "
        "(sha256 a)",
        "linear: torch 2.5 with turbine 3.7 writes MLIR that no other writes (sha256 b)",
    ]


def test_pythons_are_named_where_there_are_several():
    assert said("['3.9', '3.10', '3.11']", lambda label: label.partition("torch=")[2][:3]) == [
        f"linear: Python 3.9 to 3.11 with torch {torch} with turbine 3.0 to 3.9 write identical MLIR (sha256 {torch})"
        for torch in ("2.3", "2.5", "2.9")
    ]


def test_an_export_that_failed_is_in_no_group():
    (group,) = groups(report(plan(), lambda _: "a", lambda n: n.stage == "export" and "torch=2.3.1" in n.label))
    assert {torch for _, torch, _ in group.exporters} == {"2.5.1", "2.9.1"}


def test_a_single_exporter_is_compared_with_none():
    one = plan(tables="[table]\nwhere = { torch = '2.9.1', turbine = '3.9.0' }\n")
    assert groups(report(one, lambda _: "a")) == ()
    assert portability(report(one, lambda _: "a")) == ()
    assert "identical" not in as_table(report(one, lambda _: "a"))


@pytest.mark.parametrize(
    "points",
    [
        {("a", "x"), ("a", "y"), ("b", "x")},
        {(p, q, r) for p in "ab" for q in "cd" for r in "ef"} | {("z", "c", "e")},
        set(),
    ],
)
def test_blocks_hold_every_point_once(points):
    import itertools

    found = [point for block in blocks(sorted(points)) for point in itertools.product(*block)]
    assert sorted(found) == sorted(points)


def test_how_portable_the_mlir_is():
    assert portability(report(plan(), lambda _: "a")) == (
        "linear: all 27 pairs of exporter and compiler compile (compiler older than turbine 12 of 12, of turbine's "
        "minor release 3 of 3, newer than turbine 12 of 12); 27 of 27 that ran give torch's numbers",
    )
    old = "compiler=2.9.0"
    failing = report(plan(), lambda label: label, lambda n: n.stage == "compile" and old in n.label)
    assert portability(failing) == (
        "linear: 18 of 27 pairs of exporter and compiler compile (compiler older than turbine 3 of 12, of turbine's "
        "minor release 3 of 3, newer than turbine 12 of 12); what does not: failed at compile: legalization (9); "
        "18 of 18 that ran give torch's numbers",
    )


def test_every_format_says_it():
    shown = report(plan(), lambda _: "0834ac834896064f")
    words = "write identical MLIR (sha256 0834ac834896)"
    assert all(words in text for text in (as_table(shown), as_markdown(shown), as_html(shown)))
    document = json.loads(run_as_json(shown))
    assert {*portability(shown), *(group.words for group in groups(shown))} <= set(document["sentences"])
    (group,) = groups(parse_run(document, source="mine"))
    assert group.digest == "0834ac834896064f" and ("3.11", "2.3.1", "3.0.0") in group.exporters


PLANES = """
[[table]]
rows = "turbine"
columns = "compiler"
where = { torch = "2.9.1" }
[[table]]
rows = "torch"
columns = "compiler"
where = { turbine = "latest" }
"""


def test_cells_are_those_of_all_tables_once():
    planned = plan(tables=PLANES)
    points = {(c.labels["torch"], c.labels["turbine"], c.labels["compiler"]) for c in planned.cells}
    assert len(planned.cells) == len(points) == 3 * 3 + 3 * 3 - 3
    assert {torch for torch, turbine, _ in points if turbine == "3.0.0"} == {"2.9.1"}


def test_each_table_shows_its_plane_whole():
    by_turbine, by_torch = squares(report(plan(tables=PLANES), lambda _: "a"))
    assert (by_turbine.row_axis, by_turbine.rows, by_torch.row_axis, by_torch.rows) == (
        *("turbine", TURBINES),
        *("torch", TORCHES),
    )
    assert {mark_of(each.run, cell) for each in (by_turbine, by_torch) for cell in each.cells.values()} == {"ok"}
    assert len(by_turbine.cells) == len(by_torch.cells) == 9
    assert "torch 2.9.1" in by_turbine.title and "turbine 3.9.0" in by_torch.title


CROSS = """
format = 1
name = "cross"
question = "Who writes what?"
[axes]
front_end = ["turbine", "onnx-dynamo"]
torch = "2.9.1"
turbine = "3.9.0"
compiler = ["3.7.0", "3.10.0"]
runtime = "= compiler"
"""


def test_other_front_ends_have_their_names_and_no_release_of_turbine(tmp_path):
    spec = tmp_path / "cross.toml"
    spec.write_text(CROSS)
    planned = plan_of(Question(preset=str(spec)))
    reference = {"input_0.npy": "i", "expected_0.npy": "expected_0.npy"}
    made = {
        "export": {"module.mlir": "mlir", **reference},
        "onnx-export": {"model.onnx": "onnx", **reference},
        "import": {"module.mlir": "other"},
    }

    def ended(node: Node) -> JobResult:
        files = made.get(node.stage)
        outputs = files and [Artifact(name=name, digest=digest, size=1) for name, digest in files.items()]
        return result(node.stage, outputs=outputs)

    told = report_of(planned, [ended(node) for node in planned.nodes], {"expected_0.npy": npy(1)})
    assert [group.words for group in groups(told)] == [
        "linear: torch 2.9 with turbine 3.9.0 writes MLIR that no other writes (sha256 mlir)",
        "linear: torch 2.9 with front_end onnx-dynamo writes MLIR that no other writes (sha256 other)",
    ]
    (words,) = portability(told)
    assert (
        "all 4 pairs of exporter and compiler compile (compiler older than turbine 1 of 1, newer than turbine" in words
    )
