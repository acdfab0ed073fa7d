"""The chart of instructions: its headline has the figures, its caption how they rank beside times, and neither says
speed."""

from __future__ import annotations

from counted_runs import counted_run, timed_run

from matrix.site.pictures.chart import INSTRUCTION_COUNT, value_words
from matrix.site.pictures.charts import find_charts

RELEASES = ("2.9.0", "3.8.0", "3.11.0", "3.13.0")
PLACES = [(model, target, label) for model in ("m", "n") for target in ("x86_64", "aarch64") for label in RELEASES]
COUNTS = counted_run({place: 20_000_000 * (1 + PLACES.index(place)) for place in PLACES})


def test_the_headline_has_the_figures_of_the_first_series():
    (chart,) = [each for each in find_charts(COUNTS) if each.kind.name == "instructions"]
    assert chart.finding == (
        "m, x86_64: 20 M instructions with 2.9, 80 M with 3.13. "
        "m, aarch64: 100 M instructions with 2.9, 160 M with 3.13."
    )
    assert [each.name for each in chart.series] == [
        f"model {model}, target {target}" for model in ("m", "n") for target in ("x86_64", "aarch64")
    ]
    assert chart.x == RELEASES and chart.tied == ("runtime",)
    assert "they are no speed" in chart.reading and "rank correlation" not in chart.reading


def test_the_caption_says_how_times_order_the_same_releases():
    times = timed_run({("m", "x86_64", label): (5.0 - at, "faster") for at, label in enumerate(RELEASES)})
    (chart,) = [each for each in find_charts(COUNTS, [times]) if each.kind.name == "instructions"]
    assert "m, x86_64: rank correlation -1.00 with the times of times, over 4 releases." in chart.reading


def test_a_run_without_counts_has_no_such_chart():
    assert not [each for each in find_charts(counted_run(dict.fromkeys(PLACES))) if each.kind.name == "instructions"]


def test_values_have_their_words():
    assert value_words(1_108_583_768, INSTRUCTION_COUNT) == "1,109 M"
