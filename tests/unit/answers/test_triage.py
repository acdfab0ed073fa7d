"""The report on a release: triage of cells, costs by significance, an issue to paste; on published runs, and on runs in
which single cells were changed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from matrix.answers.costs import cost_changes
from matrix.answers.differences import release_pairs, run_pairs
from matrix.answers.releases.report import report_lines
from matrix.answers.releases.triage import Triage, Triaged, significance, significant, triage
from matrix.cli.main import main
from matrix.core.errors import UsageError
from matrix.core.keys import sha256
from matrix.core.records import Outcome
from matrix.results.files import read_run
from matrix.results.judge import Attempt
from matrix.results.run import Cell, FinishedJob, Run

RESULTS = Path(__file__).parents[3] / "results"
PORTABILITY = RESULTS / "portability.json"


@pytest.fixture(scope="module")
def run() -> Run:
    return read_run(PORTABILITY)


def changed(run: Run, job: Callable[[FinishedJob], FinishedJob], **more: object) -> Run:
    """The run, with the last cell that passes given another end. Its last job becomes what `job` makes of it."""
    cell = next(each for each in reversed(run.cells) if each.passed)
    cells = tuple(replace(each, **more) if each is cell else each for each in run.cells)
    key = cell.jobs[-1]
    return replace(run, cells=cells, jobs={**run.jobs, key: job(run.jobs[key])})


def crashed(*attempts: str) -> Callable[[FinishedJob], FinishedJob]:
    """A job that ended with a signal, after attempts that ended so."""
    made = tuple(Attempt(status=status, seconds=1.0, cpu_seconds=1.0) for status in attempts)
    return lambda job: replace(job, outcome=Outcome.CRASHED, end="signal", signal=11, exit_code=-11, attempts=made)


CRASH = {"outcome": Outcome.CRASHED, "stage": "run", "comparison": None}


def only(found: Triaged, kind: Triage) -> Cell:
    ((cell,),) = [group.cells for group in found.of(kind)]
    return cell


def test_every_cell_of_two_releases_is_in_one_part(run):
    """Against the raw file."""
    ends = {
        compiler: {
            cell["axes"]["runtime"]: (cell["outcome"], cell["signature"])
            for cell in json.loads(PORTABILITY.read_text())["cells"]
            if cell["axes"]["compiler"] == compiler
        }
        for compiler in ("3.9.0", "3.10.0")
    }
    pairs = [(old, ends["3.10.0"][runtime]) for runtime, old in ends["3.9.0"].items()]
    found = triage(release_pairs([run], "compiler", "3.9.0", "3.10.0"))
    assert found.count(Triage.NEW) == sum(old[0] == "passed" != new[0] for old, new in pairs) == 2
    assert found.count(Triage.REPAIRED) == sum(new[0] == "passed" != old[0] for old, new in pairs) == 1
    both = [(old, new) for old, new in pairs if "passed" not in (old[0], new[0])]
    assert found.count(Triage.STILL) == sum(old == new for old, new in both)
    assert found.count(Triage.DIFFERENT) == sum(old != new for old, new in both)
    assert found.passing == sum(old[0] == new[0] == "passed" for old, new in pairs)
    assert sum(map(found.count, Triage)) + found.passing + found.alone == len(pairs) == 15


def test_a_group_names_the_first_stage_that_differs_and_what_confirms_it(run):
    (group,) = triage(release_pairs([run], "compiler", "3.9.0", "3.10.0")).accused
    assert (group.stage, group.after, group.confirmed) == ("run", "failed at run: vm-bytecode-version", 2)
    assert {each.why for each in group.cells} == {"its message is one that a signature knows"}
    assert all(each.together for each in group.cells)


def test_a_failure_at_an_earlier_stage_is_the_one_that_differs(run):
    worse = changed(run, lambda job: job, outcome=Outcome.FAILED, stage="compile", signature="unknown-flag")
    (group,) = triage(run_pairs(run, worse)).of(Triage.NEW)
    assert group.stage == "compile"
    before = replace(run, cells=tuple(replace(each, stage="run") for each in run.cells))
    failing = next(each for each in before.cells if each.outcome.red)
    cells = tuple(replace(each, stage="compile") if each is failing else each for each in before.cells)
    (group,) = triage(run_pairs(before, replace(before, cells=cells))).of(Triage.DIFFERENT)
    assert group.stage == "compile"


@pytest.mark.parametrize(
    ("attempts", "confirmed", "why"),
    [
        ((), False, "one attempt, and no signature knows its message: measure it again"),
        (("signal 11",), True, "2 attempts ended alike"),
        (("exited 1",), False, "2 attempts ended differently"),
    ],
)
def test_nothing_is_accused_that_was_not_retried(run, attempts, confirmed, why):
    found = triage(run_pairs(run, changed(run, crashed(*attempts), **CRASH)))
    cell = only(found, Triage.NEW)
    assert (cell.confirmed, cell.why) == (confirmed, why)
    assert bool(found.accused) == confirmed
    text = "\n".join(report_lines("x", found, ()))
    assert why in text and ("--again`" in text) == (not confirmed)


def test_a_flaky_cell_is_no_new_failure(run):
    found = triage(run_pairs(run, changed(run, lambda job: job, outcome=Outcome.FLAKY)))
    assert only(found, Triage.FLAKY).after.outcome is Outcome.FLAKY
    assert found.count(Triage.NEW) == 0 and found.accused == []


def test_ends_of_two_runs_or_two_machines_are_said_to_be_so(run):
    worse = changed(run, crashed("signal 11"), **CRASH)
    assert not only(triage(run_pairs(run, worse)), Triage.NEW).together
    text = "\n".join(report_lines("x", triage(run_pairs(run, worse)), ()))
    assert "both ends are of one run on one machine for 0 of 1 cells: measure the rest so" in text


def test_costs_are_sorted_by_their_significance():
    performance = read_run(RESULTS / "performance.json")
    changes = cost_changes([performance], "compiler", "3.7.0", "3.8.0")
    found = significant(changes)
    assert [significance(each) for each in found] == sorted((significance(each) for each in found), reverse=True)
    assert all(significance(each) > 0.99 for each in found)
    (slower,) = [each for each in found if each.measure.name == "latency" and each.place == "mobilenet_v2"]
    assert 3.4 < slower.ratio < 3.6
    assert significance(slower) == pytest.approx(math.log(slower.ratio) / math.log(slower.noise_floor))


def steps(text: str) -> list[str]:
    return text.split("## Steps to reproduce")[1].split("```\n")[1].splitlines()


def test_an_issue_has_all_that_its_reader_needs(capsys):
    assert main(["diff", "compiler", "3.9.0", "3.10.0", "--results", str(PORTABILITY), "--issue"]) == 1
    text = capsys.readouterr().out
    assert text.startswith("# compiler 3.10.0: failed at run: vm-bytecode-version (passed with compiler 3.9.0)\n")
    assert "runtime supports 15.0, module has 16.0" in text.split("## What happens")[1].split("## What was")[0]
    assert "the same, it passes, in the same run on the same machine" in text
    assert steps(text) == [
        "python -m matrix export linear --python 3.11 --torch 2.9.1 --turbine 3.9.0 --arrays -o module.mlir",
        "mv module.expected_0.npy expected_0.npy",
        "mv module.input_0.npy input_0.npy",
        "python3.11 -m venv compiler && compiler/bin/pip install iree-base-compiler==3.10.0",
        "compiler/bin/iree-compile module.mlir -o module.vmfb --iree-hal-target-backends=llvm-cpu "
        "--iree-llvmcpu-target-cpu=x86-64-v3",
        "python3.11 -m venv runtime && runtime/bin/pip install iree-base-runtime==3.8.0",
        "runtime/bin/iree-run-module --module=module.vmfb --function=main --input=@input_0.npy --output=@output_0.npy "
        "--device=local-sync",
    ]
    assert "sha256 `3976d656cd0cd21a2ec6616dcc167787f2a2de99d05acc3b489c991cd045ea2d`" in text
    assert "2 of the measured combinations: runtime 3.8 to 3.9" in text


def test_an_issue_names_each_file_that_its_commands_read_by_its_digest(capsys):
    """Of a model that is MLIR: nothing makes it there, so it and its input are attached."""
    assert main(["diff", "runtime", "3.10.0", "3.11.0", "--results", str(RESULTS / "history.json"), "--issue"]) == 1
    text = capsys.readouterr().out
    steps = text.partition("## Steps to reproduce")[2].partition("## Also affected")[0]
    modules = RESULTS.parent / "matrix" / "data" / "modules"
    for name, file in (("module.mlir", "affine.mlir"), ("input_0.npy", "affine.input_0.npy")):
        assert name in steps.partition("Please attach")[0]
        assert f"Please attach `{name}` (sha256 `{sha256(modules / file)}`)" in steps
    assert "Please attach `module.vmfb`" not in steps  # a command makes it


def test_what_costs_more_is_an_issue_too(capsys):
    words = ["diff", "compiler", "3.7.0", "3.8.0", "--results", str(RESULTS / "performance.json"), "--issue"]
    assert main([*words, "2"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("# compiler 3.8.0: mobilenet_v2: latency 3.5 times slower (51.9 ms -> 181 ms)\n")
    assert "the noise floor of the run is 13.6 %" in text
    assert "compiler/bin/pip install iree-base-compiler==3.8.0" in text
    assert main([*words, "9"]) == UsageError.exit_code
    assert "--issue: read 9, expected 1 to 3" in capsys.readouterr().err


def test_without_anything_worse_there_is_no_issue(capsys):
    assert main(["diff", str(PORTABILITY), str(PORTABILITY), "--issue"]) == 0
    assert capsys.readouterr().out.startswith("nothing to report: no new failure is confirmed")


def test_the_last_release_and_the_one_before_it(capsys):
    """As the workflow asks for them, with its own words."""
    workflow = (RESULTS.parent / ".github" / "workflows" / "pages.yml").read_text()
    words = "previous latest --results results/portability.json --report"
    assert f'python -m matrix diff "$axis" {words}' in workflow
    assert main(["diff", "compiler", *words.replace("results/portability.json", str(PORTABILITY)).split()]) == 0
    assert capsys.readouterr().out.startswith("# compiler 3.13.0, compared with compiler 3.12.0\n")
    assert main(["diff", "compiler", "previous", "2.9.0", "--results", str(PORTABILITY)]) == UsageError.exit_code
    assert "read 'previous', and no release before 2.9.0" in capsys.readouterr().err


def test_the_days_of_both_ends_are_said(run):
    key = next(cell for cell in run.cells if cell.axes["compiler"] == "3.9.0" and cell.passed).jobs[-1]
    older = replace(run.jobs[key], finished_at="2026-10-01T10:00:00Z")
    found = triage(release_pairs([replace(run, jobs={**run.jobs, key: older})], "compiler", "3.9.0", "3.10.0"))
    text = "\n".join(report_lines("x", found, ()))
    assert "one machine, measured 2026-11-21" in text
    assert "one machine, the baseline measured 2026-10-01 to 2026-11-21, it 2026-11-21" in text


def test_the_report_of_the_command_line(capsys):
    assert main(["diff", "compiler", "3.9.0", "3.10.0", "--results", str(PORTABILITY), "--report"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "# compiler 3.10.0, compared with compiler 3.9.0"
    assert lines[2].startswith("2 new failures, 9 fail differently, 0 flaky, 1 repaired, ")
    assert lines.index("## New failures") < lines.index("## Fail differently") < lines.index("## Repaired")
    assert "- confirmed: its message is one that a signature knows" in lines
    assert main(["diff", "compiler", "3.7.0", "3.8.0", "--report"]) == 0
    text = capsys.readouterr().out
    assert "| 9.8 | mobilenet_v2 | latency | 3.5 times slower (51.9 ms -> 181 ms) |" in text
