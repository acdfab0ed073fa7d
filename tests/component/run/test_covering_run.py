"""A run of few cells on a backend of three models and nine releases: chosen, measured, made denser, shown."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from second_backend import RELEASES, lay_out

from matrix.cli.main import main

LAST_RIGHT = 5
LINES = {
    f"{number}.0": RELEASES["1.0"] if number <= LAST_RIGHT else RELEASES["3.0"] + f"  # {number}"
    for number in range(1, 10)
}
MODELS = ("double", "second", "third")


@pytest.fixture
def spec(tmp_path, monkeypatch) -> Path:
    path = lay_out(tmp_path, monkeypatch, LINES)
    text = (
        path.read_text().replace('["iree", "scaler"]', '"scaler"').replace('columns = "backend"', 'columns = "model"')
    )
    table = text[text.index("[models.double]") : text.index("[table]")]
    for name in MODELS[1:]:
        text += table.replace("double", name)
        (path.parent / f"{name}.mlir").write_text((path.parent / "double.mlir").read_text() + f"// {name}\n")
    path.write_text(text.replace('model = "double"', f"model = {[*MODELS]}"))
    return path


def said(capsys: pytest.CaptureFixture[str], *words: object, status: int = 0) -> tuple[str, str]:
    ended = main([str(word) for word in words])
    printed = capsys.readouterr()
    assert ended == status, printed.err
    return printed.out, printed.err


def chosen(text: str) -> dict[tuple[str, str], str]:
    return {(cell["axes"]["model"], cell["axes"]["scaler"]): cell["outcome"] for cell in json.loads(text)["cells"]}


def test_few_cells_are_run_and_more_where_neighbours_differ(spec, tmp_path, capsys):
    store = ("--store", tmp_path / "store")
    planned, _ = said(capsys, "plan", spec, "--cover", 1, *store)
    assert "9 chosen of 27, 0 done" in planned
    assert "each allowed value is in at least one cell (12 values; strength 1, seed 0)" in planned
    table, told = said(capsys, "run", spec, "--cover", 1, *store)
    assert "9 cells of 27 possible ones were chosen" in table and "densify" not in told
    first = chosen(said(capsys, "show", spec, "--cover", 1, "--format", "json", *store)[0])
    assert len(first) == 9 and {label for _, label in first} == {*LINES} and {model for model, _ in first} == {*MODELS}
    assert said(capsys, "show", spec, "--cover", 1, *store)[0] == table

    table, told = said(capsys, "run", spec, "--cover", 1, "--densify", 20, *store)
    assert "cells more, between and around those that end differently" in told
    document = said(capsys, "show", spec, "--cover", 1, "--format", "json", *store)[0]
    dense = chosen(document)
    assert len(first) < len(dense) < 27
    for model in MODELS:
        assert (dense[model, "5.0"], dense[model, "6.0"]) == ("passed", "failed")
    assert all(dense[cell] == end for cell, end in first.items())
    assert re.search(r"^ +nc +not chosen: the covering array left the cell out", table, re.MULTILINE)
    assert said(capsys, "run", spec, "--cover", 1, "--densify", 20, *store)[1].count("\n0 jobs run") == 1
    assert json.loads(document)["cover"] == {"strength": 1, "seed": 0, "tuples": 12, "possible": 27, "exact": True}

    planned, _ = said(capsys, "plan", spec, "--cover", 2, *store)
    assert f"27 chosen of 27, {len(dense)} done" in planned, "what was measured comes first"
    (tmp_path / "run.json").write_text(document)
    said(capsys, "site", "-o", tmp_path / "site", tmp_path / "run.json")
    assert "possible ones were chosen" in (tmp_path / "site" / "index.html").read_text()


def test_why_says_of_a_cell_that_it_was_not_chosen(spec, tmp_path, capsys):
    store = ("--store", tmp_path / "store")
    said(capsys, "run", spec, "--cover", 1, *store)
    first = chosen(said(capsys, "show", spec, "--cover", 1, "--format", "json", *store)[0])
    model, release = next((model, release) for model in MODELS for release in LINES if (model, release) not in first)
    words = ("why", "--preset", spec, f"model={model}", f"scaler={release}", *store)
    told, _ = said(capsys, *words, "--cover", 1)
    assert told.startswith(f"not chosen: the covering array has not the cell model={model} scaler={release}\n")
    assert "strength 1, seed 0: 9 of 27" in told and told.count("nearest ") == 3
    command = shlex.split(told.rstrip().splitlines()[-1])
    assert command[:4] == ["python", "-m", "matrix", "run"] and "--cover 0 --only" in told
    _, ran = said(capsys, *command[3:])
    assert "1 jobs run" in ran or "2 jobs run" in ran
    assert "\noutcome " in said(capsys, *words, "--cover", 0)[0]
    _, told = said(capsys, *words[:-3], "scaler=77.0", *store, "--cover", 1, status=2)
    assert "no cell fits" in told


def test_densify_adds_no_more_than_it_may(spec, tmp_path, capsys):
    store = ("--store", tmp_path / "store")
    _, told = said(capsys, "run", spec, "--cover", 1, "--densify", 2, *store)
    assert sum(map(int, re.findall(r"densify: (\d+) cells more", told))) == 2
    assert len(chosen(said(capsys, "show", spec, "--cover", 1, "--format", "json", *store)[0])) == 11


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("--cover", "4"), "--cover: read '4', expected one of 0, 1, 2, 3"),
        (("--cover", "two"), "--cover: read 'two', expected one of 0, 1, 2, 3"),
        (("--densify", "5"), "--densify: read 5, expected it with a covering array, and there is none"),
        (("--cover", "0", "--seed", "3"), "--seed: read 3, expected it with a covering array, and there is none"),
        (("--cover", "2", "--seed", "-1"), "expected a whole number from 0 to 999999999"),
        (("--cover", "2", "--densify", "0"), "expected a whole number from 1 to 9999"),
    ],
)
def test_bad_words_are_told(words, fault, tmp_path, capsys):
    _, told = said(capsys, "plan", "quick", *words, "--store", tmp_path, status=2)
    assert fault in told
