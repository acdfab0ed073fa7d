"""What is published is shown as it was published: the Markdown beside each results file, and the other formats."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from matrix.cli.main import main
from matrix.results.files import parse_run, read_run
from matrix.results.formats import FORMATS

ROOT = Path(__file__).parents[3]
FILES = sorted([*(ROOT / "results").glob("*.json"), *(ROOT / "results").glob("amd-epyc/*.json")])
FORMAT_1 = sorted((ROOT / "tests" / "data" / "format-1").glob("*.json"))
"""As they were published before format 2."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_published_file_alone_shows_its_tables(path, capsys):
    assert main(["show", str(path), "--format", "markdown"]) == 0
    assert capsys.readouterr().out == path.with_suffix(".md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_is_written_is_read_as_it_was(path):
    run = read_run(path)
    text = FORMATS["json"](run)
    assert text == path.read_text(encoding="utf-8")
    again = parse_run(json.loads(text), source=str(path))
    assert again == run
    assert all(FORMATS[name](again) == FORMATS[name](run) for name in FORMATS)


@pytest.mark.parametrize("path", FORMAT_1, ids=lambda path: path.stem)
def test_a_file_of_format_1_is_shown_as_before(path):
    assert json.loads(path.read_text())["format"] == 1
    now = read_run(ROOT / "results" / path.name)
    assert replace(read_run(path), source=now.source) == now
    shown = (ROOT / "results" / path.name).with_suffix(".md")
    assert FORMATS["markdown"](read_run(path)) == shown.read_text(encoding="utf-8")


def test_a_file_of_format_1_of_no_preset_has_the_usual_table():
    old = json.loads(FORMAT_1[0].read_text()) | {"preset": "mine", "times": None}
    assert [(view.rows, view.columns) for view in parse_run(old, source="mine").tables] == [("compiler", "runtime")]


def test_words_about_cells_go_with_a_preset(capsys):
    assert main(["show", str(FILES[0]), "--only", "compiler=3.8.0"]) == 2
    assert "expected a results file alone" in capsys.readouterr().err


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_number_stands_for_what_did_not_succeed(path):
    for table in read_run(path).times:
        for row in table.rows:
            failed = " at compile" in row.reason
            assert not failed or (row.median_seconds, row.ratio, row.compile_seconds, row.vmfb_bytes) == (None,) * 4


def test_the_time_of_a_failed_compile_in_an_older_file_is_dropped():
    document = json.loads((ROOT / "results" / "performance.json").read_text()) | {"format": 2}
    row = next(row for table in document["times"] for row in table["rows"] if row["vmfb_bytes"] is None)
    row.update(compile_seconds=0.25, compile_cpu_seconds=0.25)
    assert parse_run(document, source="old") == parse_run(
        json.loads((ROOT / "results" / "performance.json").read_text()), source="old"
    )
