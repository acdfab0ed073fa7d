"""The runner on an executor without processes: graph, reuse and stop."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from answering import AnsweringExecutor, left_by, plan_in

from matrix.core.errors import DiskFull, ModelMissing
from matrix.core.records import JobEnd, Outcome
from matrix.run.evidence import judged_cells, no_result
from matrix.run.executor import EnvironmentKnown, Event, ExecutorFault, WorkAnswered
from matrix.run.progress import PlainProgress
from matrix.run.runner import Runner
from matrix.run.schedule import RunSummary
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

    def __init__(self, store: Store, body: str = BODY, again=no_result, deadline=math.inf, **answers) -> None:
        self.plan = plan_in(store.folder.parent / "models", body)
        self.executor = AnsweringExecutor(store, **answers)
        self.log = store.folder.parent / "progress"
        with self.log.open("w") as stream:
            progress = PlainProgress(stream)
            self.runner = Runner(
                plan=self.plan,
                store=store,
                progress=progress,
                executor=self.executor,
                again=again,
                deadline=deadline,
            )
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


def test_no_job_starts_after_the_deadline_and_the_next_run_goes_on(store):
    begun = time.monotonic()

    def ends(job):
        while job.stage == "compile" and time.monotonic() < begun + 1:  # what runs then is finished
            time.sleep(0.01)

    late = Carried(store, deadline=begun + 1, ends=ends)
    assert late.summary.late and late.summary.interrupted
    assert "export" in late.stages and "run" not in late.stages
    assert "the time is over" in late.log.read_text()
    rest = Carried(store)
    assert rest.summary.jobs_reused == late.summary.jobs_run and not rest.summary.late
    assert rest.outcomes == ["passed"] * 7


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


@pytest.mark.parametrize("outcome", [Outcome.NOT_INSTALLABLE, Outcome.UNTESTED, Outcome.INFRASTRUCTURE])
def test_a_refused_environment_ends_its_cells_alone(store, outcome):
    label = "runtime/3.0.0 on Python 3.11"
    run = Carried(store, refused={label: (outcome, "no such wheel")})
    assert run.outcomes.count(outcome) == 2
    assert run.outcomes.count("passed") == 5
    assert run.summary.missing == ({"no such wheel"} if outcome is Outcome.UNTESTED else set())
    ours = outcome is Outcome.INFRASTRUCTURE
    assert (list(run.summary.faults.values()), run.summary.faulted_cells) == (["no such wheel"] * 2 * ours, 2 * ours)


def test_a_failure_blocks_what_comes_after(store):
    def ends(job):
        return JobEnd(key=job.key, end="exited", exit_code=1, log="error: no") if job.stage == "compile" else None

    run = Carried(store, ends=ends)
    assert (run.outcomes.count("failed"), run.outcomes.count("blocked")) == (2, 4)
    assert store.result(run.summary.states[1].result.key).outcome is Outcome.FAILED


def test_a_fault_of_ours_is_tried_three_times_and_answers_nothing_later(store):
    def ends(job):
        return JobEnd(key=job.key, end="lost", error="the worker is gone") if job.stage == "export" else None

    run = Carried(store, ends=ends)
    assert run.stages == ["export", "export", "export"]
    assert [job.alone for job in run.executor.carried_out] == [False, False, True]
    assert run.summary.faults == {0: "the worker is gone"}
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


CRASH = {"end": "signalled", "signal": 11, "log": "died"}
LIMIT = {"end": "timed_out", "seconds": 600.0}
MEMORY = {"end": "out_of_memory", "peak_bytes": 1 << 30}
UNKNOWN = {"end": "exited", "exit_code": 1, "log": "nobody knows this"}
KNOWN = {"end": "exited", "exit_code": 1, "log": "error: failed to legalize operation 'torch.x' that was explicitly"}
GOOD = {"end": "exited", "log": "ok"}
LOST = {"end": "lost", "error": "the worker is gone"}


def in_turn(stage: str, *ends: dict):
    """The first jobs of a stage end like this, one after the other; all later jobs well."""
    left = list(ends)

    def end(job):
        return JobEnd(key=job.key, **left.pop(0)) if job.stage == stage and left else None

    return end


@pytest.mark.parametrize(
    ("first", "second", "outcome", "alone"),
    [
        (CRASH, CRASH, "crashed", False),
        (CRASH, {**CRASH, "signal": 6}, "crashed", False),
        (LIMIT, LIMIT, "timed_out", True),
        (MEMORY, MEMORY, "out_of_memory", True),
        (UNKNOWN, UNKNOWN, "failed", False),
        ({**GOOD, "exit_code": 1, "log": ""}, UNKNOWN, "failed", False),
        (CRASH, GOOD, "flaky", False),
        (LIMIT, GOOD, "flaky", True),
        (CRASH, LIMIT, "flaky", False),
        (UNKNOWN, CRASH, "flaky", False),
    ],
)
def test_what_a_neighbour_can_cause_is_confirmed_before_it_is_recorded(store, first, second, outcome, alone):
    run = Carried(store, ends=in_turn("export", first, second))
    assert run.stages[:2] == ["export", "export"]
    assert [job.alone for job in run.executor.carried_out[:2]] == [False, alone]
    result = run.summary.states[0].result
    assert (result.outcome, result.attempts) == (outcome, (JobEnd(key=result.key, **first),))
    assert result.end == JobEnd(key=result.key, **second)
    assert store.result(result.key) == result  # also a flaky one stays, and is no pass
    assert run.outcomes[1:] == ["blocked"] * 6
    assert "; started once more to confirm it" in run.log.read_text()
    again = Carried(store)
    assert (again.stages, again.outcomes) == ([], run.outcomes)


def test_an_error_that_is_known_needs_no_second_attempt(store):
    run = Carried(store, ends=in_turn("export", KNOWN))
    assert (run.stages, run.outcomes[0]) == (["export"], "failed")
    assert run.summary.states[0].result.attempts == ()


def test_a_fault_between_two_attempts_does_not_count_as_one(store):
    run = Carried(store, ends=in_turn("export", CRASH, LOST, CRASH))
    result = run.summary.states[0].result
    assert (result.outcome, [end.end for end in result.attempts], len(run.stages)) == ("crashed", ["signalled"], 3)


def test_the_cell_and_the_evidence_have_both_attempts(store):
    run = Carried(store, ends=in_turn("export", CRASH, GOOD))
    judged = judged_cells(run.plan, run.summary.states, store)
    assert {cell.words for cell in judged.cells} == {"flaky at export"}
    assert {cell.said for cell in judged.cells} == {
        "the same job ended differently each time: signalled 11, then exit code 0"
    }
    assert not any(cell.measured or cell.outcome.red for cell in judged.cells)
    (job,) = judged.jobs.values()
    assert [each.status for each in job.attempts] == ["signalled 11"]


@pytest.mark.parametrize("first", [(), (CRASH,)])
def test_nothing_red_is_recorded_that_arrives_while_the_run_stops(store, first):
    """Also if this program has its own signal only a moment before."""

    def ends(job):
        os.kill(os.getpid(), signal.SIGTERM)
        return JobEnd(key=job.key, **KNOWN)

    ended = in_turn("export", *first)
    run = Carried(store, ends=lambda job: ended(job) or ends(job))
    assert run.summary.interrupted
    assert store.result(run.executor.carried_out[0].key) is None
    assert Carried(store).outcomes == ["passed"] * 7


def test_a_closed_terminal_stops_in_order_unless_it_is_ignored(store):
    def before(executor):
        if len(executor.carried_out) == 3:
            os.kill(os.getpid(), signal.SIGHUP)

    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does; the fixture `signals` puts it back
    ignoring = Carried(store, before=before)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    assert (ignoring.summary.interrupted, ignoring.outcomes) == (False, ["passed"] * 7)
    with Store(store.folder.parent / "other") as other:
        stopped = Carried(other, before=before)
    assert stopped.summary.interrupted
    assert stopped.executor.calls[0] == "wake"


@pytest.mark.parametrize("known", [False, True])
def test_wrong_outputs_are_red_in_the_progress_line(store, known):
    """Each cell counts once; also those of an earlier run."""
    if known:
        Carried(store)
    told: list[dict[str, str]] = []

    def is_wrong(artifacts) -> bool:
        told.append(dict(artifacts))
        return len(told) == 2

    plan, log = plan_in(store.folder.parent / "models", BODY), store.folder.parent / "progress"
    with log.open("w") as stream:
        progress, executor = PlainProgress(stream), AnsweringExecutor(store)
        runner = Runner(plan=plan, store=store, progress=progress, executor=executor, is_wrong=is_wrong)
        runner.run()
    assert (runner.schedule.cells_red, runner.schedule.cells_done, len(told)) == (1, 4, 4)
    assert "1 red so far" in log.read_text().splitlines()[-1]
    assert all({"module.mlir", "module.vmfb", "output_0.npy"} <= artifacts.keys() for artifacts in told)


def test_what_is_measured_again_replaces_what_was_known(store):
    first = Carried(store, ends=in_turn("compile", CRASH, CRASH))
    assert first.outcomes.count("crashed") == 1
    again = Carried(store, again=lambda result: result.outcome is Outcome.CRASHED)
    assert (again.stages, again.outcomes) == (["compile", "run", "run"], ["passed"] * 7)
    assert again.summary.jobs_reused == 4
    whole = Carried(store, again=lambda _: True)
    assert (len(whole.stages), whole.summary.jobs_reused) == (7, 0)


def test_a_known_result_stays_until_there_is_another(store):
    first = Carried(store)
    key = first.summary.states[1].result.key
    run = Carried(store, again=lambda result: result.key == key, ends=in_turn("compile", LOST, LOST, LOST))
    assert run.summary.faults == {1: "the worker is gone"}
    assert run.summary.faulted_cells == 2
    assert store.result(key) == first.summary.states[1].result == run.summary.states[1].result
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
