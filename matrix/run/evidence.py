"""The results of earlier runs, without running anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matrix.core.errors import EngineMissing
from matrix.core.records import DEFAULT_ENGINE, EnvironmentRequest, Outcome
from matrix.engines.choice import lookup_engine
from matrix.engines.contract import Engine
from matrix.plan.graph import NodeState, Plan
from matrix.plan.question import Question, one_of
from matrix.plan.stages import make_job
from matrix.results.run import Cell, Run
from matrix.run.judging import Judge
from matrix.run.planning import plan_of
from matrix.run.schedule import Schedule
from matrix.run.store import Store

if TYPE_CHECKING:
    from matrix.artifacts.vmfb_audit import VmfbAudit


def replay(plan: Plan, store: Store, engine: Engine) -> Schedule:
    """A schedule that has advanced as far as the store's results allow. Nodes without a result stay as they are."""
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
    """The digests of the environments that some run has realised here. Refusals go to the schedule."""
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


def store_run(preset: str, folder: Path, *, engine: str = DEFAULT_ENGINE) -> Run:
    """The record of a preset or a spec from the store; nothing is run. Raises StoreUnusable and the errors of
    planning."""
    planned = plan_of(Question(preset=preset), folder)
    with Store(folder, read_only=True) as store:
        looking = lookup_engine(engine, store.places)
        return judged_cells(planned, replay(planned, store, looking).states, store)


def judged_cells(plan: Plan, states: Sequence[NodeState], store: Store) -> Run:
    """The cells of a plan in their order, judged with the artifacts of the store."""
    given = {digest: path for node in plan.nodes for _, path, digest in node.given}

    def place(digest: str) -> Path:
        return given.get(digest, store.blob(digest))

    def audit(digest: str) -> VmfbAudit:
        from matrix.artifacts import vmfb_audit  # it imports numpy, which few verbs need

        return vmfb_audit.audit(place(digest))

    return Judge(
        plan,
        states,
        lambda digest: place(digest).read_bytes(),
        store.environment_records(),
        size=lambda digest: place(digest).stat().st_size,
        audit=audit,
    ).run()


def one_cell(run: Run, choices: Sequence[str]) -> Cell:
    """The one cell that AXIS=VALUE words select. Raises CellUnknown if there is none, or more than one."""
    labels = [cell.axes for cell in run.cells]
    return run.cells[one_of(labels, choices, axes=[axis.name for axis in run.axes], name=run.preset)]
