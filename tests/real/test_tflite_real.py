"""A .tflite as a model of one's own: imported through TOSA, compared with what LiteRT itself computes. One compiler
takes it, and one says that its TOSA is an older one."""

from __future__ import annotations

import json
import shutil

import pytest
from command_line import DATA, good
from own_models import ask, line, outcomes

pytestmark = pytest.mark.real


def test_a_tflite_is_compared_with_what_litert_computes(tmp_path):
    shutil.copy(DATA / "tflite" / "linear.tflite", tmp_path / "my.tflite")
    ran = ask(tmp_path, *line("--model my.tflite"), "--runtime", "3.13.0", "--format", "json")
    report = json.loads(ran.out)
    found = {cell["axes"]["compiler"]: cell for cell in report["cells"]}
    assert {label: cell["outcome"] for label, cell in found.items()} == {"3.1.0": "failed", "3.13.0": "passed"}, ran.err
    assert found["3.1.0"]["signature"] == "tosa-version"
    cell = found["3.13.0"]
    assert 0 < cell["evidence"]["comparison"]["error"] < 1e-5, "two systems computed it"
    stages = [(report["jobs"][key]["stage"], report["jobs"][key]["lock"]) for key in cell["evidence"]["jobs"]]
    importer = f"tosa-importer/{cell['axes']['tosa']}"
    assert stages == [("tosa-import", importer), ("compile", "compiler/3.13.0"), ("run", "runtime/3.13.0")]
    asked = ("--model", "my.tflite", "--compiler", "3.1.0", "--runtime", "3.13.0", "--store", tmp_path / "store")
    why = good("why", *asked, "compiler=3.1.0", cwd=tmp_path).out
    assert "TOSA in another form than this compiler reads" in why


def test_a_damaged_tflite_is_a_red_cell_of_its_import(tmp_path):
    (tmp_path / "my.tflite").write_bytes((DATA / "tflite" / "linear.tflite").read_bytes()[:5000])
    ran = ask(tmp_path, "--model", "my.tflite", "--compiler", "3.13.0", "--runtime", "3.13.0")
    assert outcomes(ran) == [("failed", "tosa-import", "tflite-damaged")]
