"""A stage that no code knows, as a row and a column: what it measured stands in every format and on the site."""

from __future__ import annotations

import csv
import dataclasses
import io
import json

import pytest
from reports import npy, report_of
from samples import plan_of, result
from site_samples import write

from matrix.core.records import Artifact, JobResult
from matrix.plan import stages
from matrix.plan.backends.backend import StageKind
from matrix.plan.backends.iree.names import MLIR
from matrix.plan.backends.iree.record import IREE
from matrix.results import sections
from matrix.results.files import parse_run
from matrix.results.formats import FORMATS
from matrix.results.run import Run
from matrix.results.sections import Column
from matrix.site.build import build_site

COUNTED = "lines.txt"
LINES = StageKind(
    name="lines",
    environment="exporter",
    inputs=(MLIR,),
    outputs=(COUNTED,),
    needed=(COUNTED,),
    command=lambda _: ("wc", "-l", MLIR),
    after=("export", "import"),
    judged=False,
    read=lambda files: {"lines": int(files[COUNTED])},
    reads=(COUNTED,),
)
COLUMN = Column(
    key="mlir_lines", title="lines of MLIR", value=lambda found: found.get("lines"), text=lambda count: f"{count:,}"
)


@pytest.fixture
def run(monkeypatch) -> Run:
    """Two models on two compilers, with the lines of their MLIR counted."""
    monkeypatch.setattr(stages, "BACKENDS", (dataclasses.replace(IREE, stages=(*IREE.stages, LINES)),))
    monkeypatch.setattr(sections, "MEASURES", (COLUMN,))
    plan = plan_of(
        "stages = ['export', 'compile', 'run', 'lines']\n"
        "[axes]\nmodel = ['linear', 'copy']\ncompiler = ['2.9.0', '3.0.0']\nruntime = '3.0.0'\n"
    )
    results: list[JobResult | None] = [
        result(node.stage, outputs=[Artifact(name=COUNTED, digest=f"lines {node.above[0]}", size=5)])
        if node.stage == "lines"
        else result(node.stage)
        for node in plan.nodes
    ]
    counts = {f"lines {node.above[0]}": b"1234\n" for node in plan.nodes if node.stage == "lines"}
    return report_of(plan, results, {"expected_0.npy": npy(1), **counts})


def test_it_is_measured_once_for_each_export_and_kept(run):
    again = parse_run(json.loads(FORMATS["json"](run)), source=run.source)
    assert again == run
    counted = [job for job in again.jobs.values() if job.stage == "lines"]
    assert [job.measurements for job in counted] == [{"lines": 1234}] * len(counted) != []
    assert {cell.outcome for cell in again.cells} == {"passed"}
    assert all(again.measurements_of(cell) == {"lines": 1234} for cell in again.cells)


@pytest.mark.parametrize("name", ["table", "markdown", "html"])
def test_its_column_stands_in_the_tables(run, name):
    text = FORMATS[name](run)
    assert "lines of MLIR" in text and "1,234" in text


def test_its_column_stands_in_the_rows_of_csv(run):
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"](run))))
    assert [row["mlir_lines"] for row in rows] == ["1234"] * 4


def test_it_stands_on_the_site(run, tmp_path):
    build_site(tmp_path / "site", [write(tmp_path / "run.json", json.loads(FORMATS["json"](run)))])
    (page,) = (tmp_path / "site" / "tables").iterdir()
    assert "lines of MLIR" in page.read_text() and "1,234" in page.read_text()
    assert f"tables/{page.name}" in (tmp_path / "site" / "index.html").read_text()
    evidence = "".join(path.read_text() for path in (tmp_path / "site" / "cell").iterdir())
    assert "<dt>lines</dt><dd>1234</dd>" in evidence


def test_without_the_column_nothing_is_said_of_it(run, monkeypatch):
    monkeypatch.setattr(sections, "MEASURES", ())
    assert all("lines of MLIR" not in FORMATS[name](run) for name in FORMATS)
