"""What is made when, and what goes for it: a made-up run against the pure choice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from environment_requests import GB, _request, compiler, runtime

from matrix.core.records import EnvironmentRequest
from matrix.plan.stages import environments
from matrix.run.cost import disk_cost, environment_costs
from matrix.run.local.budget import Room, choose, requests_in_order

EXPORTER = environments()["exporter"]
TORCH = EXPORTER.cost.disk_bytes
COMPILER = environments()["compiler"].cost.disk_bytes


def exporter(torch: str, turbine: str = "3.9.0", python: str = "3.11") -> EnvironmentRequest:
    pins = (("torch", torch), ("iree-turbine", turbine))
    return _request("exporter", f"exporter/torch-{torch}+turbine-{turbine}.cuda", pins, python)


def test_every_kind_of_environment_has_its_place():
    requests = [_request(kind, f"{kind}/1", (("torch", "1"),), "3.11") for kind in reversed(environments())]
    assert [request.kind for request in requests_in_order(requests)] == list(environments())


class Run:
    """A run without a disk: exports, then compiles of every export, then runs; one environment is made at a time, and
    an environment is done when the jobs that need it are. `sizes` are true sizes, beside what stands."""

    def __init__(self, requests: list[EnvironmentRequest], limit: int) -> None:
        self.order = requests_in_order(requests)
        self.limit = limit
        self.standing: list[EnvironmentRequest] = []
        self.made: list[EnvironmentRequest] = []
        self.done: set[EnvironmentRequest] = set()
        self.peak = 0
        self.stuck: EnvironmentRequest | None = None

    @property
    def used(self) -> int:
        return environment_costs(self.standing).disk_bytes

    def needed(self, request: EnvironmentRequest) -> bool:
        return request not in self.done

    def wanted(self) -> list[EnvironmentRequest]:
        """Exporters at once; a tool when something reaches it: compilers after an export, runtimes after a compile."""
        started = {request.kind for request in self.made}
        ready = {"exporter"} | ({"compiler"} if "exporter" in started else set())
        ready |= {"runtime"} if "compiler" in started else set()
        return [r for r in self.order if r.kind in ready and r not in self.standing and r not in self.done]

    def work(self) -> None:
        """What can end does: an export at once, a tool's jobs when all before them are over."""
        for request in self.standing:
            earlier = {"exporter": (), "compiler": ("exporter",), "runtime": ("exporter", "compiler")}[request.kind]
            if all(other in self.done for other in self.order if other.kind in earlier):
                self.done.add(request)

    def go(self) -> None:
        for _ in range(1000):
            standing, limit = self.standing, self.limit
            room = Room(limit=limit, used=self.used, standing=standing, sharing=standing, making=(), needed=self.needed)
            choice = choose(self.wanted(), room, idle=True)
            for request in choice.remove:
                self.standing.remove(request)
            if choice.make:
                self.made.append(choice.make)
                self.standing.append(choice.make)
                self.peak = max(self.peak, self.used)
            self.stuck = choice.stuck
            self.work()
            if choice.stuck or not self.wanted():
                return
        raise AssertionError("no end")


FOUR_BY_THREE = [exporter(torch, turbine) for turbine in ("3.1.0", "3.5.0", "3.9.0") for torch in ("2.3", "2.5", "2.9")]
TOOLS = [*(compiler(f"3.{minor}.0") for minor in range(14)), *(runtime(f"3.{minor}.0") for minor in range(14))]


@pytest.mark.parametrize("limit", [9 * GB, 12 * GB, 20 * GB, 500 * GB])
def test_each_is_made_once_and_the_budget_is_kept(limit):
    run = Run([*TOOLS, *FOUR_BY_THREE], limit)
    run.go()
    assert run.stuck is None
    assert sorted(request.label for request in run.made) == sorted(request.label for request in run.order)
    assert run.peak <= limit


def test_exporters_of_a_torch_release_follow_each_other_and_share_its_wheels():
    run = Run(FOUR_BY_THREE, TORCH + 2 * EXPORTER.same_large.disk_bytes)
    run.go()
    assert [dict(request.lock.pins)["torch"] for request in run.made] == ["2.3"] * 3 + ["2.5"] * 3 + ["2.9"] * 3
    assert run.peak <= TORCH + 2 * EXPORTER.same_large.disk_bytes


def test_nothing_goes_while_there_is_room():
    run = Run([*TOOLS, *FOUR_BY_THREE], 500 * GB)
    run.go()
    assert len(run.standing) == len(run.order)


def test_what_no_budget_holds_is_stuck_before_anything_is_made():
    run = Run([compiler("3.8.0"), exporter("2.9")], 5 * GB)
    run.go()
    assert run.stuck == exporter("2.9")
    assert run.made == []


def room(limit: int, standing: list[EnvironmentRequest], *, needed: bool = True, **more) -> Room:
    used = environment_costs(standing).disk_bytes
    known = {"limit": limit, "used": used, "standing": standing, "sharing": standing, "making": ()}
    return Room(**known | {"needed": lambda _: needed} | more)


def test_a_tool_waits_where_it_would_take_the_room_of_an_exporter_to_come():
    wanted = [exporter("2.9"), compiler("3.8.0")]
    busy = [exporter("2.3")]
    assert choose(wanted, room(TORCH + COMPILER // 2, busy), idle=False).make is None
    wide = room(TORCH + 2 * COMPILER, busy)
    assert choose([compiler("3.8.0")], wide, idle=False).make == compiler("3.8.0")


def test_two_at_a_time_do_not_fetch_the_same_torch_twice():
    standing: list[EnvironmentRequest] = []
    beside = room(500 * GB, standing, making=[exporter("2.9", "3.8.0")])
    choice = choose([exporter("2.9", "3.9.0"), compiler("3.8.0")], beside, idle=False)
    assert choice.make == compiler("3.8.0")
    assert choose([exporter("2.9", "3.9.0")], room(500 * GB, [exporter("2.9", "3.8.0")]), idle=False).make


def test_what_another_run_made_shares_no_wheels():
    """It was linked from another cache. A second one beside it is unpacked whole, and two at a time twice."""
    stands = room(500 * GB, [exporter("2.9", "3.8.0")], sharing=())
    assert stands.cost(exporter("2.9", "3.9.0")) == TORCH
    assert stands.freed(exporter("2.9", "3.8.0"), ()) == TORCH
    beside = replace(stands, making=[exporter("2.9", "3.7.0")])
    assert choose([exporter("2.9", "3.9.0")], beside, idle=False).make is None
    tight = room(TORCH + COMPILER, [exporter("2.9", "3.8.0")], sharing=(), needed=False)
    assert choose([exporter("2.9", "3.9.0")], tight, idle=False).remove == (exporter("2.9", "3.8.0"),)


def test_while_something_runs_a_full_disk_waits_and_then_gives_up_what_comes_latest():
    full = room(TORCH, [compiler("3.8.0"), runtime("3.8.0"), runtime("3.9.0")])
    assert choose([exporter("2.9")], full, idle=False) == choose([], full, idle=True)
    assert choose([exporter("2.9")], full, idle=True).remove == (runtime("3.9.0"),)


def test_of_what_is_over_goes_first_what_shares_nothing_with_the_rest():
    standing = [exporter("2.9", "3.8.0"), exporter("2.3", "3.8.0")]
    over = room(2 * TORCH + 1, standing, needed=False)
    choice = choose([exporter("2.9", "3.9.0"), exporter("2.12")], over, idle=False)
    assert choice.remove == (exporter("2.3", "3.8.0"),)


def test_an_environment_costs_what_others_do_not_bring():
    first = exporter("2.9")
    assert disk_cost(first, ()) == TORCH
    assert disk_cost(first, [exporter("2.9", "3.8.0")]) == EXPORTER.same_large.disk_bytes
    assert disk_cost(first, [exporter("2.9", python="3.12")]) == EXPORTER.other_python.disk_bytes
    assert disk_cost(first, [exporter("2.3"), compiler("3.8.0")]) == TORCH
    assert disk_cost(compiler("3.8.0"), [compiler("3.9.0")]) == COMPILER
