"""Shared by engines that make environments from committed layers: the image of a request, and its content."""

from __future__ import annotations

import random
import secrets
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from matrix.core import processes
from matrix.core.data import data_root
from matrix.core.errors import NoImage
from matrix.core.records import Environment, EnvironmentRequest
from matrix.core.text import say
from matrix.engines.contract import Engine
from matrix.images.debian.lock import BaseLock, load_bases, stored_file
from matrix.images.image import Image
from matrix.images.layer_table import LayerTable, compute_image, read_layer_table

SHORT = 12
"""Digits of a digest for people."""
Chosen = TypeVar("Chosen")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedImage:
    """An environment and its image, or the reason why it has none."""

    request: EnvironmentRequest
    image: Image | None
    reason: str = ""


class Committed:
    """The committed tables and locks, each read once. They determine the images."""

    def __init__(self, machine: str) -> None:
        images = data_root() / "images"
        self.machine, self._layers = machine, images / "layers"
        self.bases: dict[str, BaseLock] = {base.python: base for base in load_bases(images / "base")}
        self._tables: dict[str, LayerTable | None] = {}

    def row(self, request: EnvironmentRequest) -> CommittedImage:
        if request.platform:
            return CommittedImage(request=request, image=None, reason="an emulated target has no image")
        if request.python not in self._tables:
            self._tables[request.python] = read_layer_table(self._layers, request.python, self.machine)
        try:
            image = compute_image(request, self._tables[request.python], self.bases.get(request.python))
        except NoImage as error:
            return CommittedImage(request=request, image=None, reason=str(error))
        return CommittedImage(request=request, image=image)

    def missing(self, row: CommittedImage, files: Path) -> int:
        """How many files of an image are missing in a store; existing files are not hashed."""
        if row.image is None:
            return 0
        base = self.bases[row.request.python].on(self.machine)
        fetched = [stored_file(files, each) for each in (*base.debs, base.python) if each is not None]
        wheels = [files / part.source[:2] / part.source for part in row.image.layers[2:]]
        return sum(not path.is_file() for path in fetched) + sum(not any(place.glob("*")) for place in wheels)


def environment_of(
    request: EnvironmentRequest,
    image: Image,
    *,
    engine: str,
    digest: str,
    root: Path,
    tools: Mapping[str, str] | None = None,
    evidence: tuple[tuple[str, object], ...] = (),
) -> Environment:
    """An environment with the files of an image, at `root`; `tools` if they differ from the image's."""
    return Environment(
        request_label=request.label,
        engine=engine,
        digest=digest,
        root=root,
        python_version=image.python_version,
        c_library=image.c_library,
        tools=image.tools if tools is None else tools,
        distributions=image.distributions,
        evidence=evidence,
    )


def make_all(engine: Engine, rows: Sequence[CommittedImage], *, at_once: int) -> None:
    """Makes every environment, like in a run."""
    with threads(at_once) as pool:
        try:
            numbered = enumerate(rows, 1)
            tasks = [pool.submit(_stand, engine, f"[{number}/{len(rows)}]", row) for number, row in numbered]
            for task in tasks:
                task.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            engine.close()


def _stand(engine: Engine, number: str, row: CommittedImage) -> None:
    if row.image is None:
        say(f"{number} {row.request.label}: {row.reason}")
        return
    started = time.monotonic()
    there = engine.load(row.request) is not None
    engine.realise(row.request)
    said = "there already" if there else f"made in {time.monotonic() - started:.1f} s"
    say(f"{number} {row.request.label} {row.image.digest[:SHORT]}: {said}")


@contextmanager
def threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that stop at once when something fails or the user interrupts: the programs that they wait for end
    too."""
    pool = ThreadPoolExecutor(count)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        processes.kill_all()
        raise
    finally:
        pool.shutdown(wait=True)


def sample(rows: list[Chosen], options: Namespace) -> list[Chosen]:
    """As many as `--sample` says, chosen by `--seed`; all without it."""
    if options.sample is None or options.sample >= len(rows):
        return rows
    seed = secrets.randbelow(1 << 32) if options.seed is None else options.seed
    say(f"a sample of {options.sample} of {len(rows)} images; again with --sample {options.sample} --seed {seed}")
    chosen = set(random.Random(seed).sample(range(len(rows)), options.sample))
    return [row for index, row in enumerate(rows) if index in chosen]


def all_have(rows: Sequence[CommittedImage]) -> None:
    """Raises NoImage with all environments that have no image."""
    if lacking := [f"{row.request.label}: {row.reason}" for row in rows if row.image is None]:
        raise NoImage("\n".join(lacking), tip="`python -m matrix image plan` shows which have one")


def megabytes(size: int) -> str:
    return f"{size / 1e6:.0f}"
