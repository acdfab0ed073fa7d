"""Which cells of a spec a `[cover]` chooses, and what that comes to. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from matrix.core.errors import MatrixError
from matrix.core.records import AxisValue
from matrix.plan.cells import Ranges, Rules, boxes_of, points
from matrix.plan.covering.array import covering_array
from matrix.plan.covering.checking import count_coverage
from matrix.plan.covering.cover import Cover, CoverFacts
from matrix.plan.covering.space import Labels, Options, Space, make_space

COUNTED_CELLS = 200_000
"""Above it the number of possible cells is an upper bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenCells:
    """How the cells of a plan were chosen from a space."""

    facts: CoverFacts
    space: Space


def chosen_points(
    axes: Ranges,
    rules: Rules,
    only: Mapping[str, frozenset[str]],
    planes: Sequence[Ranges],
    first: Iterable[Labels],
) -> tuple[Iterable[tuple[AxisValue, ...]], ChosenCells | None]:
    """All cells of a spec. With a `[cover]` the cells `first` (measured before), as far as the spec allows them, then
    as few as cover the rest.

    Raises MatrixError if an independent count finds a tuple that is not covered: a fault of this program.
    """
    cover = rules.spec.cover
    if cover is None:
        return points(axes, rules, only, planes), None
    space = make_space(axes, rules, only, planes)
    known = [cell for labels in dict.fromkeys(first) if (cell := space.options_of(labels)) is not None]
    cells = [space.labels_of(cell) for cell in sorted({*known, *_fewest(space, cover, known)})]
    found = count_coverage([*boxes_of(axes, rules, only, planes)], axes, rules, cells, cover.strength)
    if found.missing or found.forbidden:
        wrong = [*found.missing, *found.forbidden]
        raise MatrixError(
            f"the covering array of strength {cover.strength} and seed {cover.seed} is wrong: {len(found.missing)} "
            f"allowed tuples are in no cell, {len(found.forbidden)} cells are not allowed; the first: {wrong[0]}",
            tip="this is a fault of this program: report it with the spec; `--cover 0` plans all cells",
        )
    possible = space.count(COUNTED_CELLS)
    facts = CoverFacts(
        strength=cover.strength,
        seed=cover.seed,
        tuples=found.covered,
        possible=possible if possible is not None else space.upper_count(),
        exact=possible is not None,
    )
    return [space.values_of(each) for each in cells], ChosenCells(facts=facts, space=space)


def _fewest(space: Space, cover: Cover, known: Sequence[Options]) -> list[Options]:
    """Cells that cover what `known` ones leave open. The array of an empty store without what is known, if that is no
    more: so an interrupted run goes on with its own cells."""
    whole = covering_array(space, cover.strength, cover.seed)
    if not known:
        return whole
    rest = [cell for cell in whole if cell not in {*known}]
    other = covering_array(space, cover.strength, cover.seed, known)
    return rest if len(rest) <= len(other) else other
