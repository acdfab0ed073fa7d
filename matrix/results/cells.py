"""From a plan and what a run knows of its nodes to one judged record a cell. Pure but for the `read` it is given."""

from __future__ import annotations

import collections
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matrix.artifacts.benchmark import Timing
from matrix.core.records import Disk, JobResult, Lock, Outcome, Stage
from matrix.plan.backends.iree import RUN
from matrix.plan.graph import Cell, Plan
from matrix.plan.stages import Node
from matrix.results.judge import Comparison
from matrix.results.signatures import Signature

if TYPE_CHECKING:
    from matrix.artifacts.vmfb_audit import VmfbAudit


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """A repeated job of a cell: what was asked, what it came to, why there is nothing; of a benchmark its timing."""

    node: Node
    result: JobResult | None
    reason: str = ""
    timing: Timing | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CellReport:
    """A cell with its one outcome and the evidence behind it.

    `stage` is where it ended, `signature` what a failed job's log says, `reason` why there is no measurement
    (a rule, no wheels, no interpreter), `comparison` the outputs beside torch eager's, `jobs` the results of its
    stages in order, `locks` those of their environments, `repeats` what was measured and repeated beside them.
    """

    cell: Cell
    labels: Mapping[str, str]
    outcome: Outcome
    stage: Stage | None = None
    signature: Signature | None = None
    reason: str = ""
    comparison: Comparison | None = None
    jobs: tuple[JobResult, ...] = ()
    locks: tuple[Lock, ...] = ()
    repeats: tuple[Repeat, ...] = ()
    mlir_bytes: int | None = None
    audit: VmfbAudit | None = None

    @property
    def compared(self) -> bool:
        """False for a cell that ran to its end and has no expected outputs: it passed as far as anyone can say."""
        return not (self.outcome is Outcome.PASSED and self.stage == RUN and self.comparison is None)

    @property
    def message(self) -> str:
        """One line: what went wrong, in the tool's own words where it had some."""
        if self.signature:
            return self.signature.message
        if self.comparison and not self.comparison.equal:
            return self.comparison.text
        return self.reason

    @property
    def words(self) -> str:
        """The outcome with its stage and signature: `failed at run: vm-bytecode-version`."""
        if not self.compared:
            return "passed, not compared"
        where = f" at {self.stage}" if self.stage and self.outcome is not Outcome.PASSED else ""
        return f"{self.outcome}{where}" + (f": {self.signature.name}" if self.signature else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All cells of a plan, judged: planned = accounted for."""

    plan: Plan
    cells: tuple[CellReport, ...]
    environments: Mapping[str, str]
    """The JSON record of each environment that was ever realised, by its digest."""
    disk: Disk | None = None
    """Of the run that made environments for it, where it was one."""

    def counts(self) -> dict[Outcome, int]:
        """How many cells ended in each outcome, in the order of the closed set; zeros left out."""
        counted = collections.Counter(cell.outcome for cell in self.cells)
        return {outcome: counted[outcome] for outcome in Outcome if counted[outcome]}
