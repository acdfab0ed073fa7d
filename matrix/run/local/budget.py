"""Decides which environments to make now, and which to remove for them, within a budget of the disk. Pure.

Environments with torch come first, one torch release after the other, then compilers, then runtimes. So each is made
once, all its jobs run, and it is removed when space is needed. A tool's environment is made earlier only if there is
still space for those before it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from matrix.core.records import EnvironmentRequest
from matrix.plan.stages import environments
from matrix.run.cost import disk_cost, family, large_of


def request_rank(request: EnvironmentRequest) -> int:
    """Its order among the stages."""
    return tuple(environments()).index(request.kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """The facts for a choice. Sizes are in bytes: `limit` is the budget, `used` was measured.

    `sharing` are those of `standing` whose wheels a new environment can link: they were made by this run, from its
    cache.
    """

    limit: int
    used: int
    standing: Collection[EnvironmentRequest]
    sharing: Collection[EnvironmentRequest]
    making: Collection[EnvironmentRequest]
    needed: Callable[[EnvironmentRequest], bool]

    def cost(self, request: EnvironmentRequest) -> int:
        """The bytes that an environment adds to those that exist or are being made."""
        others = [other for other in (*self.sharing, *self.making) if other != request]
        return disk_cost(request, others)

    def freed(self, request: EnvironmentRequest, gone: Collection[EnvironmentRequest]) -> int:
        """The bytes that removing an environment frees after `gone` have been removed."""
        if request not in self.sharing:
            return disk_cost(request, ())
        return disk_cost(request, [other for other in self.sharing if other not in (*gone, request)])

    @property
    def promised(self) -> int:
        """The bytes for environments that are being made."""
        beside = list(self.sharing)
        total = 0
        for request in self.making:
            total += disk_cost(request, beside)
            beside.append(request)
        return total


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What to make and what to remove now; `stuck` is the environment that does not fit although no other can be
    removed."""

    make: EnvironmentRequest | None = None
    remove: tuple[EnvironmentRequest, ...] = ()
    stuck: EnvironmentRequest | None = None


def requests_in_order(requests: Iterable[EnvironmentRequest]) -> tuple[EnvironmentRequest, ...]:
    """By rank; environments with the same torch release and Python are together, in the order of their first."""
    found = tuple(dict.fromkeys(requests))
    families: dict[tuple[str, ...], int] = {}
    for request in found:
        families.setdefault(family(request), len(families))
    return tuple(sorted(found, key=lambda request: (request_rank(request), families[family(request)])))


def choose(wanted: Sequence[EnvironmentRequest], room: Room, *, idle: bool) -> Choice:
    """The next of the `wanted` environments (in order) to make, or what to remove for it.

    `idle`: no job runs and nothing is being made or removed, so waiting is pointless.
    """
    for request in wanted:
        if _brings_the_same(request, room):
            continue
        if room.used + room.promised + room.cost(request) <= room.limit and _leaves_room(request, wanted, room):
            return Choice(make=request)
        if victims := _over(request, wanted, room):
            return Choice(remove=victims)
        if not idle:
            return Choice()
        if last_resort := _least_urgent(request, room):
            return Choice(remove=(last_resort,))
        return Choice(stuck=request)
    return Choice()


def _brings_the_same(request: EnvironmentRequest, room: Room) -> bool:
    """Whether an environment in the making fetches the same gigabytes: two at a time would fetch them twice."""
    shared = family(request)
    if any(family(other) == shared for other in room.sharing):
        return False
    return bool(large_of(request)) and any(large_of(other) for other in room.making)


def _leaves_room(request: EnvironmentRequest, wanted: Sequence[EnvironmentRequest], room: Room) -> bool:
    """Whether the environments before it will still fit, after the existing ones of that rank are removed."""
    before = [other for other in wanted if request_rank(other) < request_rank(request)]
    if not before:
        return True
    passing = replace(room, standing=(), sharing=(), making=_of_rank_below(request, room)).promised
    ahead = max(disk_cost(other, ()) for other in before)
    return room.used - passing + room.promised + room.cost(request) + ahead <= room.limit


def _of_rank_below(request: EnvironmentRequest, room: Room) -> list[EnvironmentRequest]:
    return [other for other in room.standing if request_rank(other) < request_rank(request)]


def _over(
    request: EnvironmentRequest, wanted: Sequence[EnvironmentRequest], room: Room
) -> tuple[EnvironmentRequest, ...]:
    """Environments without remaining jobs, as many as needed to fit: first those that share nothing with wanted
    ones."""
    shared = {family(other) for other in wanted}
    over = [other for other in requests_in_order(room.standing) if not room.needed(other)]
    over.sort(key=lambda other: family(other) in shared)
    missing = room.used + room.promised + room.cost(request) - room.limit
    chosen: list[EnvironmentRequest] = []
    for other in over:
        if missing <= 0 and chosen:
            break
        missing -= room.freed(other, chosen)
        chosen.append(other)
    return tuple(chosen)


def _least_urgent(request: EnvironmentRequest, room: Room) -> EnvironmentRequest | None:
    """An environment that a job after `request` still needs: it will be made a second time."""
    later = [other for other in requests_in_order(room.standing) if request_rank(other) > request_rank(request)]
    return later[-1] if later else None
