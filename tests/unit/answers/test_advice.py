"""`advise` over the committed results: every answer is a combination that they show as passed, and none is guessed."""

from __future__ import annotations

import functools
import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from matrix.answers.advice import KnownCells, find_advice
from matrix.answers.pins.requirements import environments_of, requirements_files, requirements_text
from matrix.cli.main import main
from matrix.core.errors import LockFault, NoAnswer
from matrix.core.records import Outcome
from matrix.plan.locks import pinned_packages
from matrix.results.files import read_run, read_runs, run_files
from matrix.results.run import Run

ROOT = Path(__file__).parents[3]
IMAGES = ROOT / "images"
COMMITTED = ROOT / "results" / "portability.json"
QUESTIONS = tomllib.loads((ROOT / "tests" / "data" / "questions.toml").read_text())["question"]
BASE = {"model": "linear", "python": "3.11", "target": "x86_64"}


@pytest.fixture(scope="module")
def runs() -> tuple[Run, ...]:
    return read_runs(run_files(ROOT / "results"))


@pytest.fixture(scope="module")
def run() -> Run:
    return read_run(COMMITTED)


@functools.cache
def raw_cells() -> list[dict]:
    """IREE's cells as the files have them, not as the reader under test does."""
    cells = [cell for path in (ROOT / "results").glob("*.json") for cell in json.loads(path.read_text())["cells"]]
    return [cell for cell in cells if cell["axes"].get("backend", "iree") == "iree"]


@functools.cache
def fits(term: str, label: str) -> bool:
    """What a term means, written anew from PEP 440: `3.6` is 3.6.0 and 3.6.1, names are themselves."""
    if term == label:
        return True
    try:
        version = Version(label)
    except InvalidVersion:
        return False
    if re.fullmatch(r"[\d.]+", term):
        return version in SpecifierSet(f"=={term}.*")
    return term[0] in "<>=!~" and version in SpecifierSet(term)


def passing(ask: dict[str, str]) -> list[dict[str, str]]:
    """The axes of the cells that answer, each once: two runs may both hold a cell."""
    cells = [(tuple(cell["axes"].items()), cell) for cell in raw_cells()]
    red = {axes for axes, cell in cells if Outcome(cell["outcome"]).red}
    found = {
        axes: cell["axes"]
        for axes, cell in cells
        if cell["outcome"] == "passed" and "comparison" in cell["evidence"] and axes not in red
        if all(fits(term, cell["axes"][axis]) for axis, term in ask.items())
    }
    return list(found.values())


@pytest.mark.parametrize("question", QUESTIONS, ids=[question["why"] for question in QUESTIONS])
def test_an_answer_is_what_the_results_show_as_passed(runs, question):
    right = passing(question["ask"])
    assert bool(right) == question["answered"]
    if not right:
        with pytest.raises(NoAnswer, match="no tested combination passes"):
            find_advice(KnownCells(runs), question["ask"])
        return
    found = find_advice(KnownCells(runs), question["ask"])
    assert dict(found.cell.axes) in right
    releases = [axes for axes in right if fits(">=0", axes["runtime"])]  # a build is no release: its name says nothing
    assert not [axes for axes in releases if Version(axes["runtime"]) > Version(found.cell.axes["runtime"])]
    same = [axes for axes in right if axes["runtime"] == found.cell.axes["runtime"]]
    assert not [axes for axes in same if Version(axes["compiler"]) > Version(found.cell.axes["compiler"])]
    if len(right) > 1:
        assert dict(found.runner_up.axes) in right and found.runner_up.axes != found.cell.axes
    else:
        assert found.runner_up is None


def test_there_are_twenty_questions_and_twelve_have_an_answer():
    assert len(QUESTIONS) >= 20
    assert sum(question["answered"] for question in QUESTIONS) >= 12


def refusal(runs, **ask: str) -> str:
    with pytest.raises(NoAnswer) as caught:
        find_advice(KnownCells(runs), BASE | ask)
    return str(caught.value)


def test_no_answer_names_the_nearest_from_what_was_asked(run):
    text = refusal([run], runtime="3.6", compiler=">=3.8")
    assert "6 of these were tested, none is right:" in text
    assert "compiler 3.8.0 -> 3.7.1 (1 down): runtime 3.6.0" in text
    assert "runtime 3.6.0 -> 3.8.0 (2 up): runtime 3.8.0, compiler 3.9.0" in text


def test_the_nearest_release_is_nearest_beside_builds_too(run):
    """Runtimes that were built have names; they take the releases' order away from nobody."""
    built = replace(run.cells[0], axes={**run.cells[0].axes, "runtime": "zig-3.13"}, outcome=Outcome.FAILED)
    text = refusal([replace(run, cells=(built, *run.cells))], runtime="3.6", compiler=">=3.8")
    assert "runtime 3.6.0 -> 3.8.0 (2 up): runtime 3.8.0, compiler 3.9.0" in text


def test_a_dated_release_is_older_than_any_numbered_one(run):
    """By PEP 440 alone 20241104.1068 would be the newest, and advised."""
    right = next(cell for cell in run.cells if cell.right)
    dated = replace(right, axes={**right.axes, "compiler": "20241104.1068", "runtime": "20241104.1068"})
    both = replace(run, cells=(*run.cells, dated))
    assert find_advice(KnownCells([both]), BASE).cell.axes["runtime"] == "3.13.0"
    assert find_advice(KnownCells([both]), BASE | {"runtime": "20241104"}).cell is dated


def test_an_unknown_value_names_the_known_ones(run):
    assert "no result has model linar; tested: linear; did you mean 'linear'?" in refusal([run], model="linar")
    assert "nothing that passes has model linear, target z80" in refusal([run], target="z80")
    assert "python 9.9 -> 3.11: runtime 3.13.0, compiler 3.13.0" in refusal([run], python="9.9")
    assert "runtime 4.0 -> 3.13.0" in refusal([run], runtime="4.0")


def test_a_model_that_no_pass_has_on_a_target_names_the_nearest_of_both():
    """Of all that is committed: the model on another target, and another model on the target."""
    said = refusal(read_runs(run_files(ROOT / "results")), model="yolox_nano", target="aarch64")
    assert "nothing that passes has model yolox_nano, target aarch64" in said
    nearest = said.partition("nearest that passes:")[2].splitlines()[1:]
    moves = [line.split(":")[0].strip() for line in nearest]
    assert moves == ["model yolox_nano -> linear", "target aarch64 -> x86_64"]


def test_what_was_not_compared_is_no_answer(run):
    cells = tuple(replace(cell, comparison=None) for cell in run.cells)
    with pytest.raises(NoAnswer):
        find_advice(KnownCells([replace(run, cells=cells)]), BASE)


def test_what_another_run_refutes_is_no_answer(run):
    newest = find_advice(KnownCells([run]), BASE).cell
    wrong = replace(newest, outcome=Outcome.WRONG_OUTPUT)
    found = find_advice(KnownCells([run, replace(run, cells=(wrong,))]), BASE)
    assert found.cell.axes != newest.axes
    assert found.cell.right


def test_other_models_with_the_same_releases_are_told(run):
    newest = find_advice(KnownCells([run]), BASE).cell
    good = replace(newest, axes={**newest.axes, "model": "good"})
    bad = replace(newest, axes={**newest.axes, "model": "bad"}, outcome=Outcome.WRONG_OUTPUT)
    absent = replace(newest, axes={**newest.axes, "model": "absent"}, outcome=Outcome.UNTESTED)
    found = find_advice(KnownCells([replace(run, cells=(*run.cells, good, bad, absent))]), BASE)
    assert (found.also_right, found.wrong, found.unmeasured) == (("good",), ("bad (wrong_output at run)",), ("absent",))


# -- requirements


def test_requirements_hold_the_wheels_that_were_tested(run):
    cell = find_advice(KnownCells([run]), BASE).cell
    environments = environments_of(run, cell, IMAGES)
    assert [each.request.kind for each in environments] == ["exporter", "compiler", "runtime"]
    tools, exporter = requirements_files(environments)
    assert (tools.name, exporter.name) == ("runtime-compiler", "exporter")  # the exporter holds another IREE
    text = requirements_text(tools, heading=["two\nlines"], name="requirements.txt")
    assert text.startswith("# two lines\n# Python 3.11, x86_64: python3.11 -m pip install --require-hashes -r req")
    for job, each in zip(run.jobs_of(cell), environments, strict=True):
        tested = run.environments[job.environment].distributions
        assert len(each.packages) == len(tested)
        assert (
            each.versions.items() <= {re.sub("[-_.]+", "-", name).lower(): got for name, got in tested.items()}.items()
        )
    for package in tools.environments[0].packages:
        assert f"\n{package.name}=={package.version} \\\n    --hash=sha256:{min(package.hashes)}" in text


def test_what_a_requirements_file_says_is_what_a_lock_says(run, tmp_path):
    """Read back by the reader of locks: the same packages with the same hashes."""
    cell = find_advice(KnownCells([run]), BASE).cell
    tools = requirements_files(environments_of(run, cell, IMAGES))[0]
    path = tmp_path / "requirements.txt"
    path.write_text(requirements_text(tools, heading=[], name=path.name))
    lock = replace(tools.locks[0], path=path)
    again = {package.name: package for package in pinned_packages(lock, python="3.11", machine="x86_64")}
    assert again == {package.name: package for each in tools.environments for package in each.packages}


def test_one_file_where_all_three_fit(run):
    cell = find_advice(KnownCells([run]), BASE | {"compiler": "3.9", "runtime": "3.9"}).cell
    (file,) = requirements_files(environments_of(run, cell, IMAGES))
    assert file.name == "runtime-compiler-exporter"


def rewritten(run: Run, numpy: str) -> Run:
    """The run as if its locks had other bytes, and its environments another numpy."""
    jobs = {key: replace(job, lock_sha256="0" * 64) for key, job in run.jobs.items()}
    environments = {
        digest: replace(each, distributions={**each.distributions, "numpy": numpy or each.distributions["numpy"]})
        for digest, each in run.environments.items()
    }
    return replace(run, jobs=jobs, environments=environments)


def test_a_lock_that_was_written_anew_holds_while_its_versions_do(run):
    wanted = BASE | {"compiler": "2.9", "runtime": "2.9"}  # its wheel says 2.9.0rc20241108
    cell = find_advice(KnownCells([run]), wanted).cell
    assert len(environments_of(rewritten(run, ""), cell, IMAGES)) == 3
    with pytest.raises(LockFault, match=r"numpy [\d.]+, tested 1\.0"):
        environments_of(rewritten(run, "1.0"), cell, IMAGES)


def test_the_verb_writes_the_files_and_says_which(tmp_path, capsys):
    output = tmp_path / "new" / "requirements.txt"
    words = ["advise", "--model", "linear", "--python", "3.11", "--target", "x86_64", "--results", str(COMMITTED)]
    assert main([*words, "-o", str(output)]) == 0
    out = capsys.readouterr().out
    for word in (
        "pin           runtime 3.13.0, compiler 3.13.0",
        "runner-up",
        "iree-matrix/compiler:3.13.0-py3.11 sha256:",
    ):
        assert word in out
    assert "iree-base-runtime==3.13.0" in output.read_text()
    assert "torch==2.9.1" in (output.parent / "requirements-exporter.txt").read_text()
    assert main([*words, "--runtime", "3.6", "--compiler", "3.13"]) == 1
    assert "nearest that passes" in capsys.readouterr().err
    assert main([*words, "-o", str(tmp_path)]) == 2


def test_a_runtime_that_was_built_is_advised_by_its_name_and_has_no_wheel(capsys):
    armv6 = COMMITTED.with_name("armv6.json")
    assert main(["advise", "--model", "mobilenet_v2", "--target", "armv6", "--results", str(armv6)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^pin +runtime zig-3\.13, compiler 3\.13\.0", out, re.MULTILINE)
    assert "route embedded-repaired" in out
    assert re.search(r"^requirements +compiler on Python 3\.11", out, re.MULTILINE)
