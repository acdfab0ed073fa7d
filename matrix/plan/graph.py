"""From a spec to cells and the graph of their jobs. Pure: nothing is read or started.

A node is a job whose inputs are not all known yet: a compile's key needs the MLIR's digest. Two cells share a node if
the parts of the stage and everything upstream of it are equal. So E exports, E x C compiles and E x C x R runs are a
consequence, not a special case.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from matrix.core.errors import MatrixEmpty
from matrix.core.records import (
    AxisValue,
    Build,
    EnvironmentRequest,
    JobResult,
    Lock,
    Outcome,
    Part,
    Stage,
)
from matrix.plan.axes import ordered_axes, resolve_axes
from matrix.plan.backends.backend import StageKind
from matrix.plan.backends.shared import BARE, MODEL_AXIS, loaded_only
from matrix.plan.catalogue import Catalogue
from matrix.plan.cells import Rules, labels_chosen, planes_of
from matrix.plan.covering.choice import ChosenCells, chosen_points
from matrix.plan.spec import Spec
from matrix.plan.stages import Node, joined_flags, kinds, stages_in_order

LINK_PLACE = "{link}"
"""In a compiler's flag: the folder with IREE's linker repaired for 32-bit Arm."""

NOTHING_TO_DO = "the model comes as a file that needs none of these stages"


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """One point of the matrix: a value for every axis, and the nodes of its stages in order.

    `excluded` is the reason of the rule that excluded it (then it has no nodes), `note` that of the rule that included
    it. `repeats` are the nodes that measure and repeat besides those stages: they do not decide the outcome.
    """

    values: tuple[AxisValue, ...]
    nodes: tuple[int, ...]
    excluded: str = ""
    note: str = ""
    repeats: tuple[int, ...] = ()

    @property
    def labels(self) -> dict[str, str]:
        return {value.axis: value.label for value in self.values}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    spec: Spec
    axes: Mapping[str, tuple[AxisValue, ...]]
    cells: tuple[PlannedCell, ...]
    nodes: tuple[Node, ...]
    planes: tuple[Mapping[str, tuple[AxisValue, ...]], ...] = ({},)
    """For each table of the spec, the values to which it restricts some axes."""
    baseline: Mapping[str, str] = field(default_factory=dict)
    """The release that others are compared with for speed: its label on each axis that the spec names."""

    apart: tuple[str, ...] = ()
    """Further axes on which what is compared with it may differ: those that not all of several backends have."""

    chosen: ChosenCells | None = None
    """The choice of its cells, where the spec has a `[cover]`."""

    def environments(self) -> tuple[EnvironmentRequest, ...]:
        """Every environment that a job needs, once, in the order in which jobs need them."""
        found = {id(node.request): node.request for node in self.nodes if node.request and not node.obstacle}
        requests = (request for request in found.values() if request)  # hashing one is slow, and nodes share them
        return tuple(dict.fromkeys(requests))

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages of the spec, and those that come with its values."""
        return stages_in_order((*self.spec.stages, *(node.stage for node in self.nodes)))

    def jobs(self, stage: Stage) -> int:
        return sum(1 for node in self.nodes if node.stage == stage and not node.obstacle)


ONLY_TIP = "`plan` without it lists the axes"


def make_plan(
    spec: Spec,
    catalogue: Catalogue,
    *,
    only: Mapping[str, tuple[str, ...]] | None = None,
    first: Iterable[tuple[str, ...]] = (),
) -> Plan:
    """The plan of a spec; `only` (axis -> selectors) reduces it to some of its cells. A covering array begins with the
    cells `first`, by their labels.

    Raises SpecError, ModelMissing, MatrixEmpty.
    """
    axes = resolve_axes(spec, catalogue)
    rules = Rules(spec, catalogue, axes)
    graph = _Graph(spec, catalogue, axes)
    chosen = labels_chosen(only or {}, spec, catalogue)
    planes = planes_of(axes, spec, catalogue)
    found, choice = chosen_points(axes, rules, chosen, planes, first)
    cells = []
    for values in found:
        excluded, note = rules.verdict(values)
        nodes, measures = ((), ()) if excluded else graph.nodes_of(values)
        cells.append(
            PlannedCell(values, nodes, excluded or ("" if nodes else graph.nothing_to_do(values)), note, measures)
        )
    if not cells:
        asked = " ".join(f"{axis}={term}" for axis, terms in (only or {}).items() for term in terms)
        raise MatrixEmpty(f"{spec.source}: --only {asked} leaves no cell, expected at least one", tip=ONLY_TIP)
    if all(cell.excluded for cell in cells):
        places = ", ".join(sorted({rule.place for rule in spec.exclude}))
        raise MatrixEmpty(
            f"{spec.source}: the rules {places} exclude all {len(cells)} cells, expected at least one cell to run",
            tip="narrow a rule's `when`, or put cells back with [[include]]",
        )
    return Plan(
        spec=spec,
        axes=axes,
        cells=tuple(cells),
        nodes=tuple(graph.nodes),
        planes=planes,
        chosen=choice,
    )


@dataclass(frozen=True, slots=True)
class _Work:
    """The combined parts of one stage, without its upstream."""

    request: EnvironmentRequest | None
    flags: tuple[str, ...]
    parameters: tuple[tuple[str, str], ...]
    obstacle: tuple[Outcome, str] | None
    machine: str


class _Graph:
    """Collects nodes; equal parts with equal upstreams are one node. Here a part is known by a number."""

    def __init__(self, spec: Spec, catalogue: Catalogue, axes: Mapping[str, tuple[AxisValue, ...]]) -> None:
        self.spec, self.catalogue = spec, catalogue
        self.nodes: list[Node] = []
        self.index: dict[tuple[object, ...], int] = {}
        self.part_ids: dict[Part, int] = {}
        self.value_parts: dict[int, tuple[int, ...]] = {}
        self.works: dict[tuple[object, ...], _Work] = {}
        self.requests: dict[tuple[object, ...], EnvironmentRequest | str] = {}
        asked = {*spec.stages, *(kind.name for kind in spec.stage_kinds if kind.comes_with in spec.stages)}
        self.model = ordered_axes(spec).index(MODEL_AXIS.name)
        """The position of a cell's model: the only value that brings artifacts."""
        skipping = {name for name, values in axes.items() if any(value.without for value in values)} - {MODEL_AXIS.name}
        self.choosing = tuple(place for place, name in enumerate(ordered_axes(spec)) if name in skipping)
        """The positions of the values that skip stages besides the model."""
        self.stages = stages_in_order(asked)
        self.kinds = tuple(kinds()[stage] for stage in self.stages)

    def nodes_of(self, values: tuple[AxisValue, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The nodes of a cell: those of its judged stages, and those that measure besides them, without rounds. If none
        is judged, the measuring ones decide. It is called for every cell, so the numbers of the parts are zipped into a
        column for each stage."""
        known = self.value_parts
        columns = zip(*[known.get(id(value)) or self._parts(value) for value in values], strict=True)
        given = values[self.model].given
        without = values[self.model].without.union(*[values[place].without for place in self.choosing])
        made: dict[Stage, int] = {}
        judged: list[int] = []
        measures: list[int] = []
        begun = False
        for kind, column in zip(self.kinds, columns, strict=True):
            if kind.name in without or kind.rounds or kind.unless in made:
                continue
            if kind.comes_with and max(column) <= 0:
                continue
            above = tuple(made[stage] for stage in kind.after if stage in made)
            here = given if not kind.apart and not (begun and above) else ()
            key = (kind.name, above, column, here)
            node = self.index.get(key)
            if node is None:
                node = self.index[key] = self._add(kind, above, column, values, here)
            made[kind.name] = node
            (judged if kind.judged else measures).append(node)
            begun = begun or not kind.apart
        return (tuple(judged), tuple(measures)) if judged else (tuple(measures), ())

    def nothing_to_do(self, values: tuple[AxisValue, ...]) -> str:
        """Why a cell has no node."""
        form = self.catalogue.models[values[self.model].label].form
        chosen = values[0].label
        for backend in self.spec.backends:
            if backend.name == chosen and form not in {each.name for each in backend.forms}:
                return f"no stage of {backend.name} takes a model that comes as {form}"
        return NOTHING_TO_DO

    def _parts(self, value: AxisValue) -> tuple[int, ...]:
        """The number of a value's part in each stage of the spec: 0 if it does not affect the stage, negative if it
        does not need the stage by itself."""
        parts = dict(value.parts)
        if value.untested:  # two targets with the same flags are not the same job if one cannot run
            for kind in (kind for kind in self.kinds if kind.on_target):
                part = parts.get(kind.name, Part())
                parts[kind.name] = replace(part, parameters=(*part.parameters, ("target", value.label)))
        numbers = tuple(self._number(parts[stage]) if stage in parts else 0 for stage in self.stages)
        self.value_parts[id(value)] = numbers
        return numbers

    def _number(self, part: Part) -> int:
        number = self.part_ids.setdefault(part, len(self.part_ids) + 1)
        return -number if part.serves else number

    def _add(
        self,
        kind: StageKind,
        above: tuple[int, ...],
        column: tuple[int, ...],
        values: tuple[AxisValue, ...],
        given: tuple[tuple[str, Path, str], ...],
    ) -> int:
        work = self.works.get((kind.name, column))
        if work is None:
            work = self.works[kind.name, column] = self._work(kind, values)
        index = len(self.nodes)
        self.nodes.append(
            Node(
                index,
                kind.name,
                above,
                work.request,
                work.flags,
                work.parameters,
                (*given, *(self.catalogue.programs[program] for program in kind.programs)),
                " ".join(f"{value.axis}={value.label}" for value in values if kind.name in value.parts),
                self.spec.limits[kind.name],
                work.obstacle,
                machine=work.machine,
                script=self.catalogue.programs[kind.script][2] if kind.script else "",
            )
        )
        return index

    def _work(self, kind: StageKind, values: tuple[AxisValue, ...]) -> _Work:
        stage = kind.name
        touching = [value for value in values if stage in value.parts]
        parts = [value.parts[stage] for value in touching]
        request = self._request(kind, parts)
        return _Work(
            request=request if isinstance(request, EnvironmentRequest) else None,
            flags=joined_flags(parts),
            parameters=tuple(parameter for part in parts for parameter in part.parameters),
            obstacle=_obstacle(kind, values, request),
            machine=self.catalogue.machine_class if kind.alone or any(part.machine_bound for part in parts) else "",
        )

    def _request(self, kind: StageKind, parts: Sequence[Part]) -> EnvironmentRequest | str:
        """The environment of a node, or why there is none."""
        if kind.counted and not any(part.platform for part in parts):
            return "not counted: the target names no `counter`, an emulator that counts its instructions"
        build = next((part.build for part in parts if part.build), None)
        if kind.packaged and (build or any(part.platform for part in parts)):
            return "not timed: only a release's package has the tools for it, and they run on this machine"
        if build:
            return self._built_request(kind, build, parts)
        toolchain = next((part.toolchain for part in parts if part.toolchain), None)
        platform = next((part.platform for part in parts if part.platform), None)
        driver = next((part.driver for part in parts if part.driver), "")
        if toolchain:
            label = Lock(name=f"own/{toolchain.name}", path=toolchain.path, digest=toolchain.digest, pins=())
            return EnvironmentRequest(
                kind=kind.environment,
                python=self.spec.tools_python,
                lock=label,
                toolchain=toolchain,
                platform=platform,
                driver=driver,
            )
        pins = tuple(pin for part in parts for pin in part.pins)
        python = next((part.python for part in parts if part.python), self.spec.tools_python)
        if kind.environment == BARE.name:
            nothing = Lock(name=BARE.name, path=Path(), digest=BARE.name, pins=())
            return EnvironmentRequest(kind=BARE.name, python=python, lock=nothing, bare=True)
        packages = tuple(dict.fromkeys(package for part in parts for package in part.packages))
        linked = any(LINK_PLACE in flag for part in parts for flag in part.flags)
        key = (kind.environment, pins, python, packages, platform, linked, driver)
        if key not in self.requests:
            lock = self.catalogue.locks.find(kind.environment, dict(pins), variant=self.catalogue.torch_variant)
            wanted = " with ".join(f"{package} {version}" for package, version in pins)
            self.requests[key] = (
                EnvironmentRequest(
                    kind=kind.environment,
                    python=python,
                    lock=self.catalogue.locks.with_packages(lock, packages, python),
                    platform=platform,
                    linked=linked,
                    driver=driver,
                )
                if lock
                else f"no lock for {wanted}: add the row to images/locks/wanted.toml and run `nox -s lock`"
            )
        return self.requests[key]

    def _built_request(self, kind: StageKind, build: Build, parts: Sequence[Part]) -> EnvironmentRequest | str:
        """The build of a runtime, or of a program with a linked module; for a stage that runs one, what was built."""
        python = self.spec.tools_python
        if not kind.on_target:
            lock = Lock(name=f"builder/{build.name}", path=build.tools, digest=build.digest, pins=())
            return EnvironmentRequest(kind=kind.environment, python=python, lock=lock, build=build)
        if kind.counted and not build.benchmark:
            return f"not counted: builds.{build.name} has no iree-benchmark-module, which calls a module more than once"
        platform = next((part.platform for part in parts if part.platform), None)
        machine = platform.machine if platform else self.catalogue.machine
        if machine != build.machine:
            return f"{build.toolchain} builds a runtime for {build.machine}, and the target runs {machine}"
        lock = Lock(name=f"built/{machine}", path=Path(), digest=f"built for {machine}", pins=())
        return EnvironmentRequest(kind=kind.environment, python=python, lock=lock, platform=platform, built=True)


def _obstacle(
    kind: StageKind, values: Sequence[AxisValue], request: EnvironmentRequest | str
) -> tuple[Outcome, str] | None:
    if isinstance(request, EnvironmentRequest) and request.lock.refusal:
        return Outcome.NOT_INSTALLABLE, request.lock.refusal
    asked = [value for value in values if not loaded_only(value, kind)]
    reasons = [value.untested or value.untimed * kind.alone for value in asked] if kind.on_target else []
    reason = next(filter(None, [*reasons, request if isinstance(request, str) else ""]), "")
    return (Outcome.UNTESTED, reason) if reason else None


@dataclass(slots=True, kw_only=True)
class NodeState:
    """The state of a node in a run: the result of its job, or why it has none."""

    result: JobResult | None = None
    obstacle: tuple[Outcome, str] | None = None

    @property
    def over(self) -> bool:
        return self.result is not None or self.obstacle is not None
