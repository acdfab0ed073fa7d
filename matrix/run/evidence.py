"""What earlier runs came to, looked up without running anything."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matrix.artifacts.benchmark import read_timing
from matrix.core.errors import EngineMissing
from matrix.core.records import DEFAULT_ENGINE, EnvironmentRequest, JobResult, Lock, Outcome
from matrix.engines.choice import looking_engine
from matrix.engines.contract import Engine
from matrix.plan.axes import ordered_axes
from matrix.plan.backends.backend import EXPECTED, OUTPUT, matching
from matrix.plan.backends.iree import MLIR, VMFB
from matrix.plan.graph import Cell, NodeState, Plan
from matrix.plan.question import Question, one_of
from matrix.plan.stages import Node, kinds, make_job
from matrix.results import signatures
from matrix.results.cells import CellReport, Repeat, Report
from matrix.results.formats import as_json
from matrix.results.judge import Comparison, compare
from matrix.results.published import PublishedRun, parse_run
from matrix.results.signatures import Signature
from matrix.run.planning import plan_of
from matrix.run.schedule import Schedule
from matrix.run.store import Store

if TYPE_CHECKING:
    from matrix.artifacts.vmfb_audit import VmfbAudit


def replay(plan: Plan, store: Store, engine: Engine) -> Schedule:
    """A schedule that has gone as far as the store knows. Nodes without a result are left as they are."""
    schedule = Schedule(plan)
    digests = known_digests(plan, store, engine, schedule)
    while (node := schedule.take()) is not None:
        if node.request not in digests:
            schedule.park(node)
            continue
        job = make_job(
            node,
            environment=digests[node.request],
            artifacts=schedule.artifacts(node),
        )
        result = store.result(job.key)
        if result is not None:
            schedule.finish(node.index, result)
    return schedule


def known_digests(plan: Plan, store: Store, engine: Engine, schedule: Schedule) -> dict[EnvironmentRequest | None, str]:
    """The digests of the environments that some run has realised here; refusals go to the schedule."""
    digests: dict[EnvironmentRequest | None, str] = {}
    for request in plan.environments():
        try:
            known = store.environment(engine.recipe(request))
        except EngineMissing as error:
            schedule.obstruct(request, Outcome.UNTESTED, f"{error}; {error.tip}")
            continue
        if known and known.refusal:
            schedule.obstruct(request, Outcome.NOT_INSTALLABLE, known.refusal)
        elif known:
            digests[request] = known.digest
    return digests


def published(report: Report) -> PublishedRun:
    """The cells in the order of the report's."""
    return parse_run(json.loads(as_json(report)), source=f"the store's {report.plan.spec.name}")


def store_run(preset: str, folder: Path, *, engine: str = DEFAULT_ENGINE) -> PublishedRun:
    """Of a preset or a spec; nothing is run. Raises StoreUnusable, and all that a plan raises."""
    planned = plan_of(Question(preset=preset), folder)
    with Store(folder, read_only=True) as store:
        looking = looking_engine(engine, store.places)
        return published(judged(planned, replay(planned, store, looking).states, store))


def judged(plan: Plan, states: Sequence[NodeState], store: Store) -> Report:
    """The cells of a plan, judged with the artifacts of the store."""
    given = {digest: path for node in plan.nodes for _, path, digest in node.given}
    environments = store.environment_records()

    def place(digest: str) -> Path:
        return given.get(digest, store.blob(digest))

    def audit(digest: str) -> VmfbAudit:
        from matrix.artifacts import vmfb_audit  # numpy comes with it, which few commands need

        return vmfb_audit.audit(place(digest))

    return Judge(
        plan,
        states,
        lambda digest: place(digest).read_bytes(),
        environments,
        size=lambda digest: place(digest).stat().st_size,
        audit=audit,
    ).report()


def one_cell(report: Report, choices: Sequence[str]) -> CellReport:
    """The one cell that AXIS=VALUE words name. Raises CellUnknown if there is none, or more than one."""
    spec = report.plan.spec
    labels = [cell.labels for cell in report.cells]
    return report.cells[one_of(labels, choices, axes=ordered_axes(spec), name=spec.name)]


NOT_COMPARED = "it ran; there are no expected outputs to compare with (`--expected`, or `expected` in the spec)"


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
        self._audit = functools.cache(audit) if audit and plan.spec.timed else None
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
        compared = stage is not None and kinds()[stage].compared
        if outcome is Outcome.PASSED and compared and not matching(artifacts, EXPECTED):
            reason = NOT_COMPARED
        elif outcome is Outcome.PASSED and compared:
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
        if node.kind.rounds:
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
        next_step = kinds()[result.stage].quiet or READ_LOG
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


def _own(name: str, message: str, next_step: str = READ_LOG) -> Signature:
    return Signature(name=name, values=(), message=message, means=message, next_step=next_step)
