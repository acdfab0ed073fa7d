"""The images of environments on one daemon: made from locks, or a user's own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock

from matrix.builds.devices.own_devices import own_driver, with_device_class
from matrix.core.errors import EngineMissing, ImageFault
from matrix.core.keys import digest
from matrix.core.machine import machine_class
from matrix.core.records import Environment, EnvironmentRequest, Toolchain
from matrix.engines.choice import refuse
from matrix.engines.committed import environment_of
from matrix.engines.docker.daemon import Daemon
from matrix.engines.docker.kind import DOCKER
from matrix.engines.docker.loaded_images import age_known, damage_of, layers_held, remove_sharing
from matrix.engines.docker.loading import Loader
from matrix.engines.docker.user_images import look_inside
from matrix.images.image import Image, image_tag
from matrix.images.layer import ENVIRONMENT
from matrix.images.workshop import Workshop

GPU_DEVICE = "cuda"
"""The device that docker shows to containers."""


class Images:
    """From a request to an image on the daemon. Connects to the daemon when it is first needed.

    `look` is `scripts/look.py`, `labels` are for temporary containers, `ending` tells that the run is being stopped.
    """

    def __init__(
        self,
        *,
        workshop: Workshop,
        machine: str,
        look: Path,
        labels: Mapping[str, str],
        ending: Callable[[], bool],
        gpus: str = "",
    ) -> None:
        self._gpus = gpus
        self._workshop, self._machine, self._look, self._labels = workshop, machine, look, labels
        self._ending = ending
        self._images: dict[EnvironmentRequest, Image] = {}
        self._own: dict[EnvironmentRequest, Environment] = {}
        self._by_digest: dict[str, EnvironmentRequest] = {}
        self._stands: dict[str, tuple[str, ...]] = {}
        self._held: dict[tuple[str, ...], int] = {}
        self._measured: set[str] = set()
        self._whole: set[str] = set()
        self._connecting, self._measuring = Lock(), Lock()
        self._connected: tuple[Daemon, Loader] | None = None

    @property
    def daemon(self) -> Daemon:
        return self._connection()[0]

    def _connection(self) -> tuple[Daemon, Loader]:
        with self._connecting:
            if self._connected is None:
                daemon = Daemon()
                self._connected = daemon, Loader(daemon)
            return self._connected

    def close(self) -> None:
        if self._connected:
            self._connected[0].close()

    def recipe(self, request: EnvironmentRequest) -> str:
        """See `matrix.engines.contract.Engine`."""
        self._refuse_device(request)
        if own := _own_image(request):
            bare = digest({"image": own.digest, "tools": request.kind})
        else:
            bare = self._image(request).digest
        return digest({"bare": bare, "device": own_driver(request.driver)}) if request.driver else bare

    def _refuse_device(self, request: EnvironmentRequest) -> None:
        """Raises EngineMissing where a container would not see the device that its programs need."""
        if request.driver and request.driver != GPU_DEVICE:
            raise EngineMissing(
                f"the engine {DOCKER.name} shows no {request.driver.upper()} device to its containers",
                tip="--engine venv runs on the machine's own",
            )
        if request.driver and not self._gpus:
            raise EngineMissing(
                f"the engine {DOCKER.name} shows no GPU to its containers without --gpus",
                tip="`run --engine docker --gpus all`, where NVIDIA's container toolkit is installed",
            )

    def _on_device(self, request: EnvironmentRequest, environment: Environment) -> Environment:
        """The environment, with the device that its programs see: driver and version are part of its digest."""
        if not request.driver:
            return environment
        facts = own_driver(request.driver)
        told = replace(
            environment,
            digest=digest({"bare": environment.digest, "device": facts}),
            machine=with_device_class(machine_class(), facts),
            evidence=(*environment.evidence, ("driver", facts)),
        )
        self._by_digest[told.digest] = request
        return told

    def _image(self, request: EnvironmentRequest) -> Image:
        if request not in self._images:
            refuse(request, DOCKER.name)
            image = self._workshop.image(request, self._machine)
            self._images[request] = image
            self._by_digest[image.digest] = request
        return self._images[request]

    def load(self, request: EnvironmentRequest) -> Environment | None:
        """See `matrix.engines.contract.Engine`. Raises ToolchainFault, NotInstallable of a user's own image."""
        if own := _own_image(request):
            return self._inspected(request, own)
        image = self._image(request)
        name = self.daemon.find(image)
        if name is None:
            return None
        self._stands[name] = tuple(each.layer.digest for each in image.layers)
        return self._on_device(request, _environment(request, image))

    def realise(self, request: EnvironmentRequest) -> Environment:
        """Loads the image of a request. A user's own image must be there. Raises ImageFault where it is not."""
        if own := _own_image(request):
            environment = self._inspected(request, own)
            if environment is None:
                raise ImageFault(
                    f"toolchain {own.name}: the daemon does not have its image any more", tip="load or pull it again"
                )
            return environment
        image = self._image(request)
        if standing := self.load(request):
            if not age_known(self.daemon, image):
                self.daemon.name(image, image_tag(request))
            return standing
        self._workshop.fetch(request, self._machine, image)
        archive = partial(self._archive, request, image)
        self._connection()[1].load(image, image_tag(request), archive)
        return self.load(request) or self._on_device(request, _environment(request, image))

    def _archive(self, request: EnvironmentRequest, image: Image, known: int) -> Iterator[bytes]:
        """Stops in the middle when the run is stopped: the daemon loads nothing of a cut archive."""
        for block in self._workshop.archive(request, self._machine, image, tag=image_tag(request), skip=known):
            if self._ending():
                raise EngineMissing("the run is being stopped")
            yield block

    def damage(self, request: EnvironmentRequest, *, every_byte: bool) -> str:
        """See `matrix.engines.contract.Verifying`. Each image is read once a run."""
        name = self._name(request)
        if name is None:
            return "the daemon does not have its image any more"
        if not every_byte or name in self._whole:
            return ""
        damage = damage_of(self.daemon, name)
        if not damage:
            self._whole.add(name)
        return damage

    def discard(self, request: EnvironmentRequest) -> None:
        """See `matrix.engines.contract.Verifying`. Nothing uses the image any more. A user's own image stays."""
        if not _own_image(request):
            self._whole.clear()
            remove_sharing(self.daemon, self._image(request))

    def held_bytes(self) -> int:
        """The bytes on the daemon's disk of the images that were found or loaded here. Shared layers count once, a
        user's own image does not count."""
        with self._measuring:
            new = {name: layers for name, layers in self._stands.copy().items() if name not in self._measured}
            self._held |= layers_held(self.daemon, new)
            self._measured |= new.keys()
            return sum(self._held.values())

    def free_bytes(self) -> int | None:
        """The free bytes of the daemon's disk; None where it is on another machine."""
        place = Path(self.daemon.call(self.daemon.client.info)["DockerRootDir"])
        return None if self.daemon.remote or not place.is_dir() else shutil.disk_usage(place).free

    def _inspected(self, request: EnvironmentRequest, own: Toolchain) -> Environment | None:
        """The environment of a user's own image, inspected once; None where the daemon does not have it any more."""
        if request not in self._own:
            found = look_inside(self.daemon, request, own, script=self._look, labels=self._labels)
            if found is None:
                return None
            self._own[request] = self._on_device(request, found)
            self._by_digest[found.digest] = request
        return self._own[request]

    def name(self, environment: Environment) -> str | None:
        """The ID under which the daemon has the image of an environment; None where it does not have it."""
        return self._name(self._by_digest[environment.digest])

    def _name(self, request: EnvironmentRequest) -> str | None:
        if own := _own_image(request):
            return name if self.daemon.inspected(name := f"sha256:{own.digest}") else None
        return self.daemon.find(self._image(request))

    def standing(self, environment: Environment) -> str:
        """The ID of the image. An image that was deleted during the run is loaded again."""
        if self.name(environment) is None:
            self.realise(self._by_digest[environment.digest])
        return self.name(environment) or f"sha256:{self._image(self._by_digest[environment.digest]).digest}"


def _environment(request: EnvironmentRequest, image: Image) -> Environment:
    return environment_of(request, image, engine=DOCKER.name, digest=image.digest, root=Path(f"/{ENVIRONMENT}"))


def _own_image(request: EnvironmentRequest) -> Toolchain | None:
    """The toolchain of a request, if it is an image."""
    return request.toolchain if request.toolchain and request.toolchain.in_image else None
