"""Locked-down containers whose images are assembled from the locks.

One container an environment is kept for the run, its worker spoken to over the attached socket, one job at a time; more
containers where more cores wait. A job that runs a user's code (export) has a container of its own. A job sees its
inputs through a read-only mount, and a private folder for what it leaves; both are emptied between jobs.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from threading import Event, Lock, Thread

from matrix.assembler import Workshop, reusable
from matrix.daemon import Confinement, ContainerChannel, Daemon
from matrix.engines.base import ONE_THREAD, VERSIONS_OF, WARM, outputs_in
from matrix.errors import DaemonGone, DiskFull, EngineMissing, ImageFault, MatrixError, WorkerLost
from matrix.image import LABEL, Image, image_tag
from matrix.layers import ENVIRONMENT
from matrix.records import Environment, EnvironmentRequest, Job, JobEnd
from matrix.worker import Finished, Lost, Order, Worker, WorkerEvent, worker_arguments

SCRIPTS, INPUTS, OUTPUTS = "/scripts", "/in", "/out"
SCRATCH = ("/tmp", "/dev/shm", "/dev/mqueue")
RUN_LABEL = f"{LABEL}.run"
STORE_LABEL = f"{LABEL}.store"
WORKER_BYTES = 256 << 20
"""Memory of a container beside that of its job: the worker, and pages of tmpfs, which count as memory."""
SCRATCH_BYTES = 2 << 30
FILE_BYTES = 16 << 30
FOLDER_BYTES = 16 << 30
"""What all files that a job leaves may hold together. Looked at every LOOK_SECONDS: the disk must have room for what
is written in between, and for what a job writes into files that it has removed, each at most FILE_BYTES."""
LOOK_SECONDS = 0.5
ENDERS = 8
"""Containers that are ended at the same time; the daemon takes 0.1 to 0.3 s for one."""


@dataclass(eq=False, kw_only=True)
class Box:
    """A container with its worker and its two folders; `busy` is the key of the job in it.

    `gate` is held while the container is made and while it is ended: what is ended is never made afterwards.
    """

    environment: Environment
    exchange: Path
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
    """See `matrix.engines.base.Engine`."""

    name = "docker"
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
        self._workshop, self._machine = workshop, machine
        self._store = str(folder.parent)
        self._images: dict[EnvironmentRequest, Image] = {}
        self._by_digest: dict[str, tuple[EnvironmentRequest, Image]] = {}
        self._boxes: list[Box] = []
        self._jobs: dict[str, Box] = {}
        self._dropped: set[str] = set()
        self._broken: MatrixError | None = None
        self._loading, self._connecting, self._closing = Lock(), Lock(), Event()
        self._pool = ThreadPoolExecutor(max(2, slots), thread_name_prefix="containers")
        self._enders = ThreadPoolExecutor(ENDERS, thread_name_prefix="ends containers")
        self._daemon_: Daemon | None = None
        if not offline:
            self._daemon.remove_left(RUN_LABEL, _alive)

    @property
    def _daemon(self) -> Daemon:
        with self._connecting:
            if self._daemon_ is None:
                self._daemon_ = Daemon()
            return self._daemon_

    # -- environments

    def recipe(self, request: EnvironmentRequest) -> str:
        return self._image(request).digest

    def _image(self, request: EnvironmentRequest) -> Image:
        if request not in self._images:
            image = self._workshop.image(request, self._machine)
            self._images[request] = image
            self._by_digest[image.digest] = (request, image)
        return self._images[request]

    def load(self, request: EnvironmentRequest) -> Environment | None:
        image = self._image(request)
        return self._environment(request, image) if self._daemon.has(image) else None

    def realise(self, request: EnvironmentRequest) -> Environment:
        image = self._image(request)
        if not self._daemon.has(image):
            self._workshop.fetch(request, self._machine, image)
            with self._loading:  # one at a time: what one brings, the next need not send
                if not self._daemon.has(image):
                    self._load(request, image)
        return self._environment(request, image)

    def _load(self, request: EnvironmentRequest, image: Image) -> None:
        tag = image_tag(request)
        known = reusable(self._daemon.layers(), [each.layer.digest for each in image.layers])
        try:
            self._daemon.load(self._archive(request, image, tag, known))
        except ImageFault:
            if not known:
                raise
            self._daemon.load(self._archive(request, image, tag, 0))

    def _archive(self, request: EnvironmentRequest, image: Image, tag: str, known: int) -> Iterator[bytes]:
        """Ends in the middle once the engine is closed: half an archive loads nothing."""
        for block in self._workshop.archive(request, self._machine, image, tag=tag, skip=known):
            if self._closing.is_set():
                raise EngineMissing("the run is being ended")
            yield block

    def _environment(self, request: EnvironmentRequest, image: Image) -> Environment:
        return Environment(
            request_label=request.label,
            engine=self.name,
            digest=image.digest,
            root=Path(f"/{ENVIRONMENT}"),
            python_version=image.python_version,
            c_library=image.c_library,
            tools=image.tools,
            distributions=image.distributions,
        )

    # -- jobs

    def start(self, job: Job, environment: Environment, inputs: Mapping[str, Path]) -> None:
        """Raises DaemonGone or DiskFull if no further job can run."""
        if self._broken:
            raise self._broken
        box = self._free_box(job, environment)
        box.busy = job.key
        self._jobs[job.key] = box
        self._pool.submit(self._launch, box, job, dict(inputs))

    def _free_box(self, job: Job, environment: Environment) -> Box:
        """A container's memory is that of its first job: it takes others of the same limit only."""
        wanted = (environment.digest, job.limits.memory_bytes)
        for box in self._boxes:
            free = not (box.busy or box.fresh or job.script) and box.usable
            if free and (box.environment.digest, box.memory_bytes) == wanted:
                return box
        exchange = Path(tempfile.mkdtemp(prefix="box-", dir=self._scratch))
        for name, mode in (("in", 0o755), ("out", 0o777)):  # whatever the umask is
            (exchange / name).mkdir()
            (exchange / name).chmod(mode)
        box = Box(
            environment=environment, exchange=exchange, memory_bytes=job.limits.memory_bytes, fresh=bool(job.script)
        )
        self._boxes.append(box)
        return box

    def _launch(self, box: Box, job: Job, inputs: Mapping[str, Path]) -> None:
        """On a thread of the pool: whatever goes wrong becomes the end of the job."""
        try:
            if not self._closing.is_set():
                self._hand_over(box, job, inputs)
        except Exception as error:  # noqa: BLE001 - nobody looks at this thread: an error of ours must not be a hang
            if isinstance(error, DaemonGone | DiskFull):
                self._broken = self._broken or error
            said = str(error) if isinstance(error, MatrixError | OSError) else f"{type(error).__name__}: {error}"
            self._on_event(Finished(worker=box.exchange.name, end=JobEnd(key=job.key, end="lost", error=said)))

    def _hand_over(self, box: Box, job: Job, inputs: Mapping[str, Path]) -> None:
        for name, blob in inputs.items():
            place = box.exchange / "in" / name
            try:
                place.hardlink_to(blob)
            except OSError:  # another disk
                shutil.copyfile(blob, place)
            (box.exchange / "out" / name).symlink_to(PurePosixPath(INPUTS) / name)
        if box.worker is None:
            self._open(box, job)
        assert box.worker is not None
        if job.key in self._dropped:
            self._on_event(Finished(worker=box.exchange.name, end=JobEnd(key=job.key, end="killed")))
            return
        box.worker.submit(self._order(job, box.environment))
        Thread(target=self._watch, args=(box, job.key), name="watches a folder", daemon=True).start()

    def _open(self, box: Box, job: Job) -> None:
        request, image = self._by_digest[box.environment.digest]
        if not self._daemon.has(image):  # deleted under our hands
            self.realise(request)
        arguments = worker_arguments(
            Path(SCRIPTS) / "worker.py",
            slots=1,
            warm=WARM if job.script else (),
            version_of=VERSIONS_OF if job.script else (),
            scratch=SCRATCH,
        )
        confinement = Confinement(
            memory_bytes=job.limits.memory_bytes + WORKER_BYTES, scratch_bytes=SCRATCH_BYTES, file_bytes=FILE_BYTES
        )
        with box.gate:
            if box.ended:
                raise WorkerLost("the run is being ended")
            box.container = self._daemon.create(
                image,
                [f"/{ENVIRONMENT}/bin/python", *arguments],
                confinement=confinement,
                mounts={
                    self._scripts: (SCRIPTS, "ro"),
                    box.exchange / "in": (INPUTS, "ro"),
                    box.exchange / "out": (OUTPUTS, "rw"),
                    **self._model_mount(job),
                },
                labels={RUN_LABEL: str(self._scratch), STORE_LABEL: self._store},
            )
            channel = ContainerChannel(self._daemon, box.container)
            box.worker = Worker(channel=channel, on_event=partial(self._say, box), name=box.environment.request_label)

    def _watch(self, box: Box, key: str) -> None:
        """Ends the container of a job that writes too much. A thread a job, gone with it."""
        while not self._closing.wait(LOOK_SECONDS) and box.busy == key:
            held = held_bytes(box.exchange / "out")
            if held > self.folder_bytes and box.busy == key:
                box.fault = f"the job filled its folder: {held >> 20} MiB, at most {self.folder_bytes >> 20}"
                self._daemon.remove(box.container)

    def _model_mount(self, job: Job) -> dict[Path, tuple[str, str]]:
        model = dict(job.arguments).get("model_file")
        return {Path(model): (f"/model/{Path(model).name}", "ro")} if model else {}

    def _order(self, job: Job, environment: Environment) -> Order:
        arguments = dict(job.arguments)
        if "model_file" in arguments:
            arguments["model_file"] = f"/model/{Path(arguments['model_file']).name}"
        tool = (str(environment.root / environment.tools[job.argv[0]]), *job.argv[1:]) if job.argv else ()
        return Order(
            job_id=job.key,
            argv=tool,
            script=Path(SCRIPTS) / job.script if job.script else None,
            arguments=arguments,
            cwd=Path(OUTPUTS),
            env={
                "PATH": os.defpath,
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
            self._on_event(event)
            return
        if self._closing.is_set():
            return
        try:
            self._daemon.asked(self._daemon.client.ping)
        except MatrixError as error:
            if isinstance(error, DaemonGone):
                self._broken = self._broken or error
        if event.job_ids:
            self._on_event(replace(event, reason=box.fault or f"its container {event.reason}"))

    def collect(self, job: Job) -> dict[str, Path]:
        box = self._jobs.get(job.key)
        if box is None:
            return {}
        return outputs_in(box.exchange / "out", job)

    def discard(self, job: Job) -> None:
        self._dropped.discard(job.key)
        box = self._jobs.pop(job.key, None)
        if box is None:
            return
        emptied = box.usable and not box.fresh and all([empty(box.exchange / name) for name in ("in", "out")])
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
        shutil.rmtree(box.exchange, ignore_errors=True)

    def drop(self, key: str) -> None:
        if box := self._jobs.get(key):
            self._dropped.add(key)
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
        if self._daemon_:
            self._daemon_.close()


def empty(folder: Path) -> bool:
    """Removes what lies in a folder. Says whether nothing is left."""
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return not any(folder.iterdir())


def held_bytes(folder: Path) -> int:
    """What the files below a folder hold of the disk."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_blocks * 512  # noqa: PTH118 - a job may make thousands
    return total


def _alive(run: str) -> bool:
    """A run is alive while its scratch folder is there: the next opening of its store removes it."""
    try:
        return Path(run).is_dir()
    except OSError:  # another user's
        return True
