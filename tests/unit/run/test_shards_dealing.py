"""How the jobs of a plan are dealt to shards: each once, within the disk, the same on every machine."""

from __future__ import annotations

import functools
import json
from collections import Counter
from dataclasses import replace

import pytest
from samples import catalogue, plan_of, spec_of

from matrix.core.data import PACKAGE_FOLDER, presets
from matrix.core.errors import ShardFault
from matrix.core.records import EnvironmentRequest, Outcome
from matrix.plan.graph import Plan, make_plan
from matrix.plan.question import Question
from matrix.run import planning
from matrix.run.cost import environment_costs
from matrix.run.local.budget import Room, choose, requests_in_order
from matrix.run.shards.dealing import Shard, above_of, deal, part_of, plan_digest

GB = 10**9


@functools.cache
def preset(name: str) -> Plan:
    return planning.plan_of(Question(preset=name))


@functools.cache
def exporters() -> tuple[tuple[Shard, ...], ...]:
    return deal(preset("exporters"), 16)


def owners(waves: tuple[tuple[Shard, ...], ...]) -> Counter[int]:
    return Counter(node for wave in waves for shard in wave for node in shard.nodes)


@pytest.mark.parametrize("name", [name for name in presets() if name != "field"])
def test_every_job_of_a_preset_is_in_one_shard(name):
    plan = preset(name)
    if any(node.kind.rounds for node in plan.nodes):
        with pytest.raises(ShardFault, match="times of several machines cannot be compared") as caught:
            deal(plan, 5)
        assert "one machine" in caught.value.tip
        return
    waves = deal(plan, 5)
    able = [node.index for node in plan.nodes if node.request and not node.request.lock.refusal]
    assert owners(waves) == Counter(able)
    wave_of = {node: number for number, wave in enumerate(waves) for shard in wave for node in shard.nodes}
    for node in able:
        assert all(wave_of[above] <= wave_of[node] for above in plan.nodes[node].above if above in wave_of)


def test_what_a_job_builds_on_is_in_its_own_shard_or_in_an_earlier_wave():
    plan = preset("portability")
    first, second = deal(plan, 4)
    done = {node for shard in first for node in shard.nodes}
    for shard in second:
        assert above_of(plan, shard.nodes) <= done


def published_jobs() -> list[tuple[str, int]]:
    """The jobs of the committed run of `exporters`, each with a node of the plan that it is: keys that several cells
    share are there once for each."""
    plan = preset("exporters")
    cells = {json.dumps(cell.labels, sort_keys=True): cell for cell in plan.cells}
    run = json.loads((PACKAGE_FOLDER.parent / "results" / "exporters.json").read_text(encoding="utf-8"))
    found = []
    for cell in run["cells"]:
        nodes = cells[json.dumps(cell["axes"], sort_keys=True)].nodes
        found += list(zip(cell["evidence"]["jobs"], nodes, strict=False))
    assert {key for key, _ in found} == run["jobs"].keys()
    return found


def test_exporters_in_16_shards_runs_each_of_338_jobs_once():
    """Many nodes come to one job, where exporters wrote the same bytes: all of them are in one shard."""
    place = {
        node: (number, each)
        for number, wave in enumerate(exporters())
        for each, shard in enumerate(wave)
        for node in shard.nodes
    }
    places: dict[str, set[tuple[int, int]]] = {}
    for key, node in published_jobs():
        places.setdefault(key, set()).add(place[node])
    assert len(places) == 338
    assert {len(found) for found in places.values()} == {1}


def test_exporters_in_16_shards_take_at_most_190_gb_over_all():
    total = sum(shard.disk_bytes for wave in exporters() for shard in wave)
    print(f"exporters in 16 shards: {total / GB:.1f} GB over all")
    assert total <= 190 * GB
    assert max(shard.disk_bytes for wave in exporters() for shard in wave) <= 20 * GB


def within(budget: int, requests: list[EnvironmentRequest]) -> int:
    """A shard's environments made one after the other as a run makes them, each removed only for room. Returns the
    peak in bytes; fails where one must be made twice, or fits no more."""
    wanted, standing, done = list(requests_in_order(requests)), list[EnvironmentRequest](), set[EnvironmentRequest]()
    peak = 0
    while wanted:
        used = environment_costs(standing).disk_bytes
        room = Room(
            limit=budget,
            used=used,
            standing=standing,
            sharing=standing,
            making=(),
            needed=lambda request: request not in done,
        )
        choice = choose(wanted, room, idle=True)
        assert choice.stuck is None
        assert set(choice.remove) <= done
        standing = [request for request in standing if request not in choice.remove]
        if choice.make:
            standing.append(choice.make)
            wanted.remove(choice.make)
            done.add(choice.make)
            peak = max(peak, environment_costs(standing).disk_bytes)
    assert done == set(requests)
    return peak


@pytest.mark.parametrize("wave", [0, 1])
@pytest.mark.parametrize("number", range(16))
def test_each_shard_of_exporters_fits_into_12_gb(wave, number):
    shard = exporters()[wave][number]
    assert within(12 * GB, shard.requests) <= 12 * GB


def test_shards_are_dealt_alike_on_a_machine_that_lacks_something():
    """A target of another machine is an obstacle here and none there: the jobs are dealt alike on both."""
    spec = spec_of('[axes]\ncompiler = ["2.9.0", "3.0.0"]\ntarget = ["x86_64", "aarch64"]\n')
    here, there = (make_plan(spec, catalogue(machine)) for machine in ("x86_64", "aarch64"))
    assert any(node.obstacle and node.obstacle[0] is Outcome.UNTESTED for node in here.nodes)
    assert [node.obstacle for node in here.nodes] != [node.obstacle for node in there.nodes]
    dealt = [[[shard.nodes for shard in wave] for wave in deal(plan, 3)] for plan in (here, there)]
    assert dealt[0] == dealt[1]
    assert plan_digest(here, "venv") == plan_digest(there, "venv")


def test_what_no_lock_can_make_is_in_no_shard():
    plan = plan_of('[axes]\ncompiler = ["2.0.0", "2.9.0"]\nruntime = "= compiler"\n')
    refused = {node.index for node in plan.nodes if node.obstacle}
    assert refused and not refused & owners(deal(plan, 2)).keys()


def test_the_digest_of_a_plan_is_of_what_is_measured():
    plan = preset("quick")
    known = plan_digest(plan, "venv")
    assert plan_digest(replace(plan, nodes=tuple(replace(node) for node in plan.nodes)), "venv") == known
    changed = replace(plan.nodes[0], script="another script")
    others = (replace(plan, nodes=(changed, *plan.nodes[1:])), preset("pythons"))
    assert known not in {plan_digest(other, "venv") for other in others} | {plan_digest(plan, "docker")}


def test_a_part_carries_out_its_own_jobs_only():
    plan = plan_of('[axes]\ncompiler = ["2.9.0", "3.0.0"]\nruntime = ["2.9.0", "3.0.0"]\n')
    shard = deal(plan, 2)[1][0]
    above = above_of(plan, shard.nodes)
    part, places = part_of(plan, shard.nodes, above)
    assert [part.nodes[place].label for place in places] == [plan.nodes[index].label for index in shard.nodes]
    assert not any(node.obstacle for node in part.nodes)
    assert [part.nodes[index].stage for cell in part.cells for index in cell.nodes] == ["export", "compile", "run"] * 2
    lacking, places = part_of(plan, shard.nodes, ())
    assert {node.index for node in lacking.nodes if node.obstacle} == set(range(len(lacking.nodes))) - set(places)
