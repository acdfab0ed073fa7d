"""What every engine does alike. An engine's test class inherits `EngineContract` and says how to make one: `new`."""

from __future__ import annotations

import hashlib
import os
import queue
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from command_line import DATA, ROOT, wait_until_gone

from matrix.core.errors import MatrixError, WheelLacking
from matrix.core.records import Environment, EnvironmentRequest, Job, JobEnd, Limits, Lock, Stage
from matrix.engines.contract import Engine
from matrix.engines.worker import Finished, Lost, Started, WorkerEvent
from matrix.environments.interpreters import find
from matrix.plan.locks import load_locks
from matrix.plan.stages import kinds

LIMITS = Limits(seconds=60, memory_bytes=4 << 30)
LOCKS = ROOT / "images" / "locks"


class Driven:
    """An engine and its events, as a runner would hold them."""

    def __init__(self, new: Callable[[Path, Callable[[WorkerEvent], None]], Engine], folder: Path) -> None:
        self.events: queue.SimpleQueue[WorkerEvent] = queue.SimpleQueue()
        self.engine = new(folder, self.events.put)

    def wait(self, kind: type[Started] | type[Finished], key: str) -> WorkerEvent:
        """The next event of this kind about this job; others are dropped."""
        while True:
            event = self.events.get(timeout=60)
            if isinstance(event, Lost) and kind is Finished and key in event.job_ids:
                return Finished(worker=event.worker, end=JobEnd(key=key, end="lost", error=event.reason))
            about = event.end.key if isinstance(event, Finished) else getattr(event, "job_id", "")
            if isinstance(event, kind) and about == key:
                return event

    def ended(self, key: str) -> JobEnd:
        event = self.wait(Finished, key)
        assert isinstance(event, Finished)
        return event.end

    def do(self, job: Job, environment: Environment, inputs: Mapping[str, Path]) -> JobEnd:
        self.engine.start(job, environment, inputs)
        return self.ended(job.key)


def request_for(kind: str, version: str, *, python: str = "3.11") -> EnvironmentRequest:
    lock = load_locks(LOCKS).find(kind, {f"iree-base-{kind}": version})
    assert lock is not None
    return EnvironmentRequest(kind=kind, python=python, lock=lock)


def job_of(stage: Stage, environment: Environment, argv: tuple[str, ...], *, number: int = 0) -> Job:
    key = hashlib.sha256(f"{stage} {argv} {number}".encode()).hexdigest()
    return Job(
        key=key,
        stage=stage,
        label="contract",
        environment=environment.digest,
        inputs=(),
        outputs=kinds()[stage].outputs,
        argv=argv,
        script="",
        arguments=(),
        limits=LIMITS,
    )


def compile_job(environment: Environment, *more: str, number: int = 0) -> Job:
    flags = ("--iree-hal-target-backends=llvm-cpu", "--iree-llvmcpu-target-cpu=x86-64-v3", *more)
    argv = ("iree-compile", "module.mlir", "-o", "module.vmfb", *flags)
    return job_of("compile", environment, argv, number=number)


class EngineContract:
    """The contract. Environments are made once a class, as that is what costs."""

    @staticmethod
    def new(folder: Path, on_event: Callable[[WorkerEvent], None]) -> Engine:
        """An engine of which everything lies below `folder`."""
        raise NotImplementedError

    refusal: type[MatrixError] = WheelLacking
    """What realising a lock with a wheel that nobody offers raises."""
    one_root = False
    """Every environment lies at the same place: each has a file system of its own."""
    shared_by_all = False
    """Environments outlive the folder of the engine that made them."""

    @staticmethod
    def gone(place: Path) -> None:
        """Waits until nothing is left of the engines below `place`."""
        wait_until_gone(place)

    @pytest.fixture
    def driven(self, place: Path, made: object) -> Iterator[Driven]:
        driven = Driven(self.new, place)
        yield driven
        driven.engine.terminate()
        self.gone(place)

    @pytest.fixture
    def endless(
        self, made: tuple[Environment, Environment], tmp_path: Path
    ) -> tuple[Job, Environment, dict[str, Path]]:
        """A job that never ends, where it runs, its inputs: the compiler waits for a pipe to which nobody writes."""
        os.mkfifo(tmp_path / "pipe")
        return compile_job(made[0], number=hash(tmp_path)), made[0], {"module.mlir": tmp_path / "pipe"}

    def test_a_recipe_is_stable_and_differs_by_lock_and_python(self, tmp_path, tmp_path_factory):
        one, two = (self.new(folder, lambda event: None) for folder in (tmp_path, tmp_path_factory.mktemp("other")))
        request = request_for("runtime", "3.8.0")
        assert one.recipe(request) == one.recipe(request) == two.recipe(request)
        assert re.fullmatch(r"[0-9a-f]{64}", one.recipe(request))
        others = {one.recipe(request_for("runtime", "3.10.0")), one.recipe(request_for("compiler", "3.8.0"))}
        others.add(self.recipe_on_another_python(one))
        assert len(others | {one.recipe(request)}) == 4

    def recipe_on_another_python(self, engine: Engine) -> str:
        return engine.recipe(request_for("runtime", "3.8.0", python=self.another_python()))

    @staticmethod
    def another_python() -> str:
        """A Python of this machine that is not 3.11."""
        from matrix.core.errors import EngineMissing

        for python in ("3.12", "3.10", "3.13", "3.9"):
            try:
                return find(python, offline=True).minor
            except EngineMissing:
                continue
        pytest.skip("NOT TESTED: there is no Python but 3.11 on this machine")

    def test_what_was_realised_is_loaded_and_not_made_again(self, place, made):
        engine = self.new(place, lambda event: None)
        for environment, kind in zip(made, ("compiler", "runtime"), strict=True):
            request = request_for(kind, "3.8.0")
            assert (f"iree-base-{kind}", "3.8.0") in environment.distributions
            assert environment.engine == engine.name
            begun = time.monotonic()
            assert engine.realise(request) == engine.load(request) == environment
            assert time.monotonic() - begun < 0.5
        assert self.shared_by_all or engine.load(request_for("runtime", "3.13.0")) is None

    def test_a_digest_does_not_know_where_it_lies(self, tmp_path, made):
        engine = self.new(tmp_path / "somewhere" / "else", lambda event: None)
        elsewhere = engine.realise(request_for("runtime", "3.8.0"))
        assert elsewhere.digest == made[1].digest != made[0].digest
        assert (elsewhere.root == made[1].root) == self.one_root

    def test_a_wheel_that_no_index_has_is_no_finding(self, tmp_path):
        """The lock names a hash that nobody offers."""
        text = (LOCKS / "runtime" / "3.8.0.txt").read_text()
        old = "\nnumpy==1.19.5 --hash=sha256:" + "0" * 64 + "\n"
        path = tmp_path / "locks" / "runtime" / "3.8.0.txt"
        path.parent.mkdir(parents=True)
        path.write_text(re.sub(r"\nnumpy==(?:.*\\\n)+.*\n", old, text) if "\nnumpy==" in text else text + old)
        lock = Lock(name="runtime/3.8.0", path=path, digest=hashlib.sha256(path.read_bytes()).hexdigest(), pins=())
        request = EnvironmentRequest(kind="runtime", python="3.11", lock=lock)
        engine = self.new(tmp_path / "store", lambda event: None)
        with pytest.raises(self.refusal) as refused:
            engine.realise(request)
        assert "numpy" in str(refused.value)
        if self.refusal is WheelLacking:
            assert engine.load(request) is None

    def test_start_collect_clear(self, driven, made, place):
        compiler, runtime = made
        engine: Engine = driven.engine
        job = compile_job(compiler)
        end = driven.do(job, compiler, {"module.mlir": DATA / "linear.mlir"})
        assert (end.end, end.exit_code, end.error) == ("exited", 0, ""), end.log
        assert end.cpu_seconds > 0
        found = engine.collect(job)
        assert found.keys() == {"module.vmfb"}
        files = ("--module=module.vmfb", "--input=@input_0.npy", "--output=@output_0.npy")
        run = job_of("run", runtime, ("iree-run-module", "--function=main", *files))
        inputs = {"module.vmfb": found["module.vmfb"], "input_0.npy": DATA / "linear_input.npy"}
        end = driven.do(run, runtime, inputs)
        assert (end.end, end.exit_code) == ("exited", 0), end.log
        assert engine.collect(run).keys() == {"output_0.npy"}
        assert engine.collect(run)["output_0.npy"].read_bytes() == (DATA / "linear_expected.npy").read_bytes()
        assert (DATA / "linear.mlir").is_file()
        for done in (job, run):
            engine.clear(done)
            assert engine.collect(done) == {}
            engine.clear(done)  # twice is no error

    def test_only_what_the_patterns_name_is_an_output(self, driven, made):
        compiler = made[0]
        job = compile_job(compiler, "--dump-compilation-phases-to=phases", "--iree-hal-dump-executable-sources-to=.")
        end = driven.do(job, compiler, {"module.mlir": DATA / "linear.mlir"})
        assert end.exit_code == 0, end.log
        assert driven.engine.collect(job).keys() == {"module.vmfb"}

    def test_a_failure_is_told(self, driven, made, tmp_path):
        (tmp_path / "bad.mlir").write_text("this is no MLIR")
        job = compile_job(made[0], number=1)
        end = driven.do(job, made[0], {"module.mlir": tmp_path / "bad.mlir"})
        assert (end.end, end.exit_code) == ("exited", 1)
        assert "module.mlir:1:1: error:" in end.log
        assert driven.engine.collect(job) == {}

    def test_cancel_leaves_a_running_job_alone(self, driven, made, endless):
        engine, compiler, stuck = driven.engine, made[0], endless[0]
        job = compile_job(compiler, number=2)
        engine.start(*endless)
        driven.wait(Started, stuck.key)
        engine.cancel(stuck.key)
        engine.cancel("unknown")
        assert driven.do(job, compiler, {"module.mlir": DATA / "linear.mlir"}).exit_code == 0

    def test_terminate_leaves_no_process(self, driven, place, endless):
        driven.engine.start(*endless)
        driven.wait(Started, endless[0].key)
        driven.engine.terminate()
        self.gone(place)

    def test_close_waits_for_nothing_and_leaves_no_process(self, driven, made, place):
        job = compile_job(made[0], number=3)
        assert driven.do(job, made[0], {"module.mlir": DATA / "linear.mlir"}).exit_code == 0
        driven.engine.close()
        self.gone(place)
