"""The one seam to a container daemon, through the Docker SDK: find it, load images, run locked-down containers.

The SDK reads DOCKER_HOST itself; a context (`docker context use`) is looked up through it as well. Everything made here
carries the project's label; what does not carry it is never touched.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import select
import socket
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from matrix.channel import READ_BYTES, STDOUT
from matrix.errors import DaemonGone, DiskFull, EngineMissing, ImageFault, MatrixError
from matrix.image import LABEL, Image

T = TypeVar("T")

PROJECT = {f"{LABEL}.project": "iree-matrix"}
HOST_LABEL = f"{LABEL}.host"
TIP = "start it (`dockerd`, `systemctl start docker`), set DOCKER_HOST, or use --engine venv"
DISK = "`docker system df` shows what it holds"
DOCTOR = "`python -m matrix doctor` looks at the daemon"
BACK = "start it again; the same command goes on from there, and removes what was left"
GREETING = 20
"""Seconds that a daemon has to say which version it is."""
PATIENCE = 120
"""Seconds that one answer of the daemon may take; loading an image streams and has no such limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """What a container may use. Everything else is locked: no network, read-only root, no capability, no privilege."""

    memory_bytes: int
    scratch_bytes: int
    file_bytes: int
    processes: int = 512
    cores: float = 1.0


class Daemon:
    """A connection to the daemon. Raises EngineMissing, with what to do, where there is none."""

    def __init__(self) -> None:
        import docker
        import requests

        self._docker = docker
        try:
            self.client = _client(docker)
            self.version: str = self.client.version()["Version"]
        except (docker.errors.DockerException, requests.RequestException, OSError) as error:
            raise EngineMissing(f"no container daemon answers: {_reason(error)}", tip=TIP) from None
        self.client.api.timeout = PATIENCE

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self.client.close()

    def asked(self, question: Callable[[], T]) -> T:
        """One question to the daemon; DaemonGone, ImageFault or DiskFull instead of the SDK's own errors."""
        import requests

        try:
            return question()
        except self._docker.errors.APIError as error:
            said = str(error.explanation or error)
            raise _refusal(said) from None
        except (self._docker.errors.DockerException, requests.RequestException, OSError) as error:
            raise DaemonGone(f"the container daemon is gone: {_reason(error)}", tip=BACK) from None

    # -- images

    def find(self, image: Image) -> str | None:
        """The name of the image there: its config's digest or, with the containerd store, its manifest's."""
        names = (f"sha256:{digest}" for digest in (image.digest, image.manifest_digest))
        return next((name for name in names if self._image(name)), None)

    def has(self, image: Image) -> bool:
        return self.find(image) is not None

    def _image(self, name: str) -> Any:  # noqa: ANN401 - the SDK has no types
        try:
            return self.asked(lambda: self.client.api.inspect_image(name))
        except ImageFault:
            return None

    def layers(self) -> list[list[str]]:
        """The layers (diff IDs without `sha256:`) of each image of the project."""
        found = self.asked(lambda: self.client.api.images(filters={"label": f"{LABEL}.project"}, quiet=True))
        inspected = [self._image(name) for name in set(found)]
        return [[layer.removeprefix("sha256:") for layer in each["RootFS"]["Layers"]] for each in inspected if each]

    def load(self, archive: Iterator[bytes]) -> None:
        """Hands a `docker load` archive over, streamed. Raises what reading the archive raises, and ImageFault or
        DiskFull with what the daemon says."""
        broken: list[Exception] = []

        def watched() -> Iterator[bytes]:
            try:
                yield from archive
            except Exception as error:
                broken.append(error)
                raise

        def ask() -> None:
            for said in self.client.api.load_image(watched()):
                if "error" in said:
                    raise _refusal(str(said["error"]))

        try:
            self.asked(ask)
        except MatrixError:
            if broken:
                raise broken[0] from None
            raise

    # -- containers

    def create(
        self,
        image: Image,
        command: Sequence[str],
        *,
        confinement: Confinement,
        mounts: Mapping[Path, tuple[str, str]],
        labels: Mapping[str, str],
    ) -> str:
        """A locked-down container, not started. `mounts`: host folder -> (place, `ro` or `rw`). Returns its id."""
        api = self.client.api
        host = api.create_host_config(
            network_mode="none",
            read_only=True,
            init=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            ipc_mode="private",
            tmpfs={"/tmp": f"size={confinement.scratch_bytes},mode=1777", "/dev/shm": "size=67108864,mode=1777"},
            mem_limit=confinement.memory_bytes,
            memswap_limit=confinement.memory_bytes,
            pids_limit=confinement.processes,
            nano_cpus=int(confinement.cores * 1e9),
            ulimits=[
                self._docker.types.Ulimit(name="fsize", soft=confinement.file_bytes, hard=confinement.file_bytes),
                self._docker.types.Ulimit(name="core", soft=0, hard=0),
            ],
            log_config=self._docker.types.LogConfig(type="none"),
            mounts=[
                self._docker.types.Mount(place, str(folder), type="bind", read_only=mode == "ro")
                for folder, (place, mode) in mounts.items()
            ],
        )
        name = self.find(image) or f"sha256:{image.digest}"
        made = self.asked(
            lambda: api.create_container(
                name,
                command=list(command),
                entrypoint="",
                user=nobody(),
                hostname="matrix",
                working_dir="/",
                stdin_open=True,
                tty=False,
                network_disabled=True,
                labels={**PROJECT, HOST_LABEL: host_mark(), **labels},
                host_config=host,
            )
        )
        return str(made["Id"])

    def remove_left(self, label: str, alive: Callable[[str], bool]) -> int:
        """Removes the project's containers of this host whose `label` names nobody alive: those of killed runs.

        A daemon may serve several hosts; what another one started cannot be judged from here. How many.
        """
        filters = {"label": [f"{LABEL}.project", f"{HOST_LABEL}={host_mark()}", label]}
        found = self.asked(lambda: self.client.api.containers(all=True, filters=filters))
        left = [each["Id"] for each in found if not alive(each["Labels"][label])]
        for name in left:
            self.remove(name)
        return len(left)

    def remove(self, name: str) -> None:
        """Ends and removes a container; one that is gone already is no error."""
        with contextlib.suppress(ImageFault, DaemonGone):
            self.asked(lambda: self.client.api.remove_container(name, force=True, v=True))


class ContainerChannel:
    """See `matrix.channel.Channel`: a container's stdin, stdout and stderr over its attached socket. Starts it."""

    def __init__(self, daemon: Daemon, name: str) -> None:
        self._daemon, self._name = daemon, name
        params = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        attached = daemon.asked(lambda: daemon.client.api.attach_socket(name, params=params))
        self._holder = attached
        self._socket: socket.socket = getattr(attached, "_sock", attached)
        self._socket.settimeout(None)
        self._buffer = bytearray()
        daemon.asked(lambda: daemon.client.api.start(name))

    def write(self, data: bytes) -> None:
        self._socket.sendall(data)

    def end_input(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def read(self, seconds: float | None) -> tuple[int, bytes] | None:
        while (frame := self._frame()) is None:
            if not self._readable(seconds):
                return None
            try:
                data = self._socket.recv(READ_BYTES)
            except OSError:
                data = b""
            if not data:
                return STDOUT, b""
            self._buffer += data
        return frame

    def _readable(self, seconds: float | None) -> bool:
        """Waits without a timeout on the socket itself: that would be the writing thread's as well."""
        pending = getattr(self._socket, "pending", None)  # what TLS has deciphered already
        if self._socket.fileno() < 0 or (pending and pending()):
            return True
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(None if seconds is None else seconds * 1000))

    def _frame(self) -> tuple[int, bytes] | None:
        """The next whole frame of the daemon's multiplexed stream: 8 bytes of header (stream, length), then data."""
        if len(self._buffer) < 8:
            return None
        stream, length = struct.unpack(">BxxxL", self._buffer[:8])
        if len(self._buffer) < 8 + length:
            return None
        data = bytes(self._buffer[8 : 8 + length])
        del self._buffer[: 8 + length]
        return stream, data

    def wait(self, seconds: float | None) -> int | None:
        api = self._daemon.client.api
        try:
            status = self._daemon.asked(lambda: api.wait(self._name, timeout=seconds or PATIENCE))
        except ImageFault:
            return 137  # it was removed
        except DaemonGone as error:
            return None if "timed out" in str(error).lower() and seconds is not None else 137
        return int(status["StatusCode"])

    def kill(self) -> None:
        self._daemon.remove(self._name)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._daemon.remove(self._name)
        with contextlib.suppress(OSError):
            self._holder.close()


def host_mark() -> str:
    """Tells this host from others that use the same daemon, without naming it."""
    identity = socket.gethostname()
    with contextlib.suppress(OSError):
        identity += Path("/etc/machine-id").read_text(encoding="ascii")
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def nobody() -> str:
    """uid:gid of no user that the host knows, so that what escapes owns nothing."""
    for number in range(61234, 65000):
        try:
            pwd.getpwuid(number)
        except KeyError:
            return f"{number}:{number}"
    return "65534:65534"


def _client(docker: Any) -> Any:  # noqa: ANN401 - the SDK has no types
    if "DOCKER_HOST" not in os.environ:
        with contextlib.suppress(Exception):
            context = docker.ContextAPI.get_current_context()
            if context.name != "default":
                return docker.DockerClient(base_url=context.Host, tls=context.TLSConfig, timeout=GREETING)
    return docker.from_env(timeout=GREETING)


def _refusal(said: str) -> MatrixError:
    if "no space left on device" in said:
        return DiskFull("no space left on the daemon's disk", tip=DISK)
    return ImageFault(f"the daemon refuses: {said}", tip=DOCTOR)


def _reason(error: Exception) -> str:
    said = str(error)
    if "PermissionError" in said or "Permission denied" in said:
        return "no permission on its socket; add yourself to its group (`usermod -aG docker USER`), or run as root"
    if "FileNotFoundError" in said or "No such file" in said:
        return "no socket where it is expected"
    if "ConnectionRefused" in said or "Connection refused" in said:
        return "nobody listens where it is expected"
    return " ".join(said.split())[:300] or type(error).__name__
