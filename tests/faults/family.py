"""What a family of faults is, and what one trial of it found."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workload import Bed


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One fault, or `tried` faults of one kind, and each invariant that did not hold afterwards, as a sentence."""

    fault: str
    broken: tuple[str, ...] = ()
    tried: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """`trials(bed, chance, count)` yields about `count` trials; all that is random in them comes from `chance`."""

    name: str
    what: str
    full: int
    short: int
    trials: Callable[[Bed, random.Random, int], Iterator[Trial]]
    engines: tuple[str, ...] = ("venv",)
    """What the trials ask for, so that families side by side need not each make its environments."""
