"""How much memory jobs get, and which may run at a time: pure."""

from __future__ import annotations

import pytest

from matrix.core.records import Job, JobEnd, Limits
from matrix.run.local.memory import LEAST, Memory

GIB = 1 << 30


def job(key: str, gib: int, *, script: str = "", alone: bool = False) -> Job:
    return Job(
        key=key,
        stage="run",
        label=key,
        environment="",
        inputs=(),
        outputs=(),
        script=script,
        limits=Limits(memory_bytes=gib * GIB),
        alone=alone,
    )


@pytest.mark.parametrize(
    ("total", "cores", "own", "expected"),
    [(23, 2, 16, 11.5), (23, 2, 8, 8), (16, 8, 8, 2), (8, 8, 8, 2), (128, 64, 1, 1), (1, 1, 8, 2)],
)
def test_a_share_is_that_of_a_core_and_never_more_than_the_limit(total, cores, own, expected):
    assert Memory(total * GIB, cores).limit(job("a", own)) == expected * GIB


@pytest.mark.parametrize("total", [1, 3, 7, 16, 23, 64])
@pytest.mark.parametrize("cores", [1, 2, 5, 16])
def test_what_runs_at_a_time_fits_into_the_machine(total, cores):
    """Jobs are let in one after the other, as many as may; then none is above what the machine has."""
    memory, running = Memory(total * GIB, cores), list[Job]()
    for number in range(40):
        one = job(str(number), (8, 16)[number % 2], script="export.py" if number % 2 else "")
        if memory.fits(one, running):
            running.append(one)
    tools = sorted((memory.limit(each) for each in running if not each.script), reverse=True)[:cores]
    together = sum(tools) + sum(memory.limit(each) for each in running if each.script)
    assert running
    assert together <= max(total * GIB, LEAST)


def test_who_reached_its_share_gets_its_whole_limit_and_waits_for_it():
    memory, big, small = Memory(23 * GIB, 2), job("big", 16, script="export.py"), job("small", 16, script="export.py")
    assert memory.fits(big, [small])
    assert memory.needs_more(big, JobEnd(key="big", end="out_of_memory"))
    assert memory.limit(big) == 16 * GIB
    assert not memory.fits(big, [small])
    assert memory.fits(big, [])
    assert memory.needs_more(big, JobEnd(key="big", end="out_of_memory")) == ""


@pytest.mark.parametrize("end", ["exited", "signalled", "timed_out", "crowded_out", "lost"])
def test_another_end_says_nothing_of_the_share(end):
    memory, one = Memory(23 * GIB, 2), job("a", 16)
    assert memory.needs_more(one, JobEnd(key="a", end=end)) == ""
    assert memory.limit(one) == 11.5 * GIB


def test_a_job_that_is_alone_has_its_whole_limit_and_one_job_always_may_run():
    memory = Memory(4 * GIB, 2)
    assert memory.limit(job("a", 16, alone=True)) == 16 * GIB
    assert memory.fits(job("a", 16, alone=True), [])
