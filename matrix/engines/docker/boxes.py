"""The containers of a run: created for a job, kept for the next one of the same environment, and removed with their
files."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock

from matrix.core.disk import DEAD_SUFFIX, remove_tree
from matrix.core.errors import MatrixError, WorkerLost
from matrix.core.records import Environment, EnvironmentRequest, Job
from matrix.engines.contract import tool_line
from matrix.engines.docker.channel import ContainerChannel
from matrix.engines.docker.daemon import Confinement, Daemon
from matrix.engines.docker.exchange import ENVIRONMENT_PYTHON, TREES_SCRIPT, Copied, Exchange, Mounted, filled
from matrix.engines.docker.images import Images
from matrix.engines.worker import Worker, WorkerEvent, worker_arguments
from matrix.images.image import LABEL_PREFIX
from matrix.plan.stages import worker_of

SCRATCH = ("/tmp", "/dev/shm", "/dev/mqueue")
RUN_LABEL = f"{LABEL_PREFIX}.run"
STORE_LABEL = f"{LABEL_PREFIX}.store"
WORKER_BYTES = 256 << 20
"""Memory of a container besides that of its job: for the worker, and for pages of tmpfs, which count as memory."""
SCRATCH_BYTES = 2 << 30
FILE_BYTES = 16 << 30
FOLDER_BYTES = 16 << 30
"""The limit for all files of a job together. It is checked from time to time (`look_seconds` of an exchange): the disk
must have space for the bytes written in between, and for files that the job has removed but keeps open, each at most
FILE_BYTES."""
FOLDER_FILES = 100_000
"""The limit for the number of files and folders of a job together: to count and to remove them takes this process a
second."""
SMALL = Confinement(memory_bytes=64 << 20, scratch_bytes=1 << 20, file_bytes=1 << 20)
"""For a container that only makes folders accessible."""
ENDERS = 8
"""Containers that are removed at the same time; the daemon takes 0.1 to 0.3 s for one."""


@dataclass(eq=False, kw_only=True)
class Box:
    """A container with its worker and the exchange of its files; `busy` is the key of its current job.

    `gate` is held while the container is created and while it is removed: a removed one is never created afterwards.
    """

    environment: Environment
    exchange: Exchange
    memory_bytes: int
    fresh: bool
    busy: str = ""
    container: str = ""
    worker: Worker | None = None
    fault: str = ""
    ended: bool = False
    gate: Lock = field(default_factory=Lock)

    @property
    def usable(self) -> bool:
        return self.worker is not None and not self.worker.gone and not self.fault


class Boxes:
    """All containers of one run. `labels` are their labels; `closing` tells that the run is being stopped."""

    folder_bytes = FOLDER_BYTES

    def __init__(
        self, *, images: Images, scratch: Path, scripts: Path, labels: Mapping[str, str], closing: Event, gpus: str = ""
    ) -> None:
        self._gpus = gpus
        self._images, self._scratch, self._scripts = images, scratch, scripts
        self._labels, self._closing = labels, closing
        self._all: list[Box] = []
        self._enders = ThreadPoolExecutor(ENDERS, thread_name_prefix="ends containers")
        self.copies: bool | None = None
        """Whether the daemon cannot see our folders, so that files are copied. None: not known yet."""
        self.cold: set[str] = set()
        """Digests of environments whose warm imports fail."""

    @property
    def _daemon(self) -> Daemon:
        return self._images.daemon

    def remove_left(self) -> None:
        """Removes the remains of killed runs: their containers, and folders that only the user of those can access."""
        self._daemon.remove_left(RUN_LABEL, _alive)
        for folder in self._scratch.parent.glob(f"*{DEAD_SUFFIX}"):
            self._remove_folder(folder)

    def take(self, job: Job, environment: Environment) -> Box:
        """The memory limit of a container is that of its first job: it only takes others with the same limit."""
        wanted = (environment.digest, job.limits.memory_bytes)
        for box in self._all:
            free = not (box.busy or box.fresh or job.script) and box.usable
            if free and (box.environment.digest, box.memory_bytes) == wanted:
                return box
        box = Box(
            environment=environment,
            exchange=self._exchange(environment),
            memory_bytes=job.limits.memory_bytes,
            fresh=bool(job.script),
        )
        self._all.append(box)
        return box

    def _exchange(self, environment: Environment) -> Exchange:
        folder = Path(tempfile.mkdtemp(prefix="box-", dir=self._scratch))
        if self.copies is None:
            self.copies = self._daemon.remote or not self._daemon.sees(folder, self._images.standing(environment))
        python = python_of(environment)
        kind = Copied if self.copies else Mounted
        return kind(self._daemon, folder, self._scripts, python=python, most_bytes=self.folder_bytes)

    def open(self, box: Box, job: Job, on_event: Callable[[WorkerEvent], None]) -> None:
        image = self._images.standing(box.environment)
        arguments = worker_arguments(
            Path(box.exchange.places.scripts) / "worker.py",
            slots=1,
            warm=worker_of(job.stage).warm if job.script and box.environment.digest not in self.cold else (),
            version_of=worker_of(job.stage).versions_of if job.script else (),
            box=SCRATCH,
        )
        confinement = Confinement(
            memory_bytes=job.limits.memory_bytes + WORKER_BYTES,
            scratch_bytes=SCRATCH_BYTES,
            file_bytes=FILE_BYTES,
            gpus=self._gpus if box.environment.machine else "",  # it then names the device
        )
        with box.gate:
            if box.ended:
                raise WorkerLost("the run is being ended")
            box.container = self._daemon.create(
                image,
                [python_of(box.environment), *arguments],
                confinement=confinement,
                mounts=box.exchange.mounts,
                volumes=box.exchange.volumes,
                labels=self._labels,
            )
            box.exchange.attach(box.container)
            channel = ContainerChannel(self._daemon, box.container)
            box.worker = Worker(channel=channel, on_event=on_event, name=box.environment.request_label)

    def watch(self, box: Box, key: str) -> None:
        """Ends the container of a job that writes too much. One thread for each job; it ends with the job."""
        while not self._closing.wait(box.exchange.look_seconds) and box.busy == key:
            try:
                held, files = box.exchange.held()
            except (MatrixError, OSError):  # the job or the daemon has ended: other threads report it
                return
            if box.busy == key and (held > self.folder_bytes or files > FOLDER_FILES):
                many = f"the job made too many files: {files:,}, at most {FOLDER_FILES:,}"
                box.fault = many if files > FOLDER_FILES else filled(held, self.folder_bytes)
                self._daemon.remove(box.container)

    def retire(self, request: EnvironmentRequest) -> None:
        """Ends the containers of a damaged image: their jobs are lost, and the next one gets a new container."""
        for box in self._all:
            if box.environment.request_label == request.label:
                box.fault = "its image is damaged"
                with box.gate:
                    self._daemon.remove(box.container)

    def give_back(self, box: Box) -> None:
        """Its job has ended. No job may see the files of another: if they cannot be removed, the container is."""
        emptied = box.usable and not box.fresh and box.exchange.clear()
        if not emptied:
            self._all.remove(box)
            self._enders.submit(self._end, box)
        box.busy = ""

    def end(self) -> None:
        """Starts to remove all containers; `close` waits for it."""
        for box in self._all:
            self._enders.submit(self._end, box)
        self._all.clear()

    def close(self) -> None:
        self._enders.shutdown(wait=True)

    def _end(self, box: Box) -> None:
        with box.gate:
            box.ended = True
            if box.worker is not None:
                box.worker.terminate()
            elif box.container:
                self._daemon.remove(box.container)
        self._remove_folder(box.exchange.folder, box.environment)

    def _remove_folder(self, folder: Path, environment: Environment | None = None) -> None:
        """What a job has closed to us is removed by a container with its user: of the same image, or of any if that is
        unknown."""
        if remove_tree(folder) or self.copies:
            return
        for place, names, _ in os.walk(folder):
            Path(place).chmod(0o777)  # that user may move what is deep to the top
            names[:] = [name for name in names if Path(place, name).lstat().st_uid == os.geteuid()]
        with contextlib.suppress(MatrixError):
            if image := self._images.name(environment) if environment else self._daemon.any_image():
                python = python_of(environment) if environment else ENVIRONMENT_PYTHON
                command = [python, "-I", "-S", "-c", (self._scripts / TREES_SCRIPT).read_text(), "empty", "/left"]
                mounts = {folder: ("/left", "rw")}
                made = self._daemon.create(image, command, confinement=SMALL, mounts=mounts, labels=self._labels)
                self._daemon.run(made)
        remove_tree(folder)


def python_of(environment: Environment) -> str:
    """The interpreter of an environment, which runs its worker."""
    return tool_line(("python",), environment)[0]


def _alive(run: str) -> bool:
    """A run is alive while its scratch folder exists: the next opening of its store removes or renames it."""
    try:
        return Path(run).is_dir()
    except OSError:  # of another user
        return True
