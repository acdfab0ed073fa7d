"""A stage that no code knows, as one row and one column: planned, run, kept, reused, shown. It counts lines of MLIR."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from matrix.cli.main import main
from matrix.plan import stages
from matrix.plan.backends.backend import StageKind
from matrix.plan.backends.iree.names import EXPORT, IMPORT, MLIR
from matrix.plan.backends.iree.record import IREE
from matrix.results import sections
from matrix.results.sections import Column

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
COUNT = """
import json, pathlib
text = pathlib.Path("module.mlir").read_text()
pathlib.Path("lines.json").write_text(json.dumps({"lines": len(text.splitlines())}))
"""
SPEC = f"""
format = 1
name = "lengths"
question = "How long is the MLIR?"
stages = ["export", "lines"]
tools_python = "{PYTHON}"
[axes]
model = ["short", "long"]
[models.short]
mlir = "short.mlir"
[models.long]
mlir = "long.mlir"
[table]
rows = "model"
columns = "target"
"""


def counting(program: Path) -> StageKind:
    return StageKind(
        name="lines",
        environment="bare",
        inputs=(MLIR,),
        outputs=("lines.json",),
        needed=("lines.json",),
        command=lambda _: ("python", program.name),
        programs=(str(program),),
        after=(EXPORT, IMPORT),
        judged=False,
        typical_seconds=0.1,
        read=lambda outputs: json.loads(outputs["lines.json"]),
        reads=("lines.json",),
    )


@pytest.fixture
def spec(tmp_path, monkeypatch) -> Path:
    """A spec that asks for the stage, over two models as MLIR."""
    program = tmp_path / "lines.py"
    program.write_text(COUNT)
    more = replace(IREE, stages=(*IREE.stages, counting(program)))
    monkeypatch.setattr(stages, "BACKENDS", (more, *stages.BACKENDS[1:]))
    column = Column(key="mlir_lines", title="lines of MLIR", value=lambda found: found.get("lines"))
    monkeypatch.setattr(sections, "MEASURES", (column,))
    (tmp_path / "short.mlir").write_text("one\n")
    (tmp_path / "long.mlir").write_text("one\ntwo\nthree\n")
    (tmp_path / "lengths.toml").write_text(SPEC)
    return tmp_path / "lengths.toml"


def said(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """What a command prints; it must end with 0."""
    assert main([str(word) for word in words]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def test_it_is_planned_run_kept_and_reused(spec, tmp_path, capsys):
    words = (spec, "--store", tmp_path / "store")
    planned = said(capsys, "plan", *words)
    assert "lines jobs    at most 2, 0 done" in planned
    assert main(["run", *map(str, words)]) == 0
    assert "\n2 jobs run, 0 reused" in capsys.readouterr().err
    assert "lines jobs    at most 2, 2 done" in said(capsys, "plan", *words)
    assert main(["run", *map(str, words), "--format", "json"]) == 0
    again = capsys.readouterr()
    assert "\n0 jobs run, 2 reused" in again.err
    cells = json.loads(again.out)["cells"]
    assert [(cell["axes"]["model"], cell["outcome"], cell["stage"]) for cell in cells] == [
        ("short", "passed", "lines"),
        ("long", "passed", "lines"),
    ]


def test_it_stands_in_every_format_and_on_the_site(spec, tmp_path, capsys):
    words = (spec, "--store", tmp_path / "store")
    said(capsys, "run", *words)
    for name in ("table", "markdown", "html"):
        shown = said(capsys, "show", *words, "--format", name)
        assert "lines of MLIR" in shown, name
        assert re.search(r"\blong\b\W.*\b3\b", shown, re.DOTALL), name
    rows = csv.DictReader(io.StringIO(said(capsys, "show", *words, "--format", "csv")))
    assert {row["model"]: row["mlir_lines"] for row in rows} == {"short": "1", "long": "3"}
    as_json = said(capsys, "show", *words, "--format", "json")
    (tmp_path / "run.json").write_text(as_json)
    measured = [job["measurements"] for job in json.loads(as_json)["jobs"].values()]
    assert sorted(each["lines"] for each in measured) == [1, 3]
    said(capsys, "site", "-o", tmp_path / "site", tmp_path / "run.json")
    (page,) = (tmp_path / "site" / "tables").iterdir()
    assert "lines of MLIR" in page.read_text()
    assert re.search(r"long</th>(<td>[^<]*</td>)*<td>3</td>", page.read_text())


def test_why_tells_what_it_measured_and_how_to_measure_it_again(spec, tmp_path, capsys):
    said(capsys, "run", spec, "--store", tmp_path / "store")
    told = said(capsys, "why", "--preset", spec, "--store", tmp_path / "store", "model=long")
    assert "lines: passed, exit code 0" in told
    assert "command      python lines.py" in told
