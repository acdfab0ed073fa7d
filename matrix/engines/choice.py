"""The engines by name, and the making of one."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import TYPE_CHECKING

from matrix.core.data import PACKAGE_FOLDER, data_root
from matrix.core.disk import StorePlaces
from matrix.core.errors import EngineMissing
from matrix.engines.contract import Engine
from matrix.engines.venv.engine import VenvEngine
from matrix.engines.worker import WorkerEvent
from matrix.environments.wheel_cache import WheelCache

if TYPE_CHECKING:
    from matrix.engines.nix.making import Maker
    from matrix.images.workshop import Workshop

ENGINES = ("venv", "docker", "nix", "auto")
"""The engines by name; `auto` is docker where a daemon answers, and venv elsewhere. A new one is a name here, a class
that passes the contract test, and a branch of `engine_maker`."""


def engine_maker(
    name: str, places: StorePlaces, *, cores: int, offline: bool = False, own_cache: bool = False
) -> Callable[[Callable[[WorkerEvent], None]], Engine]:
    """A function that makes the engine, once there is something to tell events to.

    `own_cache`: environments will have to go in mid-run, so their wheels are kept in the store and go with them. A
    store that has such a cache goes on with it.
    """
    if name == "auto":
        name = "docker" if _daemon_answers() else "venv"

    def make(on_event: Callable[[WorkerEvent], None]) -> Engine:
        place = {"folder": places.environments, "scratch": places.scratch, "scripts": data_root() / "scripts"}
        if name == "docker":
            from matrix.engines.docker.engine import DockerEngine

            return DockerEngine(
                **place,
                slots=cores,
                on_event=on_event,
                offline=offline,
                workshop=workshop(places),
                machine=platform.machine(),
            )
        if name == "nix":
            from matrix.engines.nix.engine import NixEngine

            return NixEngine(
                roots=places.roots,
                scratch=places.scratch,
                scripts=data_root() / "scripts",
                slots=cores,
                on_event=on_event,
                maker=nix_maker(places),
                offline=offline,
            )
        cache = WheelCache(places.wheels) if own_cache or places.wheels.is_dir() else None
        return VenvEngine(
            **place,
            slots=cores,
            on_event=on_event,
            workshop=lambda: workshop(places),
            offline=offline,
            cache=cache,
        )

    return make


def _daemon_answers() -> bool:
    from matrix.engines.docker.daemon import Daemon

    try:
        Daemon().close()
    except EngineMissing:
        return False
    return True


def workshop(places: StorePlaces) -> Workshop:
    """Where this store's images are made: the committed data, the fetched files, the machine's index and mirror."""
    from matrix.environments.index import configured_index
    from matrix.environments.wheels import FetchedFiles
    from matrix.images.debian import mirror
    from matrix.images.workshop import Workshop

    return Workshop(
        images=data_root() / "images",
        files=FetchedFiles(places.files),
        scratch=places.scratch,
        index=configured_index(),
        sources=mirror.sources(),
    )


def nix_maker(places: StorePlaces) -> Maker:
    """What makes environments stand in the machine's Nix places."""
    from matrix.engines.nix.making import Maker

    return Maker(workshop(places), platform.machine(), code=PACKAGE_FOLDER.parent)
