"""The targets of one run beside each other: where the second ends as the first does, and where not. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from matrix.axes import ordered_axes
from matrix.records import Outcome
from matrix.report import CellReport, Report
from matrix.square import placed


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A target beside the first one of the axis.

    `cells` are measured on both, `same` of them end alike (outcome, stage and signature), `differences` are the others
    in words, `unmeasured` is how many are measured on one of the two only.
    """

    target: str
    first: str
    cells: int
    same: int
    differences: tuple[str, ...]
    unmeasured: int

    @property
    def words(self) -> str:
        count = f"all {self.cells}" if self.same == self.cells else f"{self.same} of {self.cells}"
        missing = f"; {self.unmeasured} more are measured on one of them only" if self.unmeasured else ""
        return f"{self.target} ends as {self.first} does in {count} cells{missing}"


def beside(report: Report) -> tuple[Beside, ...]:
    """A record for each target after the first; none for a run with one target."""
    targets = [value.label for value in report.plan.axes["target"]]
    found: dict[str, dict[tuple[str, ...], CellReport]] = {target: {} for target in targets}
    others = [axis for axis in ordered_axes(report.plan.spec) if axis != "target"]
    for cell in report.cells:  # a target that an [[include]] adds to one cell is not on the axis
        found.get(cell.labels["target"], {})[tuple(cell.labels[axis] for axis in others)] = cell
    order = {axis: tuple(dict.fromkeys(cell.labels[axis] for cell in report.cells)) for axis in others}
    return tuple(_beside(targets[0], found[targets[0]], target, found[target], order) for target in targets[1:])


def _beside(
    first: str,
    before: Mapping[tuple[str, ...], CellReport],
    target: str,
    after: Mapping[tuple[str, ...], CellReport],
    order: Mapping[str, tuple[str, ...]],
) -> Beside:
    groups: dict[tuple[str, str], list[Mapping[str, str]]] = {}
    cells = same = unmeasured = 0
    for place in before.keys() & after.keys():
        one, other = before[place], after[place]
        if not (_measured(one) and _measured(other)):
            unmeasured += _measured(one) != _measured(other)
            continue
        cells += 1
        if one.words == other.words:
            same += 1
        else:
            groups.setdefault((one.words, other.words), []).append(other.labels)
    told = [
        f"{target} {words} where {first} {others} in {len(held)} of them: {placed(held, order)}".rstrip(": ")
        for (others, words), held in sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    ]
    return Beside(target=target, first=first, cells=cells, same=same, differences=tuple(told), unmeasured=unmeasured)


def _measured(cell: CellReport) -> bool:
    return cell.outcome is Outcome.PASSED or cell.outcome.red


def sentences(report: Report) -> tuple[str, ...]:
    """What there is to say of a run with several targets."""
    return tuple(sentence for row in beside(report) for sentence in (row.words, *row.differences))
