"""A stage that no code knows, as one row: planned, run, kept, reused. It counts the lines of the MLIR."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from matrix.cli.main import main
from matrix.plan import stages
from matrix.plan.backends.backend import StageKind
from matrix.plan.backends.iree import EXPORT, IMPORT, IREE, MLIR

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
    )


@pytest.fixture
def spec(tmp_path, monkeypatch) -> Path:
    """A spec that asks for the stage, over two models as MLIR."""
    program = tmp_path / "lines.py"
    program.write_text(COUNT)
    more = replace(IREE, stages=(*IREE.stages, counting(program)))
    monkeypatch.setattr(stages, "BACKENDS", (more,))
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
