"""The stacked charts of what a call executes: their parts are the bars, and the headline has the largest step."""

from __future__ import annotations

import csv
import io
import json

from counted_runs import counted_run
from profiled_runs import Place, profiled_run

from matrix.site.pictures.chart import Chart
from matrix.site.pictures.chart_files import chart_csv, chart_json
from matrix.site.pictures.charts import find_charts
from matrix.site.pictures.operations import MOST_KINDS, operation_charts_of
from matrix.site.views import numbers

CONV, RELU, LINEAR = "torch.aten.conv2d", "torch.aten.relu", "torch.aten.linear"
RELEASES = ("2.9.0", "3.10.0", "3.11.0", "3.13.0")
CONVS = {"2.9.0": 40_000_000, "3.10.0": 100_000_000, "3.11.0": 30_000_000, "3.13.0": 30_000_000}
PLACES: dict[Place, dict[str, dict[str, int]]] = {
    ("net", target, release): {
        "dispatch_0": {CONV: CONVS[release], RELU: 2_000_000},
        "dispatch_1": {LINEAR: 10_000_000},
    }
    for target in ("x86_64", "aarch64")
    for release in RELEASES
}
PLACES |= {("one", "x86_64", "3.13.0"): {"dispatch_0": {LINEAR: 5_000}}}
RUN = profiled_run(PLACES, unnamed=7)


def chart() -> Chart:
    (found,) = operation_charts_of("net", find_charts(RUN))
    return found


def test_a_model_with_several_releases_has_a_chart_with_a_panel_for_each_target():
    found = chart()
    assert [each.name for each in found.series] == ["target x86_64", "target aarch64"]
    assert (found.x_axis, found.x, found.tied) == ("compiler", RELEASES, ("runtime",))
    assert operation_charts_of("one", find_charts(RUN)) == []
    assert "they are no speed" in found.reading
    assert not [each for each in find_charts(counted_run(dict.fromkeys(PLACES))) if each.parts]


def test_the_parts_of_each_bar_are_its_value():
    found = chart()
    assert found.parts == ("convolution", "matmul", "activation", "other", "the runtime")
    for series in found.series:
        for point in series.points.values():
            assert sum(point.parts.values()) == point.value
    assert found.series[0].points["3.10.0"].parts["convolution"] == CONVS["3.10.0"]


def test_the_headline_has_the_largest_step_of_each_panel():
    assert chart().finding == (
        "target x86_64: 3.11 executes 70 M instructions fewer than 3.10, convolution 70 M fewer. "
        "target aarch64: 3.11 executes 70 M instructions fewer than 3.10, convolution 70 M fewer."
    )


def test_rare_kinds_are_drawn_as_one():
    named = ("conv2d", "linear", "relu", "softmax", "mean", "transpose", "add", "layer_norm")
    sizes = {f"torch.aten.{name}": 1_000_000 * (10 - place) for place, name in enumerate(named)}
    many = profiled_run({("net", "x86_64", release): {"dispatch_0": sizes} for release in RELEASES})
    (found,) = operation_charts_of("net", find_charts(many))
    assert len(found.parts) == MOST_KINDS + 2
    point = found.series[0].points["2.9.0"]
    assert sum(point.parts.values()) == point.value
    assert found.finding == "net: 52 M instructions with every release."


def test_its_files_and_its_table_have_the_parts():
    found = chart()
    rows = list(csv.DictReader(io.StringIO(chart_csv(found))))
    assert rows[1]["convolution"] == "100000000" and rows[1]["the runtime"] == "50"
    assert json.loads(chart_json(found))["points"][0]["parts"]["matmul"] == 10_000_000
    release, values = numbers(found)[0]
    assert release == "2.9.0"
    assert values[0] == "52 M: convolution 76.9 %, matmul 19.2 %, activation 3.8 %, other 0.0 %, the runtime 0.0 %"
