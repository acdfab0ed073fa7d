"""What earlier runs came to, looked up without running anything."""

from __future__ import annotations

from matrix.engines.base import Engine
from matrix.errors import EngineMissing
from matrix.jobs import make_job
from matrix.plan import Plan
from matrix.records import EnvironmentRequest, Outcome
from matrix.schedule import Schedule
from matrix.store import Store


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
            export_digest=plan.export_digest,
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
