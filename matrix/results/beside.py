"""The targets of one run beside each other, and runtimes built from source beside the wheels of their releases: where
the second ends as the first does, and where not. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from matrix.core.records import Outcome
from matrix.plan.axes import ordered_axes
from matrix.plan.backends.iree import BUILD, RUN
from matrix.results.cells import CellReport, Report
from matrix.results.square import placed

Place = tuple[str, ...]
"""The labels of a cell on all axes but the target, in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A subject beside a first one: a target beside the first target, or a build beside the wheel of its release.

    `cells` are measured on both, `same` of them end alike (outcome, stage and signature), `differences` are the others
    in words, `unmeasured` is how many are measured on one of the two only. In `built` of the cells a runtime that is
    built from source stands beside the wheel of its release.
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
        count = f"all {self.cells}" if self.same == self.cells else f"{self.same} of {self.cells}"
        missing = f"; {self.unmeasured} more are measured on one of them only" if self.unmeasured else ""
        return f"{self.subject} ends as {self.first} does in {count} cells{self._how}{missing}"

    @property
    def _how(self) -> str:
        if not self.built:
            return ""
        which = "" if self.built == self.cells else f"{self.built} of them "
        return f", {which}on runtimes built from source beside the wheels of the same releases"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """The ends of a place on both; `built` where the second ran on a build and the first on a wheel."""

    first: CellReport
    second: CellReport
    built: bool


class _Cells:
    """The measured and planned cells of a report by target and place."""

    def __init__(self, report: Report) -> None:
        self.axes = [axis for axis in ordered_axes(report.plan.spec) if axis != "target"]
        self.targets = [value.label for value in report.plan.axes["target"]]
        self.releases = {
            value.label: part.build.release
            for value in report.plan.axes["runtime"]
            if (part := value.parts.get(RUN)) and part.build and part.build.release
        }
        self.found: dict[str, dict[Place, CellReport]] = {target: {} for target in self.targets}
        for cell in report.cells:  # a target that an [[include]] adds to one cell is not on the axis
            place = tuple(cell.labels[axis] for axis in self.axes)
            self.found.get(cell.labels["target"], {})[place] = cell
        self.order = {axis: tuple(dict.fromkeys(cell.labels[axis] for cell in report.cells)) for axis in self.axes}

    def on_the_wheel(self, place: Place) -> Place | None:
        """The place with the wheel of the release that its runtime is built from."""
        runtime = self.axes.index("runtime")
        release = self.releases.get(place[runtime])
        return (*place[:runtime], release, *place[runtime + 1 :]) if release else None

    def across(self, target: str) -> Iterator[_Pair]:
        """A target beside the first one."""
        before = self.found[self.targets[0]]
        for place, cell in self.found[target].items():
            wheel = self.on_the_wheel(place)
            if place in before:
                yield _Pair(first=before[place], second=cell, built=False)
            elif wheel in before:
                yield _Pair(first=before[wheel], second=cell, built=True)

    def builds(self, runtime: str) -> Iterator[_Pair]:
        """A build beside the wheel of its release, on the same target."""
        for cells in self.found.values():
            for place, cell in cells.items():
                wheel = self.on_the_wheel(place)
                if cell.labels["runtime"] == runtime and wheel in cells:
                    yield _Pair(first=cells[wheel], second=cell, built=False)


def beside(report: Report) -> tuple[Beside, ...]:
    """A record for each target after the first that shares cells with it; none for a run with one target."""
    cells = _Cells(report)
    rows = (_beside(cells, target, cells.targets[0], cells.across(target)) for target in cells.targets[1:])
    return tuple(row for row in rows if row.cells or row.unmeasured)


def builds_beside(report: Report) -> tuple[Beside, ...]:
    """A record for each runtime that is built from source and has cells where the wheel of its release has one."""
    cells = _Cells(report)
    rows = (_beside(cells, name, f"the wheel {cells.releases[name]}", cells.builds(name)) for name in cells.releases)
    return tuple(row for row in rows if row.cells or row.unmeasured)


def _beside(cells: _Cells, subject: str, first: str, pairs: Iterator[_Pair]) -> Beside:
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
            groups.setdefault((pair.first.words, pair.second.words), []).append(pair.second.labels)
    told = [
        f"{subject} {words} where {first} {others} in {len(held)} of them: {placed(held, cells.order)}".rstrip(": ")
        for (others, words), held in sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    ]
    return Beside(
        subject=subject,
        first=first,
        cells=count,
        same=same,
        differences=tuple(told),
        unmeasured=unmeasured,
        built=built,
    )


def _measured(cell: CellReport) -> bool:
    """A runtime that cannot be built loads nothing, and that says nothing of the modules."""
    return (cell.outcome is Outcome.PASSED or cell.outcome.red) and cell.stage != BUILD


def sentences(report: Report) -> tuple[str, ...]:
    """What there is to say of a run with several targets, and of one with builds."""
    rows = (*beside(report), *builds_beside(report))
    return tuple(sentence for row in rows for sentence in (row.words, *row.differences))
