"""Environments for a run: what is known of each from earlier runs, and their making, several at a time."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from matrix.core import processes
from matrix.core.errors import DiskFull, EngineMissing, NotInstallable, NotRunnable
from matrix.core.records import Disk, Environment, EnvironmentRequest
from matrix.engines.contract import Engine
from matrix.run.budget import Room, choose, in_order
from matrix.run.cost import disk_cost, environment_costs
from matrix.run.store import KnownEnvironment, Store

FLOOR_BYTES = 2_000_000_000
"""Of the disk, never touched by environments: room for what jobs write, and for others."""
SHARE = 0.75
"""Of what the disk has free: the budget where nobody gave one."""
INSTALLERS = 4
"""Environments that are made at the same time: downloads overlap with unpacking."""


@dataclass(frozen=True, slots=True)
class RecipeKnown:
    """What would be realised is known, or this machine lacks an interpreter or an emulator for it (`missing`)."""

    request: EnvironmentRequest
    recipe: str
    missing: str = ""
    stands: bool = False


@dataclass(frozen=True, slots=True)
class Realised:
    """An environment stands, or the reason why it never will (`refusal`), or an error that ends the run."""

    request: EnvironmentRequest
    environment: Environment | None
    refusal: str = ""
    error: BaseException | None = None
    held_bytes: int = 0
    stood: bool = False
    """It was there already, made by an earlier run or another process."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """An environment was removed to make room, or could not be (`gone`)."""

    request: EnvironmentRequest
    gone: bool
    held_bytes: int
    error: BaseException | None = None


def share_of(free_bytes: int) -> int:
    """What of the free disk environments may take where nobody said."""
    return int(SHARE * free_bytes)


class Provision:
    """Knows the digest of each environment as soon as it can be known, and makes an environment only when asked,
    and when there is room for it."""

    def __init__(
        self,
        *,
        engine: Engine,
        store: Store,
        announce: Callable[[RecipeKnown | Realised | Dropped], None],
        budget_bytes: int | None,
    ) -> None:
        """Without `budget_bytes`: what stands, and SHARE of what is free when the first environment is made. An engine
        that drops nothing has no budget in mid-run: `refuse_beyond` has looked at it before."""
        self._engine, self._store, self._announce = engine, store, announce
        self._budget_bytes = budget_bytes
        self.disk = Disk(budget_bytes=(budget_bytes or 0) if not engine.droppable else 0, kept=not engine.droppable)
        self._looked = False
        self._pool = ThreadPoolExecutor(max_workers=INSTALLERS, thread_name_prefix="install")
        self._recipes: dict[EnvironmentRequest, str] = {}
        self._order: dict[EnvironmentRequest, int] = {}
        self._unknown: set[EnvironmentRequest] = set()
        self._on_disk: set[EnvironmentRequest] = set()
        self._wanted: set[EnvironmentRequest] = set()
        self._made: set[EnvironmentRequest] = set()
        self._sharing: set[EnvironmentRequest] = set()
        self._making: dict[EnvironmentRequest, None] = {}
        self._dropping: set[EnvironmentRequest] = set()
        self._kept: set[EnvironmentRequest] = set()
        self._strangers_gone = False
        self._tasks: list[Future[None]] = []
        self._cancelled = False
        self.digests: dict[EnvironmentRequest, str] = {}
        self.standing: dict[EnvironmentRequest, Environment] = {}

    @property
    def making(self) -> int:
        """Environments that are asked for and not there yet."""
        return len(self._wanted) + len(self._making)

    @property
    def busy(self) -> bool:
        """Something is made or removed, or will be as soon as there is room."""
        return bool(self.making or self._dropping)

    def find(self, requests: Iterable[EnvironmentRequest]) -> None:
        """Asks for the recipe of each; the answers arrive as events."""
        self._order = {request: index for index, request in enumerate(in_order(requests))}
        self._unknown = set(self._order)
        for request in self._order:
            self._submit(self._find, request)

    def answered(self, request: EnvironmentRequest) -> None:
        """Its recipe is known, or why it has none, or why it will never stand."""
        self._unknown.discard(request)
        self._making.pop(request, None)

    def known(self, event: RecipeKnown) -> KnownEnvironment | None:
        """What an earlier run learnt about a recipe."""
        self._recipes[event.request] = event.recipe
        if event.stands:
            self._on_disk.add(event.request)
        known = self._store.environment(event.recipe)
        if known is not None and not known.refusal:
            self.digests[event.request] = known.digest
        return known

    def environment(self, request: EnvironmentRequest) -> Environment | None:
        """The environment, if it stands."""
        if request not in self.standing:
            loaded = self._engine.load(request)
            if loaded is None:
                return None
            self.standing[request] = loaded
            self._on_disk.add(request)
        return self.standing[request]

    def ask(self, request: EnvironmentRequest) -> None:
        """Has it made, once, as soon as `admit` finds room."""
        if request not in self._making:
            self._wanted.add(request)

    def admit(self, needed: Callable[[EnvironmentRequest], bool], *, idle: bool) -> None:
        """Has made what is asked for and finds room, and drops for it what is `needed` no more.

        Raises DiskFull where a run can neither go on nor wait (`idle`: no job runs).
        """
        if self._wanted and not self._looked:
            self._look()
        for request in self._wanted & (self._on_disk - self._dropping):  # stands, though its run was killed before it
            self._make(request)  # could say so: this needs no room
        while self._wanted and not self._unknown and not self._cancelled and len(self._making) < INSTALLERS:
            wanted = sorted(self._wanted, key=self._order.__getitem__)
            waits = not idle or bool(self._making or self._dropping)
            choice = choose(wanted, self._room(needed), idle=not waits)
            if (choice.drop or choice.stuck) and self._drop_strangers():
                continue
            if choice.stuck:
                raise self._no_room(choice.stuck)
            for request in choice.drop:
                self._drop(request)
            if choice.make is None:
                return
            self._make(choice.make)

    def _look(self) -> None:
        """What the disk holds and may hold, once, before the first environment is made."""
        self._looked = True
        self._engine.tidy()
        self.disk.note(self._engine.held_bytes())
        if self._engine.droppable:
            free = self._engine.free_bytes() or 0
            self.disk.budget_bytes = self._budget_bytes or self.disk.held_bytes + share_of(free)

    def _make(self, request: EnvironmentRequest) -> None:
        self._wanted.discard(request)
        self._making[request] = None
        self._submit(self._realise, request)

    def _drop_strangers(self) -> bool:
        """Before one of this run's goes: environments that other presets left in this store. Once."""
        if self._strangers_gone:
            return False
        self._strangers_gone = True
        gone = self._engine.tidy(keep=self._recipes)
        self.disk.dropped += gone
        self.disk.note(self._engine.held_bytes())
        return gone > 0

    def _room(self, needed: Callable[[EnvironmentRequest], bool]) -> Room:
        limit = sys.maxsize
        if self._engine.droppable:
            free = (self._engine.free_bytes() or 0) - FLOOR_BYTES
            limit = min(self.disk.budget_bytes, self.disk.held_bytes + max(0, free))
        standing = [request for request in self._order if request in self._on_disk - self._dropping - self._kept]
        return Room(
            limit=limit,
            used=self.disk.held_bytes,
            standing=standing,
            sharing=[request for request in standing if request in self._sharing],
            making=list(self._making),
            needed=needed,
        )

    def _no_room(self, request: EnvironmentRequest) -> DiskFull:
        size, held = disk_cost(request, ()) / 1e9, self.disk.held_bytes / 1e9
        return DiskFull(
            f"no room for {request.label}, about {size:.1f} GB: the environments of this store hold {held:.1f} GB of a "
            f"budget of {self.disk.budget_bytes / 1e9:.1f} GB, or the disk has no more",
            tip="give more with --disk-budget, free space on the disk, or remove what other presets left: "
            "python -m matrix clean --environments",
        )

    def rest(self, request: EnvironmentRequest) -> None:
        """All its jobs are over: a worker that stays warm for it ends."""
        if request in self.standing and not self._cancelled:
            self._tasks.append(self._pool.submit(self._engine.rest, request))

    def _drop(self, request: EnvironmentRequest) -> None:
        self._dropping.add(request)
        self.standing.pop(request, None)
        self._submit(self._remove, request)

    def dropped(self, event: Dropped) -> None:
        """An environment is gone, or another process uses it: then it is not asked to go again."""
        self._dropping.discard(event.request)
        self.disk.note(event.held_bytes)
        if event.gone:
            self.disk.dropped += 1
            self._on_disk.discard(event.request)
        else:
            self._kept.add(event.request)

    def remember(self, event: Realised) -> None:
        """Keeps what realising came to, for this run and later ones."""
        self._making.pop(event.request, None)
        digest = event.environment.digest if event.environment else ""
        if event.environment:
            self.standing[event.request] = event.environment
            self.digests[event.request] = digest
            self._note_made(event)
            self._on_disk.add(event.request)
        record = _record(event.request, event.environment) if event.environment else {}
        known = KnownEnvironment(digest=digest, refusal=event.refusal, record=json.dumps(record))
        self._store.remember_environment(self._recipes[event.request], known)

    def _note_made(self, event: Realised) -> None:
        self.disk.note(event.held_bytes)
        new = not event.stood and event.request not in self._on_disk
        self.disk.made += new
        if event.request in self._made:
            self.disk.made_again.append(event.request.label)
        self._made.add(event.request)
        if new:
            self._sharing.add(event.request)

    def cancel(self) -> None:
        """Nothing new is started; what is being made now is ended."""
        self._cancelled = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        processes.kill_all()

    def close(self) -> None:
        """Waits for what is being made; after `cancel` it also ends what one step starts after another."""
        while self._cancelled and not all(task.done() for task in self._tasks):
            processes.kill_all()
            time.sleep(0.05)
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _submit(self, step: Callable[[EnvironmentRequest], None], request: EnvironmentRequest) -> None:
        self._tasks.append(self._pool.submit(step, request))

    def _find(self, request: EnvironmentRequest) -> None:
        try:
            recipe = self._engine.recipe(request)
            stands = self._engine.droppable and self._engine.load(request) is not None
            self._announce(RecipeKnown(request, recipe, stands=stands))
        except EngineMissing as error:
            self._announce(RecipeKnown(request, "", missing=f"{error}; {error.tip}"))
        except BaseException as error:  # noqa: BLE001 - carried to the main thread, which raises it
            self._announce(Realised(request, None, error=error))

    def _realise(self, request: EnvironmentRequest) -> None:
        try:
            stood = not self._engine.droppable and self._engine.load(request) is not None
            environment = self._engine.realise(request)
            held = self._engine.held_bytes(request)
            self._announce(Realised(request, environment, held_bytes=held, stood=stood))
        except NotInstallable as refusal:
            self._announce(Realised(request, None, refusal=str(refusal)))
        except NotRunnable as reason:
            self._announce(RecipeKnown(request, "", missing=str(reason)))
        except BaseException as error:  # noqa: BLE001 - carried to the main thread, which raises it
            self._announce(Realised(request, None, error=error))

    def _remove(self, request: EnvironmentRequest) -> None:
        try:
            gone = self._engine.remove(request)
            self._announce(Dropped(request, gone, self._engine.held_bytes()))
        except BaseException as error:  # noqa: BLE001 - carried to the main thread, which raises it
            self._announce(Dropped(request, False, 0, error=error))


def refuse_beyond(budget_bytes: int | None, requests: Sequence[EnvironmentRequest], engine: Engine) -> None:
    """An engine that keeps what it made says before it begins that there is no room. Raises DiskFull.

    With a budget, what stands of the run's images is measured and counts as well, as in mid-run with an engine that
    drops. Without one, what is missing may take SHARE of what the disk has free, where that is in sight.
    """
    if engine.droppable or (budget_bytes and environment_costs(requests).disk_bytes <= budget_bytes):
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
        tip="give more with --disk-budget, cut the run down with --only, or take --engine venv, which drops "
        "environments when their jobs are over",
    )


def stands(engine: Engine, request: EnvironmentRequest) -> bool:
    """It is there already. One that this engine never makes, or whose tools do not run, is not."""
    try:
        return engine.load(request) is not None
    except (EngineMissing, NotInstallable):
        return False


def _record(request: EnvironmentRequest, environment: Environment) -> dict[str, object]:
    """The evidence of an environment: what was realised, never where."""
    emulated = {"machine": request.platform.machine, "emulator": environment.emulator} if request.platform else {}
    return {
        **emulated,
        "engine": environment.engine,
        "lock": request.lock.name,
        "lock_sha256": request.lock.digest,
        "python": environment.python_version,
        "c_library": environment.c_library,
        **dict(environment.evidence),
        "distributions": dict(environment.distributions),
    }
