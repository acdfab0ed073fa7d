"""Locked-down containers whose images are assembled from the locks.

One container an environment is kept for the run, its worker spoken to over the attached socket, one job at a time; more
containers where more cores wait. A job that runs a user's code (export) has a container of its own. How files get in
and out, and that nothing of a job is left for the next, is the business of `matrix.engines.exchange`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from threading import Event, Lock, Thread

from matrix.core.disk import DEAD_SUFFIX
from matrix.core.errors import DaemonGone, DiskFull, MatrixError, WorkerLost
from matrix.core.records import Environment, EnvironmentRequest, Job, JobEnd
from matrix.engines.contract import ONE_THREAD, script_arguments, tool_line
from matrix.engines.docker.channel import ContainerChannel
from matrix.engines.docker.daemon import Confinement, Daemon
from matrix.engines.docker.exchange import ENVIRONMENT_PYTHON, Copied, Exchange, Mounted, filled, opener
from matrix.engines.docker.images import Images
from matrix.engines.docker.kind import DOCKER
from matrix.engines.worker import Finished, Lost, Order, Worker, WorkerEvent, worker_arguments
from matrix.images.image import LABEL_PREFIX
from matrix.images.workshop import Workshop
from matrix.plan.stages import worker_of

SCRATCH = ("/tmp", "/dev/shm", "/dev/mqueue")
RUN_LABEL = f"{LABEL_PREFIX}.run"
STORE_LABEL = f"{LABEL_PREFIX}.store"
WORKER_BYTES = 256 << 20
"""Memory of a container beside that of its job: the worker, and pages of tmpfs, which count as memory."""
SCRATCH_BYTES = 2 << 30
FILE_BYTES = 16 << 30
FOLDER_BYTES = 16 << 30
"""What all files that a job leaves may hold together. Looked at now and then (`look_seconds` of an exchange): the disk
must have room for what is written in between, and for what a job writes into files that it has removed, each at most
FILE_BYTES."""
SMALL = Confinement(memory_bytes=64 << 20, scratch_bytes=1 << 20, file_bytes=1 << 20)
"""Of a container that only opens folders."""
ENDERS = 8
"""Containers that are ended at the same time; the daemon takes 0.1 to 0.3 s for one."""


@dataclass(eq=False, kw_only=True)
class Box:
    """A container with its worker and the exchange of its files; `busy` is the key of the job in it.

    `gate` is held while the container is made and while it is ended: what is ended is never made afterwards.
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


class DockerEngine:
    """See `matrix.engines.contract`: an `Engine` that is `Measuring`."""

    name = DOCKER.name
    prefetch = 0
    folder_bytes = FOLDER_BYTES

    def __init__(
        self,
        *,
        folder: Path,
        scratch: Path,
        scripts: Path,
        slots: int,
        on_event: Callable[[WorkerEvent], None],
        workshop: Workshop,
        machine: str,
        offline: bool = False,
    ) -> None:
        self._scratch, self._scripts, self._on_event = scratch, scripts, on_event
        self._store = str(folder.parent)
        self._boxes: list[Box] = []
        self._jobs: dict[str, Box] = {}
        self._running: dict[str, Job] = {}
        self._cancelled: set[str] = set()
        self._cold: set[str] = set()
        self._broken: MatrixError | None = None
        self._closing = Event()
        self._images = Images(
            workshop=workshop,
            machine=machine,
            look=scripts / "look.py",
            labels=self._labels,
            ending=self._closing.is_set,
        )
        self._pool = ThreadPoolExecutor(max(2, slots), thread_name_prefix="containers")
        self._enders = ThreadPoolExecutor(ENDERS, thread_name_prefix="ends containers")
        self._copies: bool | None = None
        if not offline:
            self._remove_left()

    @property
    def _daemon(self) -> Daemon:
        return self._images.daemon

    def _remove_left(self) -> None:
        """What killed runs left: their containers, and folders that only the user of those can open."""
        self._daemon.remove_left(RUN_LABEL, _alive)
        for folder in self._scratch.parent.glob(f"*{DEAD_SUFFIX}"):
            self._remove_folder(folder)

    # -- environments

    def recipe(self, request: EnvironmentRequest) -> str:
        return self._images.recipe(request)

    def load(self, request: EnvironmentRequest) -> Environment | None:
        return self._images.load(request)

    def realise(self, request: EnvironmentRequest) -> Environment:
        return self._images.realise(request)

    def held_bytes(self, made: EnvironmentRequest | None = None) -> int:  # noqa: ARG002
        return self._images.held_bytes()

    def free_bytes(self) -> int | None:
        return self._images.free_bytes()

    def close_worker(self, request: EnvironmentRequest) -> None:
        pass  # an export has a container of its own, which is gone already

    # -- jobs

    def start(self, job: Job, environment: Environment, inputs: Mapping[str, Path]) -> None:
        """Raises DaemonGone or DiskFull if no further job can run."""
        if self._broken:
            raise self._broken
        box = self._free_box(job, environment)
        box.busy = job.key
        self._jobs[job.key], self._running[job.key] = box, job
        self._pool.submit(self._launch, box, job, dict(inputs))

    def _free_box(self, job: Job, environment: Environment) -> Box:
        """A container's memory is that of its first job: it takes others of the same limit only."""
        wanted = (environment.digest, job.limits.memory_bytes)
        for box in self._boxes:
            free = not (box.busy or box.fresh or job.script) and box.usable
            if free and (box.environment.digest, box.memory_bytes) == wanted:
                return box
        box = Box(
            environment=environment,
            exchange=self._exchange(environment),
            memory_bytes=job.limits.memory_bytes,
            fresh=bool(job.script),
        )
        self._boxes.append(box)
        return box

    def _exchange(self, environment: Environment) -> Exchange:
        folder = Path(tempfile.mkdtemp(prefix="box-", dir=self._scratch))
        if self._copies is None:
            self._copies = self._daemon.remote or not self._daemon.sees(folder, self._images.standing(environment))
        python = python_of(environment)
        if self._copies:
            return Copied(self._daemon, folder, self._scripts, python=python, most_bytes=self.folder_bytes)
        return Mounted(self._daemon, folder, self._scripts, python=python)

    def _launch(self, box: Box, job: Job, inputs: Mapping[str, Path]) -> None:
        """On a thread of the pool: whatever goes wrong becomes the end of the job."""
        try:
            if not self._closing.is_set():
                self._hand_over(box, job, inputs)
        except Exception as error:  # noqa: BLE001 - nobody looks at this thread: an error of ours must not be a hang
            if isinstance(error, DaemonGone | DiskFull):
                self._broken = self._broken or error
            said = str(error) if isinstance(error, MatrixError | OSError) else f"{type(error).__name__}: {error}"
            self._on_event(Finished(worker=box.exchange.folder.name, end=JobEnd(key=job.key, end="lost", error=said)))

    def _hand_over(self, box: Box, job: Job, inputs: Mapping[str, Path]) -> None:
        if box.worker is None:
            self._open(box, job)
        assert box.worker is not None
        box.exchange.lay(inputs)
        if job.key in self._cancelled:
            self._on_event(Finished(worker=box.exchange.folder.name, end=JobEnd(key=job.key, end="killed")))
            return
        box.worker.submit(self._order(job, box))
        Thread(target=self._watch, args=(box, job.key), name="watches a folder", daemon=True).start()

    def _open(self, box: Box, job: Job) -> None:
        image = self._images.standing(box.environment)
        arguments = worker_arguments(
            Path(box.exchange.places.scripts) / "worker.py",
            slots=1,
            warm=worker_of(job.stage).warm if job.script and box.environment.digest not in self._cold else (),
            version_of=worker_of(job.stage).versions_of if job.script else (),
            box=SCRATCH,
        )
        confinement = Confinement(
            memory_bytes=job.limits.memory_bytes + WORKER_BYTES, scratch_bytes=SCRATCH_BYTES, file_bytes=FILE_BYTES
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
            box.exchange.equip(box.container)
            channel = ContainerChannel(self._daemon, box.container)
            box.worker = Worker(channel=channel, on_event=partial(self._say, box), name=box.environment.request_label)

    @property
    def _labels(self) -> Mapping[str, str]:
        return {RUN_LABEL: str(self._scratch), STORE_LABEL: self._store}

    def _watch(self, box: Box, key: str) -> None:
        """Ends the container of a job that writes too much. A thread a job, gone with it."""
        while not self._closing.wait(box.exchange.look_seconds) and box.busy == key:
            try:
                held = box.exchange.held()
            except MatrixError:  # it is over, or the daemon is: others say so
                return
            if held > self.folder_bytes and box.busy == key:
                box.fault = filled(held, self.folder_bytes)
                self._daemon.remove(box.container)

    def _order(self, job: Job, box: Box) -> Order:
        environment, places = box.environment, box.exchange.places
        return Order(
            job_id=job.key,
            argv=tool_line(job.argv, environment),
            script=Path(places.scripts) / job.script if job.script else None,
            alone=job.alone,
            arguments=script_arguments(job, PurePosixPath(places.inputs)),
            cwd=Path(places.outputs),
            env={
                "PATH": os.defpath,
                **dict(environment.variables),
                "HOME": "/tmp",
                "TMPDIR": "/tmp",
                "USER": "matrix",
                "LANG": "C.UTF-8",
                "TZ": "UTC",
                **ONE_THREAD,
            },
            limits=job.limits,
        )

    def _say(self, box: Box, event: WorkerEvent) -> None:
        """A lost worker takes its container along and nothing else: the next job has a new one.

        Only where the daemon itself is gone with it, no further job can run.
        """
        if not isinstance(event, Lost):
            self._on_event(self._fetched(box, event) if isinstance(event, Finished) else event)
            return
        if self._closing.is_set():
            return
        if box.worker is not None and not box.worker.greeted:  # its imports crash: then the job's own do, on record
            self._cold.add(box.environment.digest)
        try:
            self._daemon.asked(self._daemon.client.ping)
        except MatrixError as error:
            if isinstance(error, DaemonGone):
                self._broken = self._broken or error
        if event.job_ids:
            self._on_event(replace(event, reason=box.fault or f"its container {event.reason}"))

    def _fetched(self, box: Box, event: Finished) -> Finished:
        """On the thread that reads from the worker: its next job waits for this anyhow."""
        job = self._running.get(event.end.key)
        if job is None or event.end.end == "killed":
            return event
        try:
            box.exchange.fetch(job)
        except (MatrixError, OSError) as error:
            if isinstance(error, DaemonGone | DiskFull):
                self._broken = self._broken or error
            box.fault = str(error)
            return replace(event, end=JobEnd(key=job.key, end="lost", error=box.fault))
        return event

    def collect(self, job: Job) -> dict[str, Path]:
        box = self._jobs.get(job.key)
        return box.exchange.collect(job) if box else {}

    def clear(self, job: Job) -> None:
        self._cancelled.discard(job.key)
        self._running.pop(job.key, None)
        box = self._jobs.pop(job.key, None)
        if box is None:
            return
        emptied = box.usable and not box.fresh and box.exchange.empty()
        if not emptied:  # nothing of a job is seen by another one
            self._boxes.remove(box)
            self._enders.submit(self._end, box)
        box.busy = ""

    def _end(self, box: Box) -> None:
        with box.gate:
            box.ended = True
            if box.worker is not None:
                box.worker.terminate()
            elif box.container:
                self._daemon.remove(box.container)
        self._remove_folder(box.exchange.folder, box.environment)

    def _remove_folder(self, folder: Path, environment: Environment | None = None) -> None:
        """Where a job closed a folder to us, its own user has to open it: in a short container of the same image, or of
        any where it is not known."""
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.is_dir() or self._copies:
            return
        for place, _, _ in os.walk(folder):
            with contextlib.suppress(OSError):  # that user's
                Path(place).chmod(0o755)
        with contextlib.suppress(MatrixError):
            if image := self._images.name(environment) if environment else self._daemon.any_image():
                command = opener("/left", python_of(environment) if environment else ENVIRONMENT_PYTHON)
                mounts = {folder: ("/left", "rw")}
                made = self._daemon.create(image, command, confinement=SMALL, mounts=mounts, labels=self._labels)
                self._daemon.run(made)
        shutil.rmtree(folder, ignore_errors=True)

    def cancel(self, key: str) -> None:
        if box := self._jobs.get(key):
            self._cancelled.add(key)
            if box.worker:
                box.worker.kill(key, queued_only=True)

    def close(self) -> None:
        self.terminate()

    def terminate(self) -> None:
        self._closing.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        for box in self._boxes:
            self._enders.submit(self._end, box)
        self._boxes.clear()
        self._pool.shutdown(wait=True)
        self._enders.shutdown(wait=True)
        self._images.close()


def python_of(environment: Environment) -> str:
    """The interpreter of an environment, on which its worker runs."""
    return tool_line(("python",), environment)[0]


def _alive(run: str) -> bool:
    """A run is alive while its scratch folder is there: the next opening of its store removes or renames it."""
    try:
        return Path(run).is_dir()
    except OSError:  # another user's
        return True
