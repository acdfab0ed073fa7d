"""A table that is written cell by cell is the one that is made of all cells at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from full_stores import fill

from matrix.cli.main import main
from matrix.plan.question import Question
from matrix.results.files import read_run
from matrix.results.written import pieces
from matrix.run.planning import plan_of
from matrix.run.store import Store
from matrix.run.stored import one_by_one

SPEC = """
format = 1
name = "large"
question = "What is written?"
[axes]
model = ["linear", "mobilenet_v2"]
compiler = ["3.8.0", "3.12.0"]
runtime = ["3.8.0", "3.12.0"]
[[exclude]]
when = { model = "linear", runtime = "3.12.0" }
reason = "one of another kind"
"""


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A spec whose store has results of most jobs, some of them red, and one is damaged."""
    spec = tmp_path / "large.toml"
    spec.write_text(SPEC)
    plan = plan_of(Question(preset=str(spec)), tmp_path / "store")
    with Store(tmp_path / "store") as store:
        assert fill(plan, store) == 2 + 4 + 6
        rows = [json.loads(text) for text in store.all_records()]
        for row in [each for each in rows if each["stage"] == "compile"][:1]:
            row["outcome"], row["end"]["log"] = "failed", "error: it went wrong\n"
            store.keep_records([(row, json.dumps(row))], {})
        with store._database.transaction() as database:
            runs = [each["key"] for each in rows if each["stage"] == "run"]
            database.execute("DELETE FROM results WHERE key = ?", (runs[-1],))
            database.execute("UPDATE results SET record = '' WHERE key = ?", (runs[-2],))
    return spec


def shown(spec: Path, form: str, name: str) -> str:
    output = spec.with_name(name)
    words = ["show", str(spec), "--store", str(spec.with_name("store")), "--format", form, "--output", str(output)]
    assert main(words) == 0
    return output.read_text()


@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_it_is_the_same_table(large, monkeypatch, capsys, at_once):
    whole = {form: shown(large, form, f"whole.{form}") for form in ("csv", "json")}
    monkeypatch.setattr(one_by_one, "LARGE", 0)
    monkeypatch.setattr(one_by_one, "MOST_REMEMBERED", 0)
    monkeypatch.setattr(pieces, "CELLS_AT_ONCE", at_once)
    assert shown(large, "csv", "pieces.csv") == whole["csv"]
    found, expected = json.loads(shown(large, "json", "pieces.json")), json.loads(whole["json"])
    assert found.pop("sentences") == [] and expected.pop("sentences")
    assert found == expected
    assert {cell["outcome"] for cell in found["cells"]} == {"excluded", "failed", "untested", "passed"}
    assert read_run(large.with_name("pieces.json")).cells == read_run(large.with_name("whole.json")).cells
    assert main(["show", str(large), "--store", str(large.with_name("store")), "--format", "csv"]) == 0
    assert capsys.readouterr().out == whole["csv"]
