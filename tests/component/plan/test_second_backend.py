"""A backend that no code knows, as one record, in a spec beside IREE: planned, run, judged, explained, advised."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from second_backend import lay_out

from matrix.cli.main import main
from matrix.plan.question import Question
from matrix.results.formats import FORMATS
from matrix.run.planning import plan_of

NOT_HERE = '[[exclude]]\nwhen = { backend = "iree" }\nreason = "IREE is not installed here"\n'


@pytest.fixture
def spec(tmp_path, monkeypatch) -> Path:
    return lay_out(tmp_path, monkeypatch)


@pytest.fixture
def measured(spec, tmp_path, capsys) -> tuple[str, ...]:
    """The spec has been run, without IREE's cells; the words that ask about it."""
    spec.write_text(spec.read_text() + NOT_HERE)
    said(capsys, "run", spec, "--store", tmp_path / "store")
    return ("--preset", str(spec), "--store", str(tmp_path / "store"))


def said(capsys: pytest.CaptureFixture[str], *words: object, status: int = 0) -> str:
    ended = main([str(word) for word in words])
    printed = capsys.readouterr()
    assert ended == status, printed.err
    return printed.out


def lines_with(text: str, start: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines() if line.startswith(start)]


def test_a_plan_has_the_cells_of_both(spec, tmp_path, capsys):
    planned = said(capsys, "plan", spec, "--store", tmp_path / "store")
    assert lines_with(planned, "cells") == ["cells 4, 0 done"]
    assert "compile jobs at most 1, 0 done" in lines_with(planned, "compile")
    assert "convert jobs at most 3, 0 done" in lines_with(planned, "convert")
    assert "infer jobs at most 3, 0 done" in lines_with(planned, "infer")


def test_its_cells_are_right_wrong_and_failed_and_have_no_value_on_the_axes_of_others(measured, capsys):
    _, spec, *store = measured
    rows = list(csv.DictReader(io.StringIO(said(capsys, "show", spec, *store, "--format", "csv"))))
    told = {
        (row["backend"], row["scaler"], row["compiler"], row["flags"]): (row["outcome"], row["stage"], row["signature"])
        for row in rows
    }
    assert told == {
        ("iree", "-", "3.13.0", "default"): ("excluded", "", ""),
        ("scaler", "1.0", "-", "-"): ("passed", "infer", ""),
        ("scaler", "2.0", "-", "-"): ("wrong_output", "infer", ""),
        ("scaler", "3.0", "-", "-"): ("failed", "convert", "scaler-operation"),
    }


def test_it_stands_alone_in_a_spec_that_does_not_name_iree(spec, tmp_path, capsys):
    spec.write_text(spec.read_text().replace('["iree", "scaler"]', '"scaler"'))
    table = said(capsys, "run", spec, "--store", tmp_path / "store")
    assert "3 cells: 1 passed, 1 wrong output, 1 failed" in table
    assert not [axis for axis in ("turbine", "compiler", "flags") if axis in table]
    for name in FORMATS:
        shown = said(capsys, "show", spec, "--store", tmp_path / "store", "--format", name)
        assert "scaler" in shown
    (tmp_path / "run.json").write_text(said(capsys, "show", spec, "--store", tmp_path / "store", "--format", "json"))
    said(capsys, "site", "-o", tmp_path / "site", tmp_path / "run.json")
    assert "Which releases of scaler are right" in (tmp_path / "site" / "index.html").read_text()
    assert len([*(tmp_path / "site" / "release").glob("scaler-*.html")]) == 3, "each release has its page"


def test_a_second_run_does_nothing_again(measured, capsys):
    _, spec, *store = measured
    assert main(["run", spec, *store]) == 0
    assert "\n0 jobs run, 5 reused" in capsys.readouterr().err


def test_why_tells_its_message_the_turn_and_the_nearest_that_passes(measured, capsys):
    told = said(capsys, "why", *measured, "scaler=3.0")
    assert "failed at convert: scaler-operation" in told
    assert "the converter does not know the operation scale" in told
    assert "scaler 3.0 -> 1.0 (2 down)" in told
    assert "% of the elements wrong" in said(capsys, "why", *measured, "scaler=2.0")


def test_diff_finds_what_a_release_broke(measured, capsys):
    told = said(capsys, "diff", "scaler", "1.0", "3.0", *measured, status=1)
    assert "worse: 1 cell: passed -> failed at convert: scaler-operation" in told


def test_advise_names_the_release_that_passes(measured, tmp_path, capsys):
    told = said(capsys, "advise", "--model", "double", *measured, "-o", tmp_path / "pins.txt")
    assert lines_with(told, "pin ") == ["pin scaler 1.0, python 3.11"]
    assert "scaler==1.0" in (tmp_path / "pins.txt").read_text()


def test_bisect_finds_the_first_release_that_fails(measured, capsys):
    assert "scaler 2.0 is the first that fails" in said(capsys, "bisect", *measured, "--axis", "scaler")


def test_a_model_that_it_does_not_take_is_told(spec, tmp_path):
    (tmp_path / "old.vmfb").write_bytes(b"no module")
    spec.write_text(spec.read_text().replace('"double"', '"old"') + '[models.old]\nvmfb = "old.vmfb"\n')
    told = {cell.labels["backend"]: cell.excluded for cell in plan_of(Question(preset=str(spec))).cells}
    assert told == {"iree": "", "scaler": "no stage of scaler takes a model that comes as vmfb"}


def test_an_axis_of_a_backend_that_the_spec_does_not_name_is_refused(spec, capsys):
    spec.write_text(spec.read_text().replace('["iree", "scaler"]', '"scaler"'))
    assert main(["plan", str(spec), "--compiler", "3.8.0"]) == 2
    assert "has no such axis, expected one of backend, model, python, scaler, target" in capsys.readouterr().err


def test_an_unknown_backend_is_a_fault_with_the_nearest_name(spec, capsys):
    spec.write_text(spec.read_text().replace('"scaler"]', '"scalar"]'))
    assert main(["plan", str(spec)]) == 2
    told = capsys.readouterr().err
    assert (
        "axes.backend: unknown backend 'scalar', expected one of iree, onnxruntime, litert, openvino, executorch, "
        "torch, tvm, scaler; did you mean" in told
    )
