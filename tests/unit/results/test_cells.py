"""From what a run knows to one judged record a cell."""

from __future__ import annotations

import io
import json
import math

import numpy
import pytest
from reports import ONE, PASSED, npy, report_of
from samples import REFUSED, STAGES, plan_of, result

from matrix.core.records import Artifact, JobResult, Outcome
from matrix.plan.graph import NodeState
from matrix.plan.stages import kinds
from matrix.results.files import parse_run
from matrix.results.formats import run_as_json, totals
from matrix.results.run import Cell, Run
from matrix.results.signatures import READ_LOG, signature_of
from matrix.results.square import mark_of, words_of
from matrix.run.judging import Judge


def only_cell(*results: JobResult | None, files: dict[str, bytes] | None = None, body: str = ONE) -> Cell:
    (cell,) = report_of(plan_of(body), list(results), files).cells
    return cell


def test_passed():
    cell = only_cell(*PASSED, files={"expected_0.npy": npy(1)})
    assert (cell.outcome, cell.stage, cell.words, cell.said) == (Outcome.PASSED, "run", "passed", "")
    assert cell.comparison.equal
    run = report_of(plan_of(ONE), list(PASSED), {"expected_0.npy": npy(1)})
    assert [job.stage for job in run.jobs_of(run.cells[0])] == list(STAGES)
    assert [job.lock.partition("/")[0] for job in run.jobs_of(run.cells[0])] == ["exporter", "compiler", "runtime"]


@pytest.mark.parametrize(
    ("array", "said"),
    [
        ([math.nan, 1.0], "output 0: the reference itself holds 1 NaN of 2"),
        ([complex(1.0, math.nan)], "output 0: the reference itself holds 1 NaN of 1"),
    ],
)
def test_nan_never_passes_not_even_where_the_bytes_are_equal(array, said):
    """The outputs have the digest of the expected ones: they passed without being read."""
    stream = io.BytesIO()
    numpy.save(stream, numpy.asarray(array, "complex64" if isinstance(array[0], complex) else "float32"))
    cell = only_cell(*PASSED, files={"expected_0.npy": stream.getvalue()})
    assert cell.outcome is Outcome.WRONG_OUTPUT
    assert cell.said.startswith(said)


def exported(**record: object) -> dict[str, object]:
    names = ("module.mlir", "export.json", "input_0.npy", "expected_0.npy")
    left = [Artifact(name=name, digest=name, size=1) for name in names]
    return {"result": result("export", outputs=left), "files": {"export.json": json.dumps(record).encode()}}


def moving(moved: float, **more: object) -> Cell:
    rows = [{"name": "expected_0.npy", "dtype": "float32", "moved": moved}]
    given = exported(outputs=rows, **more)
    return only_cell(given["result"], *PASSED[1:], files=given["files"])


def test_a_pass_of_outputs_that_do_not_depend_on_the_inputs_is_degenerate():
    cell = moving(2e-9)
    assert (cell.outcome, cell.words, cell.right) == (Outcome.PASSED, "passed, degenerate", False)
    run = Run(cells=(cell,), last_stage="run")
    assert (mark_of(run, cell), totals(run)) == ("dg", "1 cell: 1 passed; 1 of the passed ones are degenerate")
    assert "hardly depend on its inputs" in words_of(cell)
    assert moving(0.5).right
    assert (moving(0.5).words, mark_of(run, moving(0.5))) == ("passed", "ok")


def test_where_the_movement_is_not_known_the_cell_says_so():
    cell = moving(0.5, unmoved="the model raised ValueError in /somewhere/of/mine.py")
    assert cell.right
    assert cell.movement.unknown == "the model raised ValueError in …/mine.py"
    given = report_of(plan_of("[axes]\nmodel = 'given'\ncompiler = '3.0.0'\nruntime = '3.0.0'\n"), list(PASSED[1:]))
    assert (given.cells[0].movement, given.cells[0].right) == (None, True)


def test_the_movement_is_kept_in_a_results_file():
    given = exported(outputs=[{"name": "expected_0.npy", "dtype": "float32", "moved": 0.0}])
    run = report_of(plan_of(ONE), [given["result"], *PASSED[1:]], given["files"])
    again = parse_run(json.loads(run_as_json(run)), source=run.source)
    assert again == run
    assert again.cells[0].degenerate


def test_a_run_without_expected_outputs_passes_and_is_not_compared():
    exported = result("export", outputs=[Artifact(name="module.mlir", digest="m", size=1)])
    cell = only_cell(exported, PASSED[1], result("run", outputs=[]))
    assert (cell.outcome, cell.words, cell.compared) == (Outcome.PASSED, "passed, not compared", False)
    assert "no expected outputs" in cell.said


def test_wrong_output():
    run = result(outputs=[Artifact(name="output_0.npy", digest="mine", size=1)])
    cell = only_cell(*PASSED[:2], run, files={"expected_0.npy": npy(1), "mine": npy(2)})
    assert (cell.outcome, cell.words) == (Outcome.WRONG_OUTPUT, "wrong_output at run")
    assert cell.said == "output 0: worst at [0]: 2.0, expected 1.0, scale 1"


def test_a_pair_of_outputs_is_read_once():
    plan, read = plan_of("[axes]\ncompiler = '3.0.0'\nruntime = ['2.9.0', '3.0.0']\n"), []

    def blob(digest: str) -> bytes:
        read.append(digest)
        return npy(1)

    mine = [Artifact(name="output_0.npy", digest="mine", size=1)]
    states = [
        NodeState(result=result(node.stage, outputs=mine if node.stage == "run" else None)) for node in plan.nodes
    ]
    report = Judge(plan, states, blob, {}).run()
    assert report.counts() == {Outcome.PASSED: 2}
    assert len(read) == 2


def test_an_import_that_ends_without_a_word():
    quiet = signature_of(result("import", Outcome.FAILED, exit_code=0))
    assert (quiet.name, quiet.next_step) == ("no-output", READ_LOG)
    assert signature_of(result("export", Outcome.FAILED, exit_code=0)).next_step == kinds()["export"].quiet


@pytest.mark.parametrize(
    ("run", "outcome", "signature", "message"),
    [
        (
            result(outcome=Outcome.FAILED, log="bytecode version mismatch; runtime supports 17.0, module has 15.0"),
            Outcome.FAILED,
            "vm-bytecode-version",
            "bytecode version mismatch; runtime supports 17.0, module has 15.0",
        ),
        (result(outcome=Outcome.FAILED, log="new error"), Outcome.FAILED, "unrecognised", "new error"),
        (
            result(outcome=Outcome.FAILED, exit_code=0),
            Outcome.FAILED,
            "no-output",
            "the job ended with exit code 0 and wrote not all of its outputs",
        ),
        (
            result(outcome=Outcome.FAILED, exit_code=7, log=" \n"),
            Outcome.FAILED,
            "no-output",
            "the job ended with exit code 7 and printed nothing",
        ),
        (
            result(outcome=Outcome.CRASHED, end="signalled", signal=11, log="Stack dump"),
            Outcome.CRASHED,
            "signal-11",
            "killed by signal 11; Stack dump",
        ),
        (
            result(outcome=Outcome.CRASHED, end="signalled", signal=6, log="LLVM ERROR: out of memory"),
            Outcome.CRASHED,
            "llvm-error",
            "LLVM ERROR: out of memory",
        ),
        (result(outcome=Outcome.TIMED_OUT, end="timed_out"), Outcome.TIMED_OUT, "time-limit", "ended after 0.5 s"),
        (
            result(outcome=Outcome.OUT_OF_MEMORY, log="can't allocate memory: you tried to allocate 9 bytes"),
            Outcome.OUT_OF_MEMORY,
            "python-memory",
            "can't allocate memory: you tried to allocate 9 bytes",
        ),
        (
            result(outcome=Outcome.OUT_OF_MEMORY, end="out_of_memory"),
            Outcome.OUT_OF_MEMORY,
            "memory-limit",
            "ended at 0 MiB",
        ),
    ],
)
def test_how_a_run_can_end(run, outcome, signature, message):
    judged = report_of(plan_of(ONE), [*PASSED[:2], run])
    (cell,) = judged.cells
    assert (cell.outcome, cell.stage, cell.signature, cell.said) == (outcome, "run", signature, message)
    assert cell.words == f"{outcome} at run: {signature}"
    assert judged.next_step(signature)


def test_a_cell_ends_at_its_first_stage_that_fails():
    cell = only_cell(PASSED[0], result("compile", Outcome.FAILED, log="x.mlir:1:1: error: no"), None)
    assert (cell.stage, cell.words) == ("compile", "failed at compile: compile-error")
    assert len(cell.jobs) == 2


def test_without_a_result_a_cell_is_untested():
    cell = only_cell(PASSED[0], None, None)
    assert (cell.outcome, cell.stage, cell.reason) == (
        Outcome.UNTESTED,
        "compile",
        "compile is planned, not run yet",
    )
    assert cell.said == cell.reason


def test_a_refused_lock_and_an_excluded_cell_keep_their_reasons():
    refused = only_cell(*PASSED[:2], None, body=f"[axes]\ncompiler = '3.0.0'\nruntime = '{REFUSED}'\n")
    assert (refused.outcome, refused.reason) == (Outcome.NOT_INSTALLABLE, "no wheel for this Python")
    body = "[axes]\ncompiler = '3.0.0'\nruntime = ['2.9.0', '3.0.0']\n"
    plan = plan_of(body + "[[exclude]]\nwhen = { runtime = '2.9.0' }\nreason = 'known'\n")
    excluded, untested = report_of(plan, [None] * 3).cells
    assert (excluded.outcome, excluded.reason, excluded.stage) == (Outcome.EXCLUDED, "known", "")
    assert untested.outcome is Outcome.UNTESTED


def test_a_given_model_is_compared_with_its_own_outputs():
    plan = plan_of("[axes]\nmodel = 'given'\ncompiler = '3.0.0'\nruntime = '3.0.0'\n")
    report = report_of(plan, [result("compile"), result()], {"expected_0.npy": npy(1)})
    assert report.cells[0].outcome is Outcome.PASSED


def test_compile_only_passes_without_a_comparison():
    cell = only_cell(*PASSED[:2], body="stages = ['export', 'compile']\n" + ONE)
    assert (cell.outcome, cell.stage, cell.comparison) == (Outcome.PASSED, "compile", None)


def test_counts_account_for_every_cell_in_the_order_of_the_set():
    plan = plan_of("[axes]\ncompiler = '3.0.0'\nruntime = ['2.9.0', '3.0.0', '3.7.0']\n")
    results = [*PASSED[:2], None, result(outcome=Outcome.FAILED), PASSED[2]]
    counts = report_of(plan, results, {"expected_0.npy": npy(1)}).counts()
    assert list(counts.items()) == [(Outcome.PASSED, 1), (Outcome.FAILED, 1), (Outcome.UNTESTED, 1)]
    assert sum(counts.values()) == len(plan.cells)
