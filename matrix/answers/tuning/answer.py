"""What a search over sets of flags came to, as lines for people and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from matrix.answers.tuning.halving import DEFAULT_SET, FlagWords, TriedSet, TunableFlag
from matrix.core.keys import Json
from matrix.core.text import plain_rows
from matrix.core.versions import ascending
from matrix.results.measured.counts import instruction_words
from matrix.results.measured.figures import Timed, Times, Verdict
from matrix.results.speed import CONFIDENCE, median_ratio, ratio_interval
from matrix.results.times import duration

SETS_SHOWN = 12
"""Sets in the table for people; JSON has all."""
NOT_SHOWN = (
    "outputs were compared for the model's inputs alone; instructions are no speed, so a set that executes more of "
    "them and is quicker is not found"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedSet:
    """A set with times beside the default's: `ratio` is the median over the rounds (below 1 is quicker), `interval`
    one for that median."""

    words: FlagWords
    seconds: float
    ratio: float
    interval: tuple[float, float] | None
    verdict: str

    @property
    def proven(self) -> bool:
        """All passes call it faster, and the interval over all rounds agrees."""
        return self.verdict == Verdict.FASTER and self.interval is not None and self.interval[1] < 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """A search: `place` has the labels of the cell, `known` what was measured, `left` are sets that the budget did not
    reach. `times` are those of the finalists; `untimed` says why there are none."""

    place: Mapping[str, str]
    flags: tuple[TunableFlag, ...]
    known: Mapping[FlagWords, TriedSet]
    left: tuple[FlagWords, ...] = ()
    times: tuple[TimedSet, ...] = ()
    noise_floor: float | None = None
    rounds: int = 0
    untimed: str = ""
    jobs: int = 0

    @property
    def fewest(self) -> TriedSet:
        """The usable set with the fewest instructions; the default if none has fewer."""
        usable = [each for each in self.known.values() if each.usable]
        return min(usable, key=lambda each: (each.instructions or 0, len(each.words)))

    @property
    def proven(self) -> TimedSet | None:
        """The quickest set that is proven to be faster than the default."""
        return min((each for each in self.times if each.proven), key=lambda each: each.ratio, default=None)


def timed_sets(table: Times, axis: str, words: Mapping[str, FlagWords]) -> tuple[TimedSet, ...]:
    """The sets of a table of times with a default; `words` are those of each label of the axis."""
    base, found = table.base, []
    for row in table.rows:
        label = row.axes.get(axis, "")
        ratio = median_ratio(row.seconds_by_round, base.seconds_by_round) if base and label in words else None
        if base and ratio and row.median_seconds and not row.baseline:
            found.append(_timed(row, base, words[label], ratio))
    return tuple(found)


def _timed(row: Timed, base: Timed, words: FlagWords, ratio: float) -> TimedSet:
    return TimedSet(
        words=words,
        seconds=row.median_seconds or 0.0,
        ratio=ratio,
        interval=ratio_interval(row.seconds_by_round, base.seconds_by_round),
        verdict=row.verdict,
    )


def set_words(words: FlagWords) -> str:
    return " ".join(words) or "default"


def since_words(words: FlagWords, flags: Sequence[TunableFlag]) -> str:
    """`--a=1 since 2.9; --b=1 since 3.11`; the flag that came last says from when on the set can be used."""
    told = []
    for word in words:
        releases = [flag.since for flag in flags if word in flag.words and flag.since]
        told.append(f"{word} {f'since {ascending(releases)[0]}' if releases else '(since when is not known)'}")
    return "; ".join(told)


def tuning_lines(tuning: Tuning) -> list[str]:
    """The answer first: the best set and its gain, or that none was found among how many."""
    rows = [["with", ", ".join(f"{axis} {label}" for axis, label in tuning.place.items())]]
    rows += [["besides", text] for text in _besides(tuning)]
    return [*_headline(tuning), "", plain_rows(rows, headers=()), "", _table(tuning)]


def _headline(tuning: Tuning) -> Iterator[str]:
    best, tried = tuning.proven, len(tuning.known) - 1
    if best:
        yield f"best set: {set_words(best.words)}"
        yield f"  {_gain(best)}, over {tuning.rounds} interleaved rounds beside the default"
        yield from _of_set(tuning, tuning.known[best.words])
        return
    fewest = tuning.fewest
    if fewest.words == DEFAULT_SET:
        yield f"no set among {tried} executes fewer instructions than the default, so none was timed"
        return
    yield f"no set among {tried} is proven to be faster than the default: {tuning.untimed or 'see the times below'}"
    yield f"fewest instructions: {set_words(fewest.words)}"
    yield from _of_set(tuning, fewest)


def _of_set(tuning: Tuning, tried: TriedSet) -> Iterator[str]:
    before = tuning.known[DEFAULT_SET].instructions or 0
    yield f"  instructions of a call: {instruction_words(before)} -> {_counted(tried, before)}"
    yield f"  outputs equal the reference; {since_words(tried.words, tuning.flags)}"
    notes = (flag.note for flag in tuning.flags if flag.note and {*flag.words} <= {*tried.words})
    yield from (f"  note: {note}" for note in notes)


def _gain(timed: TimedSet) -> str:
    """`19 % less time (17 % to 20 % at 85 % confidence or more)`."""
    low, high = timed.interval or (timed.ratio, timed.ratio)
    part = f"{100 * (1 - timed.ratio):.3g} % less time" if timed.ratio < 1 else f"{100 * (timed.ratio - 1):.3g} % more"
    interval = f"{100 * (1 - high):.3g} % to {100 * (1 - low):.3g} % less" if timed.interval else "too few rounds"
    return f"{part} ({interval}, at {100 * CONFIDENCE:.0f} % confidence or more), {duration(timed.seconds)} a call"


def _counted(tried: TriedSet, before: int) -> str:
    count = tried.instructions or 0
    return f"{instruction_words(count)} ({100 * (count / before - 1):+.2f} %)" if before else instruction_words(count)


def _besides(tuning: Tuning) -> Iterator[str]:
    wrong = sum(not each.usable for each in tuning.known.values())
    yield f"{len(tuning.flags)} flags known to this release, {len(tuning.known) - 1} sets tried" + (
        f", {wrong} of them not usable" if wrong else ""
    )
    if tuning.left:
        yield f"the budget ended the search: {len(tuning.left)} sets of its round are left; the same command goes on"
    if tuning.noise_floor:
        yield f"noise floor of the times: {100 * (tuning.noise_floor - 1):.2g} %"
    for each in tuning.times:
        yield f"timed: {set_words(each.words)}: {each.verdict}, {_gain(each)}"
    if not tuning.times and tuning.untimed:
        yield f"not timed: {tuning.untimed}"
    yield NOT_SHOWN
    yield f"{tuning.jobs} jobs run"


def _table(tuning: Tuning) -> str:
    before = tuning.known[DEFAULT_SET].instructions or 0
    ordered = sorted(tuning.known.values(), key=lambda each: (not each.usable, each.instructions or 0, len(each.words)))
    shown = [each for each in ordered if each.usable][:SETS_SHOWN] + [each for each in ordered if not each.usable]
    rows = [
        [
            _counted(each, before) if each.instructions is not None else "-",
            each.reason or "equal",
            set_words(each.words),
        ]
        for each in shown
    ]
    more = len(ordered) - len(shown)
    table = plain_rows(rows, headers=("instructions of a call", "outputs", "set"))
    return table + (f"\n{more} more sets, all with more instructions than these" if more else "")


def tuning_document(tuning: Tuning) -> Json:
    """All that is known, for programs; times in seconds, ratios to the default."""
    best = tuning.proven
    return {
        "place": dict(tuning.place),
        "best": list(best.words) if best else None,
        "fewest_instructions": list(tuning.fewest.words),
        "sets": [
            {
                "words": list(each.words),
                "instructions": each.instructions,
                "right": each.right,
                "reason": each.reason,
            }
            for each in tuning.known.values()
        ],
        "left": [list(words) for words in tuning.left],
        "times": [
            {
                "words": list(each.words),
                "seconds": each.seconds,
                "ratio": each.ratio,
                "interval": list(each.interval) if each.interval else None,
                "verdict": each.verdict,
                "proven": each.proven,
            }
            for each in tuning.times
        ],
        "rounds": tuning.rounds,
        "noise_floor": tuning.noise_floor,
        "untimed": tuning.untimed,
        "since": {word: since_words((word,), tuning.flags) for flag in tuning.flags for word in flag.words},
    }
