"""What another release of the compiler makes of the same models, by the compiler's own statistics. Pure.

The figures are counted in the module: they have no noise, and those of two runs or two machines can be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from matrix.answers.causes import orders
from matrix.answers.differences import PairOfRuns, release_pairs
from matrix.artifacts.compiler.statistics import FIGURES
from matrix.core.text import counted
from matrix.plan.backends.iree.names import COMPILE
from matrix.plan.backends.shared import MODEL_AXIS
from matrix.plan.stages import later_axes
from matrix.results.run import Cell, FinishedJob, Run
from matrix.results.square import placed
from matrix.results.weights import STATISTIC_NAMES, statistics_of

HEADING = "what the compiler says of its modules: counted, the same on every machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleChange:
    """Cells whose modules changed in the same way. `changes` are figures as (name, before, after)."""

    cells: tuple[Cell, ...]
    changes: tuple[tuple[str, int, int], ...]

    @property
    def words(self) -> str:
        """`dispatches 72 -> 55, transient bytes 7,402,912 -> 8,876,512 (+20 %)`."""
        return ", ".join(f"{name} {old:,} -> {new:,}{_part(old, new)}" for name, old, new in self.changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleChanges:
    """`modules` were compiled on both sides, with figures; `same` of them have the same ones."""

    groups: tuple[ModuleChange, ...]
    modules: int
    same: int

    def placed(self) -> list[tuple[str, ModuleChange]]:
        """Each group with its place: the model and what else tells the groups apart that a compile depends on."""
        cells = [cell for group in self.groups for cell in group.cells]
        later = later_axes(COMPILE)
        order = orders(
            cells, [axis for axis in dict.fromkeys(name for cell in cells for name in cell.axes) if axis not in later]
        )
        models = list(dict.fromkeys(cell.axes[MODEL_AXIS.name] for cell in cells))
        alone = models if len(models) == 1 else []  # one that all share tells nothing apart, and is named all the same
        places = (placed([cell.axes for cell in group.cells], order) for group in self.groups)
        return [
            (", ".join([*alone, place] if place else [group.cells[0].axes[MODEL_AXIS.name]]), group)
            for place, group in zip(places, self.groups, strict=True)
        ]


def module_changes(pairs: Iterable[PairOfRuns]) -> ModuleChanges:
    """Each pair of modules once, however many runtimes they were run with; none that is one module on both sides."""
    found: dict[tuple[str, str], tuple[Cell, tuple[tuple[str, int, int], ...]]] = {}
    for first, before, second, after in pairs:
        if before is None or after is None:
            continue
        old, new = statistics_of(first, before), statistics_of(second, after)
        if old and new:
            place = (_compile(first, before).key, _compile(second, after).key)
            if first is not second or place[0] != place[1]:
                found.setdefault(place, (after, _changes(old, new)))
    groups: dict[tuple[tuple[str, int, int], ...], list[Cell]] = {}
    for cell, changes in found.values():
        groups.setdefault(changes, []).append(cell)
    return ModuleChanges(
        groups=tuple(ModuleChange(cells=tuple(cells), changes=each) for each, cells in groups.items() if each),
        modules=len(found),
        same=len(groups.get((), [])),
    )


def _compile(run: Run, cell: Cell) -> FinishedJob:
    """The job with the figures."""
    return next(job for job in run.jobs_of(cell) if STATISTIC_NAMES[0] in job.measurements)


def _changes(old: Mapping[str, int], new: Mapping[str, int]) -> tuple[tuple[str, int, int], ...]:
    both = ((words, old[name], new[name]) for name, words in FIGURES.items() if name in old and name in new)
    return tuple(each for each in both if each[1] != each[2])


def _part(old: int, new: int) -> str:
    """The difference of a large figure in per cent, which few see at a glance."""
    return f" ({100 * (new / old - 1):+.2g} %)" if min(old, new) >= 1000 else ""


def module_lines(pairs: Iterable[PairOfRuns]) -> list[str]:
    """The changes as lines for people; none for runs without such figures."""
    found = module_changes(pairs)
    if not found.modules:
        return []
    lines = [f"  {where}: {group.words}" for where, group in found.placed()]
    same = f"{found.same} of {counted(found.modules, 'module')} have the same figures"
    return ["", HEADING, *lines, f"  {same}"]


def release_module_lines(runs: Sequence[Run], axis: str, before: str, after: str) -> list[str]:
    """The same of two releases of an axis."""
    return module_lines(release_pairs(runs, axis, before, after))
