"""Makes the images of environments stand on the daemon, two at a time, and says what they take of its disk."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from matrix.core import processes
from matrix.core.records import EnvironmentRequest
from matrix.engines.choice import engine_maker
from matrix.engines.contract import Engine
from matrix.engines.docker.daemon import Daemon
from matrix.engines.docker.images_held import LoadedImage, layers_held
from matrix.engines.docker.loading import AT_ONCE
from matrix.images.image import Image
from matrix.run.store import Store

SHORT = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An environment and its image, or the reason why it has none."""

    request: EnvironmentRequest
    image: Image | None
    reason: str = ""


def make_images(folder: Path, rows: Sequence[Row], *, engine_name: str = "docker", at_once: int = AT_ONCE) -> None:
    """Every image stands on the daemon, or every environment in the Nix store; the engine does it, as in a run."""
    with Store(folder) as store:
        engine = engine_maker(engine_name, store.places, cores=1)(lambda _: None)
        with threads(at_once) as pool:
            try:
                numbered = enumerate(rows, 1)
                tasks = [pool.submit(_stand, engine, f"[{number}/{len(rows)}]", row) for number, row in numbered]
                for task in tasks:
                    task.result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
                engine.close()


@contextmanager
def threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that end at once when something fails or the user has enough: the programs that they wait for end too."""
    pool = ThreadPoolExecutor(count)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        processes.kill_all()
        raise
    finally:
        pool.shutdown(wait=True)


def _stand(engine: Engine, number: str, row: Row) -> None:
    if row.image is None:
        say(f"{number} {row.request.label}: {row.reason}")
        return
    started = time.monotonic()
    there = engine.load(row.request) is not None
    engine.realise(row.request)
    said = "there already" if there else f"made in {time.monotonic() - started:.1f} s"
    say(f"{number} {row.request.label} {row.image.digest[:SHORT]}: {said}")


def disk_line(daemon: Daemon, images: Sequence[LoadedImage]) -> str:
    """What these images take on the daemon's disk, beside the sum of their sizes."""
    layers = layers_held(daemon, {f"sha256:{image.digest}": image.layers for image in images})
    alone, together = sum(image.size for image in images), sum(layers.values())
    return (
        f"{len(images)} images, {len(layers)} layers on the daemon: {megabytes(alone)} MB, "
        f"shared layers counted once {megabytes(together)} MB"
    )


def megabytes(size: int) -> str:
    return f"{size / 1e6:.0f}"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
