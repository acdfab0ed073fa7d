"""The images of environments on one daemon: those that are made from locks, and a user's own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from threading import Lock

from matrix.core.errors import EngineMissing, ImageFault
from matrix.core.keys import digest
from matrix.core.records import Environment, EnvironmentRequest, Toolchain
from matrix.engines.choice import refuse
from matrix.engines.committed import environment_of
from matrix.engines.docker.daemon import Daemon
from matrix.engines.docker.images_held import layers_held, was_named
from matrix.engines.docker.kind import DOCKER
from matrix.engines.docker.loading import Loader
from matrix.engines.docker.user_images import look_inside
from matrix.images.image import Image, image_tag
from matrix.images.layer import ENVIRONMENT
from matrix.images.workshop import Workshop


class Images:
    """From a request to an image that stands. Connects to the daemon when it is first needed.

    `look` is `scripts/look.py`, `labels` are those of containers that are made on the way, `ending` says that a run is
    being ended.
    """

    def __init__(
        self, *, workshop: Workshop, machine: str, look: Path, labels: Mapping[str, str], ending: Callable[[], bool]
    ) -> None:
        self._workshop, self._machine, self._look, self._labels = workshop, machine, look, labels
        self._ending = ending
        self._images: dict[EnvironmentRequest, Image] = {}
        self._own: dict[EnvironmentRequest, Environment] = {}
        self._by_digest: dict[str, EnvironmentRequest] = {}
        self._stands: dict[str, tuple[str, ...]] = {}
        self._held: dict[tuple[str, ...], int] = {}
        self._measured: set[str] = set()
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
        if own := _own_image(request):
            return digest({"image": own.digest, "tools": request.kind})
        return self._image(request).digest

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
            return self._looked_into(request, own)
        image = self._image(request)
        name = self.daemon.find(image)
        if name is None:
            return None
        self._stands[name] = tuple(each.layer.digest for each in image.layers)
        return _environment(request, image)

    def realise(self, request: EnvironmentRequest) -> Environment:
        """The image stands afterwards. A user's own is not made: it is there, or it is a fault."""
        if own := _own_image(request):
            environment = self._looked_into(request, own)
            if environment is None:
                raise ImageFault(f"toolchain {own.name}: its image is gone from the daemon", tip="bring it back")
            return environment
        image = self._image(request)
        if standing := self.load(request):
            if not was_named(self.daemon, image):
                self.daemon.name(image, image_tag(request))
            return standing
        self._workshop.fetch(request, self._machine, image)
        archive = partial(self._archive, request, image)
        self._connection()[1].load(image, image_tag(request), archive)
        return self.load(request) or _environment(request, image)

    def _archive(self, request: EnvironmentRequest, image: Image, known: int) -> Iterator[bytes]:
        """Ends in the middle once the run is being ended: half an archive loads nothing."""
        for block in self._workshop.archive(request, self._machine, image, tag=image_tag(request), skip=known):
            if self._ending():
                raise EngineMissing("the run is being ended")
            yield block

    def held_bytes(self) -> int:
        """What the images that were found or made here hold of the daemon's disk, as the daemon says; layers that they
        share count once, a user's own image not at all."""
        with self._measuring:
            new = {name: layers for name, layers in self._stands.copy().items() if name not in self._measured}
            self._held |= layers_held(self.daemon, new)
            self._measured |= new.keys()
            return sum(self._held.values())

    def free_bytes(self) -> int | None:
        """What the daemon's disk has left; None where it is another machine's."""
        place = Path(self.daemon.asked(self.daemon.client.info)["DockerRootDir"])
        return None if self.daemon.remote or not place.is_dir() else shutil.disk_usage(place).free

    def _looked_into(self, request: EnvironmentRequest, own: Toolchain) -> Environment | None:
        """A user's own image, looked into once; None where the daemon does not have it any more."""
        if request not in self._own:
            found = look_inside(self.daemon, request, own, script=self._look, labels=self._labels)
            if found is None:
                return None
            self._own[request] = found
            self._by_digest[found.digest] = request
        return self._own[request]

    def name(self, environment: Environment) -> str | None:
        """Under which name the daemon has the image of an environment now."""
        request = self._by_digest[environment.digest]
        if own := _own_image(request):
            return name if self.daemon.inspected(name := f"sha256:{own.digest}") else None
        return self.daemon.find(self._image(request))

    def standing(self, environment: Environment) -> str:
        """The same, after it was made again where somebody deleted it under our hands."""
        if self.name(environment) is None:
            self.realise(self._by_digest[environment.digest])
        return self.name(environment) or f"sha256:{environment.digest}"


def _environment(request: EnvironmentRequest, image: Image) -> Environment:
    return environment_of(request, image, engine=DOCKER.name, digest=image.digest, root=Path(f"/{ENVIRONMENT}"))


def _own_image(request: EnvironmentRequest) -> Toolchain | None:
    """The toolchain of an environment, where that is an image."""
    return request.toolchain if request.toolchain and request.toolchain.in_image else None
