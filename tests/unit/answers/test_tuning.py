"""The search over sets of compile flags: what a round keeps, when it ends, and what is said of the end."""

from __future__ import annotations

import itertools
import random
import re

import pytest

from matrix.answers.tuning.answer import TimedSet, Tuning, timed_sets, tuning_document, tuning_lines
from matrix.answers.tuning.halving import (
    DEFAULT_SET,
    FlagWords,
    TriedSet,
    TunableFlag,
    finalists,
    in_order,
    joined,
    known_by,
    next_sets,
    shipped_flags,
)
from matrix.core.versions import is_version
from matrix.results.measured.figures import Timed, Times

SEED = 16
FLAGS = tuple(TunableFlag(words=(f"--{name}=1",), since="2.9") for name in "abcdef")
WORTH = {"--a=1": 0.9, "--b=1": 0.8, "--c=1": 1.1, "--d=1": 1.0, "--e=1": 0.7, "--f=1": 0.9999}


def counted(words: FlagWords) -> TriedSet:
    count = 1_000_000.0
    for word in words:
        count *= WORTH[word]
    return TriedSet(words=words, instructions=round(count), right=True)


def searched(flags: tuple[TunableFlag, ...], measure=counted) -> tuple[dict[FlagWords, TriedSet], list[int]]:
    """All that a search measures, and the number of sets of each round."""
    known: dict[FlagWords, TriedSet] = {}
    rounds = []
    while sets := next_sets(flags, known):
        rounds.append(len(sets))
        known |= {words: measure(words) for words in sets}
    return known, rounds


def test_it_finds_the_flags_that_help_and_joins_them():
    known, rounds = searched(FLAGS)
    best = min(known.values(), key=lambda each: each.instructions or 0)
    assert best.words == ("--a=1", "--b=1", "--e=1")
    assert rounds == [1, 6, 2, 1]  # each alone; e with b and with a; all three


def test_a_search_that_was_interrupted_measures_what_is_left_and_nothing_twice():
    whole, _ = searched(FLAGS)
    part: dict[FlagWords, TriedSet] = {}
    asked: list[FlagWords] = []
    while sets := next_sets(FLAGS, part):
        asked.append(sets[-1])
        part[sets[-1]] = counted(sets[-1])
    assert part == whole
    assert len(asked) == len(set(asked))
    assert [*part] != [*whole] == [*in_order(FLAGS, part)]
    half = {words: part[words] for words in [*part][:5]}
    assert {*in_order(FLAGS, half)} == {*half}, "also those of a round that is not over"


def test_each_round_has_at_most_half_of_the_one_before_for_any_counts():
    rng = random.Random(SEED)
    print("seed", SEED)
    for _ in range(200):
        flags = tuple(TunableFlag(words=(f"--n{number}=1",)) for number in range(rng.randint(1, 20)))
        known, rounds = searched(
            flags, lambda words: TriedSet(words=words, instructions=rng.randint(1_000, 9_000), right=rng.random() > 0.2)
        )
        assert DEFAULT_SET in known
        assert all(after <= -(-before // 2) for before, after in itertools.pairwise(rounds[1:]))


def test_a_set_with_other_outputs_is_never_kept():
    known, _ = searched(
        FLAGS,
        lambda words: TriedSet(words=words, reason="wrong_output at run") if "--e=1" in words else counted(words),
    )
    assert [each.words for each in finalists(known, 1)] == [("--a=1", "--b=1")]
    assert all(len(words) == 1 for words in known if "--e=1" in words)


def test_a_difference_of_repeats_is_no_gain():
    known, rounds = searched(FLAGS[5:])
    assert rounds == [1, 1] and finalists(known, 3) == ()


def test_nothing_is_searched_where_the_default_is_not_usable():
    known, rounds = searched(FLAGS, lambda words: TriedSet(words=words, reason="failed at compile"))
    assert rounds == [1] and not known[DEFAULT_SET].usable


def test_flags_that_contradict_each_other_are_not_joined():
    order = ["--a=1", "--a=2", "--b=1"]
    assert joined(("--b=1",), ("--a=1",), order) == ("--a=1", "--b=1")
    assert joined(("--a=1",), ("--a=2",), order) == ()
    assert joined(("--a=1", "--b=1"), ("--b=1",), order) == ()


def test_a_release_gets_the_flags_that_it_knows():
    flags = (TunableFlag(words=("--a=1",), since="3.3"), TunableFlag(words=("--b=1",), since="3.11"))
    assert known_by(flags, "3.9.0") == flags[:1]
    assert known_by(flags, "2.9.0") == ()
    assert known_by(flags, "own-build") == flags


def test_the_shipped_flags_are_written_with_a_value_and_a_release():
    flags = shipped_flags()
    assert len(flags) > 15
    assert len({flag.words for flag in flags}) == len(flags)
    for flag in flags:
        assert is_version(flag.since)
        assert all(re.fullmatch(r"--iree-[a-z0-9-]+=[A-Za-z0-9]+", word) for word in flag.words)


def table(seconds: dict[str, list[float]]) -> Times:
    rows = tuple(
        Timed(
            axes={"flags": label}, baseline=label == "default", median_seconds=sorted(found)[len(found) // 2],
            verdicts=() if label == "default" else ("faster" if found[0] < 1 else "no difference",) * 2,
            seconds_by_round={str(number): each for number, each in enumerate(found, 1)},
        )
        for label, found in seconds.items()
    )  # fmt: skip
    return Times(shared={}, axes=("flags",), noise_floor=1.01, passes=2, rows=rows)


def tuning(**more) -> Tuning:
    known = {words: counted(words) for words in (DEFAULT_SET, ("--a=1",), ("--b=1",))}
    known[("--c=1",)] = TriedSet(words=("--c=1",), reason="failed at compile: unknown-flag")
    place = {"model": "linear", "compiler": "3.13.0"}
    return Tuning(place=place, flags=FLAGS, known=known, **more)


def test_the_answer_names_the_best_set_its_gain_with_an_interval_and_since_when():
    rounds = [1.0 + number / 1000 for number in range(14)]
    found = table({"default": rounds, "--a=1": [0.8 * each for each in rounds], "--b=1": rounds})
    times = timed_sets(found, "flags", {"--a=1": ("--a=1",), "--b=1": ("--b=1",)})
    said = "\n".join(tuning_lines(tuning(times=times, rounds=14, noise_floor=1.01, jobs=9)))
    assert said.startswith("best set: --a=1\n  20 % less time (20 % to 20 % less, at 85 % confidence or more)")
    assert "1.00 M -> 900,000 (-10.00 %)" in said and "--a=1 since 2.9" in said
    assert "3 sets tried, 1 of them not usable" in said
    assert "failed at compile: unknown-flag" in said
    document = tuning_document(tuning(times=times))
    assert document["best"] == ["--a=1"] and document["fewest_instructions"] == ["--b=1"]


def test_an_interval_that_reaches_one_proves_nothing():
    slack = TimedSet(words=("--a=1",), seconds=1.0, ratio=0.97, interval=(0.9, 1.02), verdict="faster")
    said = "\n".join(tuning_lines(tuning(times=(slack,), rounds=14)))
    assert said.startswith("no set among 3 is proven to be faster than the default")
    assert "fewest instructions: --b=1" in said


@pytest.mark.parametrize(("more", "words"), [
    ({"untimed": "no times: aarch64 is another machine"}, "not timed: no times: aarch64"),
    ({"left": (("--d=1",),), "untimed": "the budget ended before"}, "the budget ended the search: 1 sets"),
])  # fmt: skip
def test_what_was_not_measured_is_said(more, words):
    assert words in "\n".join(tuning_lines(tuning(**more)))
