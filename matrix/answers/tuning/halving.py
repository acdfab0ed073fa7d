"""Successive halving over sets of compile flags, by the instructions of a call. Pure: what is known decides what is
measured next, so a search that was interrupted goes on where it was.

The first round has each flag alone. Of a round, the sets stay that execute fewer instructions than the best one before
it, and of the round no more than the better half. The best of them becomes the base, and the next round joins it with
each of the others. It ends when nothing improves. So it does not see flags that help only together: counts are exact,
and a flag that changes nothing alone is left out.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from packaging.version import Version

from matrix.core.data import DATA
from matrix.core.versions import is_version
from matrix.results.measured.counts import same_counts

FlagWords = tuple[str, ...]
"""The flags of a set in the order of the table; () is the default."""
DEFAULT_SET: FlagWords = ()
FEWEST_KEPT = 2
"""Of a round of two both may stay: joined they are one set of the next round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TunableFlag:
    """Flags that are tried as one. `since` is the first release that knows them, empty if that is not known."""

    words: FlagWords
    since: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedSet:
    """What is known of a set: `instructions` of a call, or None with the `reason`; `right` outputs equal the
    reference."""

    words: FlagWords
    instructions: int | None = None
    right: bool = False
    reason: str = ""

    @property
    def usable(self) -> bool:
        return self.right and self.instructions is not None


def shipped_flags() -> tuple[TunableFlag, ...]:
    """The table `matrix/data/tuning.toml`."""
    rows = tomllib.loads((DATA / "tuning.toml").read_text(encoding="utf-8"))["flag"]
    return tuple(TunableFlag(words=tuple(row["words"]), since=row["since"], note=row.get("note", "")) for row in rows)


def known_by(flags: Sequence[TunableFlag], release: str) -> tuple[TunableFlag, ...]:
    """The flags that a release knows; all of them for a compiler whose release is not known."""
    if not is_version(release):
        return tuple(flags)
    return tuple(flag for flag in flags if not flag.since or Version(flag.since) <= Version(release))


def next_sets(flags: Sequence[TunableFlag], known: Mapping[FlagWords, TriedSet]) -> tuple[FlagWords, ...]:
    """The sets of the round that is under way and not yet known, the default before all; none if the search is over."""
    if DEFAULT_SET not in known:
        return (DEFAULT_SET,)
    base, tried = DEFAULT_SET, tuple(dict.fromkeys(flag.words for flag in flags))
    order = [word for flag in flags for word in flag.words]
    while tried and known[DEFAULT_SET].usable:
        if left := tuple(each for each in tried if each not in known):
            return left
        kept = better_half(tried, known, than=known[base])
        base = kept[0] if kept else base
        tried = tuple(dict.fromkeys(each for other in kept[1:] if (each := joined(base, other, order))))
    return ()


def in_order(flags: Sequence[TunableFlag], known: Mapping[FlagWords, TriedSet]) -> dict[FlagWords, TriedSet]:
    """What is known, in the order in which a search without an interruption finds it."""
    found: dict[FlagWords, TriedSet] = {}
    while here := [each for each in next_sets(flags, found) if each in known]:
        found |= {each: known[each] for each in here}
    return found


def better_half(field: Sequence[FlagWords], known: Mapping[FlagWords, TriedSet], *, than: TriedSet) -> list[FlagWords]:
    """The sets with fewer instructions `than` another, the fewest first, at most half of them all (and two). Of
    sets with the same instructions the shortest is kept: they are most likely the same code."""
    found: dict[int, FlagWords] = {}
    for words in sorted(field, key=lambda each: (len(each), field.index(each))):
        count = known[words].instructions
        if known[words].usable and count is not None and _fewer(count, than.instructions):
            found.setdefault(count, words)
    return [found[count] for count in sorted(found)][: max(FEWEST_KEPT, -(-len(field) // 2))]


def _fewer(count: int, than: int | None) -> bool:
    return than is not None and count < than and not same_counts(count, than)


def joined(one: FlagWords, other: FlagWords, order: Sequence[str]) -> FlagWords:
    """Both sets as one, in the order of the table; empty if they contradict each other, or if one has the other."""
    words = {*one, *other}
    names = {word.partition("=")[0] for word in words}
    if len(names) < len(words) or words in ({*one}, {*other}):
        return ()
    return tuple(sorted(words, key=order.index))


def finalists(known: Mapping[FlagWords, TriedSet], most: int) -> tuple[TriedSet, ...]:
    """The sets whose times are worth measuring: fewer instructions than the default, the fewest first, one of those
    with the same instructions."""
    sets = [words for words in known if words != DEFAULT_SET]
    kept = better_half([*sets, *[DEFAULT_SET] * len(sets)], known, than=known[DEFAULT_SET])
    return tuple(known[words] for words in kept[:most])
