"""The environments of a run: knows their digests from earlier runs, and makes several at a time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from matrix.core import processes
from matrix.core.errors import EngineMissing, NotInstallable, NotRunnable, ProgramKilled, WheelLacking
from matrix.core.keys import now
from matrix.core.records import Environment, EnvironmentRequest, Outcome
from matrix.engines.contract import Engine, Removing, Verifying
from matrix.run.local.budget import choose, requests_in_order
from matrix.run.local.disk import EnvironmentDisk
from matrix.run.store import KnownEnvironment, Store

REFUSED_FOR = timedelta(days=7)
"""How long the index is not asked again for an environment that is not installable."""
INSTALLERS = 4
"""Environments that are made at the same time: downloads overlap with unpacking."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeKnown:
    """The digest of the request is known, or this machine lacks an interpreter or an emulator for it (`missing`)."""

    request: EnvironmentRequest
    recipe: str = ""
    missing: str = ""
    stands: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Realised:
    """An environment exists, or the reason why it never will (`refusal`)."""

    request: EnvironmentRequest
    environment: Environment | None = None
    refusal: str = ""
    fault: str = ""
    """Why it could not be made this time, which says nothing about a release."""
    held_bytes: int = 0
    stood: bool = False
    """It existed already, made by an earlier run or another process."""

    @property
    def obstacle(self) -> tuple[Outcome, str]:
        """What its jobs come to where there is none."""
        return (Outcome.INFRASTRUCTURE, self.fault) if self.fault else (Outcome.NOT_INSTALLABLE, self.refusal)


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """An environment was removed to make room, or is in use elsewhere (not `gone`)."""

    request: EnvironmentRequest
    gone: bool
    held_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Damaged:
    """An environment was found damaged and taken away."""

    request: EnvironmentRequest
    damage: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionFault:
    """An error that ends the run."""

    error: BaseException


ProvisionEvent = RecipeKnown | Realised | Removed | Damaged | ProvisionFault


class Provision:
    """Finds the digest of each environment as early as possible, and makes an environment only when it is asked for and
    fits."""

    def __init__(
        self,
        *,
        engine: Engine,
        store: Store,
        announce: Callable[[ProvisionEvent], None],
        budget_bytes: int | None = None,
    ) -> None:
        self._engine, self._store, self._announce = engine, store, announce
        self.disk = EnvironmentDisk(engine, budget_bytes)
        self._pool = ThreadPoolExecutor(max_workers=INSTALLERS, thread_name_prefix="install")
        self._recipes: dict[EnvironmentRequest, str] = {}
        self._order: dict[EnvironmentRequest, int] = {}
        self._unknown: set[EnvironmentRequest] = set()
        self._wanted: set[EnvironmentRequest] = set()
        self._making: dict[EnvironmentRequest, None] = {}
        self._loaded: dict[EnvironmentRequest, Environment] = {}
        self._tried: set[EnvironmentRequest] = set()
        self._fresh: set[EnvironmentRequest] = set()
        """Made by this run."""
        self._tasks: list[Future[None]] = []
        self._cancelled = False

    @property
    def making(self) -> int:
        """Environments that were asked for and do not exist yet."""
        return len(self._wanted) + len(self._making)

    @property
    def busy(self) -> bool:
        """Whether something is being found, made or removed, or will be as soon as there is space."""
        return bool(self._unknown or self.making or self.disk.going)

    def find(self, requests: Iterable[EnvironmentRequest]) -> None:
        """Asks for the recipe of each environment; the answers arrive as events."""
        self._order = {request: index for index, request in enumerate(requests_in_order(requests))}
        self._unknown = set(self._order)
        for request in self._order:
            self._submit(self._find, request)

    def known(self, event: RecipeKnown) -> KnownEnvironment | None:
        """What an earlier run learnt about a recipe."""
        self._unknown.discard(event.request)
        self._making.pop(event.request, None)
        if event.missing and event.request in self._tried:
            return None
        self._recipes.setdefault(event.request, event.recipe)
        if event.stands:
            self.disk.found(event.request)
        known = next(iter(self._store.environments_known(event.request, event.recipe, self._engine.name)), None)
        return None if known and known.refusal and not is_recent(known) else known

    def environment(self, request: EnvironmentRequest) -> Environment | None:
        """The environment, if it exists."""
        if request not in self._loaded:
            loaded = self._whole(request)
            if loaded is None:
                self.disk.lost(request)
                return None
            self._loaded[request] = loaded
            self.disk.found(request)
        return self._loaded[request]

    def board(self, request: EnvironmentRequest) -> str:
        """The class of the board that runs the environment's tools; "": this machine does."""
        loaded = self._loaded.get(request)
        return loaded.machine if loaded else ""

    def damage(self, request: EnvironmentRequest, *, older: bool = False) -> str:
        """How an environment differs from what was made, every byte looked at. May be called from any thread. `older`:
        only if this run has not made it itself, which has just written its bytes to the disk."""
        engine = self._engine
        if older and request in self._fresh:
            return ""
        return engine.damage(request, every_byte=True) if isinstance(engine, Verifying) else ""

    def discard(self, request: EnvironmentRequest) -> None:
        """Takes a damaged environment away. It is made again when work asks for it."""
        assert isinstance(self._engine, Verifying)
        self._loaded.pop(request, None)
        self._engine.discard(request)
        self.disk.lost(request)

    def ask(self, request: EnvironmentRequest) -> None:
        """Asks for an environment, once. It is made as soon as `admit` finds space."""
        if request not in self._making:
            self._wanted.add(request)

    def admit(self, needed: Callable[[EnvironmentRequest], bool], *, idle: bool) -> None:
        """Starts to make the environments that were asked for and fit, and removes those that are no longer `needed`.

        Raises DiskFull where a run can neither continue nor wait (`idle`: no job runs).
        """
        if self._wanted:
            self.disk.look()
        for request in self._wanted & self.disk.standing:  # its run was killed before it recorded the environment:
            self._make(request)  # this needs no space
        while self._wanted and not self._unknown and not self._cancelled and len(self._making) < INSTALLERS:
            wanted = sorted(self._wanted, key=self._order.__getitem__)
            waits = not idle or bool(self._making or self.disk.going)
            choice = choose(wanted, self.disk.room(self._order, list(self._making), needed), idle=not waits)
            if (choice.remove or choice.stuck) and self.disk.remove_others(self._recipes):
                continue
            if choice.stuck:
                raise self.disk.no_room(choice.stuck)
            for request in choice.remove:
                self.disk.going.add(request)
                self._loaded.pop(request, None)
                self._submit(self._remove, request)
            if choice.make is None:
                return
            self._make(choice.make)

    def _make(self, request: EnvironmentRequest) -> None:
        self._wanted.discard(request)
        self._making[request] = None
        self._tried.add(request)
        self._submit(self._realise, request)

    def close_worker(self, request: EnvironmentRequest) -> None:
        """All jobs of an environment have ended: ends its warm worker."""
        if request in self._loaded and not self._cancelled:
            self._tasks.append(self._pool.submit(self._engine.close_worker, request))

    def remember(self, event: Realised) -> None:
        """Records the result of realising an environment, for this run and later ones."""
        self._making.pop(event.request, None)
        if event.fault:
            return
        digest, record = "", dict[str, object](refused_at=now())
        if event.environment:
            self._loaded[event.request] = event.environment
            self._fresh |= set() if event.stood else {event.request}
            self.disk.note_made(event.request, event.held_bytes, stood=event.stood)
            digest, record = event.environment.digest, _record(event.request, event.environment)
        known = KnownEnvironment(digest=digest, refusal=event.refusal, record=json.dumps(record))
        self._store.remember_environment(self._recipes[event.request], known)

    def cancel(self) -> None:
        """Starts nothing new; stops what is being made."""
        self._cancelled = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        processes.kill_all()

    def close(self) -> None:
        """Waits for what is being made; after `cancel`, also for steps that start others."""
        while self._cancelled and not all(task.done() for task in self._tasks):
            processes.kill_all()
            time.sleep(0.05)
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _whole(self, request: EnvironmentRequest) -> Environment | None:
        """The environment, if it exists and nothing that is quick to know is wrong with it. Called on any thread."""
        found = self._engine.load(request)
        if found is None or not isinstance(self._engine, Verifying):
            return found
        if damage := self._engine.damage(request, every_byte=False):
            self._engine.discard(request)
            self._announce(Damaged(request=request, damage=damage))
            return None
        return found

    # -- on the threads of the pool

    def _submit(self, step: Callable[[EnvironmentRequest], None], request: EnvironmentRequest) -> None:
        self._tasks.append(self._pool.submit(self._guarded, step, request))

    def _guarded(self, step: Callable[[EnvironmentRequest], None], request: EnvironmentRequest) -> None:
        try:
            step(request)
        except BaseException as error:  # noqa: BLE001 - carried to the main thread, which raises it
            self._announce(ProvisionFault(error=error))

    def _find(self, request: EnvironmentRequest) -> None:
        try:
            recipe = self._engine.recipe(request)
            there = isinstance(self._engine, Removing) and self._engine.load(request) is not None
            self._announce(RecipeKnown(request=request, recipe=recipe, stands=there))
        except EngineMissing as error:
            self._announce(RecipeKnown(request=request, missing=f"{error}; {error.tip}"))

    def _realise(self, request: EnvironmentRequest) -> None:
        try:
            stood = self._whole(request) is not None and not isinstance(self._engine, Removing)
            environment = self._made(request)
            held = self.disk.held(request)
            self._announce(Realised(request=request, environment=environment, held_bytes=held, stood=stood))
        except NotInstallable as refusal:
            self._announce(Realised(request=request, refusal=str(refusal)))
        except WheelLacking as fault:
            self._announce(Realised(request=request, fault=f"{fault}; {fault.tip}"))
        except NotRunnable as reason:
            self._announce(RecipeKnown(request=request, missing=str(reason)))
        except EngineMissing as reason:
            if self._recipes.get(request):
                raise
            self._announce(RecipeKnown(request=request, missing=f"{reason}; {reason.tip}"))

    def _made(self, request: EnvironmentRequest) -> Environment:
        """Somebody may kill an installer: it is started once more, unless this run is what stops."""
        try:
            return self._engine.realise(request)
        except ProgramKilled:
            if self._cancelled:
                raise
            return self._engine.realise(request)

    def _remove(self, request: EnvironmentRequest) -> None:
        gone = self.disk.remove(request)
        self._announce(Removed(request=request, gone=gone, held_bytes=self.disk.held()))


def is_recent(refused: KnownEnvironment) -> bool:
    """Whether a refusal still counts. Wheels are published later, too."""
    try:
        at = datetime.fromisoformat(json.loads(refused.record)["refused_at"])
        return abs(datetime.now(UTC) - at) < REFUSED_FOR
    except (ValueError, KeyError, TypeError):  # of an earlier version
        return False


def _record(request: EnvironmentRequest, environment: Environment) -> dict[str, object]:
    """The evidence of an environment: what was realised, without its path."""
    emulated = {"machine": request.platform.machine, "emulator": environment.emulator} if request.platform else {}
    return {
        **emulated,
        "engine": environment.engine,
        "lock": request.lock.name,
        "lock_sha256": request.lock.digest,
        "python": environment.python_version,
        "c_library": environment.c_library,
        **dict(environment.evidence),
        **({"package_bytes": dict(environment.package_bytes)} if environment.package_bytes else {}),
        "distributions": dict(environment.distributions),
    }
