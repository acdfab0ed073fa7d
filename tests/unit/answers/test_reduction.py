"""Shrinking: what is needed stays, what is not goes, within the budget, and the same each time."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest

from matrix.answers.releases.reduction import ASKED_AT_ONCE, Parts, Reduced, reduce_parts


def shrink(count: int, needed: set[int], budget: int = 10_000) -> tuple[Reduced, list[Parts]]:
    asked: list[Parts] = []

    def still_fails(candidates: Sequence[Parts]) -> int | None:
        assert 0 < len(candidates) <= ASKED_AT_ONCE
        asked.extend(candidates)
        return next((place for place, kept in enumerate(candidates) if needed <= set(kept)), None)

    return reduce_parts(count, still_fails, budget), asked


@pytest.mark.parametrize("count", [1, 2, 3, 17, 600])
def test_one_culprit_is_found_wherever_it_is(count):
    for place in range(0, count, max(1, count // 7)):
        found, asked = shrink(count, {place})
        assert (found.kept, found.least, found.asked) == ((place,), True, len(asked))
        assert found.asked <= 2 * ASKED_AT_ONCE * count.bit_length()


def test_what_fails_only_together_stays_together():
    draw = Random(15)
    for _ in range(50):
        count = draw.randrange(2, 80)
        needed = set(draw.sample(range(count), min(count, draw.randrange(1, 5))))
        found, _ = shrink(count, needed)
        assert (set(found.kept), found.least) == (needed, True)


def test_the_budget_is_kept_and_what_was_found_by_then_is_given():
    for budget in range(1, 40):
        found, asked = shrink(100, {3, 97}, budget)
        assert found.asked == len(asked) <= budget
        assert {3, 97} <= set(found.kept) and (found.least == (len(found.kept) == 2))


def test_the_same_question_takes_the_same_way():
    assert shrink(64, {5, 40}) == shrink(64, {5, 40})


def test_where_nothing_can_go_all_stays():
    found, _ = shrink(6, set(range(6)))
    assert (found.kept, found.least) == (tuple(range(6)), True)
