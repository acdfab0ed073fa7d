"""The table `[cover]` of a spec. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from matrix.core.toml_reader import Table

STRENGTHS = (1, 2, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cover:
    """A `[cover]` table: every allowed tuple of `strength` values is in a cell. `densify` is how many cells may be
    added where neighbours differ; 0: none."""

    strength: int = 2
    seed: int = 0
    densify: int = 0


def read_cover(top: Table) -> Cover | None:
    """The table `[cover]` of a spec."""
    if "cover" not in top.content:
        return None
    table = top.table("cover")
    table.only(("strength", "seed", "densify"))
    strength = table.count("strength", 2)
    if strength not in STRENGTHS:
        table.fault("strength", f"read {strength}, expected 1 (each value), 2 (each pair) or 3 (each triple)")
    seed = table.content.get("seed", 0)
    if type(seed) is not int or seed < 0:
        table.fault("seed", f"read {seed!r}, expected a whole number from 0")
        seed = 0
    densify = table.count("densify", 1) if "densify" in table.content else 0
    return Cover(strength=strength, seed=seed, densify=densify)


TUPLE_WORDS = {1: ("value", "values"), 2: ("pair of values", "pairs of values"), 3: ("triple of values", "triples")}


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverFacts:
    """What a covering array came to: cells were chosen of `possible` ones (at most so many, if not `exact`), so that
    each of so many `tuples` of `strength` values is in at least one of them."""

    strength: int
    seed: int
    tuples: int
    possible: int
    exact: bool = True

    @property
    def words(self) -> str:
        one, many = TUPLE_WORDS[self.strength]
        number = f"{self.tuples:,} {many}; strength {self.strength}, seed {self.seed}"
        return f"each allowed {one} is in at least one cell ({number})"

    @property
    def of_cells(self) -> str:
        return f"{'' if self.exact else 'at most '}{self.possible:,}"
