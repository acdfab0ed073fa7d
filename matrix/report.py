"""From a plan and what a run knows of its nodes to one judged record a cell. Pure but for the `read` it is given."""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matrix import signatures
from matrix.benchmark import Timing, read_timing
from matrix.jobs import EXPECTED, MLIR, OUTPUT, VMFB, matching
from matrix.judge import Comparison, compare
from matrix.plan import Cell, Node, Plan
from matrix.records import Disk, JobResult, Lock, Outcome, Stage
from matrix.schedule import NodeState
from matrix.signatures import Signature

if TYPE_CHECKING:
    from matrix.vmfbaudit import VmfbAudit


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """A repeated job of a cell: what was asked, what it came to, why there is nothing; of a benchmark its timing."""

    node: Node
    result: JobResult | None
    reason: str = ""
    timing: Timing | None = None


NOT_COMPARED = "it ran; there are no expected outputs to compare with (`--expected`, or `expected` in the spec)"


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
        return not (self.outcome is Outcome.PASSED and self.stage is Stage.RUN and self.comparison is None)

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


class Judge:
    """Judges the cells of one plan. `read` gives the bytes of an artifact; a pair of outputs is compared once."""

    def __init__(
        self,
        plan: Plan,
        states: Sequence[NodeState],
        read: Callable[[str], bytes],
        environments: Mapping[str, str],
        *,
        size: Callable[[str], int] | None = None,
        audit: Callable[[str], VmfbAudit] | None = None,
    ) -> None:
        self._plan, self._states, self._read, self._environments = plan, states, read, environments
        self._size = size
        self._audit = functools.cache(audit) if audit and Stage.BENCHMARK in plan.spec.stages else None
        self._compared: dict[tuple[tuple[str, ...], tuple[str, ...]], Comparison] = {}

    def report(self) -> Report:
        cells = tuple(self._cell(cell) for cell in self._plan.cells)
        return Report(plan=self._plan, cells=cells, environments=self._environments)

    def _cell(self, cell: Cell) -> CellReport:
        if cell.excluded:
            return CellReport(cell=cell, labels=cell.labels, outcome=Outcome.EXCLUDED, reason=cell.excluded)
        jobs: list[JobResult] = []
        locks: list[Lock] = []
        artifacts: dict[str, str] = {}
        outcome, stage, reason = Outcome.UNTESTED, None, "planned, not run yet"
        signature: Signature | None = None
        for index in cell.nodes:
            node, state = self._plan.nodes[index], self._states[index]
            stage = node.stage
            artifacts |= {name: digest for name, _, digest in node.given}
            outcome, reason = _standing(node, state)
            if state.result is None:
                break
            jobs.append(state.result)
            locks += [node.request.lock] if node.request else []
            artifacts |= {artifact.name: artifact.digest for artifact in state.result.outputs}
            if outcome is not Outcome.PASSED:
                signature = _signature(state.result)
                break
        comparison = None
        if outcome is Outcome.PASSED and stage is Stage.RUN and not matching(artifacts, EXPECTED):
            reason = NOT_COMPARED
        elif outcome is Outcome.PASSED and stage is Stage.RUN:
            comparison = self._compare(artifacts)
            outcome = Outcome.PASSED if comparison.equal else Outcome.WRONG_OUTPUT
        return CellReport(
            cell=cell,
            labels=cell.labels,
            outcome=outcome,
            stage=stage,
            signature=signature,
            reason=reason,
            comparison=comparison,
            jobs=tuple(jobs),
            locks=tuple(locks),
            repeats=tuple(self._repeat(index) for index in cell.repeats),
            mlir_bytes=self._size(artifacts[MLIR]) if self._size and jobs and MLIR in artifacts else None,
            audit=self._audit(artifacts[VMFB]) if self._audit and VMFB in artifacts else None,
        )

    def _repeat(self, index: int) -> Repeat:
        node, state = self._plan.nodes[index], self._states[index]
        outcome, reason = _standing(node, state)
        if state.result is None:
            return Repeat(node=node, result=None, reason=reason)
        if outcome is not Outcome.PASSED:
            signature = _signature(state.result)
            reason = f"{outcome} at {node.stage}: {signature.name}"
            return Repeat(node=node, result=state.result, reason=reason)
        timing = None
        if node.stage is Stage.BENCHMARK:
            (times,) = state.result.outputs
            timing = read_timing(self._read(times.digest))
            reason = "" if timing else "iree-benchmark-module wrote no sample"
        return Repeat(node=node, result=state.result, reason=reason, timing=timing)

    def _compare(self, artifacts: Mapping[str, str]) -> Comparison:
        outputs = tuple(artifacts[name] for name in matching(artifacts, OUTPUT))
        expected = tuple(artifacts[name] for name in matching(artifacts, EXPECTED))
        key = (outputs, expected)
        if outputs == expected:  # by their digests: nothing has to be read
            return Comparison(equal=True, error=0.0, tolerance=0.0, text="equal, byte for byte")
        if key not in self._compared:
            tolerance = self._plan.spec.tolerance
            self._compared[key] = compare(
                [self._read(digest) for digest in outputs], [self._read(digest) for digest in expected], tolerance
            )
        return self._compared[key]


def _standing(node: Node, state: NodeState) -> tuple[Outcome, str]:
    if state.result is not None:
        end = state.result.end
        return state.result.outcome, end.error
    if state.obstacle is not None:
        return state.obstacle
    return Outcome.UNTESTED, f"{node.stage} is planned, not run yet"


def _signature(result: JobResult) -> Signature:
    """What the log of a job that did not pass says."""
    end = result.end
    if result.outcome is Outcome.FAILED and (end.exit_code == 0 or not end.log.strip()):
        said = "wrote not all of its outputs" if end.exit_code == 0 else "printed nothing"
        next_step = QUIET_EXPORT if result.stage is Stage.EXPORT else READ_LOG
        return _own(signatures.NO_OUTPUT, f"the job ended with exit code {end.exit_code} and {said}", next_step)
    if result.outcome is Outcome.TIMED_OUT:
        return _own("time-limit", f"ended after {end.seconds:.1f} s", "raise [limits] in the spec if it needs longer")
    if result.outcome is Outcome.OUT_OF_MEMORY and end.end == "out_of_memory":  # else its log says so
        peak = f"ended at {end.peak_bytes / (1 << 20):.0f} MiB"
        return _own("memory-limit", peak, "raise [limits] in the spec if it needs more")
    recognised = signatures.recognise(end.log)
    if result.outcome is Outcome.CRASHED and recognised.name == signatures.UNRECOGNISED:
        return _own(f"signal-{end.signal}", f"killed by signal {end.signal}; {recognised.message}")
    return recognised


READ_LOG = "read the log of the job (`why`)"
QUIET_EXPORT = "look for what ends the process in the model file and in what it imports: os._exit, C++ code"
"""The next step where an export ended without a word."""


def _own(name: str, message: str, next_step: str = READ_LOG) -> Signature:
    return Signature(name=name, values=(), message=message, means=message, next_step=next_step)
