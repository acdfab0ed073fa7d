"""The one seam to a container daemon, through the Docker SDK: load images, run locked-down containers, copy files.

Everything made here carries the project's label; what does not carry it is never touched. Podman's socket is one as
well (docs/engines.md says what differs).
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
DISK = "`docker system df` shows what it holds"
DOCTOR = "`python -m matrix doctor` looks at the daemon"
BACK = "start it again; the same command goes on from there, and removes what was left"
GREETING = 20
"""Seconds that a daemon has to say which version it is."""
OPEN_FILES = 4096
"""A daemon's own default may be more than its host allows: Podman then starts nothing."""
PATIENCE = 120
"""Seconds that one answer of the daemon may take; loading an image streams and has no such limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """What a container may use. Everything else is locked: no network, read-only root, no capability, no privilege.

    There is no `--init`: it would be a process of the jobs' user that holds the worker's stdout, and a job could write
    a result there, through /proc/1/fd/1 or /proc/1/mem. The worker closes both to its jobs (PR_SET_DUMPABLE) and does
    what init is for: it reaps orphans and ends at SIGTERM. As the first process it is also out of reach of a job's
    SIGKILL and SIGSTOP, and where it dies of a fault of its own the daemon says so at once, with status 139.
    """

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
        return next((name for name in names if self.inspected(name)), None)

    def has(self, image: Image) -> bool:
        return self.find(image) is not None

    def inspected(self, name: str) -> Any:  # noqa: ANN401 - the SDK has no types
        """What the daemon says of an image, by its name or ID; None where it has none."""
        try:
            return self.asked(lambda: self.client.api.inspect_image(name))
        except ImageFault:
            return None

    def layers(self) -> list[list[str]]:
        """The layers (diff IDs without `sha256:`) of each image of the project."""
        found = set(
            self.asked(lambda: self.client.api.images(filters={"label": f"{LABEL_PREFIX}.project"}, quiet=True))
        )
        for name in found - self._layers.keys():  # what an image is made of never changes
            if said := self.inspected(name):
                self._layers[name] = [layer.removeprefix("sha256:") for layer in said["RootFS"]["Layers"]]
        return [self._layers[name] for name in found & self._layers.keys()]

    def name(self, image: Image, tag: str) -> None:
        """Names an image. Daemons note the time of that, and none when they load: its age is known from now on."""
        repository, _, version = tag.rpartition(":")
        self.asked(lambda: self.client.api.tag(self.find(image), repository, version))

    def any_image(self) -> str | None:
        """An image of the project, whichever: each has a Python."""
        found = self.asked(lambda: self.client.api.images(filters={"label": f"{LABEL_PREFIX}.project"}, quiet=True))
        return str(found[0]) if found else None

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

    def sees(self, folder: Path, image: str) -> bool:
        """Whether the daemon's host has this folder: a socket here may lead to another machine."""
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
        """A locked-down container, not started; returns its id. `mounts`: host folder -> (place, `ro` or `rw`);
        `volumes`: places that are root's, on the daemon's disk, and go with the container."""
        host = self._host_config(confinement, mounts, volumes, {**PROJECT, **labels})
        made = self.asked(
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
                healthcheck=self._docker.types.Healthcheck(test=["NONE"]),  # an image's own would run beside the jobs
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
            mounts=[*folders, *made],
        )

    def put(self, name: str, place: str, archive: Iterator[bytes]) -> None:
        """Unpacks a tar below a place of a container, streamed, as root: what has the name of a folder replaces it."""
        self.asked(lambda: self.client.api.put_archive(name, place, archive))

    def get(self, name: str, place: str, read: Callable[[Iterator[bytes]], T]) -> T:
        """What `read` makes of a tar of a place of a container, streamed."""
        return self.asked(lambda: read(self.client.api.get_archive(name, place)[0]))

    def run_in(self, name: str, argv: Sequence[str]) -> str:
        """Runs a program in a running container, as its user. Returns what it says."""
        api = self.client.api
        started = self.asked(lambda: api.exec_create(name, list(argv)))
        said: bytes = self.asked(lambda: api.exec_start(started["Id"]))
        return said.decode(errors="replace")

    def run(self, name: str) -> None:
        """Starts a container that ends by itself, and removes it."""
        try:
            self.asked(lambda: self.client.api.start(name))
            self.asked(lambda: self.client.api.wait(name, timeout=PATIENCE))
        finally:
            self.remove(name)

    def remove_left(self, label: str, alive: Callable[[str], bool]) -> None:
        """Removes the project's containers of this host whose `label` names nobody alive: those of killed runs.

        A daemon may serve several hosts; what another one started cannot be judged from here.
        """
        filters = {"label": [f"{LABEL_PREFIX}.project", f"{HOST_LABEL}={host_mark()}", label]}
        found = self.asked(lambda: self.client.api.containers(all=True, filters=filters))
        for each in found:
            if not alive(each["Labels"][label]):
                self.remove(each["Id"])

    def remove(self, name: str) -> None:
        """Ends and removes a container and its volumes; one that is gone already is no error."""
        with contextlib.suppress(ImageFault, DaemonGone):
            self.asked(lambda: self.client.api.remove_container(name, force=True, v=True))


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
