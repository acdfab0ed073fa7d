"""What a plan costs, at most."""

from __future__ import annotations

import pytest
from samples import REFUSED, plan_of

from matrix.core.records import Stage
from matrix.plan.stages import environments, kinds
from matrix.run.cost import Cost, Pace, estimate
from matrix.run.planning import Question
from matrix.run.planning import plan_of as plan_of_question

BODY = "[axes]\ncompiler = ['2.9.0', '3.0.0']\nruntime = ['2.9.0', '3.0.0', '3.7.0']\n"
JOB_SECONDS = {stage: kind.typical_seconds for stage, kind in kinds().items()}
ALL = tuple(environments())
NOTHING = dict.fromkeys(kinds(), 0)


def cost(
    body: str = BODY,
    *,
    done: dict[Stage, int] = NOTHING,
    standing: tuple[str, ...] = (),
    cores: int = 1,
    **seconds: float,
) -> Cost:
    """`standing`: kinds of environments that exist."""
    plan = plan_of(body)
    missing = [request for request in plan.environments() if request.kind not in standing]
    return estimate(plan, done=done, missing=missing, seconds=seconds, cores=cores)


def test_all_is_left():
    exporter, compiler, runtime = (environments()[kind].cost for kind in ("exporter", "compiler", "runtime"))
    found = cost(export=4.0, compile=2.0, run=0.5)
    assert found.download_bytes == exporter.download_bytes + 2 * compiler.download_bytes + 3 * runtime.download_bytes
    assert found.disk_bytes == exporter.disk_bytes + 2 * compiler.disk_bytes + 3 * runtime.disk_bytes
    assert found.seconds == pytest.approx(exporter.seconds + 2 * compiler.seconds + 3 * runtime.seconds + 4 + 4 + 3)


def test_what_is_missing_is_asked_for_its_own_size():
    """One of six environments, and the largest: a sixth of the total was said."""
    exporter, runtime = (environments()[kind].cost for kind in ("exporter", "runtime"))
    assert cost(standing=("compiler", "runtime")).disk_bytes == exporter.disk_bytes
    assert cost(standing=("exporter", "compiler")).download_bytes == 3 * runtime.download_bytes


def test_what_stands_already_shares_its_wheels_with_what_is_missing():
    plan = plan_of_question(Question(preset="exporters", only=("torch=2.9.1",)))
    exporters = [request for request in plan.environments() if request.kind == "exporter"]
    assert len(exporters) > 1
    found = estimate(plan, done=NOTHING, missing=exporters[1:2], seconds={}, cores=1)
    assert found.disk_bytes == environments()["exporter"].same_large.disk_bytes


def test_work_is_shared_by_the_cores_and_what_is_done_is_not_left():
    done = {"export": 1, "compile": 2, "run": 2}
    assert cost(done=done, standing=ALL, cores=2, run=0.5) == Cost(download_bytes=0, disk_bytes=0, seconds=1.0)


def test_without_results_typical_times_are_taken():
    work = cost(standing=ALL).seconds
    assert work == pytest.approx(JOB_SECONDS["export"] + 2 * JOB_SECONDS["compile"] + 6 * JOB_SECONDS["run"])


def test_jobs_that_can_not_run_cost_nothing():
    assert cost(f"[axes]\ncompiler = '3.0.0'\nruntime = ['3.0.0', '{REFUSED}']\n") == cost(
        "[axes]\ncompiler = '3.0.0'\nruntime = '3.0.0'\n"
    )


def test_nothing_to_run():
    plan = f"[axes]\ncompiler = '{REFUSED}'\nmodel = 'given'\nstages = 'x'\n".replace("stages = 'x'\n", "")
    assert cost("stages = ['export', 'compile']\n" + plan) == Cost(download_bytes=0, disk_bytes=0, seconds=0.0)


def test_a_large_model_compiles_longer_and_a_benchmark_shares_no_core():
    plan = plan_of_question(Question(preset="performance", only=("model=yolox_nano", "runtime=3.8.0")))
    found = estimate(plan, done=NOTHING, missing=[], seconds={"export": 0, "run": 0, "benchmark": 2}, cores=2)
    rounds = 2 * 2 * 7  # of the release and of its twin, in two passes
    assert found.seconds == pytest.approx(2 * kinds()["compile"].typical_by_model["yolox_nano"] / 2 + 2 * rounds)


# -- what is left of a run


def pace(*, cores: int = 2, prefetch: int = 0) -> Pace:
    return Pace(JOB_SECONDS, cores=cores, prefetch=prefetch)


def test_after_a_long_beginning_what_is_left_is_what_jobs_take_now():
    """`portability` in containers from an empty store took 218 s: 190 s for images, the export and 15 compiles, and the
    first run on each runtime starts its container. By cells, 1467 s were left after 29 of 225."""
    measured = pace()
    measured.note("export", 15.0)
    for _ in range(15):
        measured.note("compile", 2.0)
    for seconds in [0.8] * 15 + [0.1] * 40:
        measured.note("run", seconds)
    left = measured.left({"export": 0, "compile": 0, "run": 170})
    assert left == pytest.approx(170 * 0.1 / 2)


def test_jobs_that_wait_for_a_worker_are_not_slow():
    """Six at a time on two cores, each 0.1 s of which it waits two thirds: 20 a second."""
    ahead = pace(prefetch=2)
    for _ in range(10):
        ahead.note("run", 0.1 * 3)
    assert ahead.left({"run": 100}) == pytest.approx(100 * 0.1 / 2)


def test_nodes_that_come_to_a_known_job_cost_nothing():
    """Content cutoff: of ten compiles nine had been done."""
    collapsed = pace()
    collapsed.note("compile", 10.0, nodes=4)
    for _ in range(6):
        collapsed.note("compile", 0.0)
    assert collapsed.left({"compile": 20}) == pytest.approx(20 * 1.0 / 2)


def test_what_was_not_measured_yet_is_guessed_only_where_it_is_the_smaller_part():
    fresh = pace()
    assert fresh.left({"run": 10}) is None
    fresh.note("compile", 10.0)
    assert fresh.left({"compile": 2}) is None
    fresh.note("compile", 10.0)
    fresh.note("compile", 10.0)
    assert fresh.left({"compile": 2, "run": 10}) == pytest.approx(2 * 10.0 / 2 + 10 * JOB_SECONDS["run"] / 2)
    assert fresh.left({"compile": 2, "benchmark": 100}) is None
    for _ in range(3):
        fresh.note("benchmark", 3.0)
    assert fresh.left({"compile": 0, "benchmark": 100}) == pytest.approx(300)
    assert fresh.left({"compile": 0}) is None
