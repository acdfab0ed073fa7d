"""The headlines of charts: what the committed numbers say, by name, and nothing where nothing changed."""

from __future__ import annotations

import csv
import functools
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from markupsafe import escape
from site_checks import RESULTS
from site_samples import HOSTILE, timed
from svg_text import text_faults

from matrix.answers.causes import cells_of
from matrix.answers.costs import cost_changes
from matrix.results.files import parse_run, read_run
from matrix.results.formats import as_csv
from matrix.results.measured.counts import COUNTS_WITHIN
from matrix.site.build import build_site, charts_of
from matrix.site.harmless import safe_run
from matrix.site.pictures.badges import as_svg, badge_of
from matrix.site.pictures.chart import BASELINE, FIRST_MEASURED, INSTRUCTION_COUNT, Chart, Point, Series
from matrix.site.pictures.chart_files import chart_csv, chart_json
from matrix.site.pictures.charts import BUFFERS, find_charts
from matrix.site.pictures.drawing import draw
from matrix.site.pictures.findings import NO_STEPS, steps_finding, steps_of

ROOT = Path(__file__).parents[3]
PERFORMANCE = ROOT / "results" / "performance.json"
RELEASES = ("3.6.0", "3.7.0", "3.8.0", "3.9.0", "3.10.0")


@functools.cache
def committed(path: Path) -> list[Chart]:
    return charts_of([safe_run(read_run(path))])


@functools.cache
def performance() -> dict[str, Chart]:
    return {chart.kind.name: chart for chart in committed(PERFORMANCE)}


def charts(ratio) -> dict[str, Chart]:
    run = safe_run(parse_run(timed(("one", "two"), RELEASES, ratio), source="mine.json"))
    return {chart.kind.name: chart for chart in find_charts(run)}


def test_latency_says_what_3_12_and_3_8_did():
    said = performance()["latency"].finding
    assert said.startswith("3.12 compared with 3.11: llama_2l 25 times, quartznet_5x5 11 times, ")
    assert "3.8 compared with 3.7: mobilenet_v2 3.5 times, llama_2l 11 % slower." in said


def test_memory_says_that_it_rose_in_3_11():
    """llama_2l: 79 MB on 3.10, 215 on 3.11, 151 on 3.12."""
    memory = performance()["memory"]
    assert memory.finding.startswith("3.11 compared with 3.10: llama_2l 2.7 times")
    (llama,) = [each for each in memory.series if each.name == "llama_2l"]
    shown = [round(llama.points[release].value / 1e6) for release in ("3.10.0", "3.11.0", "3.12.0")]
    assert shown == [79, 215, pytest.approx(151, abs=1)]


def test_each_release_is_compared_with_the_one_before():
    chart = performance()["change"]
    run = read_run(PERFORMANCE)
    (llama,) = [each for each in chart.series if each.name == "llama_2l"]
    assert llama.points[chart.x[0]].verdict == FIRST_MEASURED and llama.points[chart.x[0]].value is None
    for before, after in zip(chart.x, chart.x[1:], strict=False):
        (change,) = [
            each
            for each in cost_changes([run], "compiler", before, after)
            if each.measure.name == "latency" and each.axes["model"] == "llama_2l"
        ]
        point = llama.points[after]
        assert (point.value, point.verdict, point.floor) == (change.ratio, change.verdict, change.noise_floor)
        assert point.low <= point.value <= point.high


def test_the_headline_of_buffers_compares_only_what_is_counted_alike():
    chart = performance()["buffers"]
    (llama,) = [each for each in chart.series if each.name == "llama_2l"]
    assert (llama.points["3.10.0"].counted, llama.points["3.11.0"].counted) == ("without constants", "with constants")
    assert "llama_2l 47 % less" in chart.finding and " times " not in chart.finding  # 34 times from 3.10 to 3.11
    assert "3.11 has them twice" in chart.reading and "compiler's transient and constant bytes" in chart.reading
    assert {point["counted"] for point in json.loads(chart_json(chart))["points"] if point["value"]} == {
        "without constants",
        "with constants",
    }
    row = next(csv.DictReader(io.StringIO(chart_csv(chart))))
    assert row["counted"] == "without constants"


def test_a_chart_whose_releases_cannot_be_compared_says_so():
    points = {"3.10.0": Point(value=2e6, counted="without"), "3.11.0": Point(value=7e7, counted="with")}
    series = Series(axes={"model": "m"}, points=points)
    assert list(steps_of(BUFFERS, [series], tuple(points))) == []
    assert steps_finding(BUFFERS, [], tuple(points)) == NO_STEPS
    alike = Series(axes={"model": "m"}, points={x: replace(point, counted="") for x, point in points.items()})
    assert [step.word for step in steps_of(BUFFERS, [alike], tuple(points))] == ["more"]


def test_a_release_without_a_time_is_no_baseline_of_the_next():
    (yolox,) = [each for each in performance()["change"].series if each.name == "yolox_nano"]
    verdicts = {release: point.verdict for release, point in yolox.points.items()}
    assert verdicts["3.9.0"] == FIRST_MEASURED
    assert yolox.points["3.8.0"].value is None and not verdicts["3.8.0"]


def test_the_chosen_baseline_stays():
    chart = performance()["ratio"]
    assert chart.title == "Latency compared with compiler 3.8.0"
    assert {each.points["3.8.0"].verdict for each in chart.series} == {BASELINE}
    counted = sum(
        point.value is not None and point.verdict != BASELINE for s in chart.series for point in s.points.values()
    )
    assert chart.finding.startswith(f"{counted} comparisons: ")


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_every_chart_has_a_headline_and_no_panel_of_equal_bars(path):
    for chart in committed(path):
        assert chart.finding.endswith(".") and chart.kind.label and chart.x_words
        for series in chart.series:
            if chart.measure == "ratio":
                assert {point.verdict for point in series.points.values() if point.value} != {BASELINE}
            elif len(series.values) > 1:
                told = COUNTS_WITHIN if chart.measure == INSTRUCTION_COUNT else 0.01  # counts have no noise
                assert max(series.values) / min(series.values) > 1 + told


def test_what_is_equal_has_words_in_place_of_a_panel():
    chart = {chart.kind.name: chart for chart in committed(ROOT / "results" / "models.json")}["size"]
    assert "llama_2l" not in [each.name for each in chart.series]
    assert "Without a panel, since equal at every release: llama_2l 71.9 MB" in chart.reading
    assert {each.axes["model"] for each in chart.every} == set(
        read_run(ROOT / "results" / "models.json").axis("model").labels
    )


def test_where_nothing_changed_the_headline_says_so():
    made = charts(lambda model, place, number: 1 + number / 10_000)
    assert made["change"].finding == "Of 8 comparisons none is beyond the noise floor: 8 without a difference."
    assert made["latency"].series == ()
    assert made["latency"].finding == "The same at every release: one 10 ms, two 10 ms."


def test_a_change_within_the_noise_is_no_headline():
    content = timed(("one", "two"), RELEASES, lambda model, place, number: 1 + 0.2 * (place == 3) + number / 10_000)
    for table in content["times"]:
        table["noise_floor"] = 1.24
    made = {chart.kind.name: chart for chart in find_charts(safe_run(parse_run(content, source="mine.json")))}
    assert made["latency"].finding == "No release differs from the one before by more than the noise floor."
    for table in content["times"]:
        table["noise_floor"] = 1.1
    made = {chart.kind.name: chart for chart in find_charts(safe_run(parse_run(content, source="mine.json")))}
    assert made["latency"].finding.startswith("3.9 compared with 3.8: one 20 %, two 20 % slower.")


def test_the_largest_change_comes_first_and_the_rest_is_counted():
    factors = (1.0, 1.5, 6.0, 3.0, 3.2)
    said = charts(lambda model, place, number: factors[place])["latency"].finding
    assert said == (
        "3.8 compared with 3.7: one 4 times, two 4 times slower. 3.9 compared with 3.8: one 2 times, two 2 times "
        "faster. Smaller changes at 2 other releases."
    )


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_texts_of_every_chart_and_badge_are_in_the_frame_and_apart(path):
    for chart in committed(path):
        if chart.series:
            assert text_faults(draw(chart, "svg")["svg"]) == [], chart.slug
    cells = cells_of([read_run(path)])
    for model in {cell.axes["model"] for cell in cells if "model" in cell.axes}:
        assert text_faults(as_svg(badge_of(cells, {"model": model}, date="2026-11-21"))) == []


@pytest.mark.parametrize("releases", [3, 31, 90])
def test_texts_of_strangers_and_of_many_releases_are_in_the_frame_and_apart(releases):
    names = ("W" * 200, HOSTILE, "one", "two", "three")
    labels = [f"3.{place}.0" for place in range(releases)]
    content = timed(names, labels, lambda model, place, number: 1.4 ** (place % 7) * (1 + model))
    for job in content["jobs"].values():
        job["machine"] = "a machine with a long name, " * 12
    for chart in find_charts(safe_run(parse_run(content, source="mine.json"))):
        assert text_faults(draw(chart, "svg")["svg"]) == [], chart.kind.name


def test_performance_csv_has_the_measured_values():
    rows = {row["model"] + row["compiler"]: row for row in csv.DictReader(io.StringIO(as_csv(read_run(PERFORMANCE))))}
    content = json.loads(PERFORMANCE.read_text(encoding="utf-8"))
    compared = 0
    for table in content["times"]:
        for row in table["rows"]:
            found = rows[table["shared"]["model"] + row["axes"]["compiler"]]
            for name in ("median_seconds", "peak_bytes", "device_peak_bytes", "vmfb_bytes", "compile_cpu_seconds"):
                said = float(found[name]) if found[name] else None
                assert said == row[name] or math.isclose(said, row[name], abs_tol=1e-4)
                compared += said is not None
    assert compared > 200


def test_the_page_has_contents_with_the_headlines(tmp_path):
    build_site(tmp_path / "site", [PERFORMANCE])
    page = (tmp_path / "site" / "charts.html").read_text(encoding="utf-8")
    contents, _, sections = page.partition("</nav>\n<section")
    places = []
    for chart in performance().values():
        assert f'<a href="#{chart.slug}">{escape(chart.title)}</a> <small>{escape(chart.finding)}</small>' in contents
        assert f"<h2>{escape(chart.finding)} <small>" in sections
        places.append(page.index(f'id="{chart.slug}"'))
    assert places == sorted(places) and next(iter(performance())) == "latency"


def test_pages_of_releases_have_what_the_compiler_plans(tmp_path):
    build_site(tmp_path / "site", [ROOT / "results" / "cost.json"])
    for name in ("compare/iree-3.8.0--3.9.0.html", "release/iree-3.9.0.html"):
        page = (tmp_path / "site" / name).read_text(encoding="utf-8")
        assert "<h2>What the compiler plans: 3.8.0 → 3.9.0</h2>" in page
        assert "transient bytes 7,402,912 -&gt; 8,876,512 (+20 %)" in page
    unmoved = (tmp_path / "site" / "compare" / "iree-3.11.0--3.12.0.html").read_text(encoding="utf-8")
    assert "8 of 8 modules have the same figures" in unmoved
