"""`python -m matrix image …`: selects environments and images. Engines do the rest; verbs that need none are here."""

from __future__ import annotations

import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from matrix.core.data import data_root
from matrix.core.disk import StorePlaces, disk_errors, store_places
from matrix.core.errors import EXIT_OK, UsageError
from matrix.core.records import EnvironmentRequest
from matrix.core.versions import did_you_mean
from matrix.engines.choice import engine_kind, image_engines
from matrix.engines.committed import Committed, CommittedImage, all_have, megabytes
from matrix.engines.kind import ImageWork, workshop
from matrix.images.image import image_tag
from matrix.images.oci import write_layout
from matrix.images.sbom import bill
from matrix.plan.locks import kind_of, load_locks
from matrix.run.planning import plan_of, question_of
from matrix.run.store import Store

LOOKS = ("plan", "list", "remove", "sbom")
"""Verbs that change nothing in the store, and create none."""


def do_image(options: Namespace) -> int:
    """Carries out the verb below `image`: here, or by the named engine, or by the first engine that has it."""
    committed = Committed(options.machine)
    with _places(options) as places:
        work = ImageWork(
            choose=partial(_chosen, options, committed), committed=committed, places=places, options=options
        )
        if here := HERE.get(options.subverb):
            return here(work)
        kind = engine_kind(options.engine) if "engine" in options else image_engines(options.subverb)[0]
        assert kind.image is not None  # the parser offers no other
        return kind.image(options.subverb, work)


@contextmanager
def _places(options: Namespace) -> Iterator[StorePlaces]:
    if options.subverb in LOOKS:
        yield store_places(options.store)
    else:
        with Store(options.store) as store:
            yield store.places


def _save(work: ImageWork) -> int:
    """Writes one image as an OCI layout into a folder, and as a `docker load` archive beside it."""
    options, machine = work.options, work.committed.machine
    row = _only_one(work.choose(options.environment))
    assert row.image is not None
    image, folder, tag = row.image, options.folder, image_tag(row.request)
    archive = folder.with_name(f"{folder.name}.tar")
    for path in (folder, archive):
        if path.exists():
            raise UsageError(f"save: {path} exists", tip="give the name of a folder that does not exist yet")
    with disk_errors(folder):
        shop = workshop(work.places)
        shop.fetch(row.request, machine, image)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
            write_layout(
                Path(scratch) / "layout",
                image,
                tag=tag.rpartition(":")[2],
                layer=lambda part: shop.checked(row.request, machine, part),
            )
            with (Path(scratch) / "archive").open("wb") as out:
                for block in shop.archive(row.request, machine, image, tag=tag):
                    out.write(block)
            (Path(scratch) / "layout").rename(folder)
            (Path(scratch) / "archive").rename(archive)
    print(f"{folder}: OCI layout, manifest sha256:{image.manifest_digest}")
    print(f"{archive}: docker load, image sha256:{image.digest}, {megabytes(archive.stat().st_size)} MB")
    return EXIT_OK


def _sbom(work: ImageWork) -> int:
    """Prints a CycloneDX bill of materials of the images."""
    committed, output = work.committed, work.options.output
    rows = work.choose(work.options.environment)
    all_have(rows)
    text = bill(
        [(row.request, row.image, committed.bases[row.request.python]) for row in rows if row.image],
        machine=committed.machine,
    )
    if output is None:
        sys.stdout.write(text)
        return EXIT_OK
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--output: {output} cannot be written: {error.strerror}", tip="name a file") from None
    return EXIT_OK


def _chosen(options: Namespace, committed: Committed, names: Sequence[str]) -> list[CommittedImage]:
    """The environments of the preset's plan; or those among them, and among all other locks, that are named."""
    planned = plan_of(question_of(options), options.store)
    requests = list(planned.environments())
    known = {request.lock.name for request in requests}
    if names:
        requests = [request for request in requests if request.lock.name in names]
        requests += [_request(name, planned.spec.tools_python) for name in names if name not in known]
    return [committed.row(request) for request in requests]


def _request(name: str, python: str) -> EnvironmentRequest:
    """The environments of a lock that the preset does not use. Raises UsageError."""
    locks = {lock.name: lock for lock in load_locks(data_root() / "images" / "locks").locks}
    if name not in locks:
        raise UsageError(
            f"--environment: read {name!r}, expected the name of a lock{did_you_mean(name, locks)}",
            tip="`python -m matrix image plan` lists the environments of a preset; images/locks has all",
        )
    return EnvironmentRequest(kind=kind_of(locks[name]), python=python, lock=locks[name])


def _only_one(rows: Sequence[CommittedImage]) -> CommittedImage:
    if len(rows) != 1:
        raise UsageError(
            f"save: {len(rows)} environments are chosen, expected one",
            tip="choose with --environment, for example --environment compiler/3.8.0",
        )
    all_have(rows)
    return rows[0]


HERE: Mapping[str, Callable[[ImageWork], int]] = {"save": _save, "sbom": _sbom}
