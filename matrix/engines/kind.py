"""An engine as a record: how it is made, which features it supports, how it repeats a job, what it keeps on a disk."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from matrix.core.data import data_root
from matrix.core.disk import StorePlaces
from matrix.core.records import Environment, EnvironmentRequest, JobResult, Toolchain
from matrix.engines.contract import Engine
from matrix.engines.worker import WorkerEvent
from matrix.plan.targets import DEVICES

if TYPE_CHECKING:
    from matrix.engines.committed import Committed, CommittedImage
    from matrix.images.workshop import Workshop


class Feature(StrEnum):
    """A feature that an environment may need beyond the wheels of a committed lock on this machine."""

    PACKAGES = "packages that a model of your own asks for"
    FOLDERS = "tools from a folder or a wheel of your own"
    IMAGES = "tools from a container image of your own"
    PLACES = "releases from a folder or an index of your own"
    BUILDS = "runtimes built from source, and no repaired linker"
    EMULATION = "programs of another machine"
    BOARDS = "boards over SSH"
    BARE = "environments without a package"
    DRIVERS = "drivers of devices, such as Vulkan's"
    DEVICES = "devices of this machine, such as a GPU"


def features_of(request: EnvironmentRequest) -> tuple[Feature, ...]:
    asked = {
        Feature.PACKAGES: request.lock.extends is not None,
        Feature.FOLDERS: request.toolchain is not None and not request.toolchain.in_image,
        Feature.IMAGES: request.toolchain is not None and request.toolchain.in_image,
        Feature.PLACES: bool(request.lock.places),
        Feature.BUILDS: bool(request.build or request.built or request.linked),
        Feature.EMULATION: request.platform is not None and not request.platform.board,
        Feature.BOARDS: request.platform is not None and request.platform.board is not None,
        Feature.BARE: request.bare,
        Feature.DRIVERS: request.driver not in ("", *DEVICES),
        Feature.DEVICES: request.driver in DEVICES,
    }
    return tuple(feature for feature, here in asked.items() if here)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSetting:
    """The settings of an engine. `slots` is the number of jobs at the same time. With `offline` it is for lookups only:
    it downloads nothing and starts no worker.

    `own_cache`: environments will be removed during the run, so their wheels are kept in the store and removed with
    them. A store that has such a cache continues to use it.
    """

    places: StorePlaces
    slots: int
    on_event: Callable[[WorkerEvent], None]
    offline: bool = False
    own_cache: bool = False
    gpus: str = ""
    """Which GPUs a container sees, in docker's own words: `all`, a number, `device=…`."""

    @property
    def scripts(self) -> Path:
        return data_root() / "scripts"


@dataclass(frozen=True, slots=True, kw_only=True)
class ManualRepeat:
    """A finished job that a person wants to repeat by hand: its environment, and its files (name -> path) on this
    machine.

    `script` is its file of `scripts/` ("": a tool of the environment), `model` the model file of the script.
    """

    job: JobResult
    request: EnvironmentRequest
    environment: Environment
    files: Mapping[str, Path]
    script: str = ""
    model: str = ""

    @property
    def scripts(self) -> Path:
        return data_root() / "scripts"

    @property
    def words(self) -> tuple[str, ...]:
        """The arguments of the script, after the model."""
        return tuple(word for word in self.job.command[1:] if not word.startswith("model_digest="))


State: TypeAlias = Literal["ok", "warning", "missing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check of this machine. `advice` is empty if there is nothing to do."""

    name: str
    state: State
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaning:
    """The request of `clean` to an engine. `needed` are the digests of environments with results in the store;
    `environments`: all may be removed; else the oldest, while the store is `excess_bytes` too large."""

    places: StorePlaces
    needed: frozenset[str]
    environments: bool
    excess_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageWork:
    """The request of an `image` verb: `choose` gives the environments for names (none: all of the preset), with their
    images. `options` has the verb's own options."""

    choose: Callable[[Sequence[str]], list[CommittedImage]]
    committed: Committed
    places: StorePlaces
    options: Namespace


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineKind:
    """An engine. The command line does not offer what it does not have."""

    name: str
    title: str
    """Its name in `doctor`."""
    make: Callable[[EngineSetting], Engine]
    shell_line: Callable[[ManualRepeat], str]
    """A shell command that repeats a job by hand."""
    takes: frozenset[Feature] = frozenset()
    sees_store: bool = False
    """Its tools see the path of the store. `iree-compile` hands its linker paths through a shell, unquoted."""
    preferred: Callable[[], bool] | None = None
    """Whether `auto` may choose it: it answers on this machine."""
    examine: Callable[[], Finding] | None = None
    """Checks for `doctor` whether this machine can run it. Changes nothing."""
    clean: Callable[[Cleaning], Mapping[str, int]] | None = None
    """Frees what it keeps for a store. Returns the bytes for each kind."""
    image_verbs: frozenset[str] = frozenset()
    image: Callable[[str, ImageWork], int] | None = None
    """Carries out one of its `image` verbs."""
    find_images: Callable[[Mapping[str, str], str], dict[str, Toolchain]] | None = None
    """The toolchains that are images, from the names of the images, for a machine."""


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
        sources=mirror.find_sources(),
    )
