"""The archive of published runs: whole, small, found by date, and what a bad file says."""

from __future__ import annotations

import json
import lzma
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from matrix.cli.main import main
from matrix.core.errors import NoAnswer, ResultsFault
from matrix.core.records import Outcome
from matrix.results.files import read_run
from matrix.results.kept.archive import find_kept, keep_run, kept_runs, read_dated, read_kept
from matrix.results.kept.columns import pack, unpack
from matrix.results.run import Run
from matrix.results.written.json_text import run_json

RESULTS = Path(__file__).parents[3] / "results"
DOCUMENTS = some.recursive(
    some.none() | some.booleans() | some.integers() | some.text(max_size=3),
    lambda inner: (
        some.lists(inner, max_size=7)
        | some.dictionaries(some.sampled_from(["a", "b", "$l", "$c", "rows", "columns", ""]), inner, max_size=4)
    ),
    max_leaves=25,
)


@pytest.fixture(scope="module")
def run() -> Run:
    return read_run(RESULTS / "portability.json")


def at(run: Run, date: str, *, machine: str = "") -> Run:
    """The run as if it had been made on another day, or machine."""
    jobs = {
        key: replace(job, finished_at=f"{date}T00:00:00Z", machine=machine or job.machine)
        for key, job in run.jobs.items()
    }
    return replace(run, jobs=jobs)


@given(DOCUMENTS)
@settings(max_examples=200, deadline=None)
def test_what_is_packed_comes_back(document):
    text = json.dumps(pack(document))
    assert unpack(json.loads(text)) == document


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_each_published_run_comes_back_whole_and_small(path, tmp_path):
    run = read_run(path)
    kept, new = keep_run(run, tmp_path)
    assert new and keep_run(run, tmp_path) == (kept, False)
    assert replace(read_kept(kept), source="") == replace(run, source="")
    assert keep_run(read_kept(kept), tmp_path) == (kept, False)
    most = 96_000 if run.profiles else 64_000  # thousands of dispatches, each with numbers of its own
    assert kept.stat().st_size < most and kept.stat().st_size < path.stat().st_size / 8


def test_a_run_is_found_by_its_date(run, tmp_path):
    for date in ("2026-01-05", "2026-03-01", "2026-03-09"):
        keep_run(at(run, date), tmp_path)
    dates = {word: find_kept(f"portability@{word}", tmp_path).date for word in DATES}
    assert dates == DATES
    name = kept_runs(tmp_path)[0].name
    assert find_kept(name, tmp_path).name == name
    assert read_dated(name, tmp_path).date == "2026-01-05"


DATES = {
    "2026-01-05": "2026-01-05",
    "2026-02-20": "2026-01-05",
    "2026-02": "2026-01-05",
    "2026-03": "2026-03-09",
    "2026-03-02": "2026-03-01",
    "latest": "2026-03-09",
}


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("portabilty@latest", "did you mean 'portability'?"),
        ("portability@2025-12-31", "the first run of portability is of 2026-01-05, expected no earlier date"),
        ("portability@yesterday", "read 'yesterday', expected a date such as 2026-01-05, latest, or a name"),
        ("portability@", "read '', expected a date"),
    ],
)
def test_a_run_that_is_not_kept(run, tmp_path, word, told):
    keep_run(at(run, "2026-01-05"), tmp_path)
    with pytest.raises(NoAnswer) as error:
        find_kept(word, tmp_path)
    assert told in str(error.value)


def test_runs_of_two_machines_are_told_apart(run, tmp_path):
    keep_run(at(run, "2026-01-05"), tmp_path)
    keep_run(at(run, "2026-01-05", machine="aarch64, another, 4 cores"), tmp_path)
    with pytest.raises(NoAnswer, match="runs of several machines fit") as error:
        find_kept("portability@latest", tmp_path)
    names = [each.name for each in kept_runs(tmp_path)]
    assert all(name in str(error.value) for name in names) and len(names) == 2
    assert [find_kept(name, tmp_path).name for name in names] == names


def test_a_bad_file_says_what_it_is(run, tmp_path):
    kept, _ = keep_run(run, tmp_path)
    whole = kept.read_bytes()
    newer = lzma.compress(b'{"format": 99, "record": {}}')
    odd = lzma.compress(json.dumps({"format": 1, "record": {"$c": [3, [["a"]]]}}).encode())
    for content, told in (
        (whole[: len(whole) // 2], "it is cut"),
        (b"nothing", "not a kept run"),
        (whole[:-40] + b"x" * 40, "not a kept run"),
        (newer, "read format 99 of the archive, expected at most 1"),
        (lzma.compress(b"[]"), "expected 1"),
        (odd, "not a kept run"),
    ):
        kept.write_bytes(content)
        with pytest.raises(ResultsFault) as error:
            read_kept(kept)
        assert told in str(error.value) and str(kept) in str(error.value)


def test_the_verbs(run, tmp_path, capsys):
    """What was kept on two dates is compared, with what changed though no release did."""
    first = at(run, "2026-01-05")
    passed = next(cell for cell in first.cells if cell.passed)
    worse = replace(passed, outcome=Outcome.FAILED, signature="unknown", message="no")
    key = passed.jobs[-1]
    other = replace(first.jobs[key], environment="f" * 64)
    environments = {**first.environments, other.environment: first.environments[first.jobs[key].environment]}
    environments[other.environment] = replace(environments[other.environment], digest=other.environment)
    second = replace(
        at(replace(first, jobs={**first.jobs, key: other}), "2026-01-12"),
        cells=tuple(worse if cell is passed else cell for cell in first.cells),
        environments=environments,
    )
    for name, each in (("first", first), ("second", second)):
        (tmp_path / f"{name}.json").write_text(run_json(each))
    archive = ["--archive", str(tmp_path / "kept")]
    assert main(["keep", str(tmp_path / "first.json"), str(tmp_path / "second.json"), *archive]) == 0
    assert main(["keep", "--list", *archive]) == 0
    assert "portability@2026-01-12-" in capsys.readouterr().out
    assert main(["diff", "portability@2026-01-05", "portability@latest", *archive]) == 1
    said = capsys.readouterr().out
    assert "1 worse, 0 better, 0 changed, 224 the same" in said
    finding = said.partition("changed without a new release\n")[2]
    assert f"environment {other.lock}: other content from the same lock" in finding
    assert "1 cell: passed -> failed at run: unknown; environment of" in finding
    assert main(["diff", "portability@2026-01-05", "portability@2026-01-05", *archive]) == 0
    assert "changed without a new release" not in capsys.readouterr().out
    assert main(["keep", "--list", str(tmp_path / "first.json"), *archive]) == 2
