"""Two runs beside each other: what differs, and what is explained by name."""

from __future__ import annotations

import copy
import json

import pytest

from matrix.answers import equality
from matrix.answers.equality import Compared, comparison_lines, explanations
from matrix.cli.main import main
from matrix.plan.locks import load_locks
from matrix.results.files import parse_run
from matrix.run.planning import data_root

AXES = {"model": "linear", "compiler": "3.8.0", "runtime": "3.8.0"}


def job(lock: str, artifact: str, digest: str) -> dict:
    ended = {"outcome": "passed", "exit_code": 0, "signal": 0, "seconds": 0.1, "cpu_seconds": 0.1}
    stage = "compile" if lock.startswith("compiler") else "run"
    return {"lock": lock, "artifacts": {artifact: {"sha256": digest, "bytes": 1}}, "stage": stage, **ended}


def compare_runs(before: dict, after: dict) -> Compared:
    return equality.compare_runs(parse_run(before, source="before"), parse_run(after, source="after"))


@pytest.fixture
def run() -> dict:
    evidence = {"jobs": ["a", "b"], "comparison": {"error": 0.0, "tolerance": 0.0, "text": "equal, byte for byte"}}
    cell = {"axes": AXES, "outcome": "passed", "stage": "run", "signature": None, "evidence": evidence}
    jobs = {"a": job("compiler/3.8.0", "module.vmfb", "1" * 64), "b": job("runtime/3.8.0", "output_0.npy", "2" * 64)}
    return {"format": 1, "cells": [cell], "jobs": jobs}


def test_equal_runs_have_no_difference(run):
    compared = compare_runs(run, copy.deepcopy(run))
    assert (compared.cells, compared.artifacts, compared.differences) == (1, 2, ())
    assert list(comparison_lines(compared)) == [
        "1 cell and 2 artifacts compared: 0 differences, 0 more explained by name"
    ]


def test_keys_and_environments_may_differ(run):
    other = copy.deepcopy(run)
    other["jobs"] = {"x": other["jobs"]["a"], "y": other["jobs"]["b"]}
    other["cells"][0]["evidence"]["jobs"] = ["x", "y"]
    assert compare_runs(run, other).differences == ()


def test_the_order_of_cells_pairs_nothing(run):
    """Cells that share a job come in another order, and the axes of a cell too: what is compared is the same."""
    second = {**copy.deepcopy(run["cells"][0]), "axes": {**AXES, "runtime": "3.9.0"}}
    second["evidence"]["jobs"] = ["a", "c"]
    run["cells"].append(second)
    run["jobs"]["c"] = job("runtime/3.9.0", "output_0.npy", "4" * 64)
    other = copy.deepcopy(run)
    other["cells"].reverse()
    other["cells"][0]["axes"] = dict(reversed(other["cells"][0]["axes"].items()))
    compared = compare_runs(run, other)
    assert (compared.cells, compared.artifacts, compared.differences) == (2, 3, ())
    other["jobs"]["a"]["artifacts"]["module.vmfb"]["sha256"] = "3" * 64
    (difference,) = compare_runs(run, other).unexplained
    assert difference.what.startswith("module.vmfb of compiler/3.8.0")


def test_what_has_no_partner_is_said(run):
    other = copy.deepcopy(run)
    other["jobs"]["a"]["artifacts"]["module.debug"] = other["jobs"]["a"]["artifacts"].pop("module.vmfb")
    compared = compare_runs(run, other)
    assert compared.artifacts == 1
    assert [(each.what.partition(" (")[0], each.before, each.after) for each in compared.unexplained] == [
        ("module.debug of compiler/3.8.0", "not there", "1" * 64),
        ("module.vmfb of compiler/3.8.0", "1" * 64, "not there"),
    ]


def test_two_cells_of_one_place_have_no_partner(run):
    other = copy.deepcopy(run)
    other["cells"].append(copy.deepcopy(run["cells"][0]))
    compared = compare_runs(run, other)
    assert compared.cells == 0
    (difference,) = compared.unexplained
    assert (difference.before, difference.after) == ("passed", "2 cells")


def test_an_outcome_a_signature_and_a_missing_cell(run):
    other = copy.deepcopy(run)
    other["cells"][0] |= {"outcome": "failed", "signature": "vm-features"}
    other["cells"].append({**copy.deepcopy(run["cells"][0]), "axes": {**AXES, "runtime": "3.9.0"}})
    told = list(comparison_lines(compare_runs(run, other)))
    assert "model=linear compiler=3.8.0 runtime=3.8.0: passed -> failed at run: vm-features" in told
    assert "model=linear compiler=3.8.0 runtime=3.9.0: not there -> passed" in told


def test_an_artifact_is_named_with_its_lock(run):
    other = copy.deepcopy(run)
    other["jobs"]["a"]["artifacts"]["module.vmfb"]["sha256"] = "3" * 64
    (difference,) = compare_runs(run, other).unexplained
    assert difference.what.startswith("module.vmfb of compiler/3.8.0 (")
    assert (difference.before, difference.after) == ("1" * 64, "3" * 64)


def test_what_is_explained_by_name_is_counted_apart(run):
    run["jobs"]["a"]["lock"] = "compiler/3.10.0"
    other = copy.deepcopy(run)
    other["jobs"]["a"]["artifacts"]["module.vmfb"]["sha256"] = "3" * 64
    compared = compare_runs(run, other)
    assert compared.unexplained == ()
    assert len(compared.differences) == 1
    assert "nondeterministic" in next(comparison_lines(compared))


def test_a_files_names_move_no_terminal(run, tmp_path, capsys):
    other = copy.deepcopy(run)
    other["cells"][0]["axes"]["model"] = "lin\x1b[2Jear\u202e"
    for name, content in (("before", run), ("after", other)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    assert main(["compare", str(tmp_path / "before.json"), str(tmp_path / "after.json")]) == 1
    out = capsys.readouterr().out
    assert "lin\\u001b[2Jear\\u202e" in out
    assert "\x1b" not in out and "\u202e" not in out


def test_explanations_name_locks_that_exist():
    names = {lock.name for lock in load_locks(data_root() / "images" / "locks").locks}
    assert {lock for lock, _ in explanations()} <= names


def test_the_published_run_equals_itself():
    published = json.loads((data_root() / "results" / "portability.json").read_text())
    compared = compare_runs(published, published)
    assert (compared.cells, compared.differences) == (225, ())
    assert compared.artifacts == sum(len(job["artifacts"]) for job in published["jobs"].values())
