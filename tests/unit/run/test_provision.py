"""What an engine that keeps its images refuses before a run begins, and what the closing line says of the disk."""

from __future__ import annotations

import queue

import pytest
from answering import AnsweringEngine
from environment_requests import GB, compiler, runtime

from matrix.core.errors import DiskFull, EngineMissing, NotInstallable, NotRunnable, ProgramKilled
from matrix.run.carry_out import disk_words
from matrix.run.executor import Disk
from matrix.run.local.disk import refuse_beyond
from matrix.run.local.provision import Provision, ProvisionFault, Realised, RecipeKnown
from matrix.run.store import Store

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
            Disk(budget_bytes=20 * GB, peak_bytes=142 * GB // 10, made=31, removed=4),
            "disk: peak 14.2 GB of a budget of 20.0 GB; 31 environments made, 4 removed",
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


# -- environments on request


class Asked:
    """A provision on an engine that answers, and what it announced."""

    def __init__(self, store: Store, engine: AnsweringEngine, *requests) -> None:
        self.events: queue.SimpleQueue = queue.SimpleQueue()
        self.store, self.engine, self.requests = store, engine, requests
        self.provision = Provision(engine=engine, store=store, announce=self.events.put)
        self.provision.find(requests)
        self.found = {event.request: event for event in (self.next(RecipeKnown) for _ in requests)}
        self.known = {request: self.provision.known(event) for request, event in self.found.items()}

    def next(self, kind):
        event = self.events.get(timeout=5)
        assert isinstance(event, kind), event
        return event

    def admit(self, *, idle=True, needed=lambda _: True) -> None:
        self.provision.admit(needed, idle=idle)


@pytest.fixture
def asked(tmp_path):
    with Store(tmp_path / "store") as store:
        made = Asked(store, AnsweringEngine(tmp_path / "work", print), *REQUESTS)
        yield made
        made.provision.cancel()
        made.provision.close()


def test_nothing_is_made_that_nobody_asks_for(asked):
    assert [event.recipe for event in asked.found.values()] == [request.label for request in asked.found]
    asked.admit()
    assert (asked.provision.making, asked.engine.standing) == (0, {})


def test_what_is_asked_for_is_made_once_and_known_to_later_runs(asked):
    request = REQUESTS[0]
    assert asked.known[request] is None
    assert asked.provision.environment(request) is None
    for _ in range(2):
        asked.provision.ask(request)
        asked.admit()
    assert asked.provision.busy
    made = asked.next(Realised)
    asked.provision.remember(made)
    assert not asked.provision.busy
    assert asked.provision.environment(request) == made.environment
    later = Asked(asked.store, asked.engine, request)
    assert later.known[request].digest == made.environment.digest
    later.provision.close()


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (NotInstallable("no wheel"), Realised(request=REQUESTS[0], refusal="no wheel")),
        (NotRunnable("no emulator"), RecipeKnown(request=REQUESTS[0], missing="no emulator")),
    ],
)
def test_why_an_environment_will_not_stand(asked, monkeypatch, error, event):
    def realise(_):
        raise error

    monkeypatch.setattr(asked.engine, "realise", realise)
    asked.provision.ask(REQUESTS[0])
    asked.admit()
    assert asked.next(type(event)) == event


def test_an_installer_that_somebody_killed_is_started_once_more(asked, monkeypatch):
    real, killed = asked.engine.realise, []

    def realise(request):
        if not killed:
            killed.append(request)
            raise ProgramKilled("cannot install it: the command was killed by signal 9")
        return real(request)

    monkeypatch.setattr(asked.engine, "realise", realise)
    asked.provision.ask(REQUESTS[0])
    asked.admit()
    assert asked.next(Realised).environment
    assert killed == [REQUESTS[0]]


def test_an_error_of_a_thread_is_announced(asked, monkeypatch):
    monkeypatch.setattr(asked.engine, "realise", lambda request: 1 / 0)
    asked.provision.ask(REQUESTS[0])
    asked.admit()
    assert isinstance(asked.next(ProvisionFault).error, ZeroDivisionError)


def test_what_this_machine_lacks_is_missing_and_not_an_error(tmp_path):
    class Lacking(AnsweringEngine):
        def recipe(self, request):
            raise EngineMissing("no Python 3.9", tip="install it")

    with Store(tmp_path / "store") as store:
        made = Asked(store, Lacking(tmp_path / "work", print), REQUESTS[0])
        assert made.found[REQUESTS[0]].missing == "no Python 3.9; install it"
        made.provision.close()


def test_after_cancel_nothing_begins(asked):
    asked.provision.cancel()
    asked.provision.ask(REQUESTS[0])
    asked.admit()
    assert asked.engine.standing == {}
