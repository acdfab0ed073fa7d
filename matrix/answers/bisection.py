"""Finds where along an axis the outcome turns, with few measurements. Pure: the known results determine the next one.

Halving finds *a* place where the outcome turns, and it is certain because both values beside it were measured. It
cannot exclude others: a break that was repaired before the next measured value is not seen. So the answer includes what
was measured and what was not.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class End(StrEnum):
    GOOD = "good"
    BAD = "bad"
    UNKNOWN = "unknown"
    """Nothing can be measured there: no wheels, another machine's target, excluded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Two values with different verdicts, and nothing known between them. `between` are those that cannot be measured,
    or were not yet."""

    before: str
    after: str
    between: tuple[str, ...]


def verdicts(order: Sequence[str], ends: Mapping[str, End], words: Mapping[str, str]) -> dict[str, str]:
    """What is compared along the line: good or bad; where both ends are bad and fail differently, how each fails
    (`words`)."""
    first, last = order[0], order[-1]
    both_bad = ends.get(first) is End.BAD and ends.get(last) is End.BAD
    if not both_bad or words[first] == words[last]:
        return {**ends}
    return {label: words[label] if end is End.BAD else end for label, end in ends.items()}


def turns(order: Sequence[str], known: Mapping[str, str]) -> tuple[Turn, ...]:
    """All turns among the known values, in order."""
    measured = [place for place, label in enumerate(order) if known.get(label, End.UNKNOWN) != End.UNKNOWN]
    return tuple(
        Turn(before=order[one], after=order[other], between=tuple(order[one + 1 : other]))
        for one, other in itertools.pairwise(measured)
        if known[order[one]] != known[order[other]]
    )


def next_to_measure(order: Sequence[str], known: Mapping[str, str]) -> tuple[str, ...]:
    """The values to measure next: the ends, then the middle of the first turn; none if it is found, or if nothing
    turns. Values that are already known are free, and narrow it down."""
    if ends := tuple(label for label in dict.fromkeys((order[0], order[-1])) if label not in known):
        return ends
    first = next(iter(turns(order, known)), None)
    open_labels = [label for label in first.between if label not in known] if first else []
    if first is None or not open_labels:
        return ()
    middle = (order.index(first.before) + order.index(first.after)) / 2
    return (min(open_labels, key=lambda label: abs(order.index(label) - middle)),)
