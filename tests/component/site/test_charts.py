"""Charts: the numbers of the results and no others, titled, sourced and dated, the same bytes each time, inert."""

from __future__ import annotations

import builtins
import copy
import csv
import io
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from site_samples import HOSTILE, timed, write
from timings import measured, timed_plan

from matrix.cli.main import main
from matrix.core.errors import ExtraMissing
from matrix.results.files import parse_run, read_run
from matrix.results.formats import FORMATS
from matrix.site.build import build_site
from matrix.site.harmless import safe_run
from matrix.site.pictures.chart import Chart, value_words
from matrix.site.pictures.chart_files import chart_csv, chart_json
from matrix.site.pictures.charts import find_charts
from matrix.site.pictures.drawing import draw

ROOT = Path(__file__).parents[3]
RELEASES = ("3.6.0", "3.7.0", "3.8.0", "3.9.0", "3.10.0")
PNG = b"\x89PNG\r\n\x1a\n"


def charts_of(content: dict) -> list[Chart]:
    return find_charts(safe_run(parse_run(content, source="results/mine.json")))


@pytest.fixture(scope="module")
def sample() -> dict:
    """Two models over five releases; the second has no time at 3.6.0, and 3.9.0 is slower by a fifth."""
    content = timed(("one", "two"), RELEASES, lambda model, release, number: 1 + 0.2 * (release == 3) + number / 1000)
    content["times"][1]["rows"][0].update(ratio=None, verdict=None, median_seconds=None, seconds_by_round={})
    return content


@pytest.fixture(scope="module")
def charts(sample: dict) -> dict[str, Chart]:
    return {chart.kind.name: chart for chart in charts_of(sample)}


def test_a_run_with_times_has_five_latency_first(charts):
    assert list(charts) == ["latency", "change", "ratio", "size", "compile-time"]
    for chart in charts.values():
        assert (chart.x_axis, chart.x) == ("compiler", RELEASES)
        assert [series.name for series in chart.series] == ["one", "two"]
        assert chart.source == "Source: IREE matrix, mine.json, measured 2026-01-02, x86_64, a CPU, 2 cores"


def test_the_ratios_are_those_of_the_file_with_their_spread(charts, sample):
    ratio = charts["ratio"]
    assert ratio.title == "Latency compared with compiler 3.8.0"
    row = sample["times"][0]["rows"][3]
    point = ratio.series[0].points["3.9.0"]
    assert (point.value, point.verdict, point.floor) == (row["ratio"], "slower", 1.012)
    base = sample["times"][0]["rows"][2]["seconds_by_round"]
    ratios = sorted(seconds / base[number] for number, seconds in row["seconds_by_round"].items())
    assert ratios[0] < point.low < ratios[7] < point.high < ratios[-1]
    assert ratio.series[0].points["3.8.0"].verdict == "baseline"
    assert ratio.series[1].points["3.6.0"].value is None


def test_the_latencies_and_compile_times_are_those_of_the_file(charts, sample):
    row = sample["times"][1]["rows"][4]
    point = charts["latency"].series[1].points["3.10.0"]
    quartiles = (row["quartile_1_seconds"], row["quartile_3_seconds"])
    assert (point.value, (point.low, point.high)) == (row["median_seconds"], quartiles)
    assert charts["compile-time"].series[1].points["3.10.0"].value == row["compile_cpu_seconds"]
    assert "quickest" in charts["compile-time"].reading


def test_a_model_whose_baseline_has_no_time_stands_among_the_latencies(sample):
    content = copy.deepcopy(sample)
    for row in content["times"][1]["rows"]:
        row["ratio"] = None
    latency, _, ratio, *_ = charts_of(content)
    assert ([series.name for series in ratio.series], ratio.empty) == (["one"], ("two",))
    assert [series.name for series in latency.series] == ["one", "two"]
    assert "No number at all: two." in words_of(draw(ratio, "svg")["svg"])


def test_the_times_that_a_run_publishes_are_drawn():
    """Through the code that publishes: a report's JSON, read again."""
    body = """
stages = ["export", "compile", "run", "benchmark"]
[axes]
model = ["linear", "given"]
compiler = "= runtime"
runtime = ["3.0.0", "3.7.0", "3.10.0"]
[benchmark]
rounds = 7
passes = 2
baseline = { compiler = "3.7.0", runtime = "3.7.0" }
"""
    report = measured(timed_plan(body), lambda runtime, number, twin: 0.2 if runtime == "3.10.0" else 0.1)
    latency, _, ratio, size, *_ = charts_of(json.loads(FORMATS["json"](report)))
    assert ratio.title == "Latency compared with compiler 3.7.0"
    assert [series.name for series in ratio.series] == ["linear", "given"]
    assert {x: (point.value, point.verdict) for x, point in ratio.series[0].points.items()} == {
        "3.0.0": (1.0, "no difference"),
        "3.7.0": (1.0, "baseline"),
        "3.10.0": (2.0, "slower"),
    }
    assert [point.value for point in latency.series[0].points.values()] == [0.1, 0.1, 0.2]
    assert (size.series, {point.value for each in size.even for point in each.points.values()}) == ((), {1.0})


def test_sets_of_flags_are_series_over_the_releases():
    body = """
stages = ["export", "compile", "run", "benchmark"]
[axes]
compiler = "= runtime"
runtime = ["3.0.0", "3.7.0"]
flags = ["default", "o3"]
[benchmark]
rounds = 4
passes = 1
baseline = { flags = "default" }
"""
    report = measured(timed_plan(body), lambda runtime, number, twin: 0.1)
    latency, ratio, *_ = charts_of(json.loads(FORMATS["json"](report)))
    assert ratio.title == "Latency compared with flags default"
    assert [series.name for series in latency.every] == ["flags default", "flags o3"]
    assert [series.name for series in ratio.series] == ["flags o3"]  # the baselines alone are no panel
    assert latency.x == ratio.x == ("3.0.0", "3.7.0")


def test_sizes_are_those_of_the_committed_modules():
    content = json.loads((ROOT / "results" / "models.json").read_text(encoding="utf-8"))
    chart = next(
        chart for chart in find_charts(read_run(ROOT / "results" / "models.json")) if chart.kind.name == "size"
    )
    shown = {series.axes["model"]: series.points for series in chart.every}
    for cell in content["cells"]:
        made = content["jobs"][cell["evidence"]["jobs"][1]]["artifacts"] if len(cell["evidence"]["jobs"]) > 1 else {}
        size = made["module.vmfb"]["bytes"] if "module.vmfb" in made else None
        assert shown[cell["axes"]["model"]][cell["axes"]["compiler"]].value == size


def test_a_run_over_runtimes_alone_counts_each_compile_once():
    size, _ = find_charts(read_run(ROOT / "results" / "portability.json"))
    assert [series.name for series in size.series] == ["linear"]
    assert len(size.series[0].points) == 15


def test_a_run_of_one_release_has_none():
    assert charts_of(timed(("one", "two"), RELEASES[:1], lambda *_: 1.0)) == []


def test_many_series_are_cut_and_counted():
    chart = charts_of(timed([f"m{number}" for number in range(30)], RELEASES, lambda model, place, _: 1 + place))[0]
    assert (len(chart.series), chart.left_out) == (12, 18)


def words_of(svg: bytes) -> str:
    return " ".join(ElementTree.fromstring(svg).itertext())


@pytest.fixture(scope="module")
def pictures(charts: dict[str, Chart]) -> dict[str, dict[str, bytes]]:
    return {kind: draw(chart, "svg", "png") for kind, chart in charts.items()}


def test_a_picture_is_titled_sourced_and_dated(charts, pictures):
    for kind, chart in charts.items():
        assert pictures[kind]["png"].startswith(PNG)
        text = words_of(pictures[kind]["svg"])
        for words in (chart.title, "one", "two", "3.10", "Source: IREE matrix", "2026-01-02", "x86_64, a CPU, 2 cores"):
            assert words in text, words


def test_a_picture_is_the_same_bytes_each_time(charts, pictures):
    assert draw(charts["ratio"], "svg", "png") == pictures["ratio"]


def test_where_there_is_no_number_the_picture_says_so(pictures):
    assert "stands where there is no number" in words_of(pictures["ratio"]["svg"])
    assert "stands where there is no number" not in words_of(pictures["size"]["svg"])


def test_names_of_strangers_are_drawn_as_they_are():
    content = timed((HOSTILE, "$\\frac{1}{0}$", "\u4e2d\u6587"), RELEASES[:2], lambda model, place, _: 1 + place)
    svg = draw(charts_of(content)[0], "svg")["svg"].decode()
    tree = ElementTree.fromstring(svg)
    assert not [each for each in tree.iter() if each.tag.rpartition("}")[2] in ("script", "image", "foreignObject")]
    text = " ".join(tree.itertext())
    assert "<script>" in text and "$\\frac{1}{0}$" in text
    assert "\x1b" not in svg and "\u202e" not in svg


def test_the_numbers_can_be_taken_along(charts):
    latency = charts["ratio"]
    rows = list(csv.DictReader(io.StringIO(chart_csv(latency))))
    assert len(rows) == 10
    assert rows[3] | {"ratio": "", "low": "", "high": ""} == {
        **{"model": "one", "compiler": "3.9.0", "ratio": "", "low": "", "high": ""},
        **{"noise_floor": "1.012", "verdict": "slower"},
    }
    assert rows[5]["ratio"] == ""
    content = json.loads(chart_json(latency))
    assert content["source"] == latency.source and content["title"] == latency.title
    assert content["points"][3]["value"] == latency.series[0].points["3.9.0"].value


def test_a_formula_in_a_name_is_none(sample):
    chart = charts_of(timed(("=1+1", "two"), RELEASES[:2], lambda *_: 1.0))[0]
    assert "'=1+1," in chart_csv(chart)


@pytest.mark.parametrize(
    ("value", "measure", "words"),
    [
        (0, "bytes", "0 B"),
        (17_700, "bytes", "17.7 kB"),
        (4.5e6, "bytes", "4.5 MB"),
        (0.98051, "ratio", "0.981"),
        (0.0123, "seconds", "12.3 ms"),
        (0, "seconds", "0"),
    ],
)
def test_words_for_numbers(value, measure, words):
    assert value_words(value, measure) == words


def test_the_site_has_the_charts(tmp_path, sample):
    folder = tmp_path / "site"
    build_site(folder, [write(tmp_path / "mine.json", sample)])
    made = {path.name for path in (folder / "chart").iterdir()}
    kinds = ("latency", "change", "ratio", "size", "compile-time")
    assert made == {f"timed-{kind}.{form}" for kind in kinds for form in ("svg", "png", "csv", "json")}
    page = (folder / "charts.html").read_text(encoding="utf-8")
    assert "Latency compared with compiler 3.8.0" in page
    assert f"{sample['times'][0]['rows'][3]['ratio']:.3f} (1.1" in page
    assert 'href="charts.html"' in (folder / "index.html").read_text(encoding="utf-8")


def test_without_matplotlib_the_message_says_what_to_install(tmp_path, sample, monkeypatch, capsys):
    real = builtins.__import__

    def without(name, *rest):
        if name.partition(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    target = tmp_path / "site"
    assert main(["site", "-o", str(target), str(write(tmp_path / "mine.json", sample))]) == ExtraMissing.exit_code
    said = capsys.readouterr().err
    assert "matplotlib" in said and "iree-matrix[charts]" in said
    assert not target.exists()


def test_a_site_without_numbers_needs_no_matplotlib(tmp_path):
    from site_samples import generated

    build_site(tmp_path / "site", [write(tmp_path / "mine.json", generated(1, 3))])
    assert not (tmp_path / "site" / "chart").exists()
    assert "charts.html" not in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
