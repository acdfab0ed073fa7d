"""`python -m matrix image …`: the images of a preset's environments, computed, made, compared, handed on, removed."""

from __future__ import annotations

import random
import secrets
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from matrix.core.data import data_root
from matrix.core.disk import disk_errors
from matrix.core.errors import EXIT_OK, EngineMissing, ImageFault, NoImage, UsageError
from matrix.core.records import EnvironmentRequest
from matrix.core.text import plain_rows
from matrix.core.versions import nearest
from matrix.engines.choice import workshop
from matrix.engines.docker.daemon import Daemon
from matrix.engines.docker.images_held import LoadedImage, files_on_daemon, loaded_images, push, remove, stamp
from matrix.images.debian.lock import BaseLock, load_bases, stored
from matrix.images.image import Image, image_tag
from matrix.images.layer_table import LayerTable, image_of, read_table
from matrix.images.oci import write_layout
from matrix.images.sbom import bill
from matrix.images.verify import Verifier
from matrix.plan.locks import kind_of, load_locks
from matrix.run.planning import plan_of, question_of
from matrix.run.stand import SHORT, Row, disk_line, make_images, megabytes, say
from matrix.run.store import Store

Chosen = TypeVar("Chosen")


class Committed:
    """The committed tables and locks, each read once: from them an image follows."""

    def __init__(self, machine: str) -> None:
        images = data_root() / "images"
        self.machine, self._layers = machine, images / "layers"
        self.bases: dict[str, BaseLock] = {base.python: base for base in load_bases(images / "base")}
        self._tables: dict[str, LayerTable | None] = {}

    def row(self, request: EnvironmentRequest) -> Row:
        if request.platform:
            return Row(request=request, image=None, reason="emulated targets run with --engine venv only")
        if request.python not in self._tables:
            self._tables[request.python] = read_table(self._layers, request.python, self.machine)
        try:
            image = image_of(request, self._tables[request.python], self.bases.get(request.python))
        except NoImage as error:
            return Row(request=request, image=None, reason=str(error))
        return Row(request=request, image=image)

    def missing(self, row: Row, files: Path) -> int:
        """How many files of an image are not in a store; looked at, not hashed."""
        if row.image is None:
            return 0
        base = self.bases[row.request.python].on(self.machine)
        fetched = [stored(files, each) for each in (*base.debs, base.python) if each is not None]
        wheels = [files / part.source[:2] / part.source for part in row.image.layers[2:]]
        return sum(not path.is_file() for path in fetched) + sum(not any(place.glob("*")) for place in wheels)


def plan(options: Namespace) -> int:
    """Says which images the environments have; needs neither daemon nor network and touches nothing."""
    committed = Committed(options.machine)
    rows = chosen_rows(options, committed)
    loaded = _loaded_digests()
    table = [_plan_row(row, committed, options.store / "files", loaded) for row in rows]
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


def _plan_row(row: Row, committed: Committed, files: Path, loaded: set[str] | None) -> list[str]:
    if row.image is None:
        return [row.request.label, "none", "", "", "", ""]
    missing = committed.missing(row, files)
    fetched = f"{missing} to fetch" if missing else "fetched"
    there = "?" if loaded is None else "loaded" if _digests(row.image) & loaded else "to load"
    layers = str(len(row.image.layers))
    return [row.request.label, row.image.digest[:SHORT], layers, megabytes(row.image.size), fetched, there]


def build(options: Namespace) -> int:
    """Fetches, assembles and loads what the daemon lacks."""
    rows = chosen_rows(options, Committed(options.machine))
    make_images(options.store, rows)
    with _daemon() as daemon:
        ours = {digest for row in rows if row.image for digest in _digests(row.image)}
        print(disk_line(daemon, [image for image in loaded_images(daemon) if image.digest in ours]))
    all_have(rows)
    return EXIT_OK


def show_list(_: Namespace) -> int:
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
    """The IDs that the committed tables give now for the environments that these images name."""
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


def verify(options: Namespace) -> int:
    """Assembles images again from the files and compares. Raises ImageFault with all that differ."""
    committed = Committed(options.machine)
    rows = sample(chosen_rows(options, committed), options)
    faults = []
    with Store(options.store) as store, _daemon_if_any() as daemon:
        shop = workshop(store.places)
        loaded = loaded_images(daemon) if daemon else ()
        verifier = Verifier(
            shop, options.machine, lambda image, part: files_on_daemon(daemon, image, part) if daemon else {}
        )
        for number, row in enumerate(rows, 1):
            if row.image is None:
                say(f"[{number}/{len(rows)}] {row.request.label}: not verified: {row.reason}")
                continue
            started = time.monotonic()
            if committed.missing(row, shop.files.folder):
                shop.fetch(row.request, options.machine, row.image)
            fault = verifier.fault(row.request, row.image) or _daemon_fault(row, loaded, options.machine)
            seen = "also on the daemon" if _digests(row.image) & {each.digest for each in loaded} else "not loaded"
            said = f"DIFFERS: {fault}" if fault else f"as committed, {seen}, {time.monotonic() - started:.1f} s"
            say(f"[{number}/{len(rows)}] {row.request.label} {row.image.digest[:SHORT]}: {said}")
            faults += [f"{row.request.label}: {fault}"] if fault else []
    all_have(rows)
    if faults:
        raise ImageFault(
            "\n".join(faults), tip="remove a damaged file, it is fetched anew; `nox -s lock` shows a changed layer"
        )
    print(f"{len(rows)} images are what is committed")
    return EXIT_OK


def sample(rows: list[Chosen], options: Namespace) -> list[Chosen]:
    if options.sample is None or options.sample >= len(rows):
        return rows
    seed = secrets.randbelow(1 << 32) if options.seed is None else options.seed
    say(f"a sample of {options.sample} of {len(rows)} images; again with --sample {options.sample} --seed {seed}")
    chosen = set(random.Random(seed).sample(range(len(rows)), options.sample))
    return [row for index, row in enumerate(rows) if index in chosen]


def _daemon_fault(row: Row, loaded: Sequence[LoadedImage], machine: str) -> str:
    """The daemon has an image of the very same lock, but another one."""
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


def save(options: Namespace) -> int:
    """Writes one image as an OCI layout into a folder, and as a `docker load` archive beside it."""
    row = _only_one(chosen_rows(options, Committed(options.machine)))
    assert row.image is not None
    image, folder, tag = row.image, options.folder, image_tag(row.request)
    archive = folder.with_name(f"{folder.name}.tar")
    for path in (folder, archive):
        if path.exists():
            raise UsageError(f"save: {path} exists", tip="give the name of a folder that does not exist yet")
    with Store(options.store) as store, disk_errors(folder):
        shop = workshop(store.places)
        shop.fetch(row.request, options.machine, image)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
            write_layout(
                Path(scratch) / "layout",
                image,
                tag=tag.rpartition(":")[2],
                layer=lambda part: shop.checked(row.request, options.machine, part),
            )
            with (Path(scratch) / "archive").open("wb") as out:
                for block in shop.archive(row.request, options.machine, image, tag=tag):
                    out.write(block)
            (Path(scratch) / "layout").rename(folder)
            (Path(scratch) / "archive").rename(archive)
    print(f"{folder}: OCI layout, manifest sha256:{image.manifest_digest}")
    print(f"{archive}: docker load, image sha256:{image.digest}, {megabytes(archive.stat().st_size)} MB")
    return EXIT_OK


def push_all(options: Namespace) -> int:
    """Sends images to a registry, those that are not loaded are built first."""
    registry, slash, name = options.repository.partition("/")
    if not slash or not registry or not name or ":" in name:
        raise UsageError(
            f"push: read {options.repository!r}, expected REGISTRY/NAME", tip="the tag is the environment's name"
        )
    rows = chosen_rows(options, Committed(options.machine))
    all_have(rows)
    make_images(options.store, rows)
    with _daemon() as daemon:
        for row in rows:
            assert row.image is not None
            tag = image_tag(row.request).removeprefix("iree-matrix/").replace(":", "-")
            digest = push(daemon, row.image, options.repository, tag)
            print(f"{options.repository}:{tag}  image {row.image.digest[:SHORT]}, in the registry {digest}")
    return EXIT_OK


def sbom(options: Namespace) -> int:
    """Prints a CycloneDX bill of materials of the images."""
    committed = Committed(options.machine)
    rows = chosen_rows(options, committed)
    all_have(rows)
    text = bill(
        [(row.request, row.image, committed.bases[row.request.python]) for row in rows if row.image],
        machine=options.machine,
    )
    if options.output is None:
        sys.stdout.write(text)
        return EXIT_OK
    try:
        options.output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--output: {options.output} cannot be written: {error.strerror}", tip="name a file") from None
    return EXIT_OK


def remove_old(options: Namespace) -> int:
    """Removes the project's images that were loaded before a time; never others'."""
    before = datetime.now(UTC) - timedelta(days=options.older_than)
    rows = []
    with _daemon() as daemon:
        for image in loaded_images(daemon):
            name = image.environment.partition(" on ")[0]
            if (options.environment and name not in options.environment) or (image.loaded and image.loaded > before):
                continue
            if image.loaded is None and image.tags and options.older_than > 0:
                stamp(daemon, image)
                said = "kept: loaded at a time that the daemon does not know; its age counts from now"
            else:
                said = remove(daemon, image) or "removed"
            rows.append([image.digest[:SHORT], image.environment, said])
    print(plain_rows(rows, headers=("image", "environment", "state")) if rows else "nothing to remove")
    return EXIT_OK


# -- parts


def chosen_rows(options: Namespace, committed: Committed) -> list[Row]:
    """The environments of the preset's plan; or those of them, and of all other locks, that --environment names."""
    planned = plan_of(question_of(options), options.store)
    requests = list(planned.environments())
    names = {request.lock.name for request in requests}
    if options.environment:
        requests = [request for request in requests if request.lock.name in options.environment]
        requests += [_request(name, planned.spec.tools_python) for name in options.environment if name not in names]
    return [committed.row(request) for request in requests]


def _request(name: str, python: str) -> EnvironmentRequest:
    """Of a lock that the preset does not ask for. Raises UsageError."""
    locks = {lock.name: lock for lock in load_locks(data_root() / "images" / "locks").locks}
    if name not in locks:
        raise UsageError(
            f"--environment: read {name!r}, expected the name of a lock{nearest(name, locks)}",
            tip="`python -m matrix image plan` lists the environments of a preset; images/locks has all",
        )
    return EnvironmentRequest(kind=kind_of(locks[name]), python=python, lock=locks[name])


def _only_one(rows: Sequence[Row]) -> Row:
    if len(rows) != 1:
        raise UsageError(
            f"save: {len(rows)} environments are chosen, expected one",
            tip="choose with --environment, for example --environment compiler/3.8.0",
        )
    all_have(rows)
    return rows[0]


def all_have(rows: Sequence[Row]) -> None:
    if lacking := [f"{row.request.label}: {row.reason}" for row in rows if row.image is None]:
        raise NoImage("\n".join(lacking), tip="`python -m matrix image plan` shows which have one")


def _digests(image: Image) -> set[str]:
    """The IDs that a daemon may give an image: of its config, or of its manifest."""
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


SUBVERBS: dict[str, Callable[[Namespace], int]] = {
    "plan": plan,
    "build": build,
    "list": show_list,
    "verify": verify,
    "save": save,
    "push": push_all,
    "sbom": sbom,
    "remove": remove_old,
}
"""The verbs below `image`; `cli.IMAGE_VERBS` has their help."""
