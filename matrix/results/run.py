"""The record of a run: the judge makes it, a results file holds it, all tables, answers and pages read it. Pure.

It has stages and axes by name, with their properties: a run can be read without its spec and its stages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from matrix.core.records import Outcome
from matrix.core.store_paths import StorePath
from matrix.plan.covering.cover import CoverFacts
from matrix.results.judge import Attempt, Comparison, Movement


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell with its one outcome and the evidence for it. No text contains a folder of the machine.

    `stage` is where it ended, `jobs` are the keys of its stages' jobs in order, `beside` those of the measuring jobs.
    `message`, `means` and `values` belong to its `signature`, `reason` says why there is no measurement, `included` by
    which rule it exists. It is not `compared` if it ran to its end without expected outputs. `movement` says whether
    the reference depends on the inputs, where a front end knows it.
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

    @property
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

    @property
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


class Verdict(StrEnum):
    """The verdict on a release's times, compared with the baseline; see `speed`."""

    FASTER = "faster"
    SLOWER = "slower"
    SAME = "no difference"
    SAME_BYTES = "the same bytes"
    UNDECIDED = "undecided"
    UNSETTLED = "unsettled"
    TOO_FEW = "too few rounds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """The times of a cell, in seconds: the median over its rounds, the quartiles, `ratio` to the baseline (the median
    of the rounds'), one verdict for each pass. None if there is nothing; `reason` says why. `compile_seconds` is that
    of the quickest compile that passed, both peaks are the maximum over all rounds, `command` is the first round's."""

    axes: Mapping[str, str]
    baseline: bool = False
    reason: str = ""
    command: tuple[str, ...] = ()
    median_seconds: float | None = None
    quartile_1_seconds: float | None = None
    quartile_3_seconds: float | None = None
    ratio: float | None = None
    verdicts: tuple[str, ...] = ()
    compile_seconds: float | None = None
    compile_cpu_seconds: float | None = None
    vmfb_bytes: int | None = None
    mlir_bytes: int | None = None
    peak_bytes: int | None = None
    device_peak_bytes: int | None = None
    seconds_by_round: Mapping[str, float] = field(default_factory=dict)
    cpu_seconds_by_round: Mapping[str, float] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """The common verdict of all passes; empty if there is none."""
        if Verdict.TOO_FEW in self.verdicts:  # an unfinished pass contradicts nothing
            return Verdict.TOO_FEW
        return Verdict.UNSETTLED if len(set(self.verdicts)) > 1 else next(iter(self.verdicts), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Cells that are compared with one baseline. `shared` are their common labels, `axes` those that distinguish rows.
    `noise_floor` is a ratio above 1 (1.01 is 1 %; None without a twin of the baseline), `waited_for_a_core` is the part
    of the time in which calls needed a core and had none, `highest_load` is that of the machine.
    """

    shared: Mapping[str, str]
    axes: tuple[str, ...] = ()
    noise_floor: float | None = None
    waited_for_a_core: float = 0.0
    highest_load: float | None = None
    passes: int = 1
    rows: tuple[Timed, ...] = ()
    twin_seconds_by_round: Mapping[str, float] = field(default_factory=dict)

    @property
    def base(self) -> Timed | None:
        return next((row for row in self.rows if row.baseline), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A `.vmfb`: bytes by part, and the number of its strings of each kind that reveal its origin."""

    axes: Mapping[str, str]
    bytes: int
    parts: Mapping[str, int] = field(default_factory=dict)
    strings: Mapping[str, int] = field(default_factory=dict)
    unscanned_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recompiled:
    """Modules that were compiled again: the `unequal`, those with other outcomes, and class of bytes -> `differing`."""

    compiler: str
    modules: int
    unequal: int
    ends: int
    differing: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskUse:
    """How the run used the disk; `measured` says which part of it."""

    measured: str
    peak_bytes: int
    budget_bytes: int | None = None
    environments_made: int
    environments_dropped: int
    made_again: tuple[str, ...] = ()


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """All cells of a plan, judged: planned = accounted for.

    `source` is its name in messages, `stages` are those of its jobs in order, `last_stage` is the one in which a cell
    ends if all goes well (`other_last_stages`: of further backends). `baseline` is what times are compared with, a
    label by axis. `tolerance` is rtol by dtype, `allowed` all of it in words. `signatures` have a `next` step.
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
    disk: DiskUse | None = None

    def counts(self) -> dict[Outcome, int]:
        """The number of cells for each outcome, in the order of the closed set, without zeros."""
        counted = Counter(cell.outcome for cell in self.cells)
        return {outcome: counted[outcome] for outcome in Outcome if outcome in counted}

    def measurements_of(self, cell: Cell) -> dict[str, Any]:
        """The measurements of all its jobs, by name."""
        return {name: value for key in cell.evidence for name, value in self.jobs[key].measurements.items()}

    def jobs_of(self, cell: Cell) -> tuple[FinishedJob, ...]:
        """In the order of the stages."""
        return tuple(self.jobs[key] for key in cell.jobs)

    @property
    def names(self) -> tuple[str, ...]:
        """In the order of its axes."""
        return tuple(axis.name for axis in self.axes)

    def axis(self, name: str) -> RunAxis:
        """The axis of this name; one without values if the run does not have it."""
        return next((axis for axis in self.axes if axis.name == name), RunAxis(name=name))

    def notes(self, axis: str) -> dict[str, str]:
        """Label -> its note."""
        return {value.label: value.note for value in self.axis(axis).values if value.note}

    def next_step(self, signature: str) -> str:
        return self.signatures.get(signature, {}).get("next", "")

    @property
    def date(self) -> str:
        """The date of its newest job."""
        return max((job.finished_at for job in self.jobs.values()), default="")[:10]

    @property
    def ties(self) -> dict[str, str]:
        """RunAxis -> the axis whose value it has in each cell."""
        return {axis.name: axis.tied for axis in self.axes if axis.tied}
