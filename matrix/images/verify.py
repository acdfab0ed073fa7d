"""Assembles images again from the files of the store, and compares every digest with the committed one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from matrix.core.errors import HashMismatch, ImageFault, LockFault
from matrix.core.records import EnvironmentRequest
from matrix.images.image import Image, ImageLayer
from matrix.images.layer_files import FileFacts, Reader, first_damaged, first_difference, layer_files
from matrix.images.workshop import Streamed, Workshop

OnDaemon = Callable[[Image, ImageLayer], Mapping[str, FileFacts]]
"""The files of a layer on the daemon; empty where it does not have the image."""


class Verifier:
    """Assembles shared layers once. `on_daemon` is called only for a layer that differs."""

    def __init__(self, workshop: Workshop, machine: str, on_daemon: OnDaemon) -> None:
        self._workshop, self._machine, self._on_daemon = workshop, machine, on_daemon
        self._seen: dict[tuple[str, ImageLayer], str] = {}

    def fault(self, request: EnvironmentRequest, image: Image) -> str:
        """The fault of an image: its first layer that differs, and the first file in it; empty: the image is right."""
        for part in image.layers:
            key = (request.python, part)
            if key not in self._seen:
                self._seen[key] = self._layer(request, image, part)
            if self._seen[key]:
                return self._seen[key]
        return ""

    def _layer(self, request: EnvironmentRequest, image: Image, part: ImageLayer) -> str:
        if part.made_of == "base" and (said := self._base(request, part)):
            return said
        try:
            layer = self._workshop.writer(request, self._machine, part)(None)
        except HashMismatch as error:
            return f"{error}; {self._damaged(part)}".removesuffix("; ")
        except ImageFault as error:
            return str(error)
        if layer == part.layer:
            return ""
        return f"the layer of {part.made_of} is {layer.short}, committed is {part.layer.short}; " + self._file(
            request, image, part
        )

    def _base(self, request: EnvironmentRequest, part: ImageLayer) -> str:
        """The fault where the table of layers and the lock of the base name different base layers."""
        try:
            locked = self._workshop.bases()[request.python].on(self._machine).layer.removeprefix("sha256:")
        except (KeyError, LockFault) as error:
            return f"images/base: {error}"
        if locked == part.layer.digest:
            return ""
        return f"images/base says that the base layer is {locked[:12]}, images/layers {part.layer.digest[:12]}"

    def _damaged(self, part: ImageLayer) -> str:
        """The first damaged file of a wheel."""
        place = self._workshop.files.folder / part.source[:2] / part.source
        return "".join(f"first file that differs: {first_damaged(path)}" for path in sorted(place.glob("*"))[:1])

    def _file(self, request: EnvironmentRequest, image: Image, part: ImageLayer) -> str:
        theirs = self._on_daemon(image, part)
        if not theirs:
            return "the daemon has no copy to compare files with"
        reader = Reader(Streamed(self._workshop.writer(request, self._machine, part)))
        ours = layer_files(reader)
        reader.finish()
        return f"first file that differs: {first_difference(ours, theirs) or 'none, only their order or times'}"
