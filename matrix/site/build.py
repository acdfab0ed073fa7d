"""Writes the site: pages, style, script and data in one folder. It replaces an older site, and nothing else."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from matrix import __version__
from matrix.answers.advice import KnownCells
from matrix.answers.causes import cells_of
from matrix.answers.dated.trends import PresetTrend, preset_trends
from matrix.answers.pins.recommendations import Recommendation, questions, recommend
from matrix.core.data import data_root
from matrix.core.errors import UsageError
from matrix.core.text import mark_controls
from matrix.core.versions import is_dated, is_version
from matrix.plan.axes import NONE
from matrix.plan.locks import release_dates
from matrix.results.files import read_runs
from matrix.results.formats import as_csv
from matrix.results.kept.archive import kept_runs, read_kept
from matrix.results.measured.counts import counted_models
from matrix.results.run import Cell, Run
from matrix.results.square import Square
from matrix.site.api.documents import run_path
from matrix.site.api.files import api_files
from matrix.site.harmless import LABEL, safe_run, slug
from matrix.site.machines import named_apart, nearest_first
from matrix.site.pages import Site, first_table, latest
from matrix.site.pictures.badges import as_svg, badge_of, count_badge
from matrix.site.pictures.chart import Chart
from matrix.site.pictures.chart_files import chart_csv, chart_json
from matrix.site.pictures.charts import find_charts
from matrix.site.pictures.picture import square_svg
from matrix.site.pins import pin_files
from matrix.site.squares import FIRST, find_squares, slug_of, without_repeats

SITE_FORMAT = 1
MARKER = "site.json"
"""Marks a folder that may be replaced."""
STATIC = ("site.css", "site.js", "moved.js", "icon.svg")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltSite:
    """The written site."""

    cells: int
    pages: int
    files: int
    size: int


def build_site(
    folder: Path, results: Sequence[Path], *, repository: str = "", archive: Path | None = None
) -> BuiltSite:
    """`repository` is the address of this project, for a link on every page; empty if it is not known. `archive` has
    kept runs, for a page of what changed over time.

    Raises ResultsFault for results that cannot be read, UsageError for a folder with other files, ExtraMissing if there
    are charts and matplotlib is missing.
    """
    if folder.exists() and not _may_be_replaced(folder):
        found = next(folder.iterdir()).name if folder.is_dir() else "a file"
        raise UsageError(
            f"{folder}: read {found} there, expected a new folder, an empty one or an older site",
            tip="give another folder with -o",
        )
    runs = runs_of_pages(results)
    tables = without_repeats(table for run in runs for table in find_squares(run))
    charts = charts_of(runs)
    pins = recommendations_of(runs)
    making = folder.with_name(f"{folder.name}.partial")
    if making.exists():
        shutil.rmtree(making)
    trends = preset_trends(_several_dates(archive)) if archive else ()
    pages = _write_all(making, runs, tables, charts, pins, trends=trends, repository=repository)
    if folder.exists():
        shutil.rmtree(folder)
    making.rename(folder)
    files = [path for path in folder.rglob("*") if path.is_file()]
    return BuiltSite(
        cells=sum(len(run.cells) for run in runs),
        pages=pages,
        files=len(files),
        size=sum(path.stat().st_size for path in files),
    )


def runs_of_pages(results: Sequence[Path]) -> list[Run]:
    """The runs with all text made safe, in the order of the pages. Raises ResultsFault, and UsageError if there is
    nothing to show or if two files are of one preset and machine."""
    if not results:
        raise UsageError("no results to publish", tip="name the JSON of a run: `show --format json --output FILE`")
    read = [safe_run(run) for run in read_runs(results)]
    runs = named_apart(sorted(read, key=_order))
    if not any(run.cells for run in runs):
        raise UsageError("the results hold no cells, expected some", tip="name the JSON of a run that has some")
    return runs


def _several_dates(archive: Path) -> Iterator[Run]:
    """The kept runs of presets that have several, with all text made safe. Raises ResultsFault."""
    kept = kept_runs(archive)
    counts = Counter(each.preset for each in kept)
    yield from (safe_run(read_kept(each.path)) for each in kept if counts[each.preset] > 1)


def _order(run: Run) -> tuple[bool, bool, bool, str, tuple[int, str]]:
    return not _is_first(run), bool(run.notes("target")), _reaches_back(run), run.preset, nearest_first(run.source)


def _reaches_back(run: Run) -> bool:
    """It has releases from before the numbered ones, which few people still use."""
    return any(is_dated(label) for axis in FIRST for label in run.axis(axis).labels if is_version(label))


def first_square(results: Sequence[Path]) -> str:
    """The square of the start page as SVG. Raises ResultsFault, UsageError for results without cells."""
    runs = runs_of_pages(results)
    table = first_table([table for run in runs for table in find_squares(run)])
    return square_svg(table)


def charts_of(runs: Sequence[Run]) -> list[Chart]:
    """The charts of all runs: those of times first, of the quietest machine first."""
    return [chart for run in sorted(runs, key=_noise) for chart in find_charts(run, runs)]


def recommendations_of(runs: Sequence[Run]) -> list[Recommendation]:
    """What to pin, for every question that the runs have."""
    known = KnownCells(runs)
    return [recommend(known, wanted, data_root() / "images") for wanted in questions(known)]


def _noise(run: Run) -> float:
    """The largest noise floor of a run's times; infinite for a run without any."""
    return max((table.noise_floor for table in run.times if table.noise_floor), default=math.inf)


def _may_be_replaced(folder: Path) -> bool:
    return folder.is_dir() and ((folder / MARKER).is_file() or not any(folder.iterdir()))


def _is_first(run: Run) -> bool:
    """It answers the question of the start page: releases of both axes, each with other releases."""
    pairs = {tuple(cell.axes.get(axis) for axis in FIRST) for cell in run.cells}
    several = all(len(set(labels)) > 1 for labels in zip(*pairs, strict=True))
    return several and any(one != other for one, other in pairs)


def _write_texts(folder: Path, texts: Iterable[tuple[str, str]]) -> int:
    """How many there were."""
    made = {folder}
    count = 0
    for path, text in texts:
        target = folder / path
        if target.parent not in made:
            target.parent.mkdir(parents=True, exist_ok=True)
            made.add(target.parent)
        target.write_text(text, encoding="utf-8")
        count += 1
    return count


def _write_all(
    folder: Path,
    runs: Sequence[Run],
    tables: Sequence[Square],
    charts: Sequence[Chart],
    pins: Sequence[Recommendation],
    *,
    trends: Sequence[PresetTrend],
    repository: str,
) -> int:
    folder.mkdir(parents=True)
    dates = release_dates(data_root() / "images" / "locks")
    site = Site(runs, tables, charts, pins, trends=trends, dates=dates, repository=repository)
    pages = _write_texts(folder, site.pages())
    _write_texts(folder, site.moved())
    _write_texts(folder, pin_files(pins))
    _write_texts(folder, api_files(site, runs, tables, pins))
    for table in tables:
        picture = square_svg(table)
        (folder / "square" / f"{slug_of(table)}.svg").write_text(picture, encoding="utf-8")
    (folder / "data").mkdir()
    for run in runs:
        shutil.copyfile(run.source, folder / run_path(run))
        (folder / "data" / f"{slug(run.preset)}.csv").write_text(as_csv(run), encoding="utf-8")
    _write_charts(folder / "chart", charts)
    _write_badges(folder / "badge", runs)
    static = resources.files("matrix.site") / "static"
    for name in STATIC:
        (folder / name).write_bytes((static / name).read_bytes())
    (folder / ".nojekyll").write_text("")  # GitHub Pages: serve the files unchanged
    sources = [
        {"preset": run.preset, "file": mark_controls(Path(run.source).name, LABEL), "date": run.date} for run in runs
    ]
    marker = {"format": SITE_FORMAT, "generator": f"iree-matrix {__version__}", "results": sources}
    (folder / MARKER).write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8")
    return pages


def _write_charts(folder: Path, charts: Sequence[Chart]) -> None:
    """Four files for each chart, two if nothing is to be drawn. matplotlib is imported if there is one. Raises
    ExtraMissing."""
    if not charts:
        return
    from matrix.site.pictures.drawing import draw

    folder.mkdir()
    for chart in charts:
        for form, picture in draw(chart, "svg", "png").items() if chart.series else ():
            (folder / f"{chart.slug}.{form}").write_bytes(picture)
        (folder / f"{chart.slug}.csv").write_text(chart_csv(chart), encoding="utf-8")
        (folder / f"{chart.slug}.json").write_text(chart_json(chart), encoding="utf-8")


def _write_badges(folder: Path, runs: Sequence[Run]) -> None:
    """One badge for each model that was measured, and one for each that was counted."""
    by_model: dict[str, list[Cell]] = {}
    for cell in cells_of(runs):
        by_model.setdefault(cell.axes.get("model", NONE), []).append(cell)
    folder.mkdir()
    for model, cells in by_model.items():
        if model != NONE:
            badge = badge_of(cells, {"model": model}, date=latest(runs))
            (folder / f"{slug(model)}.svg").write_text(as_svg(badge), encoding="utf-8")
    for model in counted_models(runs):
        badge = count_badge(runs, {"model": model}, date=latest(runs))
        (folder / f"{slug(model)}-instructions.svg").write_text(as_svg(badge), encoding="utf-8")
