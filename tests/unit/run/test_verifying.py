"""A bad end counts only after what the job used was found whole. The engine only answers; real ones: tests/real."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from answering import AnsweringEngine, plan_in

from matrix.core.errors import DiskFull
from matrix.core.keys import sha256
from matrix.core.records import Environment, EnvironmentRequest, Job, JobEnd
from matrix.engines.worker import Finished, WorkerEvent
from matrix.run.local.executor import LocalExecutor
from matrix.run.progress import PlainProgress
from matrix.run.runner import Runner
from matrix.run.schedule import RunSummary, Schedule
from matrix.run.store import Store

BODY = '[axes]\ncompiler = ["2.9.0", "3.0.0"]\nruntime = "2.9.0"\n'
COMPILER = "compiler/2.9.0 on Python 3.11"
RUNTIME = "runtime/2.9.0 on Python 3.11"
WRONG = b"\x93NUMPY\x01\x00\x46\x00" + b"{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }".ljust(70) + b"no"
"""An array; what follows its bytes is not read."""


def serves(path: Path) -> bool:
    """Whether a tool could use this input. It is gone where the look at another job's end found it suspect."""
    try:
        return sha256(path) == path.name and not path.read_bytes().startswith(b"spoilt")
    except FileNotFoundError:
        return False


class Damageable(AnsweringEngine):
    """Its tools fail where an input or the environment is damaged, as real ones do.

    `torn` has the labels of damaged environments, `hidden` those that only a look at every byte finds.
    """

    def __init__(self, folder: Path, on_event: Callable[[WorkerEvent], None]) -> None:
        super().__init__(folder, on_event)
        self.torn: set[str] = set()
        self.hidden: set[str] = set()
        self.looked: list[str] = []
        self.discarded: list[str] = []
        self.inputs: dict[str, list[Path]] = {}
        self.before: Callable[[Job], None] = lambda _: None
        self.red: tuple[str, ...] = ()
        self.one_module = False
        """All exports leave the same bytes, but for what is expected."""
        self.spoils = ""
        """The label of an environment whose damage spoils what its jobs make, and fails none of them."""
        self.cuts = 0
        """How many runs end well, with an output that is cut short."""
        self.miscomputes = ""
        """The label of an environment whose jobs pass, and leave wrong numbers."""

    def start(self, job: Job, environment: Environment, inputs: Mapping[str, Path]) -> None:
        self.inputs[job.key] = list(inputs.values())
        self.before(job)
        super().start(job, environment, inputs)

    def _end(self, job: Job) -> None:
        with self.lock:
            del self.under_way[job.key]
        bad = job.environment in (self.torn | self.hidden) - {self.miscomputes} or job.stage in self.red
        bad = bad or not all(map(serves, self.inputs[job.key]))
        end = JobEnd(key=job.key, end="exited", exit_code=int(bad), log="module-damaged" if bad else "ok")
        self.on_event(Finished(worker="w", end=end))

    def collect(self, job: Job) -> dict[str, Path]:
        made = super().collect(job)
        if self.one_module and job.stage == "export":
            for name, path in made.items():
                path.write_bytes(job.label.encode() if "expected" in name else name.encode())
        if job.environment == self.spoils:
            for path in made.values():
                path.write_bytes(b"spoilt" + path.read_bytes())
        if job.environment == self.miscomputes and job.stage == "run":
            for path in made.values():
                path.write_bytes(WRONG + path.read_bytes())
        if job.stage == "run" and self.cuts:
            self.cuts -= 1
            for path in made.values():
                path.write_bytes(WRONG[:-1])
        return made

    def damage(self, request: EnvironmentRequest, *, every_byte: bool) -> str:
        self.looked += [request.label] if every_byte else []
        seen = self.torn | self.hidden | {self.spoils} if every_byte else self.torn
        return "a.so: 0 bytes, expected 5" if request.label in seen else ""

    def discard(self, request: EnvironmentRequest) -> None:
        self.discarded.append(request.label)
        self.standing.pop(request, None)
        self.torn.discard(request.label)
        self.hidden.discard(request.label)
        self.spoils = "" if self.spoils == request.label else self.spoils


class Started:
    """An executor on such an engine, not run yet."""

    def __init__(self, store: Store, body: str = BODY) -> None:
        self.store, self.log = store, store.folder.parent / "progress"
        self.plan = plan_in(store.folder.parent / "models", body)
        self.wrong_for = ""
        """The model whose reference alone differs from the outputs."""
        self.executor = LocalExecutor(
            store=store,
            cores=2,
            machine="m",
            make_engine=lambda on_event: Damageable(store.folder.parent / "work", on_event),
            is_wrong=self.is_wrong,
        )
        self.engine: Damageable = self.executor.engine

    def run(self) -> RunSummary:
        with self.log.open("w") as stream:
            return Runner(
                plan=self.plan,
                store=self.store,
                progress=PlainProgress(stream),
                executor=self.executor,
                is_wrong=self.is_wrong,
            ).run()

    def is_wrong(self, artifacts: Mapping[str, str]) -> bool:
        assert any("expected" in name for name in artifacts), "the reference is there too"
        expected = (self.store.blob(digest).read_bytes() for name, digest in artifacts.items() if "expected" in name)
        if self.wrong_for and not any(self.wrong_for.encode() in content for content in expected):
            return False
        return any(self.store.blob(digest).read_bytes().startswith(WRONG[:-1]) for digest in artifacts.values())


@pytest.fixture
def store(tmp_path: Path):
    with Store(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def started(store: Store):
    return Started(store)


def outcomes(summary: RunSummary) -> list[str]:
    return [state.result.outcome if state.result else state.obstacle[0] for state in summary.states]


def test_a_pass_is_not_looked_at(started):
    assert outcomes(started.run()) == ["passed"] * 5
    assert started.engine.looked == []


def test_a_finding_stays_where_all_that_it_used_is_whole(started):
    started.engine.red = ("compile",)
    assert sorted(outcomes(started.run())) == ["blocked", "blocked", "failed", "failed", "passed"]
    assert set(started.engine.looked) == {COMPILER, COMPILER.replace("2.9.0", "3.0.0")}


def test_a_torn_environment_is_made_again_and_says_nothing_about_a_release(started):
    started.engine.hidden = {COMPILER}
    assert outcomes(started.run()) == ["passed"] * 5
    assert started.engine.discarded == [COMPILER]
    assert f"{COMPILER}: a.so: 0 bytes, expected 5; tried again" in started.log.read_text()


def test_what_is_quick_to_see_is_seen_before_a_job_starts(started):
    """As where an earlier run left it and the power failed since."""
    request = next(each for each in started.plan.environments() if each.label == COMPILER)
    started.engine.realise(request)
    started.engine.torn = {COMPILER}
    assert outcomes(started.run()) == ["passed"] * 5
    assert started.engine.discarded == [COMPILER]
    assert started.engine.looked == []
    assert f"{COMPILER}: a.so: 0 bytes, expected 5; it is made again" in started.log.read_text()


def test_an_input_that_is_damaged_under_a_job_is_made_again(started):
    """In its size and with its times, as a disk does it."""
    damaged: list[str] = []

    def before(job: Job) -> None:
        if job.stage == "run" and not damaged:
            damaged.extend(digest for name, digest in job.inputs if name == "module.vmfb")
            blob = started.store.blob(damaged[0])
            content = bytes(blob.stat().st_size)
            blob.unlink()
            blob.write_bytes(content)

    started.engine.before = before
    assert outcomes(started.run()) == ["passed"] * 5
    assert [job.stage for job, _ in started.engine.started].count("compile") == 3
    assert "module.vmfb: its bytes changed on this disk; tried again" in started.log.read_text()
    assert sha256(started.store.blob(damaged[0])) == damaged[0]


def test_a_job_whose_input_is_made_again_meanwhile_says_nothing(store, monkeypatch):
    """One run is wrong, and what compiled its module turns out torn; another run of that module is still under way, and
    ends well only when the module is already dropped."""
    started = Started(store, '[axes]\ncompiler = "2.9.0"\nruntime = ["2.9.0", "3.0.0"]\n')
    engine, redo, again = started.engine, Schedule.redo, threading.Event()
    for request in started.plan.environments():
        engine.realise(request)
    engine.miscomputes, discard, end = RUNTIME, engine.discard, engine._end

    def before(job: Job) -> None:
        if job.stage == "run" and not engine.discarded:
            engine.hidden = {COMPILER}

    def discarded(request: EnvironmentRequest) -> None:
        discard(request)
        engine.miscomputes = ""

    def done_again(self: Schedule, *words: object) -> None:
        redo(self, *words)
        again.set()

    def ended(job: Job) -> None:
        if job.environment == RUNTIME.replace("2.9.0", "3.0.0"):
            again.wait(5)
            engine.inputs[job.key] = []  # it has read them
        elif job.stage == "compile" and engine.discarded:
            threading.Event().wait(0.3)
        end(job)

    monkeypatch.setattr(engine, "before", before)
    monkeypatch.setattr(engine, "discard", discarded)
    monkeypatch.setattr(engine, "_end", ended)
    monkeypatch.setattr(Schedule, "redo", done_again)
    assert outcomes(started.run()) == ["passed"] * 4
    stages = [job.stage for job, _ in engine.started]
    assert engine.discarded == [COMPILER] and stages.count("compile") == 2 and stages.count("run") == 4


def test_wrong_numbers_count_only_from_whole_environments(started):
    """A bit that flipped in a kernel fails nothing, and would be taken for a miscompile."""
    started.engine.realise(next(each for each in started.plan.environments() if each.label == RUNTIME))
    started.engine.miscomputes, started.engine.hidden = RUNTIME, {RUNTIME}
    before = started.engine.discard

    def discard(request: EnvironmentRequest) -> None:
        before(request)
        started.engine.miscomputes = ""

    started.engine.discard = discard
    summary = started.run()
    assert outcomes(summary) == ["passed"] * 5
    assert started.engine.discarded == [RUNTIME]
    assert f"{RUNTIME}: a.so: 0 bytes, expected 5; tried again" in started.log.read_text()
    runs = [state.result for state in summary.states if state.result.stage == "run"]
    outputs = [started.store.blob(made.digest).read_bytes() for result in runs for made in result.outputs]
    assert outputs and not any(output.startswith(WRONG) for output in outputs)


@pytest.mark.parametrize("model", ["linear", "copy"])
def test_wrong_numbers_of_a_shared_job_are_looked_at_for_each_of_its_references(store, model):
    """Two models give the same module and other references: their cells share the run, whichever was first."""
    body = '[axes]\nmodel = ["linear", "copy"]\ncompiler = "2.9.0"\nruntime = "2.9.0"\n'
    started = Started(store, body)
    started.engine.one_module, started.wrong_for, started.engine.miscomputes = True, model, RUNTIME
    started.run()
    stages = [job.stage for job, _ in started.engine.started]
    assert (stages.count("export"), stages.count("run")) == (2, 1)
    assert RUNTIME in started.engine.looked


def test_wrong_numbers_of_whole_environments_stay(started):
    started.engine.miscomputes = RUNTIME
    summary = started.run()
    assert outcomes(summary) == ["passed"] * 5
    assert set(started.engine.looked) == {RUNTIME} and started.engine.discarded == []


def test_an_environment_that_made_a_bad_input_is_found_too(started):
    """The compile passes and leaves a module that no runtime runs: what ran it and the module's bytes are whole."""
    started.engine.realise(next(each for each in started.plan.environments() if each.label == COMPILER))
    started.engine.spoils = COMPILER
    assert outcomes(started.run()) == ["passed"] * 5
    assert started.engine.discarded == [COMPILER]
    assert f"{COMPILER}: a.so: 0 bytes, expected 5; tried again" in started.log.read_text()
    blobs = [path for path in started.store.folder.rglob("*") if path.is_file() and len(path.name) == 64]
    assert blobs and not any(path.read_bytes().startswith(b"spoilt") for path in blobs)


def test_an_output_that_is_cut_short_is_made_again(started):
    """A full disk does it, and `iree-run-module` ends with status 0."""
    started.engine.cuts = 1
    assert outcomes(started.run()) == ["passed"] * 5
    assert [job.stage for job, _ in started.engine.started].count("run") == 3
    assert "output_0.npy: it ended well and left no whole .npy file; tried again" in started.log.read_text()


def test_an_output_that_is_cut_short_each_time_is_a_finding(started):
    started.engine.cuts = 4
    summary = started.run()
    ran = [state.result for state in summary.states if state.result.stage == "run"]
    left = [made for result in ran for made in result.outputs if made.name == "output_0.npy"]
    assert started.engine.cuts == 0 and len(left) == len(ran) > 0
    assert all(started.is_wrong({"expected": made.digest}) for made in left)
    assert summary.faults == {}


def test_no_bad_end_counts_on_a_full_disk(started, monkeypatch):
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    started.engine.red = ("compile",)
    with pytest.raises(DiskFull):
        started.run()
    assert not any(started.store.result(job.key) for job, _ in started.engine.started if job.stage == "compile")
