"""Cells that a covering array left out: allowed by the spec, and not chosen."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator, Mapping, Sequence

from matrix.core.text import counted
from matrix.plan.covering.space import Options, Space
from matrix.plan.graph import Plan
from matrix.plan.question import split_choice
from matrix.results.run import Cell, Run

MOST_LOOKED_AT = 100_000
"""Combinations of options that are looked at for the words of a cell."""
NEAREST = 3
_MEASURED_BY = "python -m matrix run"


def left_out_lines(plan: Plan, run: Run, choices: Sequence[str], where: Sequence[str]) -> list[str]:
    """What is said of words that name a cell which the covering array of a plan did not choose: which it is, its
    nearest chosen ones, and a command that measures it. Empty where the words name none. `where` are further words of
    the command. Raises UsageError."""
    if plan.chosen is None:
        return []
    space, facts = plan.chosen.space, plan.chosen.facts
    wanted = dict(split_choice(word, space.names, place="AXIS=VALUE") for word in choices)
    cells = [dict(zip(space.names, space.labels_of(cell), strict=True)) for cell in meant(space, wanted)]
    if not cells:
        return []
    first = cells[0]
    named = {axis: first[axis] for axis in space.names if axis in wanted or len(_labels(cells, axis)) == 1}
    words = [f"{axis}={label}" for axis, label in named.items() if axis in wanted]
    among = f"none of the {counted(len(cells), 'cell')} with {' '.join(words)}"
    measured = [*_MEASURED_BY.split(), plan.spec.source, *_without_cover(plan), *where, "--cover", "0"]
    return [
        f"not chosen: the covering array has {among if len(cells) > 1 else 'not the cell ' + ' '.join(words)}",
        "",
        f"array      strength {facts.strength}, seed {facts.seed}: {len(plan.cells)} of {facts.of_cells} cells",
        f"so that    {facts.words.partition(' (')[0]}",
        *(f"nearest    {_differs(cell, first)}: {cell.words}" for cell in _nearest(run.cells, first)),
        "",
        "measure it",
        "  " + shlex.join([*measured, *(word for each in words for word in ("--only", each))]),
    ]


def meant(space: Space, wanted: Mapping[str, str]) -> Iterator[Options]:
    """The allowed cells with these labels, without repeats, among as many combinations as are looked at."""
    seen = set[Options]()
    for box in space.boxes:
        ranges = [
            [option for option in options if _fits(space, factor, option, wanted)]
            for factor, options in enumerate(box.options)
        ]
        for cell in itertools.islice(itertools.product(*ranges), MOST_LOOKED_AT):
            if cell not in seen and space.allowed(space.mask_of(cell), beyond=box.beyond):
                seen.add(cell)
                yield cell


def _fits(space: Space, factor: int, option: int, wanted: Mapping[str, str]) -> bool:
    labels = zip(space.factors[factor], space.options[factor][option], strict=True)
    asked = ((label, wanted.get(space.names[axis], "")) for axis, label in labels)
    return all(not word or label == word or label.startswith(f"{word}.") for label, word in asked)


def _labels(cells: Sequence[Mapping[str, str]], axis: str) -> set[str]:
    return {cell[axis] for cell in cells}


def _without_cover(plan: Plan) -> list[str]:
    """The words of the question that are not of its covering array."""
    kept, words = list[str](), iter(plan.spec.options)
    for word in words:
        if word in ("--cover", "--seed", "--densify"):
            next(words, "")
        else:
            kept.append(word)
    return kept


def _nearest(cells: Sequence[Cell], labels: Mapping[str, str]) -> list[Cell]:
    def distance(cell: Cell) -> int:
        return sum(cell.axes.get(axis) != label for axis, label in labels.items())

    return sorted((cell for cell in cells if cell.measured), key=distance)[:NEAREST]


def _differs(cell: Cell, labels: Mapping[str, str]) -> str:
    return " ".join(f"{axis}={cell.axes[axis]}" for axis, label in labels.items() if cell.axes.get(axis) != label)
