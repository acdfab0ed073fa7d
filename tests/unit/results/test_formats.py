"""The six formats of one small report, against golden files.

`python tests/unit/results/test_formats.py` writes the golden files anew; review the difference.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from reports import PASSED, npy, report_of
from samples import REFUSED, plan_of, result

from matrix.core.records import Artifact, JobResult, Outcome
from matrix.core.text import escape_controls
from matrix.plan.backends.iree.record import IREE
from matrix.plan.stages import kinds
from matrix.results.formats import FORMATS, as_csv, as_html, as_junit, as_markdown, as_table, run_as_json
from matrix.results.run import Run, RunAxis

GOLDEN = Path(__file__).parents[2] / "golden"
ENDINGS = {"table": "txt", "markdown": "md", "html": "html", "csv": "csv", "json": "json", "junit": "xml"}
ABI = (
    "embedded_elf_loader.c:59: FAILED_PRECONDITION; executable does not support this version of the runtime (00000006)"
)
HOSTILE = "\x1b[31mnew & <script>alert('x')</script>\x00 | pipe\x1b[0m"


def small_report(hostile: str = "error: new & <bold> | pipe") -> Run:
    """Two compilers, four runtimes: every kind of cell once."""
    plan = plan_of(
        f"[axes]\ncompiler = ['2.9.0', '3.10.0']\nruntime = ['2.9.0', '3.0.0', '3.10.0', '{REFUSED}']\n"
        "size = 'small'\n[axis.size.small]\nrun = '--small'\n"
        "[[exclude]]\nwhen = { compiler = '2.9.0', runtime = '3.10.0' }\nreason = 'nobody asks'\n"
        "[[include]]\nwhen = { compiler = '3.10.0', runtime = '3.10.0' }\nreason = 'the newest pair'\n"
    )
    own = {
        ("2.9.0", "2.9.0"): PASSED[2],
        ("2.9.0", "3.0.0"): result(outcome=Outcome.FAILED, log=ABI),
        ("3.10.0", "2.9.0"): result(outcome=Outcome.FAILED, log=hostile),
        ("3.10.0", "3.0.0"): result(outcome=Outcome.CRASHED, end="signalled", signal=11, log="Stack dump"),
        ("3.10.0", "3.10.0"): result(outputs=[Artifact(name="output_0.npy", digest="mine", size=132)]),
    }
    results: list[JobResult | None] = [result(node.stage, key=f"job {node.index}") for node in plan.nodes]
    for cell in plan.cells:
        if cell.nodes:
            found = own.get((cell.labels["compiler"], cell.labels["runtime"]))
            index = cell.nodes[-1]
            results[index] = found and rekeyed(found, f"job {index}")
    return report_of(plan, results, {"expected_0.npy": npy(1), "mine": npy(2)})


def rekeyed(one: JobResult, key: str) -> JobResult:
    return dataclasses.replace(one, key=key)


def golden(name: str) -> Path:
    return GOLDEN / f"small.{ENDINGS[name]}"


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_as_it_was(name):
    assert FORMATS[name](small_report()) == golden(name).read_text(encoding="utf-8")


def test_json_names_every_axis_of_every_cell():
    document = json.loads(run_as_json(small_report()))
    assert (document["format"], document["preset"]) == (3, "small")
    assert len(document["cells"]) == 8 == sum(document["counts"].values())
    for cell in document["cells"]:
        assert list(cell["axes"]) == [*(axis.name for axis in IREE.axes if not axis.optional), "size"]
        assert set(cell) == {"axes", "outcome", "stage", "signature", "evidence"}
        assert cell["outcome"] in [outcome.value for outcome in Outcome]
        assert cell["stage"] in [None, *kinds()]
        assert cell["evidence"]["reproduce"].startswith("python -m matrix run small.toml --only ")
        assert set(cell["evidence"]["jobs"]) <= set(document["jobs"])
        assert cell["signature"] is None or cell["signature"] in document["signatures"]
    for job in document["jobs"].values():
        assert job["environment"] in document["environments"]
        assert job["lock"] and job["lock_sha256"]


def test_json_evidence_fits_the_outcome():
    cells = {
        (cell["axes"]["compiler"], cell["axes"]["runtime"]): cell
        for cell in json.loads(run_as_json(small_report()))["cells"]
    }
    assert cells["2.9.0", "3.10.0"]["evidence"]["reason"] == "nobody asks"
    assert cells["3.10.0", "3.10.0"]["evidence"]["included"] == "the newest pair"
    assert cells["3.10.0", "3.10.0"]["evidence"]["comparison"]["error"] == 1.0
    assert cells["2.9.0", "3.0.0"]["evidence"]["values"] == {"runtime": "00000006"}
    assert cells["2.9.0", REFUSED]["evidence"]["reason"] == "no wheel for this Python"


def test_csv_has_a_row_a_cell():
    rows = list(csv.DictReader(io.StringIO(as_csv(small_report(HOSTILE)))))
    assert len(rows) == 8
    assert [row["outcome"] for row in rows].count("passed") == 1
    assert {axis.name for axis in IREE.axes if not axis.optional} < set(rows[0])


@pytest.mark.parametrize("word", ["=1+1", "+1", "-1+1", "@A1", "\t=1", "\r=1", "  =1", "\uff1d1", "\n", "\x0b=1"])
def test_csv_has_no_formulas(word):
    report = small_report()
    cells = tuple(dataclasses.replace(cell, axes={**cell.axes, word: word}) for cell in report.cells)
    axes = (*report.axes, RunAxis(name=word))
    head, *rows = csv.reader(io.StringIO(FORMATS["csv"](dataclasses.replace(report, axes=axes, cells=cells))))
    shown = f"'{escape_controls(word)}"
    assert all(shown in row for row in [head, *rows])
    assert not [each for each in itertools.chain(head, *rows) if re.match(r"\s*[=+@-]\S", each)]


def test_junit_is_xml_and_counts():
    suite = ElementTree.fromstring(as_junit(small_report(HOSTILE)))
    cases = suite.findall("testcase")
    assert len(cases) == int(suite.get("tests")) == 8
    assert len(suite.findall("testcase/failure")) == int(suite.get("failures")) == 6
    assert len(suite.findall("testcase/skipped")) == int(suite.get("skipped")) == 1
    assert len({case.get("name") for case in cases}) == 8


def test_html_is_escaped_and_stands_alone():
    report = small_report(HOSTILE)
    page = as_html(dataclasses.replace(report, question="<b>Does & it</b> work?"))
    assert "<b>Does" not in page
    assert "&lt;b&gt;Does &amp; it&lt;/b&gt; work?" in page
    assert "<script" not in page and "http" not in page
    ElementTree.fromstring(page.partition("<body>")[2].partition("</body>")[0].join(["<body>", "</body>"]))


def with_hostile_names() -> Run:
    """What a file from elsewhere may hold: nothing of it was seen by this project before."""
    report = small_report(HOSTILE)
    axes = tuple(dataclasses.replace(axis, name=axis.name + HOSTILE) for axis in report.axes)
    cells = tuple(
        dataclasses.replace(cell, axes={axis + HOSTILE: label + HOSTILE for axis, label in cell.axes.items()})
        for cell in report.cells
    )
    return dataclasses.replace(report, question=HOSTILE, preset=HOSTILE, axes=axes, cells=cells, tables=())


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("run", [small_report(HOSTILE), with_hostile_names()], ids=["log", "names"])
def test_no_control_character_gets_out(name, run):
    text = FORMATS[name](run)
    assert not [letter for letter in text if letter != "\n" and (ord(letter) < 32 or ord(letter) == 127)]


def test_markdown_tables_have_as_many_columns_in_every_row():
    for block in as_markdown(small_report(HOSTILE)).split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1


def test_a_square_of_15_by_15_fits_120_columns():
    from matrix.plan.question import Question
    from matrix.run.planning import plan_of as plan_of_question

    terms = tuple(f"{axis}=latest-minors >=2.9,<=3.13" for axis in ("compiler", "runtime"))
    plan = plan_of_question(Question(preset="portability", only=terms))
    results: list[JobResult | None] = [result(node.stage) for node in plan.nodes]
    for cell in plan.cells[::2]:
        results[cell.nodes[-1]] = result(outcome=Outcome.CRASHED, signal=11)
    text = as_table(report_of(plan, results, {"expected_0.npy": npy(1)}))
    rows = [line for line in text.splitlines() if line[:5].strip() and line.split()[0][0].isdigit()]
    assert max(map(len, rows)) <= 120
    assert len([row for row in rows if row.split()[0] in ("2.9", "3.0", "3.13")]) == 3


def test_the_command_that_reproduces_names_what_tells_the_cell_apart():
    report = small_report()
    assert report.cells[0].reproduce == ("python -m matrix run small.toml --only compiler=2.9.0 --only runtime=2.9.0")


def test_the_command_that_reproduces_names_an_included_value_and_quotes_the_path():
    plan = plan_of(
        "[axes]\ncompiler = '3.0.0'\nruntime = '3.0.0'\n[[include]]\nwhen = { compiler = '2.9.0' }\nreason = 'x'\n"
    )
    object.__setattr__(plan.spec, "source", "my spec.toml")
    report = report_of(plan, [None] * len(plan.nodes))
    assert [cell.reproduce for cell in report.cells] == [
        "python -m matrix run 'my spec.toml'",
        "python -m matrix run 'my spec.toml' --only compiler=2.9.0",
    ]


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for format_name, make in FORMATS.items():
        golden(format_name).write_text(make(small_report()), encoding="utf-8")
