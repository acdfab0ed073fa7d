"""Deals the jobs of a plan to shards, wave after wave. Pure, and the same on every machine.

The first wave has the jobs that need no other job: exports. The second has the rest, by the environment of the first
job after an export: its compiler. So each environment of gigabytes is made once over all shards, and two compiles that
turn out to be one, because two exporters wrote the same bytes, are in the same shard.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

from matrix.core.errors import ShardFault
from matrix.core.keys import Json, asked_digest, digest
from matrix.core.records import EnvironmentRequest, Outcome
from matrix.plan.graph import Plan
from matrix.plan.stages import Node, kinds, rank_of
from matrix.run.cost import environment_costs, family

WAVES = 2
_OURS = (Outcome.UNTESTED, Outcome.INFRASTRUCTURE)
NOT_MERGED = "an earlier wave has no result for it here"


@dataclass(slots=True, kw_only=True)
class Shard:
    """Some jobs of one wave: the indices of their nodes, and the environments in which they run."""

    nodes: list[int] = field(default_factory=list)
    requests: list[EnvironmentRequest] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def disk_bytes(self) -> int:
        """What its environments take together, at most."""
        return environment_costs(self.requests).disk_bytes

    @property
    def download_bytes(self) -> int:
        return environment_costs(self.requests).download_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Nodes that stay together, and what they need."""

    nodes: tuple[int, ...]
    requests: tuple[EnvironmentRequest, ...]
    work_seconds: float


def waves_of(plan: Plan) -> tuple[tuple[Node, ...], ...]:
    """The nodes that some machine can run, by wave: what this one lacks for some is no matter."""
    able = [node for node in plan.nodes if node.request and (not node.obstacle or node.obstacle[0] in _OURS)]
    return tuple(node for node in able if not node.above), tuple(node for node in able if node.above)


def deal(plan: Plan, shards: int) -> tuple[tuple[Shard, ...], ...]:
    """The shards of each wave. Every node that can run is in exactly one. Raises ShardFault for a plan whose times must
    come from one machine."""
    if any(node.kind.rounds or node.beside for node in plan.nodes):
        raise ShardFault(
            f"{plan.spec.source}: read a spec that measures times, expected one without: times of several machines "
            "cannot be compared",
            tip="run it whole on one machine",
        )
    return tuple(_dealt(_groups(wave, plan.nodes), shards) for wave in waves_of(plan))


def _groups(wave: Sequence[Node], nodes: Sequence[Node]) -> list[_Group]:
    members: dict[object, list[Node]] = {}
    for node in wave:
        members.setdefault(_together(node, nodes), []).append(node)
    return [
        _Group(
            nodes=tuple(node.index for node in group),
            requests=_requests(group),
            work_seconds=sum(node.kind.typical_seconds for node in group),
        )
        for group in members.values()
    ]


def _together(node: Node, nodes: Sequence[Node]) -> object:
    """What nodes of one shard have in common: the largest wheels in the first wave, later the environment of the first
    job after it."""
    if not node.above:
        return family(node.request) if node.request else None
    head = node
    while later := [nodes[above] for above in head.above if nodes[above].above]:
        head = max(later, key=lambda each: rank_of(each.stage))
    return head.request


def _requests(group: Iterable[Node]) -> tuple[EnvironmentRequest, ...]:
    found = {id(node.request): node.request for node in group if node.request}
    return tuple(dict.fromkeys(found.values()))


def _dealt(groups: Iterable[_Group], count: int) -> tuple[Shard, ...]:
    """The longest group first. Once each goes where least is to do: that gives the time of the longest shard. Then each
    goes where it adds least to the disk among the shards that stay within this time."""
    ordered = sorted(groups, key=lambda group: (-_seconds(group, ()), group.nodes[0]))
    quickest = _placed(ordered, count, within=0.0)
    return _placed(ordered, count, within=max(shard.seconds for shard in quickest))


def _placed(groups: Sequence[_Group], count: int, *, within: float) -> tuple[Shard, ...]:
    shards = [Shard() for _ in range(count)]
    for group in groups:
        after = [shard.seconds + _seconds(group, shard.requests) for shard in shards]
        fitting = [place for place in range(count) if after[place] <= within]
        place = min(fitting or range(count), key=after.__getitem__)
        if fitting:
            place = min(fitting, key=lambda each: (_bytes(group, shards[each].requests), after[each]))
        shard = shards[place]
        shard.seconds = after[place]
        shard.requests += [request for request in group.requests if request not in shard.requests]
        shard.nodes += group.nodes
    for shard in shards:
        shard.nodes.sort()
    return tuple(shards)


def _seconds(group: _Group, beside: Sequence[EnvironmentRequest]) -> float:
    made = [request for request in group.requests if request not in beside]
    return environment_costs(made, beside).seconds + group.work_seconds


def _bytes(group: _Group, beside: Sequence[EnvironmentRequest]) -> int:
    made = [request for request in group.requests if request not in beside]
    return environment_costs(made, beside).disk_bytes


def part_of(plan: Plan, own: Sequence[int], standing: Collection[int]) -> tuple[Plan, tuple[int, ...]]:
    """The part of a plan that a shard carries out, and where its own nodes are in it: its own nodes, and those above
    them. Of these only `standing` ones, whose results the store has, are not an obstacle: none is carried out."""
    kept = sorted({*own, *above_of(plan, own)})
    numbers = {index: number for number, index in enumerate(kept)}
    able = {*own, *standing}
    nodes = tuple(
        replace(
            node,
            index=numbers[node.index],
            above=tuple(numbers[above] for above in node.above),
            obstacle=node.obstacle if node.index in able else _obstacle(node),
        )
        for node in map(plan.nodes.__getitem__, kept)
    )
    mine = set(own)
    cells = tuple(
        replace(
            cell,
            nodes=tuple(numbers[each] for each in cell.nodes if each in numbers),
            repeats=tuple(numbers[each] for each in cell.repeats if each in numbers),
        )
        for cell in plan.cells
        if mine.intersection((*cell.nodes, *cell.repeats))
    )
    part = replace(plan, nodes=nodes, cells=tuple(cell for cell in cells if cell.nodes))
    return part, tuple(numbers[index] for index in own)


def above_of(plan: Plan, own: Sequence[int]) -> set[int]:
    """The nodes above those of a shard that are not its own."""
    found, ahead = set[int](), list(own)
    mine = set(own)
    while ahead:
        for above in plan.nodes[ahead.pop()].above:
            if above not in found and above not in mine:
                found.add(above)
                ahead.append(above)
    return found


def _obstacle(node: Node) -> tuple[Outcome, str]:
    return node.obstacle or (Outcome.UNTESTED, f"{node.stage} {node.label}: {NOT_MERGED}")


def plan_digest(plan: Plan, engine: str) -> str:
    """What two shards must have in common: engine, cells, jobs and locks. Paths of a machine are not part of it."""
    requests: dict[int, str] = {}
    rows: list[Json] = []
    for node in plan.nodes:
        if node.request and id(node.request) not in requests:
            requests[id(node.request)] = asked_digest(node.request, engine)
        rows.append(
            [
                node.stage,
                list(node.above),
                requests[id(node.request)] if node.request else "",
                list(node.flags),
                [[name, value] for name, value in node.parameters if not name.endswith("_file")],
                [[name, content] for name, _, content in node.given],
                [node.script, node.machine, node.beside, node.repeat],
                [node.limits.seconds, node.limits.memory_bytes, node.limits.log_bytes, node.limits.output_bytes],
            ]
        )
    cells: list[Json] = [[dict(cell.labels), list(cell.nodes), list(cell.repeats)] for cell in plan.cells]
    return digest({"nodes": rows, "cells": cells})


def busy_shards(wave: Sequence[Shard]) -> list[int]:
    """The numbers of the shards that have jobs."""
    return [number for number, shard in enumerate(wave, 1) if shard.nodes]


def jobs_by_stage(plan: Plan, shard: Shard) -> str:
    """`12 export, 3 compile`."""
    counted = Counter(plan.nodes[index].stage for index in shard.nodes)
    return ", ".join(f"{counted[stage]} {stage}" for stage in kinds() if stage in counted) or "nothing"
