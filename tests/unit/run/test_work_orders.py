"""Work orders as JSON, and what is refused of them; which jobs make a batch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from answering import plan_in

from matrix.core.errors import OrderFault
from matrix.core.records import EnvironmentRequest
from matrix.plan.graph import Plan
from matrix.plan.question import Question
from matrix.plan.stages import make_job
from matrix.run.elsewhere.batches import MOST_OF_A_BATCH, WaitingWork, batch_seconds, choose_environments
from matrix.run.elsewhere.orders import OrderedJob, read_order, work_order_text
from matrix.run.executor import Work
from matrix.run.planning import plan_of

SQUARE = '[axes]\ncompiler = ["2.9.0", "3.0.0", "3.7.0"]\nruntime = ["2.9.0", "3.0.0"]\n'


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_of(Question(preset="quick"))


def ordered(plan: Plan) -> tuple[list[EnvironmentRequest], list[OrderedJob]]:
    node = plan.nodes[0]
    artifacts = {name: digest for name, _, digest in node.given}
    job = make_job(node, environment="e" * 64, artifacts=artifacts)
    return [node.request], [OrderedJob(job=job, environment=0)]


def test_an_order_is_read_as_it_was_written_and_has_no_folder_in_it(plan, tmp_path):
    requests, jobs = ordered(plan)
    text = work_order_text("venv", requests, jobs)
    assert str(Path(__file__).parents[3]) not in text and "\n" not in text
    order = read_order(text, tmp_path)
    assert list(order.environments) == requests
    assert order.jobs[0].job.key == jobs[0].job.key
    assert dict(order.jobs[0].job.arguments)["model_file"] == "linear.py"


def test_a_lock_that_no_checkout_has_comes_along(plan, tmp_path):
    requests, jobs = ordered(plan)
    path = tmp_path / "own.txt"
    path.write_bytes(requests[0].lock.path.read_bytes())
    requests = [replace(requests[0], lock=replace(requests[0].lock, path=path))]
    text = work_order_text("venv", requests, jobs)
    path.unlink()
    (there,) = read_order(text, tmp_path).environments
    assert there.lock.path.name == f"{there.lock.digest}.txt" and there.lock.path.is_file()


def changed(text: str, **fields: object) -> str:
    return json.dumps({**json.loads(text), **fields})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "", "read '', expected a work order as JSON"),
        (lambda text: text[:-9], "expected a work order as JSON"),
        (lambda text: "[" * 100_000, "expected a work order as JSON"),
        (lambda text: changed(text, format=9), "read an order of format 9 with keys of version 1, expected 1 and 1"),
        (lambda text: changed(text, key_version=0), "with keys of version 0"),
        (lambda text: changed(text, more=1), "an order whose fields are others"),
        (lambda text: changed(text, jobs=[{"job": 1}]), "an order whose fields are others"),
        (lambda text: changed(text, scripts="0" * 64), "an order for other scripts"),
        (lambda text: changed(text, environments=[]), "a job without an environment"),
        (lambda text: text.replace(".txt", ".gone"), "expected the one of this checkout"),
    ],
)
def test_what_is_no_order_for_this_checkout_is_refused(plan, tmp_path, change, message):
    with pytest.raises(OrderFault, match=message.replace("[", r"\[")) as refused:
        read_order(change(work_order_text("venv", *ordered(plan))), tmp_path)
    assert refused.value.tip


# -- batches


@pytest.fixture
def works(tmp_path) -> list[Work]:
    """3 compiles and 6 runs; runs have a lower rank."""
    plan, found = plan_in(tmp_path / "models", SQUARE), []
    artifacts = {"module.mlir": "a" * 64, "module.vmfb": "b" * 64, "input_0.npy": "c" * 64}
    for node in plan.nodes[1:]:
        job = make_job(node, environment="e", artifacts={**artifacts, "module.vmfb": f"{node.index:064}"})
        job = replace(job, key=f"{node.index}")
        rank = (0, ("compile", "run").index(node.stage), node.index)
        found.append(Work(job=job, request=node.request, rank=rank))
    return found


def chosen(works, **more):
    return WaitingWork(works).take_batch(**{"workers": 2, "idle": 1, **more})


def test_the_length_of_a_batch():
    assert batch_seconds(1e6, workers=2, idle=1) == 60
    assert batch_seconds(240, workers=2, idle=1) == 30
    assert batch_seconds(40, workers=2, idle=1) == 10
    assert batch_seconds(8, workers=2, idle=2) == 4, "no worker is idle while another has it all"
    assert batch_seconds(1, workers=2, idle=2) == 2, "and none is started for less than it costs"


def test_a_batch_has_the_critical_path_and_the_environments_that_a_worker_has_first(works):
    compiles, runs = ([each for each in works if each.job.stage == stage] for stage in ("compile", "run"))
    assert [each.job.stage for each in chosen(works)][:3] == ["compile"] * 3
    (one,) = {each.request for each in runs[:1]}
    assert chosen(runs, here={one})[0].request == one
    assert chosen(runs, elsewhere={one})[0].request != one
    assert all(each.request != one for each in chosen(runs, refused={one}))
    assert chosen(works, refused={each.request for each in works}) == []
    many = [replace(work, job=replace(work.job, key=f"{number}")) for number, work in enumerate(compiles * 20)]
    assert len(chosen(compiles)) == 3 and len(chosen(many)) < 60


def test_a_whole_batch_of_short_jobs_goes_before_any_number_of_long_ones(works):
    compiles = [each for each in works if each.job.stage == "compile"]
    run = next(each for each in works if each.job.stage == "run")
    many = [copy_of(each, f"c{number}") for each in compiles for number in range(MOST_OF_A_BATCH)]
    runs = [copy_of(run, f"r{number}") for number in range(MOST_OF_A_BATCH)]
    assert {each.job.stage for each in chosen([*many, *runs[1:]])} == {"compile"}
    assert {each.job.key for each in chosen([*many, *runs])} == {each.job.key for each in runs}


def copy_of(work: Work, name: str) -> Work:
    return replace(work, job=replace(work.job, key=f"{work.job.key}-{name}"))


def test_a_job_that_must_be_alone_is_alone(works):
    alone = replace(works[0], job=replace(works[0].job, alone=True))
    assert chosen([alone, *works[1:]]) == [alone]
    assert alone not in chosen([*works[1:], replace(alone, rank=(9, 9, 9))])


def test_environments_are_made_a_few_at_a_time(plan):
    requests = plan.environments()
    first = choose_environments(requests)
    assert first == [requests[0]] and requests[0].kind == "exporter"
    assert 1 < len(choose_environments(requests[1:])) < len(requests)
    assert requests[0] not in choose_environments(requests, refused={requests[0]})
    assert choose_environments([]) == []
