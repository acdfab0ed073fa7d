"""Which of the waiting jobs go to a worker together: a batch is of one environment where that is enough work. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from matrix.core.records import EnvironmentRequest
from matrix.plan.stages import kinds
from matrix.run.cost import environment_costs
from matrix.run.executor import Work

LEAST_SECONDS, MOST_SECONDS, MOST_OF_A_BATCH = 10.0, 60.0, 1000
BATCH_SHARE = 4
"""A batch is this part of what a worker would have in all: the last ones then end together."""
WORTH_SECONDS = 2.0
"""Work that is worth a process of its own, which takes about half a second to start."""


def batch_seconds(total: float, workers: int, idle: int) -> float:
    """The length of a batch: long enough for its overhead, short enough that all idle workers have one."""
    usual = min(max(total / (BATCH_SHARE * workers), LEAST_SECONDS), MOST_SECONDS)
    return min(usual, max(total / idle, WORTH_SECONDS))


def choose_batch(
    waiting: Sequence[Work],
    *,
    workers: int,
    idle: int,
    here: Collection[EnvironmentRequest],
    elsewhere: Collection[EnvironmentRequest],
    refused: Collection[EnvironmentRequest] = (),
) -> list[Work]:
    """The works of the next batch for a worker that has the environments `here`; other workers have those `elsewhere`,
    and it has refused some."""
    groups: dict[EnvironmentRequest, list[Work]] = {}
    for work in sorted((each for each in waiting if each.request not in refused), key=lambda each: each.rank):
        groups.setdefault(work.request, []).append(work)
    ordered = sorted(
        groups.values(),
        key=lambda works: (works[0].rank[:2], works[0].request not in here, works[0].request in elsewhere),
    )
    longest = batch_seconds(sum(map(_seconds, waiting)), workers, idle)
    chosen: list[Work] = []
    seconds = 0.0
    for work in (each for works in ordered for each in works):
        if chosen and (seconds + _seconds(work) > longest or len(chosen) >= MOST_OF_A_BATCH):
            break
        if work.job.alone and chosen:
            break
        chosen.append(work)
        seconds += _seconds(work)
        if work.job.alone:
            break
    return chosen


def choose_environments(
    wanted: Sequence[EnvironmentRequest], refused: Collection[EnvironmentRequest] = ()
) -> list[EnvironmentRequest]:
    """Environments that a worker makes next, so that their digests are known: the first ones of `wanted`."""
    chosen: list[EnvironmentRequest] = []
    for request in (each for each in wanted if each not in refused):
        if chosen and environment_costs([*chosen, request]).seconds > LEAST_SECONDS:
            break
        chosen.append(request)
    return chosen


def _seconds(work: Work) -> float:
    return kinds()[work.job.stage].typical_seconds


def known_elsewhere(known: Mapping[str, Collection[EnvironmentRequest]], worker: str) -> set[EnvironmentRequest]:
    """The environments that other workers have."""
    return {request for other, requests in known.items() if other != worker for request in requests}
