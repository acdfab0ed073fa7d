"""The words of `bisect`: which line they mean, and what is said of where it turns."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest
from local_wheels import local_wheel
from packaging.tags import sys_tags
from reports import report_of
from samples import plan_of as small_plan
from samples import result

from matrix.answers.compiling.figures import figure_of
from matrix.cli.bisect import line_of, line_question, note_published
from matrix.cli.main import main
from matrix.cli.searches.turning import Search, _with, answer_lines
from matrix.core.data import default_store
from matrix.core.errors import NoAnswer, UsageError
from matrix.core.records import JobResult, Outcome
from matrix.plan.graph import Plan
from matrix.plan.question import Question
from matrix.results.files import parse_run
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
    whole = line("compiler")[1]
    assert line("compiler", good="3.13.0")[1] == line("compiler", bad="2.9.0")[1] == whole, "what is mended since when"


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


@pytest.fixture
def nightly(tmp_path: Path) -> Path:
    """Nightly builds of both packages, and one of the compiler alone."""
    tag = next(f"py3-none-{tag.platform}" for tag in sys_tags() if tag.platform != "any")
    for day in range(1, 8):
        for name in ("iree-base-compiler", "iree-base-runtime"):
            local_wheel(tmp_path, name, f"3.13.0rc2026100{day}", {}, tag=tag)
    local_wheel(tmp_path, "iree-base-compiler", "3.13.0rc20261009", {}, tag=tag)
    return tmp_path


def nightly_line(folder: Path, axis: str, **axes: tuple[str, ...]) -> Search:
    question = line_question(Question(models=(str(GIVEN),), axes=axes, find_links=(str(folder),)), axis)
    plan = plan_of(question)
    return Search(plan=plan, axis=axis, order=line_of(plan, axis, "3.11.0", "3.13.0"))


@pytest.mark.parametrize("axis", ["compiler", "runtime"])
def test_nightly_builds_of_both_are_on_the_line(nightly, axis):
    search = nightly_line(nightly, axis)
    nightlies = [f"3.13.0rc2026100{day}" for day in range(1, 8)]
    assert search.order == ("3.11.0", "3.12.0", *nightlies, "3.13.0")
    assert "runtime = compiler" in _with(search) or "compiler = runtime" in _with(search)


def test_those_of_one_axis_beside_another_release(nightly):
    search = nightly_line(nightly, "compiler", runtime=("3.12.0",))
    assert len(search.order) == 11


def test_a_line_of_ones_own_has_no_more(nightly):
    assert nightly_line(nightly, "compiler", compiler=("3.11.0", "3.12.0", "3.13.0")).order[1:-1] == ("3.12.0",)


@pytest.mark.parametrize("first_bad", range(1, 10))
def test_releases_come_first_and_nightly_builds_between_two(nightly, first_bad):
    search, known = nightly_line(nightly, "runtime"), searched("+---+").cells
    good, bad = known["2.9.0"], known["3.0.0"]
    asked: list[str] = []
    while labels := search.missing:
        asked += labels
        search.cells |= {label: bad if search.order.index(label) >= first_bad else good for label in labels}
    assert set(asked[:3]) == {"3.11.0", "3.12.0", "3.13.0"}
    assert {search.order[first_bad - 1], search.order[first_bad]} <= set(asked)
    assert len(asked) <= 3 + 3
    assert first_bad > 1 or asked[3:] == []


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


def counted(*dispatches: int | None) -> str:
    """The answer over the number of dispatches of five releases; None: the compiler did not say it."""
    search = searched("+++++")
    for label, number in zip(ORDER, dispatches, strict=True):
        run, cell = search.cells[label]
        found = {} if number is None else {"dispatch_count": number}
        jobs = {key: replace(job, measurements=found) for key, job in run.jobs.items()}
        search.cells[label] = (replace(run, jobs=jobs), cell)
    options = Namespace(results=[], good="", bad="3.10", store=default_store(), engine="venv", axis="runtime", only=[])
    return "\n".join(answer_lines(replace(search, figure=figure_of("dispatches")), options))


def said(marks: str, *, good: str = "", bad: str = "") -> str:
    options = Namespace(results=[], good=good, bad=bad, store=default_store(), engine="venv", axis="runtime", only=[])
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
    assert "it fails differently at 3.7.1: crashed at run: signal-11" in text


def test_where_both_ends_fail_differently_both_failures_are_said():
    text = said("--?xx").replace(" of those that can be measured; 3.0.0 is the last before it that could be", "")
    assert text.startswith("runtime 3.7.1 is the first that fails differently; none that was measured passes\n")
    assert "3.0.0: failed at run: vm-bytecode-version" in text and "3.7.1: crashed at run: signal-11" in text
    assert "3.0.0: the module's VM bytecode" in text and "3.7.1: killed by signal 11" in text
    assert "why --preset small.toml runtime=3.7.1" in text and "why --preset small.toml runtime=3.0.0" in text


def test_a_pass_between_two_failures_is_found():
    text = said("-+?xx")
    assert text.startswith("runtime 3.0.0 is the first that passes\n")
    assert "it turns again: 3.0.0 passes, 3.7.1 fails" in text


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


def test_the_first_release_with_another_figure():
    text = counted(3, 3, 1, 1, 2)
    assert text.startswith("runtime 3.7.0 is the first that changes dispatches 3 to dispatches 1\n")
    assert "3.0.0: dispatches 3" in text
    assert "it turns again: 3.7.1 has dispatches 1, 3.10.0 has dispatches 2" in text
    assert "fails" not in text and "why --preset small.toml runtime=3.7.0" in text


def test_a_release_without_the_figure_leaves_a_range():
    assert "those that can be measured; 3.0.0 is the last" in counted(3, 3, None, 1, 1)


def test_a_figure_that_is_the_same_everywhere_does_not_turn():
    with pytest.raises(NoAnswer, match=r"2\.9\.0 \(dispatches 3\) and 3\.10\.0 \(dispatches 3\) end alike"):
        counted(3, 3, 3, 3, 3)


def test_a_figure_that_no_compiler_has(capsys):
    assert main(["bisect", "--axis", "compiler", "--by", "dispatch"]) == 2
    assert "did you mean 'dispatches'" in capsys.readouterr().err


RESULTS = Path(__file__).parents[3] / "results"


def test_cells_of_published_runs_count_as_measured(tmp_path, capsys):
    """All of them are published, so nothing is run, installed or looked up."""
    words = ["bisect", "--model", "yolox_nano", "--axis", "compiler", "--store", str(tmp_path / "store")]
    assert main([*words, "--results", str(RESULTS / "models.json")]) == 0
    said = capsys.readouterr().out
    assert said.startswith("compiler 3.9.0 is the first that passes\n")
    assert "known of 15 of 15 values" in said and "15 values of published runs" in said and "0 jobs run" in said
    assert f"--results {RESULTS / 'models.json'} compiler=3.8.0" in said
    assert not list((tmp_path / "store").glob("environments/*"))


def test_published_cells_of_another_question_do_not_count(tmp_path):
    """Those of another flag, target or model."""
    published = parse_run(json.loads((RESULTS / "models.json").read_text(encoding="utf-8")), source="x")
    plan = plan_of(line_question(Question(preset="models", only=("model=linear",)), "compiler"))
    search = Search(plan=plan, axis="compiler", order=line_of(plan, "compiler", "", ""))
    for axis, label in (("flags", "O3"), ("target", "aarch64"), ("model", "llama_2l"), ("torch", "2.8.0")):
        others = [replace(cell, axes={**cell.axes, axis: label}) for cell in published.cells]
        if axis == "model":
            others = [cell for cell in published.cells if cell.axes["model"] != "linear"]
        note_published(search, [replace(published, cells=tuple(others))])
        assert search.cells == {} and search.published == 0, axis
    note_published(search, [published])
    assert search.published == len(search.cells) == 15


def test_published_runs_know_no_model_that_is_a_file(tmp_path, capsys):
    words = ["bisect", "--model", str(GIVEN), "--axis", "compiler", "--store", str(tmp_path / "store")]
    assert main([*words, "--results", str(RESULTS / "models.json")]) == UsageError.exit_code
    assert "expected a shipped one: published runs have names, not files" in capsys.readouterr().err


def test_a_cell_that_passed_is_not_known_before_its_figure_is_measured():
    search = searched("+x   ")
    passed, failed = (search.cells[label] for label in ORDER[:2])
    assert search.counts(*passed) and search.counts(*failed)
    by_phase = replace(search, figure=figure_of("compile-cpu"))
    assert not by_phase.counts(*passed) and by_phase.counts(*failed)
    assert replace(search, figure=figure_of("dispatches")).counts(*passed), "each compile states it"
