"""Confined containers whose images are assembled from the locks.

Each environment has one container during the run, whose worker is reached by the attached socket and runs one job at a
time; more containers if more cores are free. A job with a user's code (export) has its own container.
`matrix.engines.docker.exchange` moves the files and makes sure that no job sees those of another.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from threading import Event, Thread

from matrix.core.errors import DaemonGone, DiskFull, MatrixError
from matrix.core.records import Environment, EnvironmentRequest, Job, JobEnd
from matrix.engines.contract import ONE_THREAD, script_arguments, tool_line
from matrix.engines.docker.boxes import RUN_LABEL, STORE_LABEL, Box, Boxes
from matrix.engines.docker.daemon import Daemon
from matrix.engines.docker.images import Images
from matrix.engines.docker.kind import DOCKER
from matrix.engines.worker import Finished, Lost, Order, WorkerEvent
from matrix.images.workshop import Workshop


class DockerEngine:
    """See `matrix.engines.contract`: an `Engine` that is `Measuring` and `Verifying`."""

    name = DOCKER.name
    prefetch = 0

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
        gpus: str = "",
    ) -> None:
        self._on_event = on_event
        labels = {RUN_LABEL: str(scratch), STORE_LABEL: str(folder.parent)}
        self._jobs: dict[str, Box] = {}
        self._running: dict[str, Job] = {}
        self._cancelled: set[str] = set()
        self._broken: MatrixError | None = None
        self._closing = Event()
        self._images = Images(
            workshop=workshop,
            machine=machine,
            look=scripts / "look.py",
            labels=labels,
            ending=self._closing.is_set,
            gpus=gpus or ("all" if offline else ""),
        )
        self._pool = ThreadPoolExecutor(max(2, slots), thread_name_prefix="containers")
        self._boxes = Boxes(
            images=self._images, scratch=scratch, scripts=scripts, labels=labels, closing=self._closing, gpus=gpus
        )
        if not offline:
            self._boxes.remove_left()

    @property
    def _daemon(self) -> Daemon:
        return self._images.daemon

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

    def damage(self, request: EnvironmentRequest, *, every_byte: bool) -> str:
        return self._images.damage(request, every_byte=every_byte)

    def discard(self, request: EnvironmentRequest) -> None:
        self._boxes.retire(request)
        self._images.discard(request)

    def close_worker(self, request: EnvironmentRequest) -> None:
        pass  # an export has its own container, which is removed already

    # -- jobs

    def start(self, job: Job, environment: Environment, inputs: Mapping[str, Path]) -> None:
        """Raises DaemonGone or DiskFull if no further job can run."""
        if self._broken:
            raise self._broken
        box = self._boxes.take(job, environment)
        box.busy = job.key
        self._jobs[job.key], self._running[job.key] = box, job
        self._pool.submit(self._launch, box, job, dict(inputs))

    def _launch(self, box: Box, job: Job, inputs: Mapping[str, Path]) -> None:
        """Runs on a thread of the pool: any error becomes the end of the job."""
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
            self._boxes.open(box, job, partial(self._say, box))
        assert box.worker is not None
        box.exchange.put_inputs(inputs)
        if job.key in self._cancelled:
            self._on_event(Finished(worker=box.exchange.folder.name, end=JobEnd(key=job.key, end="killed")))
            return
        box.worker.submit(self._order(job, box))
        Thread(target=self._boxes.watch, args=(box, job.key), name="watches a folder", daemon=True).start()

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
        """A lost worker loses only its container: the next job gets a new one.

        If the daemon is gone too, no further job can run.
        """
        if not isinstance(event, Lost):
            self._on_event(self._fetched(box, event) if isinstance(event, Finished) else event)
            return
        if self._closing.is_set():
            return
        if box.worker is not None and not box.worker.greeted:  # its imports fail: then each job reports it
            self._boxes.cold.add(box.environment.digest)
        try:
            self._daemon.call(self._daemon.client.ping)
        except MatrixError as error:
            if isinstance(error, DaemonGone):
                self._broken = self._broken or error
        if event.job_ids:
            self._on_event(replace(event, reason=box.fault or f"its container {event.reason}"))

    def _fetched(self, box: Box, event: Finished) -> Finished:
        """Runs on the thread that reads from the worker: its next job waits for this anyway."""
        job = self._running.get(event.end.key)
        if job is None or event.end.end == "killed":
            return event
        try:
            box.exchange.fetch_outputs(job)
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
        if box is not None:
            self._boxes.give_back(box)

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
        self._boxes.end()
        self._pool.shutdown(wait=True)
        self._boxes.close()
        self._images.close()
