"""The record of a run: the judge makes it, a results file holds it, all tables, answers and pages read it. Pure.

It has stages and axes by name, with their properties: a run can be read without its spec and its stages.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from matrix.core.records import Outcome
from matrix.core.store_paths import StorePath
from matrix.plan.covering.cover import CoverFacts
from matrix.results.judge import Attempt, Comparison, Movement
from matrix.results.measured.figures import DiskUse, Module, Recompiled, Times
from matrix.results.measured.profiled_code import CodeProfile, ProfiledModel
from matrix.results.signatures import next_steps

OfRun = TypeVar("OfRun")


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file that a job made."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedJob:
    """See `records.JobResult`. `peak_bytes` is None if it is unknown; `measurements` come from its stage."""

    key: str
    stage: str
    outcome: Outcome
    lock: str
    lock_sha256: str = ""
    engine: str = ""
    environment: str = ""
    command: tuple[str, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)
    artifacts: Mapping[str, File] = field(default_factory=dict)
    end: str = ""
    exit_code: int
    signal: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int | None = None
    log_bytes: int = 0
    finished_at: str = ""
    machine: str = ""
    measurements: Mapping[str, Any] = field(default_factory=dict)
    attempts: tuple[Attempt, ...] = ()

    @property
    def status(self) -> str:
        """As that of a `JobEnd`."""
        return f"exit code {self.exit_code}" if self.end == "exited" else f"{self.end} {self.signal or ''}".strip()


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell with its one outcome and the evidence for it. No text contains a folder of the machine.

    `stage` is where it ended, `jobs` are the keys of its stages' jobs in order, `beside` those of the measuring jobs.
    `message`, `means` and `values` belong to its `signature`, `reason` says why there is no measurement, `included` by
    which rule it exists. It is not `compared` if it ran to its end without expected outputs. `movement` says whether
    the reference depends on the inputs, where a front end knows it. `warning` is what its module assumes of the device
    and the device does not have.
    """

    axes: Mapping[str, str]
    outcome: Outcome
    stage: str = ""
    signature: str = ""
    jobs: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    reproduce: str = ""
    message: str = ""
    means: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    included: str = ""
    comparison: Comparison | None = None
    compared: bool = True
    movement: Movement | None = None
    warning: str = ""

    @functools.cached_property  # as `words`: a page asks for them again and again
    def name(self) -> str:
        return " ".join(map("=".join, self.axes.items()))

    @property
    def evidence(self) -> tuple[str, ...]:
        """The keys of all its jobs."""
        return (*self.jobs, *self.beside)

    @property
    def passed(self) -> bool:
        """It ran to the end that its run asked for, and no comparison says that its outputs are wrong."""
        return self.outcome is Outcome.PASSED

    @property
    def right(self) -> bool:
        """It passed, and its outputs were compared with a reference that depends on its inputs, as far as that is
        known: only such cells support advice."""
        return self.passed and self.comparison is not None and not self.degenerate

    @property
    def degenerate(self) -> bool:
        """It passed, and would have with other inputs: an output of the reference hardly depends on them."""
        return self.passed and self.movement is not None and bool(self.movement.degenerate)

    @property
    def measured(self) -> bool:
        return self.passed or self.outcome.red

    @functools.cached_property
    def words(self) -> str:
        """The outcome with its stage and signature: `failed at run: vm-bytecode-version`."""
        if not self.compared:
            return "passed, not compared"
        if self.degenerate:
            return "passed, degenerate"
        where = f" at {self.stage}" if self.stage and not self.passed else ""
        return f"{self.outcome}{where}" + (f": {self.signature}" if self.signature else "")

    @property
    def said(self) -> str:
        """One line: the error, in the tool's own words if it had some."""
        if self.signature:
            return self.message
        return self.comparison.text if self.comparison and not self.comparison.equal else self.reason


@dataclass(frozen=True, slots=True, kw_only=True)
class RealisedEnvironment:
    """`python` is its exact version, `nix_programs` its path in a Nix store, `evidence` further facts from its engine.
    A damaged record of the store leaves texts empty."""

    digest: str
    engine: str = ""
    lock: str = ""
    lock_sha256: str = ""
    python: str = ""
    c_library: str = ""
    distributions: Mapping[str, str] = field(default_factory=dict)
    nix_programs: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunValue:
    """A value of an axis. `note` has more about it beside the tables: the opset of an `.onnx`, how a target is
    emulated. `release` is that of the sources of a runtime."""

    label: str
    note: str = ""
    release: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAxis:
    """An axis and its values in order. `tied` names the axis whose value it has in each cell; values of an `exporter`
    axis bring packages into the exporter's environment."""

    name: str
    values: tuple[RunValue, ...] = ()
    tied: str = ""
    exporter: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(value.label for value in self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellTable:
    """A table of the run's question: an axis down, one across, and the labels to which it restricts other axes."""

    rows: str
    columns: str
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Run:
    """All cells of a plan, judged: planned = accounted for.

    `source` is its name in messages, `stages` are those of its jobs in order, `last_stage` is the one in which a cell
    ends if all goes well (`other_last_stages`: of further backends). `baseline` is what times are compared with, a
    label by axis. `tolerance` is rtol by dtype, `allowed` all of it in words. `signatures` have a `next` step.
    `profiles` are by the key of their job, `profiled_models` by the sha256 of the MLIR.

    A site asks a run of 100,000 cells hundreds of times: what it arranges for that is made once. Functions of a run do
    the same by `kept_with_run`.
    """

    source: str = ""
    preset: str = ""
    question: str = ""
    stages: tuple[str, ...] = ()
    last_stage: str = ""
    other_last_stages: tuple[str, ...] = ()
    axes: tuple[RunAxis, ...] = ()
    tables: tuple[CellTable, ...] = ()
    cover: CoverFacts | None = None
    baseline: Mapping[str, str] = field(default_factory=dict)
    tolerance: Mapping[str, float] = field(default_factory=dict)
    allowed: Mapping[str, str] = field(default_factory=dict)
    cells: tuple[Cell, ...]
    jobs: Mapping[str, FinishedJob] = field(default_factory=dict)
    environments: Mapping[str, RealisedEnvironment] = field(default_factory=dict)
    store_paths: Mapping[str, StorePath] = field(default_factory=dict)
    signatures: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    times: tuple[Times, ...] = ()
    modules: tuple[Module, ...] = ()
    compiled_again: tuple[Recompiled, ...] = ()
    profiles: Mapping[str, CodeProfile] = field(default_factory=dict)
    profiled_models: Mapping[str, ProfiledModel] = field(default_factory=dict)
    disk: DiskUse | None = None

    def counts(self) -> dict[Outcome, int]:
        """The number of cells for each outcome, in the order of the closed set, without zeros."""
        counted = Counter(cell.outcome for cell in self.cells)
        return {outcome: counted[outcome] for outcome in Outcome if outcome in counted}

    def measurements_of(self, cell: Cell) -> dict[str, Any]:
        """The measurements of all its jobs, by name."""
        return {name: value for key in cell.evidence for name, value in self.jobs[key].measurements.items()}

    @functools.cached_property
    def by_name(self) -> Mapping[str, Cell]:
        return {cell.name: cell for cell in self.cells}

    @functools.cached_property
    def by_label(self) -> Mapping[str, Mapping[str, Sequence[Cell]]]:
        """Axis -> label -> its cells, in the order of the run."""
        found: dict[str, dict[str, list[Cell]]] = {}
        for cell in self.cells:
            for axis, label in cell.axes.items():
                found.setdefault(axis, {}).setdefault(label, []).append(cell)
        return found

    @functools.cached_property
    def moving_together(self) -> Mapping[str, frozenset[str]]:
        """Axis -> the axes that have its label in every cell, itself among them."""
        axes = [cell.axes for cell in self.cells]
        return {
            name: frozenset(other for other in self.names if all(each.get(other) == each.get(name) for each in axes))
            for name in self.names
        }

    def jobs_of(self, cell: Cell) -> tuple[FinishedJob, ...]:
        """In the order of the stages."""
        return tuple(self.jobs[key] for key in cell.jobs)

    @property
    def names(self) -> tuple[str, ...]:
        """In the order of its axes."""
        return tuple(axis.name for axis in self.axes)

    def axis(self, name: str) -> RunAxis:
        """The axis of this name; one without values if the run does not have it."""
        return next((axis for axis in self.axes if axis.name == name), None) or RunAxis(name=name)

    def notes(self, axis: str) -> dict[str, str]:
        """Label -> its note."""
        return {value.label: value.note for value in self.axis(axis).values if value.note}

    def next_step(self, signature: str) -> str:
        """What to do about it, as of today; of a former signature, what was known when it was recorded."""
        return next_steps().get(signature, "") or self.signatures.get(signature, {}).get("next", "")

    @property
    def date(self) -> str:
        """The date of its newest job."""
        return max((job.finished_at for job in self.jobs.values()), default="")[:10]

    @property
    def ties(self) -> dict[str, str]:
        """RunAxis -> the axis whose value it has in each cell."""
        return {axis.name: axis.tied for axis in self.axes if axis.tied}


def kept_with_run(found: Callable[[Run], OfRun]) -> Callable[[Run], OfRun]:
    """The function, called once for each run: what it finds is kept with the run, beside its cached properties."""

    @functools.wraps(found)
    def once(run: Run) -> OfRun:
        kept, name = vars(run), f"{found.__module__}.{found.__qualname__}"
        if name not in kept:
            kept[name] = found(run)
        result: OfRun = kept[name]
        return result

    return once
