"""What a module assumes of its device and the device does not have: a warning, never a verdict. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from matrix.core.text import counted
from matrix.plan.axes import NONE
from matrix.results.run import Run
from matrix.results.sections import Block, Column, Lines, Section
from matrix.results.square import placed


def subgroup_warning(assumed: Collection[int], device: str, sizes: Collection[int]) -> str:
    """Empty where the device has one of the sizes of a subgroup that a module assumes, or where either is unknown."""
    if not assumed or not sizes or set(assumed) & set(sizes):
        return ""
    return (
        f"the module assumes subgroups of {_listed(assumed)}, {device} has subgroups of {_listed(sizes)}: "
        "numbers can be wrong, and no runtime refuses it"
    )


def _listed(sizes: Collection[int]) -> str:
    return " or ".join(map(str, sorted(sizes)))


def _warnings(run: Run) -> Mapping[str, str]:
    return {cell.name: cell.warning for cell in run.cells if cell.warning}


def _sentences(run: Run) -> Iterator[Block]:
    """A line for each warning, with the number of its cells, how many of them computed right, and where they are."""
    said = []
    for warning in dict.fromkeys(_warnings(run).values()):
        held = [cell for cell in run.cells if cell.warning == warning]
        right, ran = sum(cell.right for cell in held), sum(cell.comparison is not None for cell in held)
        order = {axis: tuple(dict.fromkeys(cell.axes.get(axis, NONE) for cell in run.cells)) for axis in run.names}
        where = placed([cell.axes for cell in held], order)
        seen = f"; {right} of {ran} compared are right" if ran else ""
        said.append(f"{warning}: {counted(len(held), 'cell')}{seen}" + (f": {where}" if where else ""))
    if said:
        yield Lines(lines=tuple(said))


WARNINGS_SECTION = Section(
    name="warnings", blocks=_sentences, columns=(Column(key="warning", value=str),), rows=_warnings
)
