"""Targets compared with each other, and runtimes from source with the wheels of their releases, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from matrix.core.text import counted
from matrix.plan.axes import NONE
from matrix.plan.stages import kinds
from matrix.results.run import Cell, Run, RunAxis
from matrix.results.square import placed

Place = tuple[str, ...]
"""The labels of a cell on all axes but the target, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectComparison:
    """A subject compared with a first one: a target with the first target, or a build with the wheel of its release.

    `cells` are measured on both, `same` of them have the same end (outcome, stage and signature), `differences` are the
    others in words, `unmeasured` is the number of cells that are measured on only one of the two. In `built` of the
    cells a runtime from source is compared with the wheel of its release.
    """

    subject: str
    first: str
    cells: int
    same: int
    differences: tuple[str, ...]
    unmeasured: int
    built: int = 0

    @property
    def words(self) -> str:
        if not self.cells:
            return f"no cell is measured on both {self.subject} and {self.first}, {self.unmeasured} on one of them only"
        count = counted(self.cells, "cell")
        part = ("all " if self.cells > 1 else "") if self.same == self.cells else f"{self.same} of "
        missing = f"; {self.unmeasured} more are measured on one of them only" if self.unmeasured else ""
        return f"{self.subject} ends as {self.first} does in {part}{count}{self._how}{missing}"

    @property
    def _how(self) -> str:
        if not self.built:
            return ""
        which = "" if self.built == self.cells else f"{self.built} of them "
        return f", {which}on runtimes built from source, compared with the wheels of the same releases"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """The ends of a place on both; `built` if the second ran on a build and the first on a wheel."""

    first: Cell
    second: Cell
    built: bool


class _Cells:
    """The measured and planned cells of a run by target and place."""

    def __init__(self, run: Run) -> None:
        self.axes = [axis.name for axis in run.axes if axis.name != "target"]
        self.targets = run.axis("target").labels
        built = next((axis for axis in run.axes if any(value.release for value in axis.values)), RunAxis(name=""))
        self.built = built.name
        self.releases = {value.label: value.release for value in built.values if value.release}
        self.found: dict[str, dict[Place, Cell]] = {target: {} for target in self.targets}
        for cell in run.cells:  # a target that an [[include]] adds to one cell is not on the axis
            place = tuple(cell.axes.get(axis, NONE) for axis in self.axes)
            self.found.get(cell.axes.get("target", NONE), {})[place] = cell
        self.order = {axis: tuple(dict.fromkeys(cell.axes.get(axis, NONE) for cell in run.cells)) for axis in self.axes}

    def on_the_wheel(self, place: Place) -> Place | None:
        """The place with the wheel of the release that its runtime is built from."""
        runtime = self.axes.index(self.built) if self.releases else 0
        release = self.releases.get(place[runtime])
        return (*place[:runtime], release, *place[runtime + 1 :]) if release else None

    def across(self, target: str) -> Iterator[_Pair]:
        """A target compared with the first one."""
        before = self.found[self.targets[0]]
        for place, cell in self.found[target].items():
            wheel = self.on_the_wheel(place)
            if place in before:
                yield _Pair(first=before[place], second=cell, built=False)
            elif wheel in before:
                yield _Pair(first=before[wheel], second=cell, built=True)

    def builds(self, runtime: str) -> Iterator[_Pair]:
        """A build compared with the wheel of its release, on the same target."""
        for cells in self.found.values():
            for place, cell in cells.items():
                wheel = self.on_the_wheel(place)
                if cell.axes[self.built] == runtime and wheel in cells:
                    yield _Pair(first=cells[wheel], second=cell, built=False)


def compare_targets(run: Run) -> tuple[SubjectComparison, ...]:
    """A record for each target after the first that has cells in common with it; none for a run with one target."""
    cells = _Cells(run)
    rows = (_beside(cells, target, cells.targets[0], cells.across(target)) for target in cells.targets[1:])
    return tuple(row for row in rows if row.cells or row.unmeasured)


def compare_builds(run: Run) -> tuple[SubjectComparison, ...]:
    """A record for each runtime from source that has cells where the wheel of its release has one."""
    cells = _Cells(run)
    rows = (_beside(cells, name, f"the wheel {cells.releases[name]}", cells.builds(name)) for name in cells.releases)
    return tuple(row for row in rows if row.cells or row.unmeasured)


def _beside(cells: _Cells, subject: str, first: str, pairs: Iterator[_Pair]) -> SubjectComparison:
    groups: dict[tuple[str, str], list[Mapping[str, str]]] = {}
    count = same = unmeasured = built = 0
    for pair in pairs:
        if not (_measured(pair.first) and _measured(pair.second)):
            unmeasured += _measured(pair.first) != _measured(pair.second)
            continue
        count += 1
        built += pair.built
        if pair.first.words == pair.second.words:
            same += 1
        else:
            groups.setdefault((pair.first.words, pair.second.words), []).append(pair.second.axes)
    told = [
        f"{subject} {words} where {first} {others} in {len(held)} of them: {placed(held, cells.order)}".rstrip(": ")
        for (others, words), held in sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    ]
    return SubjectComparison(
        subject=subject,
        first=first,
        cells=count,
        same=same,
        differences=tuple(told),
        unmeasured=unmeasured,
        built=built,
    )


def _measured(cell: Cell) -> bool:
    """A runtime that cannot be built loads nothing; this says nothing about the modules."""
    kind = kinds().get(cell.stage)
    return cell.measured and not (kind and kind.apart)
