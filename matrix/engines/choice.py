"""The table of engines, and the choice among them: which exist, which one is meant, which accepts a request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from matrix.core.disk import StorePlaces
from matrix.core.errors import EngineMissing, StoreUnusable
from matrix.core.records import DEFAULT_ENGINE, EnvironmentRequest, Toolchain
from matrix.core.text import shell_characters
from matrix.engines.contract import Engine
from matrix.engines.docker.kind import DOCKER
from matrix.engines.kind import EngineKind, EngineSetting, features_of
from matrix.engines.nix.kind import NIX
from matrix.engines.venv.kind import VENV
from matrix.engines.worker import WorkerEvent

ENGINE_KINDS: tuple[EngineKind, ...] = (VENV, DOCKER, NIX)
"""All engines. A new one is a record here and a class that passes the contract test."""
AUTO = "auto"
"""The first engine that this machine prefers, or DEFAULT_ENGINE."""


def engine_names() -> tuple[str, ...]:
    """The values of `--engine`."""
    return (*(kind.name for kind in ENGINE_KINDS), AUTO)


def engine_kind(name: str) -> EngineKind:
    if name == AUTO:
        name = next((kind.name for kind in ENGINE_KINDS if kind.preferred and kind.preferred()), DEFAULT_ENGINE)
    return next(kind for kind in ENGINE_KINDS if kind.name == name)


def engine_maker(
    name: str, places: StorePlaces, *, cores: int, offline: bool = False, own_cache: bool = False, gpus: str = ""
) -> Callable[[Callable[[WorkerEvent], None]], Engine]:
    """A function that makes the engine for a given callback. See `EngineSetting`."""
    kind = engine_kind(name)

    def make(on_event: Callable[[WorkerEvent], None]) -> Engine:
        if kind.sees_store and not offline:
            _refuse_shell_characters(places.folder)
        return kind.make(
            EngineSetting(
                places=places, slots=cores, on_event=on_event, offline=offline, own_cache=own_cache, gpus=gpus
            )
        )

    return make


def _refuse_shell_characters(folder: Path) -> None:
    """Raises StoreUnusable for a store in which every compile would fail."""
    if found := shell_characters(folder):
        others = " or ".join(f"--engine {kind.name}" for kind in ENGINE_KINDS if not kind.sees_store)
        raise StoreUnusable(
            f"{folder}: its path has {found}, expected letters, digits and _@%+=:,./- alone: iree-compile hands paths "
            "to a shell unquoted, and its linker step would fail",
            tip=f"give another folder with --store, or take {others}",
        )


def lookup_engine(name: str, places: StorePlaces) -> Engine:
    """An engine for lookups."""
    return engine_maker(name, places, cores=1, offline=True)(lambda _: None)


def refuse(request: EnvironmentRequest, name: str) -> None:
    """Raises EngineMissing if an engine does not support a feature of the environment."""
    takes = engine_kind(name).takes
    for feature in features_of(request):
        if feature not in takes:
            others = [f"--engine {kind.name}" for kind in ENGINE_KINDS if feature in kind.takes]
            toolchain = f"toolchain {request.toolchain.name}" if request.toolchain else request.label
            raise EngineMissing(
                f"{toolchain}: the engine {name} takes no {feature}", tip=f"{' or '.join(others)} takes them"
            )


def image_engines(verb: str) -> tuple[EngineKind, ...]:
    """The engines with an `image` verb."""
    return tuple(kind for kind in ENGINE_KINDS if verb in kind.image_verbs)


def toolchain_images(images: Mapping[str, str], machine: str) -> dict[str, Toolchain]:
    """The toolchains that are images, from the names of the images. Raises EngineMissing, ToolchainFault."""
    find = next(kind.find_images for kind in ENGINE_KINDS if kind.find_images)
    return find(images, machine)
