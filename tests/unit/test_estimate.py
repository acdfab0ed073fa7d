"""What a plan costs, at most."""

from __future__ import annotations

import pytest
from samples import REFUSED, plan_of

from matrix.estimate import COMPILE_SECONDS, ENVIRONMENT_COSTS, JOB_SECONDS, Cost, estimate
from matrix.records import Stage
from matrix.workplace import Question
from matrix.workplace import plan_of as plan_of_question

BODY = "[axes]\ncompiler = ['2.9.0', '3.0.0']\nruntime = ['2.9.0', '3.0.0', '3.7.0']\n"
NOTHING = dict.fromkeys(Stage, 0)


def cost(
    body: str = BODY, *, done: dict[Stage, int] = NOTHING, standing: int = 0, cores: int = 1, **seconds: float
) -> Cost:
    return estimate(plan_of(body), done=done, standing=standing, seconds=seconds, cores=cores)


def test_all_is_left():
    exporter, compiler, runtime = (ENVIRONMENT_COSTS[kind] for kind in ("exporter", "compiler", "runtime"))
    found = cost(export=4.0, compile=2.0, run=0.5)
    assert found.download_bytes == exporter.download_bytes + 2 * compiler.download_bytes + 3 * runtime.download_bytes
    assert found.disk_bytes == exporter.disk_bytes + 2 * compiler.disk_bytes + 3 * runtime.disk_bytes
    assert found.seconds == pytest.approx(exporter.seconds + 2 * compiler.seconds + 3 * runtime.seconds + 4 + 4 + 3)


def test_work_is_shared_by_the_cores_and_what_is_done_is_not_left():
    done = {Stage.EXPORT: 1, Stage.COMPILE: 2, Stage.RUN: 2}
    assert cost(done=done, standing=6, cores=2, run=0.5) == Cost(download_bytes=0, disk_bytes=0, seconds=1.0)


def test_without_results_typical_times_are_taken():
    work = cost(standing=6).seconds
    assert work == pytest.approx(
        JOB_SECONDS[Stage.EXPORT] + 2 * JOB_SECONDS[Stage.COMPILE] + 6 * JOB_SECONDS[Stage.RUN]
    )


def test_jobs_that_can_not_run_cost_nothing():
    assert cost(f"[axes]\ncompiler = '3.0.0'\nruntime = ['3.0.0', '{REFUSED}']\n") == cost(
        "[axes]\ncompiler = '3.0.0'\nruntime = '3.0.0'\n"
    )


def test_nothing_to_run():
    plan = f"[axes]\ncompiler = '{REFUSED}'\nmodel = 'given'\nstages = 'x'\n".replace("stages = 'x'\n", "")
    assert cost("stages = ['export', 'compile']\n" + plan) == Cost(download_bytes=0, disk_bytes=0, seconds=0.0)


def test_a_large_model_compiles_longer_and_a_benchmark_shares_no_core():
    plan = plan_of_question(Question(preset="performance", only=("model=yolox_nano", "runtime=3.8.0")))
    found = estimate(plan, done=NOTHING, standing=3, seconds={"export": 0, "run": 0, "benchmark": 2}, cores=2)
    rounds = 2 * 2 * 7  # of the release and of its twin, in two passes
    assert found.seconds == pytest.approx(2 * COMPILE_SECONDS["yolox_nano"] / 2 + 2 * rounds)
