"""Ctrl-C and SIGTERM: one stops in order, a second one at once, the next call goes on. And two runs on one store."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import (
    ROOT,
    SLOW,
    before_run_module,
    begin,
    end,
    good,
    no_index,
    processes_of,
    rows,
    started,
    surroundings,
    wait_for,
    wait_until_gone,
    write_spec,
)

pytestmark = pytest.mark.real

ONE = ("3.10.0",)


def run_jobs(log: Path) -> int:
    return len(started(log))


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.full)])
def test_one_signal_finishes_what_runs(tmp_path, store, number):
    spec, log = write_spec(tmp_path, compilers=ONE, runtimes=ONE, variants=6), tmp_path / "starts"
    before_run_module(store, SLOW, seconds=3)
    words = ["run", spec, "--store", store, "--jobs", "2", "--format", "csv"]
    process = begin(*words, IREE_MATRIX_START_LOG=str(log))
    wait_for(lambda: run_jobs(log) >= 7)  # 6 compiles and the first run job
    time.sleep(0.2)  # until the runner has heard of that start too: what it takes for queued is not finished
    os.kill(process.pid, number)
    ran = end(process)
    assert ran.status == 130
    assert "the same command continues from there" in ran.err
    assert ran.out == ""
    wait_until_gone(tmp_path)
    first = started(log)
    assert set(first) == rows(store).keys()  # what ran was finished and kept
    assert len(first) < 12
    again = good(*words, IREE_MATRIX_START_LOG=str(log))
    assert len(started(log)) == len(set(started(log))) == 12
    assert again.jobs_run == 12 - len(first)
    assert again.out.count(",passed,") == 6


def test_two_signals_stop_at_once(tmp_path, store):
    spec, log = write_spec(tmp_path, compilers=ONE, runtimes=ONE, variants=3), tmp_path / "starts"
    before_run_module(store, SLOW, seconds=60)
    process = begin("run", spec, "--store", store, IREE_MATRIX_START_LOG=str(log))
    wait_for(lambda: run_jobs(log) >= 4 and len(rows(store)) == 3)
    begun = time.monotonic()
    os.kill(process.pid, signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    os.kill(process.pid, signal.SIGINT)
    ran = end(process)
    assert ran.status == 130
    assert time.monotonic() - begun < 3
    wait_until_gone(tmp_path)
    assert len(rows(store)) == 3  # the compiles; what was killed never happened
    assert good("show", spec, "--store", store, "--format", "csv").out.count(",untested,") == 3


def test_a_signal_while_environments_are_made(tmp_path):
    spec, store = write_spec(tmp_path / "spec"), tmp_path / "store"
    process = begin("run", spec, "--store", store, UV_LINK_MODE="copy")
    wait_for(lambda: any(store.glob("environments/*.partial-*")))
    begun = time.monotonic()
    os.kill(process.pid, signal.SIGINT)
    ran = end(process)
    assert ran.status == 130
    assert time.monotonic() - begun < 5
    wait_until_gone(tmp_path)
    assert list(store.glob("environments/*.partial-*")) == []
    assert good("run", spec, "--store", store).jobs_run == 12


def test_a_signal_while_the_index_keeps_uv_waiting(tmp_path):
    spec, store = write_spec(tmp_path / "spec", compilers=ONE, runtimes=ONE), tmp_path / "store"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        process = begin("run", spec, "--store", store, **no_index(tmp_path / "cache", silent.getsockname()[1]))
        wait_for(lambda: sum("pip sync" in command for command in processes_of(store).values()) >= 2)
        begun = time.monotonic()
        os.kill(process.pid, signal.SIGINT)
        ran = end(process)
    assert ran.status == 130
    assert time.monotonic() - begun < 3
    wait_until_gone(tmp_path)
    assert list(store.glob("environments/*.partial-*")) == []


@pytest.mark.parametrize("imported", ["enum", "matrix.core.errors"])
def test_ctrl_c_amid_the_imports(imported):
    """Says nothing, ends as a signal does. `enum` is among the first modules that the standard library imports."""
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "matrix", "doctor"],
        cwd=ROOT,
        env=surroundings(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.rstrip().endswith(f" {imported}"):
            process.send_signal(signal.SIGINT)
            break
    _, err = process.communicate(timeout=60)
    assert process.returncode in (-signal.SIGINT, 130)
    assert "Traceback" not in err


def test_two_runs_at_once_share_the_work(tmp_path, store):
    spec, log = write_spec(tmp_path, variants=3), tmp_path / "starts"
    words = ["run", spec, "--store", store, "--format", "csv"]
    both = [begin(*words, IREE_MATRIX_START_LOG=str(log)) for _ in range(2)]
    one, two = (end(process) for process in both)
    assert (one.status, two.status) == (0, 0), one.err + two.err
    assert one.out == two.out
    assert one.out.count(",untested,") == 0
    assert len(started(log)) == len(set(started(log))) == 3 * (3 + 9)
    assert one.jobs_run + two.jobs_run == 36
    assert min(one.jobs_run, two.jobs_run) > 0
    wait_until_gone(tmp_path)


def test_two_runs_at_once_make_each_environment_once(tmp_path):
    spec, store = write_spec(tmp_path / "spec", compilers=ONE, runtimes=ONE), tmp_path / "store"
    both = [begin("run", spec, "--store", store, "--format", "csv") for _ in range(2)]
    one, two = (end(process) for process in both)
    assert (one.status, two.status) == (0, 0), one.err + two.err
    assert one.out == two.out
    assert one.jobs_run + two.jobs_run == 2
    assert len(list(store.glob("environments/*/environment.json"))) == 2
    assert list(store.glob("environments/*.partial-*")) == []
