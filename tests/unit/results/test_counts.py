"""Instructions over releases: the sentences, what counts as the same, and ranks beside times."""

from __future__ import annotations

from dataclasses import replace

import pytest
from counted_runs import counted_run, timed_run

from matrix.answers.costs import cost_changes
from matrix.results.formats import FORMATS
from matrix.results.measured.counts import (
    count_lines,
    count_series,
    instruction_words,
    rank_correlation,
    ranked_beside,
    same_counts,
)

RELEASES = ("2.9.0", "3.3.0", "3.8.0", "3.10.0", "3.13.0")
COUNTS = (507_204_175, 507_204_170, 1_108_583_768, 1_108_583_768, 409_386_705)
RUN = counted_run({("mobilenet_v2", "x86_64", label): count for label, count in zip(RELEASES, COUNTS, strict=True)})


def test_a_sentence_has_the_first_the_turns_and_the_last():
    said = "mobilenet_v2, x86_64: 507 M instructions with 2.9, 1,109 M with 3.8, 409 M with 3.13"
    assert count_lines(RUN) == (said,)
    for name in ("table", "markdown", "html"):
        text = FORMATS[name](RUN)
        assert said in text
        assert "no speed" in text


def test_equal_counts_are_said_once_and_with_their_span():
    run = counted_run({("linear", "x86_64", label): 43_177 for label in RELEASES})
    assert count_lines(run) == ("linear, x86_64: 43,177 instructions with every release from 2.9 to 3.13",)


def test_what_is_found_in_a_run_is_kept_with_it_and_not_with_a_changed_one():
    run = counted_run({("m", "x86_64", label): 10_000 for label in RELEASES})
    assert count_series(run) is count_series(run)
    half = replace(run, cells=run.cells[:2])
    assert [len(each.instructions) for each in count_series(half)] == [2]
    assert half.by_name.keys() < run.by_name.keys()
    assert run == replace(run), "what is kept is no part of it"


def test_a_runtime_that_follows_the_compiler_is_no_place_and_a_target_is():
    run = counted_run({("m", target, label): 10_000 for target in ("x86_64", "aarch64") for label in RELEASES})
    found = count_series(run)
    assert [each.name for each in found] == ["m, x86_64", "m, aarch64"]
    assert [(each.axis, each.following) for each in found] == [("compiler", ("runtime",))] * 2
    assert not {"compiler", "runtime"} & found[0].place.keys()


def test_what_was_not_counted_is_in_no_series():
    run = counted_run({("m", "x86_64", label): 5 if label != "3.8.0" else None for label in RELEASES})
    assert "3.8.0" not in count_series(run)[0].instructions
    assert count_series(counted_run({("m", "x86_64", "3.8.0"): 5})) == ()


@pytest.mark.parametrize(("count", "words"), [
    (3_386, "3,386"), (999_999, "999,999"), (1_234_567, "1.23 M"), (409_386_705, "409 M"), (1_108_583_768, "1,109 M"),
])  # fmt: skip
def test_a_count_in_words(count, words):
    assert instruction_words(count) == words


def test_the_same_within_a_twentieth_of_a_per_cent():
    assert same_counts(100_000, 100_050) and same_counts(100_050, 100_000)
    assert not same_counts(100_000, 100_051)


def test_ranks_with_ties():
    assert rank_correlation([1, 2, 3, 4], [10, 20, 30, 40]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    assert rank_correlation([1, 1, 2, 2], [1, 2, 3, 4]) == pytest.approx(0.894427, abs=1e-6)
    assert rank_correlation([1, 1, 1], [1, 2, 3]) is None
    assert rank_correlation([1], [1]) is None


def test_counts_stand_beside_times_of_the_same_place_alone():
    seconds = (0.053, 0.050, 0.181, 0.180, 0.026)
    times = timed_run(
        {("mobilenet_v2", "x86_64", label): (each, "faster") for label, each in zip(RELEASES, seconds, strict=True)}
    )
    (beside,) = ranked_beside(RUN, [times, RUN])
    assert beside.correlation == pytest.approx(0.974679, abs=1e-6)  # ranks 3 2 4.5 4.5 1 and 3 2 5 4 1
    assert beside.words == "mobilenet_v2, x86_64: rank correlation 0.97 with the times of times, over 5 releases"
    other = timed_run(
        {("mobilenet_v2", "aarch64", label): (each, "faster") for label, each in zip(RELEASES, seconds, strict=True)}
    )
    assert ranked_beside(RUN, [other]) == ()
    few = timed_run({("mobilenet_v2", "x86_64", label): (1.0, "faster") for label in RELEASES[:3]})
    assert ranked_beside(RUN, [few]) == ()


@pytest.mark.parametrize(("before", "after", "verdict", "words"), [
    ("2.9.0", "3.3.0", "no difference", "no difference (507 M -> 507 M)"),
    ("3.3.0", "3.8.0", "more", "2.2 times more (507 M -> 1,109 M)"),
    ("3.10.0", "3.13.0", "fewer", "2.7 times fewer (1,109 M -> 409 M)"),
])  # fmt: skip
@pytest.mark.parametrize("axis", ["compiler", "runtime"])
def test_a_diff_of_two_releases_has_the_counts(axis, before, after, verdict, words):
    (change,) = cost_changes([RUN], axis, before, after)
    assert (change.measure.name, change.verdict, change.words) == ("instructions", verdict, words)
    assert change.place == "mobilenet_v2"
    assert not {"slower", "faster"} & {change.measure.more, change.measure.less}


def test_a_diff_has_the_misses_too_and_an_older_run_none():
    places = [("mobilenet_v2", "x86_64", label) for label in ("3.8.0", "3.13.0")]
    counts = dict(zip(places, (1_108_583_768, 409_386_705), strict=True))
    run = counted_run(counts, dict(zip(places, (83_700_000, 14_300_000), strict=True)))
    changes = cost_changes([run], "compiler", "3.8.0", "3.13.0")
    assert [each.words for each in changes] == [
        "5.9 times fewer (84 M -> 14 M)", "2.7 times fewer (1,109 M -> 409 M)",
    ]  # fmt: skip
    assert [each.measure.name for each in changes] == ["misses of a first-level cache", "instructions"]
    for name, figure in {"table": "83,700,000", "html": "83,700,000", "csv": "83700000", "json": "83700000"}.items():
        assert "d1_misses" in FORMATS[name](run) and figure in FORMATS[name](run)
    older = counted_run(counts)
    assert [each.measure.name for each in cost_changes([older], "compiler", "3.8.0", "3.13.0")] == ["instructions"]
    assert count_series(older)[0].misses == {}
    assert "409,386,705" in FORMATS["table"](older) and "d1_misses" not in FORMATS["table"](older)


def test_a_square_has_a_series_for_each_runtime():
    places = [("m", "x86_64", label) for label in ("3.4.0", "3.7.0")]
    run = counted_run(dict.fromkeys(places, 20_000))
    other = tuple(replace(cell, axes={**cell.axes, "runtime": "3.5.0"}) for cell in run.cells)
    names = [each.name for each in count_series(replace(run, cells=(*run.cells, *other)))]
    assert names == ["m, x86_64, runtime 3.5.0"], "the two others have one compiler each"
