"""Environments for a run: what is known of each from earlier runs, and their making, several at a time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from matrix import processes
from matrix.engines.base import Engine
from matrix.errors import EngineMissing
from matrix.index import NotInstallable
from matrix.records import Environment, EnvironmentRequest
from matrix.store import KnownEnvironment, Store

INSTALLERS = 4
"""Environments that are made at the same time: downloads overlap with unpacking."""


@dataclass(frozen=True, slots=True)
class RecipeKnown:
    """What would be realised is known, or there is no interpreter for it (`missing`)."""

    request: EnvironmentRequest
    recipe: str
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Realised:
    """An environment stands, or the reason why it never will (`refusal`), or an error that ends the run."""

    request: EnvironmentRequest
    environment: Environment | None
    refusal: str = ""
    error: BaseException | None = None


class Provision:
    """Knows the digest of each environment as soon as it can be known, and makes an environment only when asked."""

    def __init__(self, *, engine: Engine, store: Store, announce: Callable[[RecipeKnown | Realised], None]) -> None:
        self._engine, self._store, self._announce = engine, store, announce
        self._pool = ThreadPoolExecutor(max_workers=INSTALLERS, thread_name_prefix="install")
        self._recipes: dict[EnvironmentRequest, str] = {}
        self._asked: set[EnvironmentRequest] = set()
        self._tasks: list[Future[None]] = []
        self._cancelled = False
        self.digests: dict[EnvironmentRequest, str] = {}
        self.standing: dict[EnvironmentRequest, Environment] = {}

    @property
    def making(self) -> int:
        """Environments that are asked for and not there yet."""
        return len(self._asked - self.standing.keys())

    def find(self, requests: Iterable[EnvironmentRequest]) -> None:
        """Asks for the recipe of each; the answers arrive as events."""
        for request in requests:
            self._submit(self._find, request)

    def known(self, event: RecipeKnown) -> KnownEnvironment | None:
        """What an earlier run learnt about a recipe."""
        self._recipes[event.request] = event.recipe
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
        return self.standing[request]

    def ask(self, request: EnvironmentRequest) -> None:
        """Has it made, once."""
        if request not in self._asked:
            self._asked.add(request)
            self._submit(self._realise, request)

    def remember(self, event: Realised) -> None:
        """Keeps what realising came to, for this run and later ones."""
        self._asked.discard(event.request)
        digest = event.environment.digest if event.environment else ""
        if event.environment:
            self.standing[event.request] = event.environment
            self.digests[event.request] = digest
        record = _record(event.request, event.environment) if event.environment else {}
        known = KnownEnvironment(digest=digest, refusal=event.refusal, record=json.dumps(record))
        self._store.remember_environment(self._recipes[event.request], known)

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
            self._announce(RecipeKnown(request, self._engine.recipe(request)))
        except EngineMissing as error:
            self._announce(RecipeKnown(request, "", missing=f"{error}; {error.tip}"))
        except BaseException as error:  # noqa: BLE001 - carried to the main thread, which raises it
            self._announce(Realised(request, None, error=error))

    def _realise(self, request: EnvironmentRequest) -> None:
        try:
            self._announce(Realised(request, self._engine.realise(request)))
        except NotInstallable as refusal:
            self._announce(Realised(request, None, refusal=str(refusal)))
        except BaseException as error:  # noqa: BLE001 - carried to the main thread, which raises it
            self._announce(Realised(request, None, error=error))


def _record(request: EnvironmentRequest, environment: Environment) -> dict[str, object]:
    """The evidence of an environment: what was realised, never where."""
    return {
        "engine": environment.engine,
        "lock": request.lock.name,
        "lock_sha256": request.lock.digest,
        "python": environment.python_version,
        "c_library": environment.c_library,
        "distributions": dict(environment.distributions),
    }
