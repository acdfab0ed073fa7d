"""The runner with an engine that only answers: a benchmark has the machine to itself. Real tools: tests/real."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from samples import catalogue, spec_of

from matrix.core.records import Environment, EnvironmentRequest, Job, JobEnd
from matrix.engines.worker import Finished, WorkerEvent
from matrix.plan.graph import make_plan
from matrix.plan.rounds import with_repeats
from matrix.run.local.executor import LocalExecutor
from matrix.run.progress import PlainProgress
from matrix.run.runner import Runner
from matrix.run.store import Store

SPEC = """
stages = ["export", "compile", "run", "benchmark"]
[axes]
compiler = ["2.9.0", "3.0.0", "3.7.0"]
runtime = ["2.9.0", "3.0.0"]
[benchmark]
rounds = 2
passes = 1
baseline = { compiler = "2.9.0" }
[repeat]
compile = 2
"""
LEFT = b'{"context": {"host_name": "workshop-7", "load_avg": [0]}, "benchmarks": []}'


class AnsweringEngine:
    """Ends every job a moment after it was started, and notes what was under way with it, installations too."""

    name = "answering"
    prefetch = 2

    def __init__(self, folder: Path, on_event: Callable[[WorkerEvent], None]) -> None:
        self.folder, self.on_event = folder, on_event
        self.standing: dict[EnvironmentRequest, Environment] = {}
        self.lock = threading.Lock()
        self.under_way: dict[str, str] = {}
        self.started: list[tuple[Job, list[str]]] = []
        self.late: list[str] = []

    def recipe(self, request: EnvironmentRequest) -> str:
        return request.label

    def load(self, request: EnvironmentRequest) -> Environment | None:
        return self.standing.get(request)

    def realise(self, request: EnvironmentRequest) -> Environment:
        with self.lock:
            self.late += [what for what in self.under_way.values() if what == "benchmark"]
            self.under_way[request.label] = "installation"
        threading.Event().wait(0.005)
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
        with self.lock:
            self.late += [what for what in self.under_way.values() if what == "benchmark"]
            self.started.append((job, sorted(self.under_way.values())))
            self.under_way[job.key] = job.stage
        threading.Timer(0.005, self._end, (job,)).start()

    def _end(self, job: Job) -> None:
        with self.lock:
            del self.under_way[job.key]
        self.on_event(Finished(worker="w", end=JobEnd(key=job.key, end="exited", log="Running /srv/x/tool\nok\n")))

    def collect(self, job: Job) -> dict[str, Path]:
        folder = self.folder / job.key
        folder.mkdir()
        left = {}
        for pattern in job.outputs:
            name = pattern.replace("*", "0")
            left[name] = folder / name
            left[name].write_bytes(LEFT if job.stage == "benchmark" else f"{job.stage} {job.key}".encode())
        return left

    def held_bytes(self, made: EnvironmentRequest | None = None) -> int:
        return 1000 * len(self.standing)

    def free_bytes(self) -> int:
        return 1 << 40

    def close_worker(self, request: EnvironmentRequest) -> None:
        """No worker stays."""

    def clear(self, job: Job) -> None:
        """Nothing is held."""

    def cancel(self, key: str) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is held."""

    terminate = close


def test_a_benchmark_runs_beside_nothing(tmp_path):
    known = replace(catalogue(), machine_class="a machine")
    plan = with_repeats(make_plan(spec_of(SPEC), known), known)
    (tmp_path / "work").mkdir()
    made: list[AnsweringEngine] = []

    def engine(on_event: Callable[[WorkerEvent], None]) -> AnsweringEngine:
        made.append(AnsweringEngine(tmp_path / "work", on_event))
        return made[0]

    with Store(tmp_path / "store") as store, (tmp_path / "progress").open("w") as stream:
        progress = PlainProgress(stream)
        executor = LocalExecutor(store=store, cores=2, machine="m", make_engine=engine)
        runner = Runner(plan=plan, store=store, progress=progress, executor=executor)
        summary = runner.run()
        assert all(state.result for state in summary.states)
        rounds = [state.result for state in summary.states if state.result.stage == "benchmark"]
        for round_ in rounds:
            assert b"workshop-7" not in store.blob(round_.outputs[0].digest).read_bytes()
            assert round_.end.log == "ok\n"
    started = made[0].started
    assert {tuple(beside) for job, beside in started if job.alone} == {()}
    assert made[0].late == []
    assert any(beside for job, beside in started if not job.alone)
    stages = [job.stage for job, _ in started]
    assert stages.index("benchmark") == len(stages) - len(rounds)
    assert len(rounds) == 2 * 6 + 2 * 2


def test_an_engine_that_keeps_its_images_is_not_stopped_in_mid_run_and_tells_what_it_made(tmp_path):
    """What stood before counts as held, not as made; the budget was looked at before."""
    known = catalogue()
    plan = make_plan(spec_of("[axes]\ncompiler = ['2.9.0', '3.0.0']\nruntime = '2.9.0'\n"), known)
    (tmp_path / "work").mkdir()

    def engine(on_event: Callable[[WorkerEvent], None]) -> AnsweringEngine:
        made = AnsweringEngine(tmp_path / "work", on_event)
        made.realise(plan.environments()[0])
        return made

    with Store(tmp_path / "store") as store, (tmp_path / "progress").open("w") as stream:
        executor = LocalExecutor(store=store, cores=2, machine="m", make_engine=engine, budget_bytes=1)
        runner = Runner(plan=plan, store=store, progress=PlainProgress(stream), executor=executor)
        disk = runner.run().disk
    assert (disk.kept, disk.made, disk.dropped) == (True, len(plan.environments()) - 1, 0)
    assert (disk.peak_bytes, disk.budget_bytes) == (1000 * len(plan.environments()), 1)
