"""The nodes that repeat a job: rounds of a benchmark, and a second compile of the same module. Pure.

Of the repeat numbers of a benchmark, 2 r is round r of a release, and 2 r + 1 is round r of the baseline's twin: the
same release once more. Rounds are numbered from 1, so a spec that asks for more of them keeps the measured ones. A
round belongs to the cells that it is interleaved with: with other cells (another spec, a part of this one) all rounds
are measured again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from matrix.core.errors import SpecError
from matrix.core.keys import digest
from matrix.core.records import Outcome, Stage
from matrix.plan.axes import NEWER_TIP, selected_labels
from matrix.plan.backends.shared import BACKEND_AXIS
from matrix.plan.catalogue import Catalogue
from matrix.plan.graph import Plan, PlannedCell
from matrix.plan.stages import Node, backend_of, kinds


def round_of(node: Node) -> int:
    return node.repeat // 2


def is_twin(node: Node) -> bool:
    return node.repeat % 2 == 1


def with_repeats(plan: Plan, catalogue: Catalogue) -> Plan:
    """The plan with the nodes that its spec's [benchmark] and [repeat] add. Raises SpecError."""
    rounds = [stage for stage in plan.spec.stages if kinds()[stage].rounds]
    turns = [stage for stage in plan.spec.stages if kinds()[stage].turns]
    if not plan.spec.repeats and not rounds and not turns:
        return plan
    maker = _Maker(plan, catalogue, measured=bool(rounds))
    maker.repeat_jobs()
    for stage in turns:
        maker.take_turns(stage)
    if rounds:
        maker.rounds({backend_of(stage).name: stage for stage in rounds})
    cells = tuple(
        replace(cell, repeats=(*cell.repeats, *more)) if more else cell
        for cell, more in zip(plan.cells, maker.repeats, strict=True)
    )
    return replace(plan, cells=cells, nodes=tuple(maker.nodes), baseline=maker.baseline, apart=maker.apart)


def group_of(cell: PlannedCell, apart: Collection[str]) -> tuple[str, ...]:
    """The labels that a cell has in common with the baseline that it is compared with: all but those `apart`."""
    return tuple(label for axis, label in cell.labels.items() if axis not in apart)


def is_baseline(cell: PlannedCell, baseline: Mapping[str, str]) -> bool:
    return all(cell.labels[axis] == label for axis, label in baseline.items())


class _Maker:
    """Appends nodes; cells that share a node share the new ones too."""

    def __init__(self, plan: Plan, catalogue: Catalogue, *, measured: bool) -> None:
        self.plan, self.catalogue = plan, catalogue
        self.nodes = list(plan.nodes)
        self.repeats: list[list[int]] = [[] for _ in plan.cells]
        self.made: dict[tuple[int, Stage, int, str], int] = {}
        self.baseline = self._baseline() if measured else {}
        self.apart = self._apart()

    def repeat_jobs(self) -> None:
        for place, cell in enumerate(self.plan.cells):
            for index in cell.nodes:
                stage = self.nodes[index].stage
                for repeat in range(1, self.plan.spec.repeats.get(stage, 1)):
                    self._add(place, index, stage, repeat)

    def take_turns(self, stage: Stage) -> None:
        """Repeats of a stage that is measured in turns. They wait for the first one: what cannot be measured ends once.
        Where there are several, each belongs to those beside it, as a round does."""
        places = [
            (place, index)
            for place, cell in enumerate(self.plan.cells)
            for index in (*cell.nodes, *cell.repeats)
            if self.nodes[index].stage == stage
        ]
        firsts = [self.nodes[index] for index in dict.fromkeys(index for _, index in places)]
        known = [[node.label, node.request.lock.digest if node.request else ""] for node in firsts]
        beside = digest(known) if len(firsts) > 1 else ""
        for node in firsts:
            self.nodes[node.index] = replace(node, beside=beside)
        for place, index in places:
            for repeat in range(1, kinds()[stage].turns):
                self._add(place, index, stage, repeat, beside)

    def rounds(self, stages: Mapping[str, Stage]) -> None:
        """Group by group, and the twin of the baseline last: as far from it in time as any release of the group.
        `stages` has the stage with rounds of each backend that has one."""
        groups: dict[tuple[str, ...], list[int]] = {}
        for place, cell in enumerate(self.plan.cells):
            if cell.nodes and self._backend(place) in stages:
                groups.setdefault(group_of(cell, {*self.baseline, *self.apart}), []).append(place)
        wanted = self.plan.spec.benchmark
        for places in groups.values():
            beside = digest([list(self.plan.cells[place].labels.items()) for place in places])
            twins = [place for place in places if is_baseline(self.plan.cells[place], self.baseline)]
            for series, members in ((0, places), (1, twins)):
                for place in members:
                    for number in range(1, wanted.rounds * wanted.passes + 1):
                        run = self.plan.cells[place].nodes[-1]
                        self._add(place, run, stages[self._backend(place)], 2 * number + series, beside)

    def _backend(self, place: int) -> str:
        return backend_of(self.nodes[self.plan.cells[place].nodes[-1]].stage).name

    def _add(self, place: int, origin: int, stage: Stage, repeat: int, beside: str = "") -> None:
        key = (origin, stage, repeat, beside)
        if key not in self.made:
            node = self.nodes[origin]
            new = replace(node, index=len(self.nodes), repeat=repeat, beside=beside)
            if kinds()[stage].rounds:
                new = self._round(new, stage, origin, place)
            elif kinds()[stage].turns:
                new = replace(new, above=(*node.above, origin))
            self.made[key] = new.index
            self.nodes.append(new)
        self.repeats[place].append(self.made[key])

    def _round(self, node: Node, stage: Stage, run: int, place: int) -> Node:
        untimed = next((value.untimed for value in self.plan.cells[place].values if value.untimed), "")
        return replace(
            node,
            stage=stage,
            above=(run,),
            given=(),
            limits=self.plan.spec.limits[stage],
            obstacle=(Outcome.UNTESTED, untimed) if untimed else node.obstacle,
            machine=self.catalogue.machine_class,
        )

    def _baseline(self) -> dict[str, str]:
        """One label for each axis that the spec's baseline names."""
        spec, faults, labels = self.plan.spec, list[str](), dict[str, str]()
        for axis, term in spec.benchmark.baseline.items():
            place = f"benchmark.baseline.{axis}"
            before = len(faults)
            meant = selected_labels(axis, (term,), spec, self.catalogue, faults, place=place)
            if len(meant) != 1 and len(faults) == before:
                found = ", ".join(meant) or "none"
                faults.append(f"{place}: {term!r} means {found}, expected exactly one value")
            labels[axis] = meant[0] if meant else ""
        if BACKEND_AXIS.name in labels:
            faults += self._open_axes(labels)
        if faults:
            raise SpecError(spec.source, faults, tip=NEWER_TIP)
        return labels

    def _open_axes(self, labels: Mapping[str, str]) -> list[str]:
        """Faults of a baseline that several releases of its backend fit."""
        own = {
            axis.name
            for each in self.plan.spec.backends
            if each.name == labels[BACKEND_AXIS.name]
            for axis in each.axes
        }
        found = []
        for axis, values in self.plan.axes.items():
            if axis in own & self._unshared() - labels.keys() and len(values) > 1:
                said = ", ".join(value.label for value in values)
                found.append(f"benchmark.baseline: {axis} has {said}, expected one of them named beside the backend")
        return found

    def _apart(self) -> tuple[str, ...]:
        """Where the baseline names a backend: the axes that it does not name and that not all backends have. Cells of
        two backends have no label on them in common."""
        if BACKEND_AXIS.name not in self.baseline:
            return ()
        return tuple(axis for axis in self.plan.axes if axis in self._unshared() and axis not in self.baseline)

    def _unshared(self) -> set[str]:
        axes = [{axis.name for axis in each.axes} for each in self.plan.spec.backends]
        return {name for names in axes for name in names if not all(name in others for others in axes)}
