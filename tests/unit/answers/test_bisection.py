"""The search for a turn: exact, with few measurements, and honest about what it did not look at."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrix.answers.bisection import End, Turn, next_to_measure, turns, verdicts

few = settings(derandomize=True, max_examples=40, deadline=None, database=None)
LETTERS = {"+": End.GOOD, "-": End.BAD, "?": End.UNKNOWN}


def search(truth: str, known: Mapping[str, End] | None = None) -> tuple[list[str], dict[str, End]]:
    """Measures as it is told on an axis whose values are `0`, `1`, …: what was measured, and all that is known then."""
    order = [str(place) for place in range(len(truth))]
    found, measured = dict(known or {}), []
    while labels := next_to_measure(order, found):
        assert not set(labels) & found.keys()
        measured += labels
        found |= {label: LETTERS[truth[int(label)]] for label in labels}
    return measured, found


def first_turn(truth: str, known: Mapping[str, End] | None = None) -> Turn | None:
    found = search(truth, known)[1]
    return next(iter(turns([str(place) for place in range(len(truth))], found)), None)


@pytest.mark.parametrize(
    ("truth", "before", "after"),
    [
        ("+-", "0", "1"),
        ("+++++-", "4", "5"),
        ("+----", "0", "1"),
        ("--+++++++", "1", "2"),
        ("++++++-------", "5", "6"),
    ],
)
def test_the_turn_is_found(truth, before, after):
    assert first_turn(truth) == Turn(before=before, after=after, between=())


def test_fifteen_releases_cost_six_measurements_at_most():
    costs = {len(search("+" * good + "-" * (15 - good))[0]) for good in range(1, 15)}
    assert max(costs) == 6


def test_ends_that_agree_cost_two_measurements_and_turn_nowhere():
    assert search("+++++++")[0] == ["0", "6"]
    assert first_turn("+++++++") is None
    assert search("+") == (["0"], {"0": End.GOOD})


def test_what_cannot_be_measured_is_gone_round():
    assert first_turn("++??--") == Turn(before="1", after="4", between=("2", "3"))
    assert first_turn("++?---") == Turn(before="1", after="3", between=("2",))
    assert search("+????-")[0] == ["0", "5", "2", "3", "1", "4"]


def test_an_end_that_cannot_be_measured_ends_the_search():
    assert search("?+-")[0] == ["0", "2"]
    assert first_turn("?+-") is None


def test_known_values_narrow_it_down_and_show_turns_that_halving_would_miss():
    """good, bad, repaired, bad: the ends agree in direction with a single turn, and the known values say otherwise."""
    truth = "+++--+++++---"
    assert first_turn(truth) == Turn(before="9", after="10", between=())
    known = {"4": End.BAD}
    measured, found = search(truth, known)
    order = [str(place) for place in range(len(truth))]
    assert turns(order, found)[0] == Turn(before="2", after="3", between=())
    assert "4" not in measured


def test_known_values_turn_where_the_ends_agree():
    assert first_turn("++--++", {"3": End.BAD}) == Turn(before="1", after="2", between=())


@few
@given(st.text("+-?", min_size=1, max_size=40), st.data())
def test_whatever_the_outcomes_are_a_turn_is_one(truth, data):
    known = {str(place): LETTERS[truth[place]] for place in data.draw(st.sets(st.integers(0, len(truth) - 1)))}
    measured, found = search(truth, known)
    assert len(measured) == len(set(measured)) <= len(truth)
    turn = next(iter(turns([str(place) for place in range(len(truth))], found)), None)
    if turn is None:
        return
    one, other = int(turn.before), int(turn.after)
    assert {truth[one], truth[other]} == {"+", "-"}
    assert set(truth[one + 1 : other]) <= {"?"}, "all between was tried, and none of it can be measured"


@few
@given(st.integers(2, 500), st.data())
def test_one_turn_is_found_in_logarithmically_many_measurements(size, data):
    good = data.draw(st.integers(1, size - 1))
    measured, found = search("+" * good + "-" * (size - good))
    assert turns([str(place) for place in range(size)], found) == (
        Turn(before=str(good - 1), after=str(good), between=()),
    )
    assert len(measured) <= 2 + math.ceil(math.log2(size - 1))


def test_where_both_ends_are_bad_their_difference_is_searched():
    order = ("1", "2", "3", "4", "5")
    ends = {"1": End.BAD, "5": End.BAD}
    same = verdicts(order, ends, {"1": "at compile", "5": "at compile"})
    assert next_to_measure(order, same) == ()
    other = verdicts(order, ends, {"1": "at compile", "5": "at run"})
    assert next_to_measure(order, other) == ("3",)
    found = verdicts(order, {**ends, "3": End.BAD}, {"1": "at compile", "3": "at compile", "5": "at run"})
    assert next_to_measure(order, found) == ("4",)
    good = verdicts(order, {"1": End.GOOD, "5": End.BAD, "3": End.BAD}, {"1": "", "3": "at compile", "5": "at run"})
    assert [(turn.before, turn.after) for turn in turns(order, good)] == [("1", "3")]
