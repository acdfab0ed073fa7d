"""What a plan will cost, at most: download, disk, time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from matrix.plan import Plan
from matrix.records import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentCost:
    """Of one environment: bytes to download, bytes on the disk, seconds to install with an empty cache."""

    download_bytes: int
    disk_bytes: int
    seconds: float


ENVIRONMENT_COSTS: Mapping[str, EnvironmentCost] = {
    "exporter": EnvironmentCost(download_bytes=3_000_000_000, disk_bytes=7_000_000_000, seconds=35.0),
    "importer": EnvironmentCost(download_bytes=130_000_000, disk_bytes=560_000_000, seconds=2.5),
    "compiler": EnvironmentCost(download_bytes=85_000_000, disk_bytes=420_000_000, seconds=1.5),
    "runtime": EnvironmentCost(download_bytes=15_000_000, disk_bytes=25_000_000, seconds=0.5),
}
"""Measured 2026-11-21 with the CUDA build of torch 2.9; wheels that environments share are counted at each."""

JOB_SECONDS = {Stage.EXPORT: 10.0, Stage.IMPORT: 2.0, Stage.COMPILE: 1.0, Stage.RUN: 0.03}
"""Of a small model, where this store has no results yet to tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    download_bytes: int
    disk_bytes: int
    seconds: float


def estimate(plan: Plan, *, done: Mapping[Stage, int], standing: int, seconds: Mapping[str, float], cores: int) -> Cost:
    """The cost of what is left. `standing` environments are there already, `seconds` are typical ones by stage."""
    kinds = Counter(request.kind for request in plan.environments())
    share = 1 - standing / max(1, sum(kinds.values()))
    download = sum(ENVIRONMENT_COSTS[kind].download_bytes * count for kind, count in kinds.items())
    disk = sum(ENVIRONMENT_COSTS[kind].disk_bytes * count for kind, count in kinds.items())
    install = sum(ENVIRONMENT_COSTS[kind].seconds * count for kind, count in kinds.items())
    work = sum((plan.jobs(stage) - done[stage]) * seconds.get(stage.value, JOB_SECONDS[stage]) for stage in plan.stages)
    return Cost(
        download_bytes=int(download * share), disk_bytes=int(disk * share), seconds=install * share + work / cores
    )
