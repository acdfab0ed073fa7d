"""What an engine that keeps its images refuses before a run begins, and what the closing line says of the disk."""

from __future__ import annotations

import pytest
from environment_requests import GB, compiler, runtime

from matrix.core.errors import DiskFull, EngineMissing
from matrix.core.records import Disk
from matrix.run.carry_out import disk_words
from matrix.run.local.disk import refuse_beyond

REQUESTS = (compiler("3.8.0"), compiler("3.9.0"), runtime("3.8.0"))
"""Together 1.1 GB."""


class Keeping:
    """An engine of which some images stand, 0.5 GB each; on a disk of which so much is free."""

    name = "keeping"

    def __init__(self, *standing, free=None, never=()):
        self.standing, self.free, self.never = standing, free, never
        self.asked = 0

    def load(self, request):
        self.asked += 1
        if request in self.never:
            raise EngineMissing("no image of it")
        return request if request in self.standing else None

    def held_bytes(self):
        return len(self.standing) * GB // 2

    def free_bytes(self):
        return self.free


@pytest.mark.parametrize(
    ("engine", "budget", "said"),
    [
        (Keeping(), GB, "3 are missing, about 1.1 GB, and the others of this run hold 0.0 GB of a budget of 1.0 GB"),
        (Keeping(REQUESTS[0]), GB, "2 are missing, about 0.6 GB, and the others of this run hold 0.5 GB of a budget"),
        (Keeping(free=GB), None, "3 are missing, about 1.1 GB, and there is room for 0.8 GB"),
        (Keeping(never=REQUESTS[2:]), GB // 2, "3 are missing"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_size(engine, budget, said):
    with pytest.raises(DiskFull) as caught:
        refuse_beyond(budget, REQUESTS, engine)
    assert said in str(caught.value)
    assert "--disk-budget" in caught.value.tip and "--only" in caught.value.tip


@pytest.mark.parametrize(
    ("engine", "budget"),
    [
        (Keeping(), 2 * GB),
        (Keeping(REQUESTS[0]), 12 * GB // 10),
        (Keeping(*REQUESTS), GB // 10),  # nothing is made
        (Keeping(free=2 * GB), None),
        (Keeping(free=None), None),  # another machine's disk: nobody knows
    ],
)
def test_what_fits_or_stands_begins(engine, budget):
    refuse_beyond(budget, REQUESTS, engine)


def test_a_budget_that_is_far_off_asks_nothing():
    engine = Keeping()
    refuse_beyond(100 * GB, REQUESTS, engine)
    assert engine.asked == 0


def test_an_engine_that_removes_or_cannot_measure_goes_without():
    class Removing(Keeping):
        def remove(self, request):
            return True

        remove_others = remove
        remove_unfinished = Keeping.free_bytes

    refuse_beyond(1, REQUESTS, Removing())
    refuse_beyond(1, REQUESTS, object())


@pytest.mark.parametrize(
    ("disk", "words"),
    [
        (
            Disk(budget_bytes=20 * GB, peak_bytes=142 * GB // 10, made=31, dropped=4),
            "disk: peak 14.2 GB of a budget of 20.0 GB; 31 environments made, 4 dropped",
        ),
        (
            Disk(budget_bytes=0, kept=True, peak_bytes=42 * GB // 10, made=31),
            "disk: the environments of this run hold 4.2 GB where the engine keeps them, what they share counted once; "
            "31 made, and they stay",
        ),
        (
            Disk(budget_bytes=12 * GB, kept=True, peak_bytes=42 * GB // 10, made=1),
            "disk: the environments of this run hold 4.2 GB of a budget of 12.0 GB where the engine keeps them, what "
            "they share counted once; 1 made, and they stay",
        ),
    ],
)
def test_the_closing_line_says_what_was_measured(disk, words):
    assert disk_words(disk) == words
