"""Faults of a container daemon that belongs to the bed alone, with a small disk. That of the machine is left alone."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from containers import containers_of
from disks import NoDisk, small_disk
from family import Family, Trial
from invariants import broken_after, last_line
from second_daemon import NoDaemon, SecondDaemon, second_daemon
from workload import Bed, Call, Place

from matrix.core.errors import EXIT_MISSING
from matrix.engines.docker.daemon import Daemon

DISK_BYTES = 4 << 30
AWAY_SECONDS = (0.0, 3.0)
"""How long it is away, or stopped, at least and at most."""
LOADING_SECONDS = 20.0
"""How long a run takes about that loads its images first."""
CHECKED_STATUSES = (0, 5, 7, 8)
NO_DAEMON = "no container daemon answers"
"""What a run says, with status 3, that finds none when it first asks: nothing was begun."""


def stopped(daemon: SecondDaemon, place: Place, away: float) -> None:
    daemon.stop()
    time.sleep(away)
    daemon.start()


def killed(daemon: SecondDaemon, place: Place, away: float) -> None:
    daemon.stop(signal.SIGKILL)
    time.sleep(away)
    daemon.start()


def frozen(daemon: SecondDaemon, place: Place, away: float) -> None:
    daemon.send(signal.SIGSTOP)
    time.sleep(away)
    daemon.send(signal.SIGCONT)


def full(daemon: SecondDaemon, place: Place, away: float) -> None:
    filler = daemon.fill()
    try:
        time.sleep(away)
    finally:
        filler.unlink()


def containers_removed(daemon: SecondDaemon, place: Place, away: float) -> None:
    with connected() as api:
        for each in containers_of(place.store):
            api.remove(each["Id"])


def images_deleted(daemon: SecondDaemon, place: Place, away: float) -> None:
    """With the containers that use them, until none is left or the time is over."""
    until = time.monotonic() + 5.0
    with connected() as api:
        while (names := {each["Id"] for each in api.client.api.images()}) and time.monotonic() < until:
            for each in api.client.api.containers(all=True):
                api.remove(each["Id"])
            for name in names:
                with contextlib.suppress(Exception):  # a new container uses it
                    api.client.api.remove_image(name, force=True)


def image_torn(daemon: SecondDaemon, place: Place, away: float) -> None:
    """The files of a compiler as a bad disk leaves them; what is open stays open."""
    for library in [*daemon.data.rglob("libIREECompiler.so")][:1]:
        with library.open("r+b") as file:
            file.truncate(library.stat().st_size // 2)


Fault = Callable[[SecondDaemon, Place, float], None]
FAULTS: tuple[Fault, ...] = (stopped, killed, frozen, full, containers_removed, images_deleted, image_torn)


@contextlib.contextmanager
def connected() -> Iterator[Daemon]:
    daemon = Daemon()
    try:
        yield daemon
    finally:
        daemon.close()


def trials(bed: Bed, chance: random.Random, count: int) -> Iterator[Trial]:
    untouched = bed.untouched("docker")
    if untouched is None:
        return
    every = [(fault, cold) for fault in FAULTS for cold in (False, True) if not (cold and fault is image_torn)]
    chance.shuffle(every)
    try:
        with own_daemon(bed.folder / "daemon") as daemon:
            for number in range(count):
                fault, cold = every[number % len(every)]
                share, away = chance.random(), chance.uniform(*AWAY_SECONDS)
                yield one_fault(bed, daemon, fault, share=share, away=away, cold=cold)
    except (NoDisk, NoDaemon) as reason:
        bed.cannot("faults of a container daemon", str(reason))


@contextlib.contextmanager
def own_daemon(folder: Path) -> Iterator[SecondDaemon]:
    """A daemon that all here talk to, instead of the machine's."""
    with small_disk(folder, size=DISK_BYTES) as disk, second_daemon(disk.folder) as daemon:
        before = os.environ.get("DOCKER_HOST")
        os.environ["DOCKER_HOST"] = daemon.address
        try:
            yield daemon
        finally:
            os.environ.pop("DOCKER_HOST")
            if before is not None:
                os.environ["DOCKER_HOST"] = before


def one_fault(bed: Bed, daemon: SecondDaemon, fault: Fault, *, share: float, away: float, cold: bool) -> Trial:
    """`cold`: the daemon has no image when the run begins."""
    untouched = bed.untouched("docker")
    assert untouched
    with bed.place("docker") as place:
        if cold:
            images_deleted(daemon, place, 0.0)
        else:
            with connected() as api:
                ready = len(api.client.api.images()) >= len(untouched.results) - 2
            if not ready:
                place.call()  # loads what an earlier trial took away; then the results go
                forget(place)
        moment = share * (LOADING_SECONDS if cold else untouched.seconds)
        call = place.begin()
        waited(call, moment)
        fault(daemon, place, away)
        ended = place.finish(call)
        broken = broken_after(bed, place)
    name = f"docker: {fault.__name__.replace('_', ' ')} after {moment:.1f} s for {away:.1f} s{', cold' if cold else ''}"
    none_found = ended.status == EXIT_MISSING and NO_DAEMON in ended.err
    if ended.status not in CHECKED_STATUSES and not none_found:
        broken = (f"status {ended.status}, expected one of {CHECKED_STATUSES}: {last_line(ended.err)}", *broken)
    return Trial(fault=name, broken=broken)


def forget(place: Place) -> None:
    """Takes away what a call has left beside the environments."""
    for path in place.store.glob("store.sqlite*"):
        path.unlink()
    place.ended.clear()


def waited(call: Call, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not call.over and time.monotonic() < until:
        time.sleep(0.01)


DAEMON = Family(
    name="daemon",
    what="a container daemon that is stopped, killed, frozen, full, started again; its containers and images removed "
    "or torn; warm and while images are loaded",
    full=13,
    short=0,
    trials=trials,
)
