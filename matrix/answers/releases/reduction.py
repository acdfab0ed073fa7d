"""Shrinks what fails, one deterministic step after the other: delta debugging (Zeller and Hildebrandt, 2002). Pure."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

ASKED_AT_ONCE = 4
"""How many smaller ones are asked at once."""
Parts = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduced:
    """The parts that are left, how many smaller ones were asked, and whether no single one of them can go (`least`):
    else the budget was spent first."""

    kept: Parts
    asked: int
    least: bool


def reduce_parts(count: int, still_fails: Callable[[Sequence[Parts]], int | None], budget: int) -> Reduced:
    """The fewest of `count` parts that still fail. `still_fails` gets some candidates and says which is the first that
    fails as the whole does, or None."""
    kept: Parts = tuple(range(count))
    asked, pieces = 0, 2
    while len(kept) > 1:
        chunks = _cut(kept, pieces)
        rest = [tuple(part for part in kept if part not in chunk) for chunk in map(set, chunks)]
        candidates = chunks + (rest if pieces > 2 else [])
        winner: int | None = None
        for start in range(0, len(candidates), ASKED_AT_ONCE):
            batch = candidates[start : start + min(ASKED_AT_ONCE, budget - asked)]
            if not batch:
                return Reduced(kept=kept, asked=asked, least=False)
            asked += len(batch)
            first = still_fails(batch)
            if first is not None:
                winner = start + first
                break
        if winner is None and pieces >= len(kept):
            return Reduced(kept=kept, asked=asked, least=True)
        if winner is None:
            pieces = min(2 * pieces, len(kept))
        else:
            kept = candidates[winner]
            pieces = 2 if winner < len(chunks) else max(pieces - 1, 2)
    return Reduced(kept=kept, asked=asked, least=True)


def _cut(parts: Parts, pieces: int) -> list[Parts]:
    """As many pieces of nearly one size."""
    ends = [len(parts) * number // pieces for number in range(pieces + 1)]
    return [parts[start:end] for start, end in itertools.pairwise(ends) if end > start]
