"""The runner on an executor without processes: graph, reuse and stop."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from answering import AnsweringExecutor, left_by, plan_in

from matrix.core.errors import DiskFull, ModelMissing
from matrix.core.records import JobEnd, Outcome
from matrix.run.executor import EnvironmentKnown, Event, ExecutorFault, WorkAnswered
from matrix.run.progress import PlainProgress
from matrix.run.runner import Runner, RunSummary
from matrix.run.store import Store

BODY = '[axes]\ncompiler = ["2.9.0", "3.0.0"]\nruntime = ["2.9.0", "3.0.0"]\n'
"""1 export, 2 compiles, 4 runs."""
LABEL = "exporter/2.9.1+3.9.0.cuda on Python 3.11"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as opened:
        yield opened


class Carried:
    """One run of a plan."""

    def __init__(self, store: Store, body: str = BODY, **answers) -> None:
        self.plan = plan_in(store.folder.parent / "models", body)
        self.executor = AnsweringExecutor(store, **answers)
        self.log = store.folder.parent / "progress"
        with self.log.open("w") as stream:
            progress = PlainProgress(stream)
            self.runner = Runner(plan=self.plan, store=store, progress=progress, executor=self.executor)
            self.summary: RunSummary = self.runner.run()

    @property
    def stages(self) -> list[str]:
        return [job.stage for job in self.executor.carried_out]

    @property
    def outcomes(self) -> list[str]:
        return [state.result.outcome if state.result else state.obstacle[0] for state in self.summary.states]


def test_every_job_once_and_a_second_run_carries_out_nothing(store):
    first = Carried(store)
    assert first.stages == ["export", "compile", "compile", "run", "run", "run", "run"]
    assert (first.summary.jobs_run, first.summary.jobs_reused, first.summary.tool_cpu_seconds) == (7, 0, 7.0)
    assert first.executor.calls == ["close"]
    again = Carried(store)
    assert (again.stages, again.summary.jobs_run, again.summary.jobs_reused) == ([], 0, 7)
    assert [each.result.key for each in again.summary.states] == [each.result.key for each in first.summary.states]


def test_a_result_says_who_ran_it_and_on_what(store):
    summary = Carried(store).summary
    export, compiled = summary.states[0].result, summary.states[1].result
    assert (export.machine, export.engine) == ("a machine", "answering")
    assert export.environment == LABEL  # this executor's digests are labels
    assert [name for name, _ in export.inputs] == ["linear.py"]
    assert [word.partition("=")[0] for word in export.command] == ["export.py", "model_digest"]
    assert store.result(export.key) == export
    (mlir,) = (artifact.digest for artifact in export.outputs if artifact.name == "module.mlir")
    assert compiled.inputs == (("module.mlir", mlir),)


def test_equal_bytes_are_compiled_once(store):
    """Content cutoff: two Pythons export the same module."""
    same = Carried(
        store,
        BODY.replace('"2.9.0", "3.0.0"', '"2.9.0"') + 'python = ["3.9", "3.10"]\n',
        leaves=lambda job: left_by(job) if job.stage != "export" else dict.fromkeys(left_by(job), b"the same"),
    )
    assert sorted(same.stages) == ["compile", "export", "export", "run"]
    assert same.summary.jobs_reused == 2
    assert same.outcomes == ["passed"] * 6


@pytest.mark.parametrize("outcome", [Outcome.NOT_INSTALLABLE, Outcome.UNTESTED])
def test_a_refused_environment_ends_its_cells_alone(store, outcome):
    label = "runtime/3.0.0 on Python 3.11"
    run = Carried(store, refused={label: (outcome, "no such wheel")})
    assert run.outcomes.count(outcome) == 2
    assert run.outcomes.count("passed") == 5
    assert run.summary.missing == ({"no such wheel"} if outcome is Outcome.UNTESTED else set())


def test_a_failure_blocks_what_comes_after(store):
    def ends(job):
        return JobEnd(key=job.key, end="exited", exit_code=1, log="error: no") if job.stage == "compile" else None

    run = Carried(store, ends=ends)
    assert (run.outcomes.count("failed"), run.outcomes.count("blocked")) == (2, 4)
    assert store.result(run.summary.states[1].result.key).outcome is Outcome.FAILED


def test_a_fault_of_ours_is_tried_twice_and_answers_nothing_later(store):
    def ends(job):
        return JobEnd(key=job.key, end="lost", error="the worker is gone") if job.stage == "export" else None

    run = Carried(store, ends=ends)
    assert run.stages == ["export", "export"]
    assert run.outcomes[0] == "infrastructure"
    assert "the worker is gone; tried again" in run.log.read_text()
    assert store.result(run.summary.states[0].result.key) is None


def test_a_fault_that_passes_leaves_no_trace(store):
    lost: list[str] = []

    def ends(job):
        if lost:
            return None
        lost.append(job.key)
        return JobEnd(key=job.key, end="lost")

    run = Carried(store, ends=ends)
    assert run.outcomes == ["passed"] * 7


def test_the_first_signal_stops_in_order_and_the_next_run_goes_on(store):
    sent: list[int] = []

    def before(executor):
        if len(executor.carried_out) == 3 and not sent:
            sent.append(signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)

    handler = signal.getsignal(signal.SIGTERM)
    run = Carried(store, before=before)
    assert run.summary.interrupted
    assert run.executor.calls == ["wake", "stop", "terminate"]
    assert signal.getsignal(signal.SIGTERM) is handler
    kept = run.summary.jobs_run
    assert 3 <= kept < 7
    again = Carried(store)
    assert (again.summary.jobs_run, again.summary.jobs_reused) == (7 - kept, kept)


def test_the_second_signal_stops_at_once(store):
    def before(executor):
        if executor.carried_out:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    run = Carried(store, before=before)
    assert run.summary.interrupted
    assert run.executor.calls == ["wake", "wake", "terminate"]


def test_what_was_lost_while_it_stopped_is_not_recorded(store):
    def before(executor):
        if executor.waiting and not executor.calls:
            os.kill(os.getpid(), signal.SIGINT)
            executor.events.append(EnvironmentKnown(request=executor.waiting[0].request, digest=LABEL))

    run = Carried(store, before=before, stopped="lost")
    assert (run.summary.interrupted, run.summary.jobs_run) == (True, 0)
    (lost,) = run.executor.carried_out
    assert store.typical_seconds() == {} and store.result(lost.key) is None
    assert "tried again" not in run.log.read_text()


def told(*events: Event):
    """Tells these events in the first step that has work."""
    left = list(events)

    def before(executor):
        if executor.waiting and left:
            executor.events += [event for make in left for event in make(executor)]
            left.clear()

    return before


def test_a_job_that_another_process_finished_is_taken_from_the_store(store):
    first = Carried(store)
    with Store(store.folder.parent / "other") as other:

        def answered(executor):
            work = executor.waiting.pop(0)
            other.record(store.result(work.job.key))
            for artifact in store.result(work.job.key).outputs:
                path = other.places.scratch / artifact.name
                path.write_bytes(store.blob(artifact.digest).read_bytes())
                other.put(path, artifact.name)
            return [WorkAnswered(key=work.job.key)]

        run = Carried(other, before=told(answered))
        assert run.stages == first.stages[1:]
        assert (run.summary.jobs_run, run.summary.jobs_reused) == (6, 1)


def test_an_environment_that_turned_out_another_gets_other_keys(store):
    def another(executor):
        work = executor.waiting.pop(0)
        return [EnvironmentKnown(request=work.request, digest="another")]

    run = Carried(store, before=told(another))
    assert run.executor.carried_out[0].environment == "another"
    assert run.outcomes == ["passed"] * 7


def test_a_fault_of_the_executor_ends_the_run_and_keeps_what_was_finished(store):
    def before(executor):
        if len(executor.carried_out) == 2:
            executor.events.append(ExecutorFault(error=DiskFull("no space", tip="free some")))

    with pytest.raises(DiskFull):
        Carried(store, before=before)
    assert Carried(store).summary.jobs_reused == 2


def test_a_defect_is_raised_as_it_is(store):
    with pytest.raises(ZeroDivisionError):
        Carried(store, before=lambda executor: executor.events.append(ExecutorFault(error=ZeroDivisionError())))


def test_a_model_that_was_edited_since_the_plan_was_made_ends_the_run(store):
    def before(executor):
        (store.folder.parent / "models" / "linear.py").write_text("another")

    with pytest.raises(ModelMissing, match="changed since this run began"):
        Carried(store, before=before)
