"""The page of each target says what the results files say, and leads to the evidence."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from published_site import BuiltSite
from site_checks import RESULTS, ROOT

from matrix.plan.stages import module_of
from matrix.results.files import machine_files, read_run
from matrix.results.run import Cell, Run
from matrix.site.views import size_words

ROW = re.compile(
    r'<tr><th scope="row"><a href="\.\./model/[^"]+">(?P<model>[^<]+)</a></th>\s*'
    r"<td>(?P<right>\d+) of (?P<measured>\d+) cells?</td>\s*"
    r'<td>(?:<a href="\.\./(?P<link>[^"]+)">(?P<newest>[^<]+)</a>|none)</td>\s*<td>(?P<module>[^<]+)</td>'
)
PUBLISHED = (*RESULTS, *machine_files(ROOT / "results"))


@pytest.fixture(scope="module")
def site(published: BuiltSite) -> Path:
    return published.folder


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    return [read_run(path) for path in PUBLISHED]


def targets(runs: list[Run]) -> set[str]:
    return {cell.axes.get("target", "-") for run in runs for cell in run.cells} - {"-"}


def sections(site: Path, target: str) -> dict[str, list[re.Match[str]]]:
    """Question -> the rows of its models, of each run with it."""
    text = (site / "target" / f"{target}.html").read_text(encoding="utf-8")
    found: dict[str, list[re.Match[str]]] = {}
    for part in text.split("<section>\n")[1:]:
        question = unescape(re.findall(r"<h2>(.*?)(?: <small>.*)?</h2>", part)[0])
        found.setdefault(question, []).extend(ROW.finditer(part))
    return found


def test_every_target_has_a_page_that_the_start_page_and_the_search_name(site, runs):
    start, search = ((site / name).read_text(encoding="utf-8") for name in ("index.html", "search.html"))
    assert {"armv6", "armv7", "riscv64", "aarch64", "x86_64", "vulkan-lavapipe"} <= targets(runs)
    assert {path.stem for path in (site / "target").iterdir()} == targets(runs)
    for target in targets(runs):
        assert f'<a href="target/{target}.html">{target}</a>' in start
        assert f"target/{target}.html" in search


def test_the_figures_of_each_model_are_those_of_the_results(site, runs):
    checked = 0
    for target in targets(runs):
        told = sections(site, target)
        for question, rows in told.items():
            cells = [
                (run, cell)
                for run in runs
                for cell in run.cells
                if run.question == question and cell.axes.get("target") == target
            ]
            for row in rows:
                own = [(run, cell) for run, cell in cells if cell.axes["model"] == row["model"]]
                checked += alike(site, row, own)
    assert checked > 40


def alike(site: Path, row: re.Match[str], cells: list[tuple[Run, Cell]]) -> bool:
    """Whether the row is of a question that one run has; raises where it says otherwise than the run."""
    if len({id(run) for run, _ in cells}) > 1:
        return False
    right = [(run, cell) for run, cell in cells if cell.right]
    assert (int(row["right"]), int(row["measured"])) == (len(right), sum(cell.measured for _, cell in cells))
    assert bool(right) == bool(row["link"])
    if right:
        path, _, anchor = row["link"].partition("#")
        evidence = (site / path).read_text(encoding="utf-8")
        assert re.search(rf'<section class="cell passed" id="{re.escape(anchor)}">', evidence)
        labels = set(row["newest"].split(", "))
        same = [(run, cell) for run, cell in right if labels <= {" ".join(item) for item in cell.axes.items()}]
        assert row["module"] in {module_words(run, cell) for run, cell in same}
    return True


def module_words(run: Run, cell: Cell) -> str:
    files = {name: file.bytes for job in run.jobs_of(cell) for name, file in job.artifacts.items()}
    return size_words(files[module_of(files)]) if module_of(files) else "-"


def test_a_board_has_its_emulator_its_counts_its_programs_and_its_bundle(site):
    page = unescape((site / "target" / "armv6.html").read_text(encoding="utf-8"))
    assert "armv6 is emulated by QEMU (qemu-arm-static) as the CPU arm1176" in page
    assert "python -m matrix bundle armv6 MODEL -o FOLDER" in page
    assert '<th scope="col">its program</th>' in page
    assert "runtime zig-3.13, compiler 3.13.0, turbine 3.9.0, torch 2.9.1, python 3.11, route " in page
    assert '<a href="../pin/mobilenet_v2-armv6-3.11.html">' in page
    counted = unescape((site / "target" / "x86_64.html").read_text(encoding="utf-8"))
    assert re.search(r"<li>mobilenet_v2, x86_64: \d+ M instructions with 2\.9", counted)
    assert "they are no speed" in counted and "is emulated" not in counted
