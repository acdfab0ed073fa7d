"""The only access to a container daemon, through the Docker SDK: loads images, runs confined containers, copies files.

All objects that are created here have the project's label; objects without it are never touched. Podman's socket works
too (docs/engines.md says what differs).
"""

from __future__ import annotations

import contextlib
import hashlib
import pwd
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from matrix.core.errors import DaemonGone, DiskFull, EngineMissing, ImageFault, MatrixError
from matrix.engines.docker.address import SshRelay, find_address
from matrix.images.image import LABEL_PREFIX, Image

T = TypeVar("T")

PROJECT = {f"{LABEL_PREFIX}.project": "iree-matrix"}
HOST_LABEL = f"{LABEL_PREFIX}.host"
START_TIP = "start it (`dockerd`, `systemctl start docker`), set DOCKER_HOST, or use --engine venv"
GPU_TIP = "install NVIDIA's container toolkit and restart the daemon; `docker run --gpus all` tries it"
DISK = "`docker system df` shows what is on it"
DOCTOR = "`python -m matrix doctor` checks the daemon"
BACK = "start it again; then the same command continues, and removes leftovers"
GREETING = 20
"""Seconds that a daemon may take to report its version."""
OPEN_FILES = 4096
"""The limit in a container. Podman's default may exceed that of its host, and then it starts no container."""
PATIENCE = 120
"""Seconds that the daemon may take for one answer. Loading an image is streamed and has no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """The resources of a container. It has no network, a read-only root, no capabilities and no privileges.

    There is no `--init`: it would be a process of the jobs' user with the worker's stdout, and a job could write a
    result there, through /proc/1/fd/1 or /proc/1/mem. The worker closes both to its jobs (PR_SET_DUMPABLE) and does the
    work of init: it reaps orphans and ends at SIGTERM. As the first process it is also safe from a job's SIGKILL and
    SIGSTOP, and if it crashes the daemon reports it at once, with status 139.
    """

    memory_bytes: int
    scratch_bytes: int
    file_bytes: int
    processes: int = 512
    cores: float = 1.0
    gpus: str = ""
    """NVIDIA's GPUs that it sees, in the words of `docker run --gpus`; "": none."""


class Daemon:
    """A connection to the daemon. Raises EngineMissing where no daemon answers."""

    def __init__(self) -> None:
        import docker
        import requests

        self._docker = docker
        self._relay: SshRelay | None = None
        self._layers: dict[str, list[str]] = {}
        try:
            address = find_address()
            self.remote = address.remote
            if address.over_ssh:
                self._relay = SshRelay(address.url)
            url = self._relay.url if self._relay else address.url or None
            self.client = docker.DockerClient(base_url=url, tls=address.tls, timeout=GREETING)
            self.version: str = self.client.version()["Version"]
        except (docker.errors.DockerException, requests.RequestException, OSError) as error:
            said = self._relay.said if self._relay else ""
            self.close()
            raise EngineMissing(f"no container daemon answers: {said or _reason(error)}", tip=START_TIP) from None
        self.client.api.timeout = PATIENCE

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self.client.close()
        if self._relay:
            self._relay.close()

    def call(self, question: Callable[[], T]) -> T:
        """Calls the daemon. Raises DaemonGone, ImageFault or DiskFull instead of the errors of the SDK."""
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
        """The ID of the image there: the digest of its config or, with the containerd store, of its manifest."""
        names = (f"sha256:{digest}" for digest in (image.digest, image.manifest_digest))
        return next((name for name in names if self.inspected(name)), None)

    def has(self, image: Image) -> bool:
        return self.find(image) is not None

    def inspected(self, name: str) -> Any:  # noqa: ANN401 - the SDK has no types
        """What the daemon reports of an image, by name or ID; None where it does not have it."""
        try:
            return self.call(lambda: self.client.api.inspect_image(name))
        except ImageFault:
            return None

    def layers(self) -> list[list[str]]:
        """The layers (diff IDs without `sha256:`) of each image of the project."""
        found = set(self.call(lambda: self.client.api.images(filters={"label": f"{LABEL_PREFIX}.project"}, quiet=True)))
        for name in found - self._layers.keys():  # the layers of an image never change
            if said := self.inspected(name):
                self._layers[name] = [layer.removeprefix("sha256:") for layer in said["RootFS"]["Layers"]]
        return [self._layers[name] for name in found & self._layers.keys()]

    def name(self, image: Image, tag: str) -> None:
        """Tags an image. Daemons note the time of tagging, but not of loading: this makes its age known."""
        repository, _, version = tag.rpartition(":")
        self.call(lambda: self.client.api.tag(self.find(image), repository, version))

    def any_image(self) -> str | None:
        """Any image of the project: each has a Python."""
        found = self.call(lambda: self.client.api.images(filters={"label": f"{LABEL_PREFIX}.project"}, quiet=True))
        return str(found[0]) if found else None

    def load(self, archive: Iterator[bytes]) -> None:
        """Streams a `docker load` archive to the daemon. Raises the errors of reading the archive, and ImageFault or
        DiskFull with the daemon's message."""
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
            self.call(ask)
        except MatrixError:
            if broken:
                raise broken[0] from None
            raise

    # -- containers

    def sees(self, folder: Path, image: str) -> bool:
        """Whether the daemon's host sees this folder: a local socket may lead to another machine."""
        small = Confinement(memory_bytes=64 << 20, scratch_bytes=1 << 20, file_bytes=1 << 20)
        mounts = {folder: ("/probe", "ro")}
        try:
            self.remove(self.create(image, ["-"], confinement=small, mounts=mounts, labels={}))
        except ImageFault:
            return False
        return True

    def create(
        self,
        image: str,
        command: Sequence[str],
        *,
        confinement: Confinement,
        mounts: Mapping[Path, tuple[str, str]],
        labels: Mapping[str, str],
        volumes: Sequence[str] = (),
    ) -> str:
        """Creates a confined container, and does not start it. Returns its ID. `mounts`: host folder -> (path, `ro` or
        `rw`); `volumes`: paths on the daemon's disk that belong to root and are removed with the container."""
        host = self._host_config(confinement, mounts, volumes, {**PROJECT, **labels})
        made = self.call(
            lambda: self.client.api.create_container(
                image,
                command=list(command),
                entrypoint="",
                user=nobody(),
                hostname="matrix",
                working_dir="/",
                stdin_open=True,
                tty=False,
                network_disabled=True,
                healthcheck=self._docker.types.Healthcheck(test=["NONE"]),  # one of the image would run beside the jobs
                labels={**PROJECT, HOST_LABEL: host_mark(), **labels},
                host_config=host,
            )
        )
        return str(made["Id"])

    def _host_config(
        self,
        confinement: Confinement,
        mounts: Mapping[Path, tuple[str, str]],
        volumes: Sequence[str],
        labels: Mapping[str, str],
    ) -> Any:  # noqa: ANN401 - the SDK has no types
        types = self._docker.types
        folders = [
            types.Mount(place, str(folder), type="bind", read_only=mode == "ro")
            for folder, (place, mode) in mounts.items()
        ]
        made = [types.Mount(place, None, type="volume", labels=labels) for place in volumes]
        return self.client.api.create_host_config(
            network_mode="none",
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            ipc_mode="private",
            tmpfs={"/tmp": f"size={confinement.scratch_bytes},mode=1777", "/dev/shm": "size=67108864,mode=1777"},
            mem_limit=confinement.memory_bytes,
            memswap_limit=confinement.memory_bytes,
            pids_limit=confinement.processes,
            nano_cpus=int(confinement.cores * 1e9),
            ulimits=[
                types.Ulimit(name="fsize", soft=confinement.file_bytes, hard=confinement.file_bytes),
                types.Ulimit(name="core", soft=0, hard=0),
                types.Ulimit(name="nofile", soft=OPEN_FILES, hard=OPEN_FILES),
            ],
            log_config=types.LogConfig(type="none"),
            device_requests=[gpu_request(types.DeviceRequest, confinement.gpus)] if confinement.gpus else None,
            mounts=[*folders, *made],
        )

    def put(self, name: str, place: str, archive: Iterator[bytes]) -> None:
        """Unpacks a streamed tar below a path of a container, as root. An entry replaces a folder of the same name."""
        self.call(lambda: self.client.api.put_archive(name, place, archive))

    def get(self, name: str, place: str, read: Callable[[Iterator[bytes]], T]) -> T:
        """The result of `read` for a streamed tar of a path of a container."""
        return self.call(lambda: read(self.client.api.get_archive(name, place)[0]))

    def run_in(self, name: str, argv: Sequence[str]) -> str:
        """Runs a program in a running container, as its user. Returns its output."""
        api = self.client.api
        started = self.call(lambda: api.exec_create(name, list(argv)))
        said: bytes = self.call(lambda: api.exec_start(started["Id"]))
        return said.decode(errors="replace")

    def run(self, name: str) -> None:
        """Starts a container, waits for its end, and removes it."""
        try:
            self.call(lambda: self.client.api.start(name))
            self.call(lambda: self.client.api.wait(name, timeout=PATIENCE))
        finally:
            self.remove(name)

    def remove_left(self, label: str, alive: Callable[[str], bool]) -> None:
        """Removes the containers of killed runs on this host: those whose `label` names nobody that is `alive`.

        A daemon may serve several hosts; containers that another host started are left alone.
        """
        filters = {"label": [f"{LABEL_PREFIX}.project", f"{HOST_LABEL}={host_mark()}", label]}
        found = self.call(lambda: self.client.api.containers(all=True, filters=filters))
        for each in found:
            if not alive(each["Labels"][label]):
                self.remove(each["Id"])

    def remove(self, name: str) -> None:
        """Stops and removes a container and its volumes. A container that does not exist is no error."""
        with contextlib.suppress(ImageFault, DaemonGone):
            self.call(lambda: self.client.api.remove_container(name, force=True, v=True))


def gpu_request(request: Callable[..., Any], gpus: str) -> Any:  # noqa: ANN401 - the SDK has no types
    """The request for GPUs of `docker run --gpus`: `all`, a number, or `device=ID,ID`."""
    capabilities = [["gpu", "compute", "utility"]]
    if gpus == "all" or gpus.isdecimal():
        return request(count=-1 if gpus == "all" else int(gpus), capabilities=capabilities)
    return request(device_ids=gpus.removeprefix("device=").split(","), capabilities=capabilities)


def host_mark() -> str:
    """An identifier of this host, to tell it from others that use the same daemon, without its name."""
    identity = socket.gethostname()
    with contextlib.suppress(OSError):
        identity += Path("/etc/machine-id").read_text(encoding="ascii")
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def nobody() -> str:
    """uid:gid of no user of the host, so that an escaped process owns nothing."""
    for number in range(61234, 65000):
        try:
            pwd.getpwuid(number)
        except KeyError:
            return f"{number}:{number}"
    return "65534:65534"


def _refusal(said: str) -> MatrixError:
    if "could not select device driver" in said:
        return EngineMissing("the container daemon knows no GPUs", tip=GPU_TIP)
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
        return "no process listens where it is expected"
    return " ".join(said.split())[:300] or type(error).__name__
