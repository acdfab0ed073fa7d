"""The cost of a plan, as an upper bound: download, disk, time; and the rest of it during a run."""

from __future__ import annotations

import functools
import platform
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from matrix.core.records import EnvironmentRequest, Lock, Stage
from matrix.plan.backends.backend import EnvironmentCost
from matrix.plan.graph import Plan
from matrix.plan.locks import pinned_packages, variant_of
from matrix.plan.stages import environments, kinds

INDEX_BUILD = "cuda"
"""The build of torch that the package index has: of a lock that does not tell builds apart, too."""


def large_of(request: EnvironmentRequest) -> tuple[str, str, str] | None:
    """The package that makes an environment large, its release and build; None if there is none. Where they are the
    same, environments of different kinds share its files, too."""
    large = environments()[request.kind].large
    if not large:
        return None
    return large, _release(request.lock, large, request.python), variant_of(request.lock) or INDEX_BUILD


@functools.cache
def _release(lock: Lock, package: str, python: str) -> str:
    """The release of a package in a lock: that of an axis, or what stands beside it; "" in a refused one."""
    if (pinned := dict(lock.pins).get(package)) or lock.refusal:
        return pinned or ""
    packages = pinned_packages(lock, python=python, machine=platform.machine())
    return next((each.version for each in packages if each.name == package), "")


def family(request: EnvironmentRequest) -> tuple[str, ...]:
    """What environments with the same largest wheels have in common: the release, its build, the Python."""
    return (*(large_of(request) or (request.lock.name,)), request.python)


def cost_beside(request: EnvironmentRequest, others: Iterable[EnvironmentRequest]) -> EnvironmentCost:
    """What an environment adds to others on the same disk."""
    kind, large = environments()[request.kind], large_of(request)
    pythons = {other.python for other in others if large and large_of(other) == large}
    if kind.same_large and request.python in pythons:
        return kind.same_large
    return kind.other_python if kind.other_python and pythons else kind.cost


def disk_cost(request: EnvironmentRequest, others: Iterable[EnvironmentRequest]) -> int:
    """The bytes on the disk of `cost_beside`."""
    return cost_beside(request, others).disk_bytes


def environment_costs(
    requests: Sequence[EnvironmentRequest], standing: Sequence[EnvironmentRequest] = ()
) -> EnvironmentCost:
    """The total cost of environments, each added to the `standing` ones and to those before it."""
    found = [cost_beside(request, (*standing, *requests[:index])) for index, request in enumerate(requests)]
    return EnvironmentCost(
        download_bytes=sum(cost.download_bytes for cost in found),
        disk_bytes=sum(cost.disk_bytes for cost in found),
        seconds=sum(cost.seconds for cost in found),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    download_bytes: int
    disk_bytes: int
    seconds: float


def estimate(
    plan: Plan,
    *,
    done: Mapping[Stage, int],
    missing: Sequence[EnvironmentRequest],
    seconds: Mapping[str, float],
    cores: int,
) -> Cost:
    """The cost of the remaining work. `missing` are the environments to make, `seconds` are typical times by stage."""
    made = environment_costs(missing, [request for request in plan.environments() if request not in missing])
    typical = stage_seconds(plan, seconds)
    work = sum(
        (plan.jobs(stage) - done[stage]) * typical[stage] / (1 if kinds()[stage].alone else cores)
        for stage in plan.stages
    )
    return Cost(
        download_bytes=made.download_bytes,
        disk_bytes=made.disk_bytes,
        seconds=made.seconds + work,
    )


def stage_seconds(plan: Plan, seconds: Mapping[str, float]) -> dict[Stage, float]:
    """The seconds of a job for each stage of a plan, from the store's typical ones where it has them."""
    typical = {stage: seconds.get(stage, kinds()[stage].typical_seconds) for stage in plan.stages}
    return {stage: _job_seconds(plan, stage, each) for stage, each in typical.items()}


def _job_seconds(plan: Plan, stage: Stage, typical: float) -> float:
    """The mean over the plan's jobs of a stage: compile times differ a hundredfold between models."""
    by_model = kinds()[stage].typical_by_model
    if not by_model:
        return typical
    left = {node.index for node in plan.nodes if node.stage == stage}
    models: dict[int, str] = {}
    for cell in plan.cells:
        for index in left.intersection((*cell.nodes, *cell.repeats)):
            models[index] = cell.labels["model"]
            left.discard(index)
    return sum(by_model.get(model, typical) for model in models.values()) / max(1, len(models))


LATE = 30
"""Jobs of a stage before the pace counts: the first ones in an environment start its container or read it from the
disk."""
FEWEST = 3
"""Jobs that a stage needs to have a pace."""


class Pace:
    """The remaining seconds of a run, from the times of its own jobs; not from cells, which hardly change in the first
    minutes of a run.

    A job's time is from its start to its end as the runner sees it, with the engine's overhead and the wait for a
    worker. With several jobs at the same time, each counts for its share of the time.
    """

    def __init__(self, typical: Mapping[Stage, float], *, cores: int, prefetch: int) -> None:
        """`typical` seconds are for stages without a pace yet."""
        self._typical, self._cores = typical, cores
        self._under_way = {
            stage: 1 if kind.alone else cores if kind.script else cores * (1 + prefetch)
            for stage, kind in kinds().items()
        }
        self._late: dict[Stage, deque[tuple[float, int]]] = {stage: deque(maxlen=LATE) for stage in kinds()}

    def note(self, stage: Stage, seconds: float, *, nodes: int = 1) -> None:
        """Counts a job that ended, or a node whose job had ended in this run (0 s). A job of an earlier run says
        nothing about the remaining ones."""
        self._late[stage].append((seconds, nodes))

    def left(self, nodes: Mapping[Stage, int]) -> float | None:
        """The seconds for this many nodes of each stage; None where most of it is in a stage without a pace."""
        shares = {stage: count * self._of_a_node(stage) for stage, count in nodes.items() if count > 0}
        longest = max(shares, key=shares.__getitem__, default=None)
        return None if longest is None or not self._measured(longest) else sum(shares.values())

    def _measured(self, stage: Stage) -> bool:
        return len(self._late[stage]) >= FEWEST

    def _of_a_node(self, stage: Stage) -> float:
        if not self._measured(stage):
            return self._typical[stage] / (1 if kinds()[stage].alone else self._cores)
        seconds, nodes = sum(each for each, _ in self._late[stage]), sum(each for _, each in self._late[stage])
        return seconds / nodes / self._under_way[stage]
