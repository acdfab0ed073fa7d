"""The project's images on a daemon: lists, reads, pushes and removes them. Other images are never touched."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from matrix.core.errors import ImageFault
from matrix.engines.docker.daemon import Daemon
from matrix.images.image import LABEL_PREFIX, Image, ImageLayer
from matrix.images.layer_files import FileFacts, damage_in_archive, layer_in_archive

PROJECT_REPOSITORIES = ("iree-matrix/", "localhost/iree-matrix/")
"""The prefixes of the project's own tags; Podman adds a registry `localhost`. An image with any other tag is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedImage:
    """An image of the project on a daemon. `digest` is without `sha256:`; `loaded` is None where it is unknown."""

    digest: str
    environment: str
    machine: str
    lock: str
    size: int
    tags: tuple[str, ...]
    layers: tuple[str, ...]
    loaded: datetime | None


def loaded_images(daemon: Daemon) -> tuple[LoadedImage, ...]:
    """The project's images, found by their label, sorted by their environments."""
    api = daemon.client.api
    # Only with this value of the label: a fork of the project may use another one.
    wanted = {"label": f"{LABEL_PREFIX}.project=iree-matrix"}
    names = sorted(set(daemon.call(lambda: api.images(filters=wanted, quiet=True))))
    found = []
    for name in names:
        try:
            found.append(_loaded(daemon.call(partial(api.inspect_image, name))))
        except ImageFault:
            continue  # removed meanwhile
    return tuple(sorted(found, key=lambda image: (image.environment, image.digest)))


def _loaded(said: Mapping[str, object]) -> LoadedImage:
    facts: dict[str, object] = dict(said)
    config, metadata, root = (_table(facts.get(name)) for name in ("Config", "Metadata", "RootFS"))
    labels = _table(config.get("Labels"))
    return LoadedImage(
        digest=str(facts["Id"]).removeprefix("sha256:"),
        environment=str(labels.get(f"{LABEL_PREFIX}.environment", "")),
        machine=str(labels.get(f"{LABEL_PREFIX}.machine", "")),
        lock=str(labels.get(f"{LABEL_PREFIX}.lock", "")),
        size=int(str(facts["Size"])),
        tags=tuple(sorted(_texts(facts.get("RepoTags")))),
        layers=tuple(layer.removeprefix("sha256:") for layer in _texts(root.get("Layers"))),
        loaded=_time(str(metadata.get("LastTagTime", ""))),
    )


def age_known(daemon: Daemon, image: Image) -> bool:
    """Whether the age of an image is known. `docker load` sets none, and then cleaning by age would skip the image."""
    name = daemon.find(image)
    said = daemon.inspected(name) if name else None
    return said is None or _loaded(said).loaded is not None


def layers_held(daemon: Daemon, images: Mapping[str, tuple[str, ...]]) -> dict[tuple[str, ...], int]:
    """The bytes of each layer that a daemon has for these images (name -> layers). Images share a layer only if all
    layers below it are the same, so the key of a layer is the whole chain."""
    held: dict[tuple[str, ...], int] = {}
    for name, layers in images.items():
        said = daemon.call(partial(daemon.client.api.history, name))
        sizes = [int(each["Size"]) for each in reversed(said)]
        held |= {layers[: number + 1]: size for number, size in enumerate(sizes)}
    return held


def _table(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _texts(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []


def _time(text: str) -> datetime | None:
    """Parses a time such as `2026-11-21T10:40:00.123456789Z`; the year 1 means unknown."""
    try:
        time = datetime.fromisoformat(f"{text[:19]}+00:00") if text.endswith("Z") else datetime.fromisoformat(text)
    except ValueError:
        return None
    return time.astimezone(UTC) if time.year > 1 else None


def files_on_daemon(daemon: Daemon, image: Image, part: ImageLayer) -> dict[str, FileFacts]:
    """The files of a layer in the daemon's copy of an image; empty where it does not have the image."""
    for digest in (image.digest, image.manifest_digest):
        try:
            archive = daemon.call(partial(daemon.client.api.get_image, f"sha256:{digest}"))
        except ImageFault:
            continue
        return daemon.call(partial(layer_in_archive, archive, part.layer.digest))
    return {}


def damage_of(daemon: Daemon, name: str) -> str:
    """How an image differs from what was loaded, in one line; empty: not at all. Reads all of it back: the daemon
    itself compares each file with what it unpacked."""
    said = daemon.inspected(name)
    if said is None:
        return "the daemon does not have its image any more"
    layers = [layer.removeprefix("sha256:") for layer in said["RootFS"]["Layers"]]
    try:
        archive = daemon.call(partial(daemon.client.api.get_image, name))
        found = daemon.call(partial(damage_in_archive, archive, layers))
    except (ImageFault, tarfile.TarError) as error:
        found = str(error)
    return f"its image on the daemon is damaged: {found}" if found else ""


def remove_sharing(daemon: Daemon, image: Image) -> None:
    """Removes an image, and each one of the project that has a layer of it: a daemon keeps a layer, and its damage, as
    long as any image has it. What a container uses or a user has tagged is kept."""
    layers = {each.layer.digest for each in image.layers}
    for each in loaded_images(daemon):
        if layers & set(each.layers):
            remove_images(daemon, each)


def push(daemon: Daemon, image: Image, repository: str, tag: str) -> str:
    """Pushes an image to a registry. Returns its digest there (`sha256:…`).

    Raises ImageFault with the answer of the registry. The tag for the push is removed afterwards.
    """
    api, told = daemon.client.api, ""
    digest = image.digest if _known(daemon, image.digest) else image.manifest_digest
    daemon.call(lambda: api.tag(f"sha256:{digest}", repository, tag))
    try:
        for said in daemon.call(lambda: api.push(repository, tag, stream=True, decode=True)):
            if "error" in said:
                raise ImageFault(
                    f"{repository}:{tag}: {said['error']}", tip="`docker login` stores the registry's password"
                )
            told = said.get("aux", {}).get("Digest", told)
    finally:
        daemon.call(lambda: api.remove_image(f"{repository}:{tag}", noprune=True))
    return told


def _known(daemon: Daemon, digest: str) -> bool:
    try:
        daemon.call(lambda: daemon.client.api.inspect_image(f"sha256:{digest}"))
    except ImageFault:
        return False
    return True


def retag(daemon: Daemon, image: LoadedImage) -> None:
    """Sets the tags of an image again: daemons note the time of tagging, but not of loading."""
    for name in image.tags:
        if name.startswith(PROJECT_REPOSITORIES):
            repository, _, tag = name.rpartition(":")
            daemon.call(partial(daemon.client.api.tag, name, repository, tag))


def remove_images(daemon: Daemon, image: LoadedImage) -> str:
    """Removes an image of the project. Returns why it was kept; empty: it was removed.

    An image with a user's tag is kept. Removing the last of the project's tags removes the image.
    """
    others = [tag for tag in image.tags if not tag.startswith(PROJECT_REPOSITORIES)]
    names = image.tags or (f"sha256:{image.digest}",)
    if others:
        return f"kept: it is also called {', '.join(others)}"
    try:
        for name in names:
            daemon.call(partial(daemon.client.api.remove_image, name))
    except ImageFault as error:
        return f"kept: {error}"
    return ""
