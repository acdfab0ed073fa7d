"""What the tests of containers share: a daemon, or a loud skip; an engine below a folder; what is left of it."""

from __future__ import annotations

import contextlib
import platform
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import ROOT, wait_for

from matrix.core.errors import EngineMissing
from matrix.core.records import EnvironmentRequest
from matrix.engines.docker.address import find_address
from matrix.engines.docker.boxes import RUN_LABEL, STORE_LABEL
from matrix.engines.docker.daemon import Daemon
from matrix.engines.docker.engine import DockerEngine
from matrix.engines.worker import WorkerEvent
from matrix.environments.index import configured_index
from matrix.environments.wheels import FetchedFiles
from matrix.images.debian import mirror
from matrix.images.image import Image
from matrix.images.workshop import Workshop


def daemon_or_skip() -> Daemon:
    """A skip is not a pass: it says what was not tested."""
    try:
        return Daemon()
    except EngineMissing as error:
        pytest.skip(f"NOT TESTED: no container daemon answers ({error})")


def workshop(folder: Path) -> Workshop:
    """Where images are made from nothing but the committed data and what is fetched."""
    (folder / "scratch").mkdir(parents=True, exist_ok=True)
    return Workshop(
        images=ROOT / "images",
        files=FetchedFiles(folder / "files"),
        scratch=folder / "scratch",
        index=configured_index(),
        sources=mirror.find_sources(),
    )


def new_engine(
    folder: Path, on_event: Callable[[WorkerEvent], None], *, scripts: Path = ROOT / "scripts"
) -> DockerEngine:
    """A DockerEngine of which everything lies below `folder`."""
    return DockerEngine(
        folder=folder / "environments",
        scratch=folder / "scratch",
        scripts=scripts,
        slots=2,
        on_event=on_event,
        workshop=workshop(folder),
        machine=platform.machine(),
    )


def image_of(request: EnvironmentRequest, folder: Path) -> Image:
    return workshop(folder).image(request, platform.machine())


def containers_of(store: Path) -> list[dict[str, Any]]:
    """The containers that engines and runs of a store made, in whatever state they are."""
    daemon = Daemon()
    try:
        found = daemon.client.api.containers(all=True, filters={"label": RUN_LABEL})
        return [each for each in found if each["Labels"][STORE_LABEL] == str(store)]
    finally:
        daemon.close()


def wait_until_no_container(store: Path, *, seconds: float = 5.0) -> None:
    """Waits until nothing of a store is left in the daemon."""
    wait_for(lambda: not containers_of(store), seconds=seconds)


def socket_of_daemon() -> Path:
    """The socket on this machine behind which the daemon is; a skip where it is reached in another way."""
    url = find_address().url or "unix:///var/run/docker.sock"
    path = Path(url.partition("://")[2])
    if not path.is_socket():
        pytest.skip(f"NOT TESTED: the daemon is reached at {url}, not at a socket of this machine")
    return path


@contextlib.contextmanager
def over_tcp() -> Iterator[str]:
    """The daemon of this machine as one that is far away: an address on a port, behind which its socket is."""
    path = socket_of_daemon()
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_forward, args=(server, path), daemon=True).start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)


def _forward(server: socket.socket, path: Path) -> None:
    with contextlib.suppress(OSError):
        while True:
            near, _ = server.accept()
            far = socket.socket(socket.AF_UNIX)
            far.connect(str(path))
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=_copy, args=(one, other), daemon=True).start()


def _copy(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(1 << 16):
            other.sendall(data)
    with contextlib.suppress(OSError):
        other.shutdown(socket.SHUT_WR)


def volumes_of(store: Path) -> list[dict[str, Any]]:
    """The volumes of containers that engines and runs of a store made."""
    daemon = Daemon()
    try:
        found = daemon.client.api.volumes(filters={"label": f"{STORE_LABEL}={store}"})
        return list(found["Volumes"] or ())
    finally:
        daemon.close()


def docker_command() -> str:
    """The docker command; a skip is not a pass."""
    return shutil.which("docker") or pytest.skip("NOT TESTED: there is no docker command here")
