"""The `image` verbs of the engine docker: compute, build, compare, push and remove images."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from matrix.core.data import data_root
from matrix.core.errors import EXIT_OK, EngineMissing, ImageFault, UsageError
from matrix.core.records import EnvironmentRequest
from matrix.core.text import plain_rows, say
from matrix.engines.committed import SHORT, Committed, CommittedImage, all_have, make_all, megabytes, sample
from matrix.engines.docker.daemon import Daemon
from matrix.engines.docker.kind import DOCKER
from matrix.engines.docker.loaded_images import (
    LoadedImage,
    files_on_daemon,
    layers_held,
    loaded_images,
    push,
    remove_images,
    retag,
)
from matrix.engines.docker.loading import LOADS_AT_ONCE
from matrix.engines.kind import EngineSetting, ImageWork, workshop
from matrix.images.image import Image, image_tag
from matrix.images.verify import Verifier
from matrix.plan.locks import kind_of, load_locks


def _plan(work: ImageWork) -> int:
    """Prints the images of the environments; needs neither daemon nor network, and changes nothing."""
    rows = work.choose(work.options.environment)
    loaded = _loaded_digests()
    table = [_plan_row(row, work.committed, work.places.files, loaded) for row in rows]
    print(plain_rows(table, headers=("environment", "image", "layers", "MB", "files", "daemon")))
    images = [row.image for row in rows if row.image]
    layers = {part.layer.digest: part.layer.size for image in images for part in image.layers}
    print(
        f"\n{len(images)} images, {len(layers)} layers: {megabytes(sum(image.size for image in images))} MB, "
        f"shared layers counted once {megabytes(sum(layers.values()))} MB"
    )
    for row in rows:
        if row.reason:
            print(f"{row.request.label}: {row.reason}")
    return EXIT_OK


def _plan_row(row: CommittedImage, committed: Committed, files: Path, loaded: set[str] | None) -> list[str]:
    if row.image is None:
        return [row.request.label, "none", "", "", "", ""]
    missing = committed.missing(row, files)
    fetched = f"{missing} to fetch" if missing else "fetched"
    there = "?" if loaded is None else "loaded" if _digests(row.image) & loaded else "to load"
    layers = str(len(row.image.layers))
    return [row.request.label, row.image.digest[:SHORT], layers, megabytes(row.image.size), fetched, there]


def _build(work: ImageWork) -> int:
    """Fetches, assembles and loads the images that the daemon lacks."""
    rows = _made(work)
    with _daemon() as daemon:
        ours = {digest for row in rows if row.image for digest in _digests(row.image)}
        print(disk_line(daemon, [image for image in loaded_images(daemon) if image.digest in ours]))
    all_have(rows)
    return EXIT_OK


def _made(work: ImageWork) -> list[CommittedImage]:
    rows = work.choose(work.options.environment)
    engine = DOCKER.make(EngineSetting(places=work.places, slots=1, on_event=lambda _: None))
    make_all(engine, rows, at_once=LOADS_AT_ONCE)
    return rows


def _list(_: ImageWork) -> int:
    """Lists the project's images on the daemon."""
    with _daemon() as daemon:
        images = loaded_images(daemon)
        disk = disk_line(daemon, images)
    now = _current(images)
    rows = [
        [
            image.digest[:SHORT],
            image.environment,
            image.machine,
            megabytes(image.size),
            f"{image.loaded:%Y-%m-%d %H:%M}" if image.loaded else "",
            "as committed" if image.digest in now else "differs from what is committed",
        ]
        for image in images
    ]
    print(plain_rows(rows, headers=("image", "environment", "machine", "MB", "loaded (UTC)", "state")))
    print(f"\n{disk}")
    return EXIT_OK


def _current(images: Sequence[LoadedImage]) -> set[str]:
    """The current IDs, by the committed tables, of the environments in these images."""
    locks = {lock.name: lock for lock in load_locks(data_root() / "images" / "locks").locks}
    tables: dict[str, Committed] = {}
    now: set[str] = set()
    for image in images:
        name, _, python = image.environment.partition(" on Python ")
        if name in locks:
            committed = tables.setdefault(image.machine, Committed(image.machine))
            request = EnvironmentRequest(kind=kind_of(locks[name]), python=python, lock=locks[name])
            row = committed.row(request)
            now |= _digests(row.image) if row.image else set()
    return now


def _verify(work: ImageWork) -> int:
    """Assembles images again from the files and compares them. Raises ImageFault with all that differ."""
    committed, machine = work.committed, work.committed.machine
    rows = sample(work.choose(work.options.environment), work.options)
    faults = []
    with _daemon_if_any() as daemon:
        shop = workshop(work.places)
        loaded = loaded_images(daemon) if daemon else ()
        verifier = Verifier(shop, machine, lambda image, part: files_on_daemon(daemon, image, part) if daemon else {})
        for number, row in enumerate(rows, 1):
            if row.image is None:
                say(f"[{number}/{len(rows)}] {row.request.label}: not verified: {row.reason}")
                continue
            started = time.monotonic()
            if committed.missing(row, shop.files.folder):
                shop.fetch(row.request, machine, row.image)
            fault = verifier.fault(row.request, row.image) or _daemon_fault(row, loaded, machine)
            seen = "also on the daemon" if _digests(row.image) & {each.digest for each in loaded} else "not loaded"
            said = f"DIFFERS: {fault}" if fault else f"as committed, {seen}, {time.monotonic() - started:.1f} s"
            say(f"[{number}/{len(rows)}] {row.request.label} {row.image.digest[:SHORT]}: {said}")
            faults += [f"{row.request.label}: {fault}"] if fault else []
    all_have(rows)
    if faults:
        raise ImageFault(
            "\n".join(faults), tip="remove a damaged file, it is fetched again; `nox -s lock` shows a changed layer"
        )
    print(f"{len(rows)} images are what is committed")
    return EXIT_OK


def _daemon_fault(row: CommittedImage, loaded: Sequence[LoadedImage], machine: str) -> str:
    """Whether the daemon has another image of exactly the same lock."""
    assert row.image is not None
    same = [
        image
        for image in loaded
        if (image.environment, image.machine) == (row.request.label, machine)
        and image.lock == f"sha256:{row.request.lock.digest}"
    ]
    if not same or any(image.digest in _digests(row.image) for image in same):
        return ""
    other = same[0]
    for part, layer in zip(row.image.layers, other.layers, strict=False):
        if part.layer.digest != layer:
            return f"the daemon's {other.digest[:SHORT]} of this lock differs first in the layer of {part.made_of}"
    return f"the daemon's {other.digest[:SHORT]} of this lock has other labels or another number of layers"


def _push(work: ImageWork) -> int:
    """Pushes images to a registry; builds those that are not loaded first."""
    registry, slash, name = work.options.repository.partition("/")
    if not slash or not registry or not name or ":" in name:
        raise UsageError(
            f"push: read {work.options.repository!r}, expected REGISTRY/NAME", tip="the tag is the environment's name"
        )
    all_have(work.choose(work.options.environment))
    rows = _made(work)
    with _daemon() as daemon:
        for row in rows:
            assert row.image is not None
            tag = image_tag(row.request).removeprefix("iree-matrix/").replace(":", "-")
            digest = push(daemon, row.image, work.options.repository, tag)
            print(f"{work.options.repository}:{tag}  image {row.image.digest[:SHORT]}, in the registry {digest}")
    return EXIT_OK


def _remove(work: ImageWork) -> int:
    """Removes the project's images that were loaded before a time; never other images."""
    options = work.options
    before = datetime.now(UTC) - timedelta(days=options.older_than)
    rows = []
    with _daemon() as daemon:
        for image in loaded_images(daemon):
            name = image.environment.partition(" on ")[0]
            if (options.environment and name not in options.environment) or (image.loaded and image.loaded > before):
                continue
            if image.loaded is None and image.tags and options.older_than > 0:
                retag(daemon, image)
                said = "kept: loaded at a time that the daemon does not know; its age counts from now"
            else:
                said = remove_images(daemon, image) or "removed"
            rows.append([image.digest[:SHORT], image.environment, said])
    print(plain_rows(rows, headers=("image", "environment", "state")) if rows else "nothing to remove")
    return EXIT_OK


def _digests(image: Image) -> set[str]:
    """The IDs that a daemon may give an image: the digests of its config and of its manifest."""
    return {image.digest, image.manifest_digest}


def _loaded_digests() -> set[str] | None:
    with _daemon_if_any() as daemon:
        return {image.digest for image in loaded_images(daemon)} if daemon else None


@contextmanager
def _daemon() -> Iterator[Daemon]:
    daemon = Daemon()
    try:
        yield daemon
    finally:
        daemon.close()


@contextmanager
def _daemon_if_any() -> Iterator[Daemon | None]:
    try:
        opened = Daemon()
    except EngineMissing:
        yield None
        return
    try:
        yield opened
    finally:
        opened.close()


def disk_line(daemon: Daemon, images: Sequence[LoadedImage]) -> str:
    """The space of these images on the daemon's disk, and the sum of their sizes."""
    layers = layers_held(daemon, {f"sha256:{image.digest}": image.layers for image in images})
    alone, together = sum(image.size for image in images), sum(layers.values())
    return (
        f"{len(images)} images, {len(layers)} layers on the daemon: {megabytes(alone)} MB, "
        f"shared layers counted once {megabytes(together)} MB"
    )


DOCKER_VERBS: Mapping[str, Callable[[ImageWork], int]] = {
    "plan": _plan,
    "build": _build,
    "list": _list,
    "verify": _verify,
    "push": _push,
    "remove": _remove,
}
