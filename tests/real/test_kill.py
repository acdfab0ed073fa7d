"""kill -9 of the runner at random moments of a real run: no finished job runs again, none is lost, nothing is left."""

from __future__ import annotations

import os
import random
import signal
import socket
import time
from pathlib import Path

import pytest
from command_line import (
    RELEASES,
    begin,
    end,
    good,
    new_store,
    no_index,
    processes_of,
    rows,
    standing,
    started,
    table,
    wait_for,
    wait_until_gone,
    write_spec,
)

from matrix.core.keys import sha256

pytestmark = pytest.mark.real

EARLY, LATER, AMID_JOBS = 2, 18, 15
"""Kills in the first moments of the program, kills once a job has started; how many must find a job running."""
VARIANTS = 12
JOBS = VARIANTS * (3 + 9)
SEED = 20261121


def kill_after(process, seconds: float) -> None:
    time.sleep(seconds)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.full
def test_kill_9_at_twenty_moments(tmp_path, shared):
    """Two moments within 0.4 s of the program's start, eighteen soon after some job has started, in any order."""
    chance = random.Random(SEED)
    kills = chance.sample([False] * EARLY + [True] * LATER, EARLY + LATER)
    spec = write_spec(tmp_path / "spec", variants=VARIANTS)
    here = tmp_path / "killed"
    store, log = new_store(here / "store", shared), here / "starts"
    words = ["run", spec, "--store", store, "--jobs", "2"]
    amid, slowest, finished_before = 0, 0.0, dict[str, str]()
    for later in kills:
        lines = len(started(log))
        process = begin(*words, IREE_MATRIX_START_LOG=str(log))
        if later:
            wanted = lines + chance.randint(1, 8)
            wait_for(lambda wanted=wanted: len(started(log)) >= wanted)
        kill_after(process, chance.uniform(0.0, 0.03 if later else 0.4))
        slowest = max(slowest, wait_until_gone(here))
        new = started(log)[lines:]
        known = rows(store)
        assert not set(new) & finished_before.keys(), "a finished job was started again"
        assert finished_before.items() <= known.items(), "a finished job was lost or recorded anew"
        amid += bool(set(new) - known.keys())
        finished_before = known
    assert len(finished_before) > 20, "hardly a job was finished: there was nothing to run twice"
    assert len(finished_before) < JOBS, "the run was over before the last kill: nothing was killed any more"
    assert amid >= AMID_JOBS
    lines = len(started(log))
    ran = good(*words, "--format", "csv", IREE_MATRIX_START_LOG=str(log))
    last = started(log)[lines:]
    assert not set(last) & finished_before.keys()
    assert len(last) == len(set(last)) == ran.jobs_run == JOBS - len(finished_before)
    assert rows(store).keys() == set(started(log))
    assert len(rows(store)) == JOBS
    assert ran.out == table(spec, store)
    assert no_leftovers(store) == []
    other = new_store(tmp_path / "untouched" / "store", shared)
    assert good("run", spec, "--store", other, "--format", "csv").out == ran.out
    print(
        f"\n{len(kills)} kills, {amid} amid jobs; {len(finished_before)} of {JOBS} jobs were done before the last run; "
        f"{len(started(log)) - JOBS} jobs in flight were lost and started again, 0 finished ones; "
        f"the last process was gone {slowest:.2f} s after a kill at the latest"
    )


def no_leftovers(store: Path) -> list[Path]:
    """Scratch folders after a run that ended by itself, and blobs that are not whole."""
    torn = [path for path in store.glob("blobs/*/*") if sha256(path) != path.name]
    return [*(store / "scratch").iterdir(), *torn]


def test_kill_9_while_environments_are_made(tmp_path):
    """No uv survives, what stood still stands, and the next call goes on."""
    chance = random.Random(SEED)
    spec = write_spec(tmp_path / "spec")
    store, log = tmp_path / "store", tmp_path / "starts"
    env = {"IREE_MATRIX_START_LOG": str(log), "UV_LINK_MODE": "copy"}
    amid, stood = 0, dict[Path, int]()
    for _ in range(4):
        process = begin("run", spec, "--store", store, **env)
        wait_for(lambda: any(store.glob("environments/*.partial-*")))
        kill_after(process, chance.uniform(0.0, 0.3))
        amid += any(store.glob("environments/*.partial-*"))
        wait_until_gone(tmp_path)
        assert stood.items() <= made(store).items()
        stood = made(store)
    assert amid >= 2
    before = rows(store)
    ran = end(begin("run", spec, "--store", store, **env))
    assert ran.status == 0, ran.err
    assert len(standing(store)) == 6
    assert stood.items() <= made(store).items()
    assert before.items() <= rows(store).items()
    assert len(rows(store)) == 12
    assert list(store.glob("environments/*.partial-*")) == []
    print(f"\n4 kills, {amid} of them while environments were made, {len(stood)} of 6 stood by then")


def test_kill_9_while_the_index_keeps_uv_waiting(tmp_path):
    """An index that takes the connection and never answers: nothing of ours waits on for it."""
    spec, store = write_spec(tmp_path / "spec", compilers=RELEASES[:1], runtimes=RELEASES[:1]), tmp_path / "store"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        env = no_index(tmp_path / "cache", silent.getsockname()[1])
        process = begin("run", spec, "--store", store, **env)
        wait_for(lambda: sum("pip sync" in command for command in processes_of(store).values()) >= 2)
        kill_after(process, 0.3)
        wait_until_gone(tmp_path)
    assert good("run", spec, "--store", store).jobs_run == 2


def made(store: Path) -> dict[Path, int]:
    return {folder: folder.stat().st_ino for folder in standing(store)}
