"""An engine and an executor that answer, without a process: what a run decides can then be watched job by job."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from samples import catalogue, spec_of

from matrix.core.errors import NotInstallable
from matrix.core.keys import sha256
from matrix.core.records import Artifact, Environment, EnvironmentRequest, Job, JobEnd, Outcome
from matrix.engines.worker import Finished, WorkerEvent
from matrix.plan.graph import Plan, make_plan
from matrix.plan.rounds import with_repeats
from matrix.run.executor import Disk, EnvironmentKnown, EnvironmentRefused, Event, Work, WorkFinished, WorkStarted
from matrix.run.store import Store

NOISY = b'{"context": {"host_name": "workshop-7", "load_avg": [0]}, "benchmarks": []}'
"""What a benchmark leaves, with what must not be kept of it."""


def plan_in(folder: Path, body: str) -> Plan:
    """A plan of the samples' catalogue, the files of its models below a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "linear.py"
    path.write_text("a model")
    known = catalogue()
    copy = folder / "copy.py"
    copy.write_text("a model that computes the same")
    given = tuple((name, path, sha256(path)) for name, _, _ in known.models["given"].artifacts)
    models = {
        "linear": replace(known.models["linear"], path=path, digest=sha256(path)),
        "copy": replace(known.models["copy"], path=copy, digest=sha256(copy)),
        "given": replace(known.models["given"], artifacts=given),
    }
    known = replace(known, machine_class="a machine", models=models)
    return with_repeats(make_plan(spec_of(body), known), known)


def left_by(job: Job) -> dict[str, bytes]:
    """A file for each pattern of a job, of bytes that only this job leaves."""
    content = NOISY if job.alone else f"{job.stage} {job.key}".encode()
    return {pattern.replace("*", "0"): content for pattern in job.outputs}


class AnsweringEngine:
    """Ends every job a moment after it was started, and notes what was under way with it, installations too."""

    name = "answering"
    prefetch = 2
    refused: tuple[str, ...] = ()
    """Labels of requests that are not installable."""

    def __init__(self, folder: Path, on_event: Callable[[WorkerEvent], None]) -> None:
        self.folder, self.on_event = folder, on_event
        self.folder.mkdir(exist_ok=True)
        self.standing: dict[EnvironmentRequest, Environment] = {}
        self.lock = threading.Lock()
        self.under_way: dict[str, str] = {}
        self.started: list[tuple[Job, list[str]]] = []
        self.beside_alone: list[str] = []
        self.cancelled: list[str] = []
        self.cleared: list[str] = []
        self.idle: list[EnvironmentRequest] = []

    def recipe(self, request: EnvironmentRequest) -> str:
        return request.label

    def load(self, request: EnvironmentRequest) -> Environment | None:
        return self.standing.get(request)

    def realise(self, request: EnvironmentRequest) -> Environment:
        if request.label in self.refused:
            raise NotInstallable("no wheel for this Python")
        with self.lock:
            self.beside_alone += [what for what in self.under_way.values() if what == "alone"]
            self.under_way[request.label] = "installation"
        threading.Event().wait(0.003)
        made = Environment(
            request_label=request.label,
            engine=self.name,
            digest=request.label,
            root=self.folder,
            python_version="3.11",
            c_library="glibc",
            tools={},
            distributions=(),
        )
        with self.lock:
            del self.under_way[request.label]
            self.standing[request] = made
        return made

    def start(self, job: Job, environment: Environment, inputs: Mapping[str, Path]) -> None:
        assert all(path.is_file() for path in inputs.values())
        with self.lock:
            self.beside_alone += [what for what in self.under_way.values() if what == "alone"]
            self.started.append((job, sorted(self.under_way.values())))
            self.under_way[job.key] = "alone" if job.alone else job.stage
        threading.Timer(0.003, self._end, (job,)).start()

    def _end(self, job: Job) -> None:
        with self.lock:
            del self.under_way[job.key]
        self.on_event(Finished(worker="w", end=JobEnd(key=job.key, end="exited", log="Running /srv/x/tool\nok\n")))

    def collect(self, job: Job) -> dict[str, Path]:
        folder = self.folder / job.key
        folder.mkdir(exist_ok=True)
        for name, content in left_by(job).items():
            (folder / name).write_bytes(content)
        return {path.name: path for path in folder.iterdir()}

    def cancel(self, key: str) -> None:
        self.cancelled.append(key)

    def clear(self, job: Job) -> None:
        self.cleared.append(job.key)

    def close_worker(self, request: EnvironmentRequest) -> None:
        self.idle.append(request)

    def close(self) -> None:
        """Nothing is held."""

    terminate = close


class AnsweringExecutor:
    """Carries work out in one step of `news` after it was submitted, one job a step, by rank.

    `ends` gives a job's end where it is not a good one, `leaves` its files; `refused` says why an environment will not
    stand, by its label. `before` is called before each step. `stopped` is how waiting work ends at `stop`.
    """

    cores, prefetch = 2, 0

    def __init__(
        self,
        store: Store,
        *,
        ends: Callable[[Job], JobEnd | None] = lambda _: None,
        leaves: Callable[[Job], Mapping[str, bytes]] = left_by,
        refused: Mapping[str, tuple[Outcome, str]] | None = None,
        before: Callable[[AnsweringExecutor], None] = lambda _: None,
        stopped: str = "killed",
    ) -> None:
        self.stopped = stopped
        self.store, self.ends, self.leaves, self.refused, self.before = store, ends, leaves, refused or {}, before
        self.disk = Disk(budget_bytes=0)
        self.waiting: list[Work] = []
        self.carried_out: list[Job] = []
        self.events: list[Event] = []
        self.calls: list[str] = []
        self.installing = 0

    @property
    def has_room(self) -> bool:
        return len(self.waiting) < self.cores

    @property
    def under_way(self) -> int:
        return len(self.waiting)

    def prepare(self, requests: Iterable[EnvironmentRequest], needed: Callable[[EnvironmentRequest], bool]) -> None:
        for request in requests:
            assert needed(request)
            if request.label in self.refused:
                outcome, reason = self.refused[request.label]
                self.events.append(EnvironmentRefused(request=request, outcome=outcome, reason=reason))
            else:
                self.events.append(EnvironmentKnown(request=request, digest=request.label))

    def submit(self, work: Work) -> None:
        assert work.job.key not in {each.job.key for each in self.waiting}
        self.waiting.append(work)

    def news(self, seconds: float) -> list[Event]:
        self.before(self)
        if not self.events and self.waiting:
            self.waiting.sort(key=lambda work: work.rank)
            self.finish(self.waiting.pop(0))
        told, self.events = self.events, []
        return told

    def finish(self, work: Work, end: JobEnd | None = None) -> None:
        job = work.job
        end = end or self.ends(job) or JobEnd(key=job.key, end="exited", log="ok", cpu_seconds=1.0)
        good = (end.end, end.exit_code) == ("exited", 0)
        outputs = tuple(self._put(name, content) for name, content in self.leaves(job).items()) if good else ()
        self.carried_out += [job] if end.end != "killed" else []
        self.events.append(WorkStarted(key=job.key))
        self.events.append(
            WorkFinished(
                key=job.key,
                end=end,
                outputs=outputs,
                environment=job.environment,
                engine="answering",
                machine="a machine",
                seconds=0.1,
            )
        )

    def _put(self, name: str, content: bytes) -> Artifact:
        path = self.store.places.scratch / name
        path.write_bytes(content)
        return self.store.put(path, name)

    def wake(self) -> None:
        self.calls.append("wake")

    def stop(self) -> None:
        self.calls.append("stop")
        for work in self.waiting:
            self.finish(work, JobEnd(key=work.job.key, end=self.stopped))
        self.waiting = []

    def close(self) -> None:
        self.calls.append("close")

    def terminate(self) -> None:
        self.calls.append("terminate")
