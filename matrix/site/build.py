"""Writes the site: pages, style, script and data into one folder that replaces an older site, and nothing else."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from matrix import __version__
from matrix.errors import UsageError
from matrix.inert import visible
from matrix.results import PublishedRun, read_runs
from matrix.site.inert import LABEL, inert_run, slug
from matrix.site.pages import Site
from matrix.site.tables import FIRST, Table, find_tables, ordered, without_repeats

FORMAT = 1
MARKER = "site.json"
"""Tells a folder that may be replaced from one that may not."""
STATIC = ("site.css", "site.js", "icon.svg")


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What was written."""

    cells: int
    pages: int
    files: int
    size: int


def build_site(folder: Path, results: Sequence[Path]) -> Built:
    """Raises UsageError for results that cannot be read, and for a folder that holds something else."""
    if not results:
        raise UsageError("no results to publish", tip="name the JSON of a run: `show --format json --output FILE`")
    if folder.exists() and not _may_be_replaced(folder):
        raise UsageError(
            f"{folder}: expected a new folder, an empty one or an older site, found something else",
            tip="give another folder with -o",
        )
    read = [inert_run(run) for run in read_runs(results)]
    runs = sorted(read, key=lambda run: (not _is_first(run), run.emulated, run.preset, run.source))
    if not any(run.cells for run in runs):
        raise UsageError("the results hold no cells", tip="name the JSON of a run that has some")
    _refuse_twins(runs)
    tables = without_repeats(table for run in runs for table in find_tables(run))
    making = folder.with_name(f"{folder.name}.partial")
    if making.exists():
        shutil.rmtree(making)
    pages = _write_all(making, runs, tables)
    if folder.exists():
        shutil.rmtree(folder)
    making.rename(folder)
    files = [path for path in folder.rglob("*") if path.is_file()]
    return Built(
        cells=sum(len(run.cells) for run in runs),
        pages=pages,
        files=len(files),
        size=sum(path.stat().st_size for path in files),
    )


def _may_be_replaced(folder: Path) -> bool:
    return folder.is_dir() and ((folder / MARKER).is_file() or not any(folder.iterdir()))


def _is_first(run: PublishedRun) -> bool:
    """It answers the question of the start page."""
    return bool(run.cells) and all(len({cell.axes.get(axis) for cell in run.cells}) > 1 for axis in FIRST)


def _refuse_twins(runs: Sequence[PublishedRun]) -> None:
    """Two files of one preset would write the same pages."""
    by_name: dict[str, PublishedRun] = {}
    for run in runs:
        if other := by_name.get(run.preset):
            raise UsageError(
                f"{other.source} and {run.source}: both are of the preset {run.preset}", tip="publish one of the two"
            )
        by_name[run.preset] = run


def _write_all(folder: Path, runs: Sequence[PublishedRun], tables: Sequence[Table]) -> int:
    made = {folder}
    folder.mkdir(parents=True)
    pages = 0
    for path, text in Site(runs, tables).pages():
        target = folder / path
        if target.parent not in made:
            target.parent.mkdir(exist_ok=True)
            made.add(target.parent)
        target.write_text(text, encoding="utf-8")
        pages += 1
    (folder / "data").mkdir()
    for run in runs:
        shutil.copyfile(run.source, folder / "data" / f"{slug(run.preset)}.json")
        (folder / "data" / f"{slug(run.preset)}.csv").write_text(as_csv(run), encoding="utf-8")
    static = resources.files("matrix.site") / "static"
    for name in STATIC:
        (folder / name).write_bytes((static / name).read_bytes())
    (folder / ".nojekyll").write_text("")  # GitHub Pages: serve the files as they are
    sources = [{"preset": run.preset, "file": visible(Path(run.source).name, LABEL), "date": run.date} for run in runs]
    marker = {"format": FORMAT, "generator": f"iree-matrix {__version__}", "results": sources}
    (folder / MARKER).write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8")
    return pages


def as_csv(run: PublishedRun) -> str:
    """A row a cell, texts as they are shown. A text that a spreadsheet would take for a formula gets an apostrophe."""
    axes = ordered(axis for cell in run.cells for axis in cell.axes)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*axes, "outcome", "stage", "signature", "message", "reason", "comparison", "reproduce"])
    for cell in run.cells:
        compared = cell.comparison.words if cell.comparison else ""
        said = (cell.outcome.value, cell.stage or "", cell.signature, cell.message, cell.reason, compared)
        row = [*(cell.axes.get(axis, "-") for axis in axes), *said, cell.reproduce]
        writer.writerow([_no_formula(text) for text in row])
    return stream.getvalue()


def _no_formula(text: str) -> str:
    return f"'{text}" if text[:1] in ("=", "+", "@") or (text[:1] == "-" and len(text) > 1) else text
