"""Loads images into a daemon, two at a time: one is assembled while the daemon unpacks another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Condition

from matrix.core.errors import ImageFault
from matrix.engines.docker.daemon import Daemon
from matrix.images.image import Image
from matrix.images.workshop import shared_layers

LOADS_AT_ONCE = 2

Archive = Callable[[int], Iterator[bytes]]
"""Gives a `docker load` archive without so many of the lowest layers."""


class Turns:
    """Schedules the loads. No layer is sent twice: an image waits while another one sends a layer that they share."""

    def __init__(self, at_once: int = LOADS_AT_ONCE) -> None:
        self._at_once = at_once
        self._sending: list[Sequence[str]] = []
        self._changed = Condition()

    @contextmanager
    def turn(self, layers: Sequence[str], there: Callable[[], int]) -> Iterator[int]:
        """Waits for a turn. Yields how many of the lowest layers are `there` then."""
        with self._changed:
            while len(self._sending) >= self._at_once or shared_layers(self._sending, layers) > (known := there()):
                self._changed.wait()
            self._sending.append(layers)
        try:
            yield known
        finally:
            with self._changed:
                self._sending.remove(layers)
                self._changed.notify_all()


class Loader:
    """Loads images into one daemon, from any thread."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon, self._turns = daemon, Turns()

    def load(self, image: Image, tag: str, archive: Archive) -> None:
        """Loads and tags an image. Raises ImageFault, DiskFull, DaemonGone, and the errors of assembling it."""
        layers = [each.layer.digest for each in image.layers]
        with self._turns.turn(layers, lambda: shared_layers(self._daemon.layers(), layers)) as known:
            if not self._daemon.has(image):
                self._send(archive, known)
                self._daemon.name(image, tag)

    def _send(self, archive: Archive, known: int) -> None:
        try:
            self._daemon.load(archive(known))
        except ImageFault:
            if not known:
                raise
            self._daemon.load(archive(0))  # Podman needs whole archives; Docker may have removed a layer meanwhile
