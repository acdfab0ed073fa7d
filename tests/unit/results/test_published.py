"""Published runs as records: what was written is what is read, older formats step up, what is damaged is named."""

from __future__ import annotations

import copy
import json
import tomllib
from pathlib import Path

import pytest
from reports import report_of
from samples import plan_of

from matrix.core.errors import ResultsFault
from matrix.core.records import Outcome
from matrix.results import files
from matrix.results.files import parse_run, read_run, read_runs, run_files
from matrix.results.formats import run_as_json

ROOT = Path(__file__).parents[3]
COMMITTED = ROOT / "results" / "portability.json"


def document() -> dict:
    plan = plan_of("[axes]\nruntime = ['3.0.0', '3.7.0']\n")
    return json.loads(run_as_json(report_of(plan, [None] * len(plan.nodes))))


def test_what_was_written_is_read():
    read = json.loads(COMMITTED.read_text())
    run = read_run(COMMITTED)
    assert [dict(cell.axes) for cell in run.cells] == [cell["axes"] for cell in read["cells"]]
    assert {name: sum(1 for cell in run.cells if cell.outcome == name) for name in read["counts"]} == read["counts"]
    assert run.jobs.keys() == read["jobs"].keys()
    assert run.environments.keys() == read["environments"].keys()
    assert run.signatures.keys() == read["signatures"].keys()


def test_a_cell_with_its_evidence():
    run = read_run(COMMITTED)
    cell = next(cell for cell in run.cells if cell.signature == "import-signature")
    export, compiled, ran = run.jobs_of(cell)
    assert (cell.outcome, cell.stage, cell.words) == (Outcome.FAILED, "run", "failed at run: import-signature")
    assert cell.values["function"] in cell.message
    assert [job.stage for job in (export, compiled, ran)] == ["export", "compile", "run"]
    assert compiled.artifacts["module.vmfb"].sha256 == ran.inputs["module.vmfb"]
    assert "nothing" not in export.artifacts


def test_a_cell_without_a_measurement_is_neither_passed_nor_measured():
    run = parse_run(document(), source="mine")
    assert [(cell.passed, cell.right, cell.measured) for cell in run.cells] == [(False, False, False)] * 2


def test_what_was_not_compared_is_not_right():
    read = json.loads(COMMITTED.read_text())
    del read["cells"][0]["evidence"]["comparison"]
    read["cells"][0]["evidence"]["compared"] = False
    cell = parse_run(read, source="mine").cells[0]
    assert (cell.passed, cell.right, cell.words) == (True, False, "passed, not compared")


def test_every_committed_run_reads():
    files = run_files(ROOT / "results")
    assert COMMITTED in files
    assert all(run.cells for run in read_runs(files))


def test_keys_that_were_added_are_left_alone():
    read = document() | {"weather": "rain"}
    assert len(parse_run(read, source="mine").cells) == 2


def test_an_older_format_is_taken_up_step_by_step(monkeypatch):
    old = document()
    monkeypatch.setattr(files, "RESULTS_FORMAT", 5)
    monkeypatch.setattr(
        files,
        "FORMAT_MIGRATIONS",
        {
            3: lambda old: {**old, "question": old["question"] + " one"},
            4: lambda old: {**old, "question": old["question"] + " two"},
        },
    )
    assert parse_run(old, source="mine").question.endswith(" one two")


def test_a_newer_format_asks_for_an_update():
    with pytest.raises(ResultsFault, match=r"mine: read format 4, expected at most 3") as caught:
        parse_run(document() | {"format": 4}, source="mine")
    assert "update" in caught.value.tip


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda read: read["cells"][0].update(outcome="pased"), "cells[0].outcome: read 'pased', expected one of"),
        (lambda read: read["cells"][1].update(stage="rum"), "did you mean 'run'?"),
        (lambda read: read["cells"][0].update(axes={}), "cells[0].axes: is missing or empty"),
        (lambda read: read["cells"][0]["evidence"].update(jobs=["x"]), "cells[0].evidence.jobs[0]: read 'x'"),
        (lambda read: read.update(jobs=[]), "jobs: read []"),
        (lambda read: read["cells"][1]["axes"].pop("runtime"), "cells[1].axes: read no runtime, expected a value for"),
        (lambda read: read["cells"][1]["axes"].pop("model"), "cells[1].axes: read no model"),
        (lambda read: read.update(format=1, jobs={"x": {"stage": {}}}), "not a run of format 1: TypeError"),
        (
            lambda read: read.update(times=[{"shared": {}, "axes": ["runtime"], "rows": [{"axes": {"x": "y"}}]}]),
            "times[0].rows[0].axes: read no runtime",
        ),
    ],
)
def test_a_fault_is_named_by_its_place(change, told):
    read = copy.deepcopy(document())
    change(read)
    with pytest.raises(ResultsFault) as caught:
        parse_run(read, source="mine")
    assert told in str(caught.value)


def test_a_fault_shows_what_strangers_wrote_harmless_and_short():
    read = document()
    read["cells"][0]["outcome"] = "\x1b[31m\u202e" + "x" * (1 << 20)
    read["jobs"] = {"\x1b]0;": 1}
    with pytest.raises(ResultsFault) as caught:
        parse_run(read, source="mine")
    assert len(str(caught.value)) < 2000
    assert "\x1b" not in str(caught.value) and "\u202e" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": "1", "cells": []}', '{"format": 1}', '{"format": 0, "cells": []}', "[" * 9**5]
)
def test_what_is_no_run_is_refused_by_name(tmp_path, text):
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(ResultsFault, match=r"run\.json: "):
        read_run(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ResultsFault, match=r"run\.json: read nothing \(No such file"):
        read_run(tmp_path / "run.json")


def test_every_committed_run_goes_into_the_wheel():
    """So that an installed package answers from the same results as a checkout."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    bundled = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert bundled["results"] == "matrix/_bundled/results"
    assert {"portability.json", "models.json"} <= {path.name for path in run_files(ROOT / "results")}
