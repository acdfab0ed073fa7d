"""The disk space of environments: which exist, how much a run may use, and what to remove for a new one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Sequence

from matrix.core.errors import DiskFull, EngineMissing, NotInstallable
from matrix.core.records import DEFAULT_ENGINE, EnvironmentRequest
from matrix.engines.contract import Engine, Measuring, Removing
from matrix.run.cost import disk_cost, environment_costs
from matrix.run.executor import Disk
from matrix.run.local.budget import Room

FLOOR_BYTES = 2_000_000_000
"""Space that environments never use: for jobs, and for others."""
SHARE = 0.75
"""The part of the free space that is the default budget."""


def share_of(free_bytes: int) -> int:
    """The part of the free space for environments by default."""
    return int(SHARE * free_bytes)


class EnvironmentDisk:
    """Which environments exist, and their size. One thread calls everything but `held`."""

    def __init__(self, engine: Engine, budget_bytes: int | None) -> None:
        """Without `budget_bytes` the budget is what exists, and SHARE of the free space when the first environment is
        made. For an engine that removes nothing there is no budget during the run: `refuse_beyond` has checked it
        before."""
        self._engine = engine
        self._removing = engine if isinstance(engine, Removing) else None
        self._budget_bytes = budget_bytes
        keeps = self._removing is None
        self.record = Disk(budget_bytes=(budget_bytes or 0) if keeps else 0, kept=keeps)
        self._looked = False
        self._others_gone = False
        self._standing: set[EnvironmentRequest] = set()
        self._made: set[EnvironmentRequest] = set()
        self._sharing: set[EnvironmentRequest] = set()
        self.going: set[EnvironmentRequest] = set()
        """The environments that are being removed."""
        self._in_use: set[EnvironmentRequest] = set()

    @property
    def standing(self) -> set[EnvironmentRequest]:
        """The environments that exist and are not being removed."""
        return self._standing - self.going

    def found(self, request: EnvironmentRequest) -> None:
        """Whether an environment exists."""
        self._standing.add(request)

    def lost(self, request: EnvironmentRequest) -> None:
        """An environment does not exist, or not any more."""
        self._standing.discard(request)
        self._sharing.discard(request)

    def held(self, made: EnvironmentRequest | None = None) -> int:
        """The bytes of all environments. May be called from any thread."""
        return self._engine.held_bytes(made) if isinstance(self._engine, Measuring) else 0

    def look(self) -> None:
        """Measures the disk and sets the budget, once, before the first environment is made."""
        if self._looked:
            return
        self._looked = True
        if self._removing:
            self._removing.remove_unfinished()
        self.record.note(self.held())
        if self._removing:
            self.record.budget_bytes = self._budget_bytes or self.record.held_bytes + share_of(self._free())

    def _free(self) -> int:
        return (self._removing.free_bytes() or 0) if self._removing else sys.maxsize

    def remove_others(self, keep: Collection[EnvironmentRequest]) -> bool:
        """Removes the environments of other presets in this store before one of this run is removed; once."""
        if self._others_gone or self._removing is None:
            return False
        self._others_gone = True
        gone = self._removing.remove_others(keep)
        self.record.removed += gone
        self.record.note(self.held())
        return gone > 0

    def remove(self, request: EnvironmentRequest) -> bool:
        """Removes an environment; False if it is in use elsewhere. May be called from any thread."""
        return self._removing is not None and self._removing.remove(request)

    def room(
        self,
        order: Iterable[EnvironmentRequest],
        making: Sequence[EnvironmentRequest],
        needed: Callable[[EnvironmentRequest], bool],
    ) -> Room:
        """Decides for the environments of a run, in the `order` in which they are made."""
        limit = sys.maxsize
        if self._removing:
            free = self._free() - FLOOR_BYTES
            limit = min(self.record.budget_bytes, self.record.held_bytes + max(0, free))
        movable = self.standing - self._in_use
        standing = [request for request in order if request in movable]
        return Room(
            limit=limit,
            used=self.record.held_bytes,
            standing=standing,
            sharing=[request for request in standing if request in self._sharing],
            making=making,
            needed=needed,
        )

    def no_room(self, request: EnvironmentRequest) -> DiskFull:
        size, held = disk_cost(request, ()) / 1e9, self.record.held_bytes / 1e9
        return DiskFull(
            f"no room for {request.label}, about {size:.1f} GB: the environments of this store hold {held:.1f} GB of a "
            f"budget of {self.record.budget_bytes / 1e9:.1f} GB, or the disk has no more",
            tip="give more with --disk-budget, free space on the disk, or remove what other presets left: "
            "python -m matrix clean --environments",
        )

    def note_made(self, request: EnvironmentRequest, held_bytes: int, *, stood: bool) -> None:
        """Counts an environment. `stood`: it existed already, made by an earlier run or another process."""
        self.record.note(held_bytes)
        new = not stood and request not in self._standing
        self.record.made += new
        if request in self._made:
            self.record.made_again.append(request.label)
        self._made.add(request)
        self._standing.add(request)
        if new:
            self._sharing.add(request)

    def note_removed(self, request: EnvironmentRequest, held_bytes: int, *, gone: bool) -> None:
        """An environment was removed, or another process uses it: then its removal is not tried again."""
        self.going.discard(request)
        self.record.note(held_bytes)
        if gone:
            self.record.removed += 1
            self._standing.discard(request)
        else:
            self._in_use.add(request)


def refuse_beyond(budget_bytes: int | None, requests: Sequence[EnvironmentRequest], engine: Engine) -> None:
    """For an engine that keeps its environments: raises DiskFull before the run if there is too little space.

    With a budget, the existing environments of the run are measured and count too. Without one, the missing ones may
    use SHARE of the free space, if the size of the disk is known.
    """
    if isinstance(engine, Removing) or not isinstance(engine, Measuring):
        return
    if budget_bytes and environment_costs(requests).disk_bytes <= budget_bytes:
        return
    missing = [request for request in requests if not stands(engine, request)]
    needed = environment_costs(missing).disk_bytes
    free = None if budget_bytes else engine.free_bytes()
    held = engine.held_bytes() if budget_bytes else 0
    limit = budget_bytes or (sys.maxsize if free is None else share_of(free))
    if not missing or held + needed <= limit:
        return
    have = f"the others of this run hold {held / 1e9:.1f} GB of a budget of" if budget_bytes else "there is room for"
    need = f"{len(missing)} are missing, about {needed / 1e9:.1f} GB"
    raise DiskFull(
        f"the engine {engine.name} keeps what it made: {need}, and {have} {limit / 1e9:.1f} GB",
        tip=f"give more with --disk-budget, cut the run down with --only, or take --engine {DEFAULT_ENGINE}, "
        "which removes environments when their jobs are over",
    )


def stands(engine: Engine, request: EnvironmentRequest) -> bool:
    """Whether it exists already. An environment that this engine never makes, or whose tools do not run, does not."""
    try:
        return engine.load(request) is not None
    except (EngineMissing, NotInstallable):
        return False
