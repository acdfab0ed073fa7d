"""Signals from outside: to the whole tree as a service manager sends them, to workers, to jobs. None becomes a finding,
and none loses one."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import (
    ROOT,
    SLOW,
    before_run_module,
    begin,
    end,
    good,
    matrix,
    processes_of,
    started,
    surroundings,
    wait_for,
    wait_until_gone,
    write_spec,
)

from matrix.core.errors import EXIT_FAULTED

pytestmark = pytest.mark.real
FULL = pytest.mark.full

ONE = ("3.10.0",)
ONCE = 'test $(wc -l < "{log}") -gt 2 || kill -{signal} $$\nexec "{tool}" "$@"\n'
"""The first run job, after one compile; no job can write outside of its folder, but it can read."""
ALWAYS = "kill -{signal} $$\n"


def tree(pid: int) -> list[int]:
    """A process and all below it, as a service manager would list them."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_bytes().rpartition(b")")[2].split()[1])
    found = [pid]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found


def send(number: int, pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, *(pytest.param(each, marks=FULL) for each in (signal.SIGHUP, signal.SIGINT))]
)
@pytest.mark.parametrize("upwards", [False, pytest.param(True, marks=FULL)])
def test_a_signal_to_the_whole_tree_is_no_finding(tmp_path, store, number, upwards):
    spec, log = write_spec(tmp_path, compilers=ONE, runtimes=ONE, variants=3), tmp_path / "starts"
    before_run_module(store, SLOW, seconds=2)
    words = ["run", spec, "--store", store, "--format", "csv"]
    process = begin(*words, IREE_MATRIX_START_LOG=str(log))
    wait_for(lambda: len(started(log)) >= 4)  # 3 compiles, and a run job
    pids = tree(process.pid)
    send(number, pids[::-1] if upwards else pids)  # the jobs first: their ends come before this program has its own
    ran = end(process)
    assert ran.status == 130, ran.err
    wait_until_gone(tmp_path)
    shown = good("show", spec, "--store", store, "--format", "csv").out
    assert shown.count(",untested,") + shown.count(",passed,") == 3, shown
    assert good(*words).out.count(",passed,") == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_worker_that_somebody_ends_costs_nothing(tmp_path, store, number):
    spec, log = write_spec(tmp_path, compilers=ONE, runtimes=ONE, variants=3), tmp_path / "starts"
    before_run_module(store, SLOW, seconds=2)
    process = begin("run", spec, "--store", store, "--format", "csv", IREE_MATRIX_START_LOG=str(log))
    wait_for(lambda: len(started(log)) >= 4)
    worker = min(pid for pid, line in processes_of(log).items() if " -I " in line and "unshare" not in line)
    send(number, [worker])  # what has the same command line and a higher number are its keepers of jobs
    ran = end(process)
    assert (ran.status, ran.out.count(",passed,")) == (0, 3), ran.err
    assert "tried again" in ran.err
    wait_until_gone(tmp_path)


@pytest.mark.parametrize("sent", ["TERM", "KILL", "HUP", "INT", "QUIT", "XCPU"])
def test_a_job_that_somebody_ends_is_measured_again(tmp_path, store, sent):
    spec, log = write_spec(tmp_path, compilers=ONE, runtimes=ONE), tmp_path / "starts"
    before_run_module(store, ONCE, signal=sent, log=log)
    ran = good("run", spec, "--store", store, "--format", "csv", IREE_MATRIX_START_LOG=str(log))
    assert len(started(log)) == 3
    assert ran.out.count(",passed,") == 1, ran.err


def test_what_was_not_measured_for_our_reasons_has_its_own_status(tmp_path, store):
    spec = write_spec(tmp_path, compilers=ONE, runtimes=ONE)
    before_run_module(store, ALWAYS, signal="TERM")
    ran = matrix("run", spec, "--store", store, "--format", "csv")
    assert ran.status == EXIT_FAULTED
    assert ran.out.count(",infrastructure,") == 1
    assert "1 jobs of 1 cells were not measured, and no release is to blame:\n  1 x signalled 15" in ran.err
    assert "TIP the same command tries them again" in ran.err
    tool = next((store / "environments").glob("runtime-3.10.0*/lib/*/site-packages/iree/*/real-run-module"))
    tool.replace(tool.with_name("iree-run-module"))
    assert good("run", spec, "--store", store, "--format", "csv").out.count(",passed,") == 1


def test_a_crash_that_does_not_repeat_is_flaky_until_it_is_measured_again(tmp_path, store):
    spec, log = write_spec(tmp_path, compilers=ONE, runtimes=ONE), tmp_path / "starts"
    before_run_module(store, ONCE, signal="SEGV", log=log)
    words = ["run", spec, "--store", store, "--format", "csv"]
    first = good(*words, IREE_MATRIX_START_LOG=str(log))
    assert (first.out.count(",flaky,"), first.out.count(",crashed,")) == (1, 0)
    assert "signalled 11; started once more to confirm it" in first.err
    why = good("why", "--preset", spec, "--store", store).out
    assert "the same job ended differently each time: signalled 11, then exit code 0" in why
    assert "the attempt before: signalled 11" in why
    assert good(*words).jobs_run == 0
    again = good(*words, "--again", "flaky")
    assert (again.jobs_run, again.out.count(",passed,")) == (1, 1)


def test_a_confirmed_crash_can_be_measured_again(tmp_path, store):
    spec = write_spec(tmp_path, compilers=ONE, runtimes=ONE)
    before_run_module(store, 'test -e "{mark}" || kill -SEGV $$\nexec "{tool}" "$@"\n', mark=tmp_path / "mark")
    words = ["run", spec, "--store", store, "--format", "csv"]
    assert good(*words).out.count(",crashed,") == 1
    (tmp_path / "mark").touch()
    assert good(*words, "--only", "compiler=3.10.0").out.count(",crashed,") == 1
    again = good(*words, "--only", "compiler=3.10.0", "--again", "crashed")
    assert (again.jobs_run, again.out.count(",passed,")) == (1, 1)
    assert good(*words, "--again").jobs_run == 2
    ran = matrix(*words, "--again", "crash")
    assert ran.status == 2
    assert "--again: read 'crash', expected one of" in ran.err


def test_a_closed_terminal_stops_in_order(tmp_path, store):
    """The kernel sends SIGHUP, and every later write to the terminal is an error."""
    spec, log = write_spec(tmp_path, compilers=ONE, runtimes=ONE, variants=3), tmp_path / "starts"
    before_run_module(store, SLOW, seconds=2)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", "--wait", sys.executable, "-m", "matrix", "run", str(spec), "--store", str(store)],
        cwd=ROOT,
        env=surroundings(PYTHONPATH=str(ROOT), IREE_MATRIX_START_LOG=str(log), TERM="xterm"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    wait_for(lambda: len(started(log)) >= 4)
    os.close(ours)
    assert process.wait(timeout=60) == 130
    wait_until_gone(tmp_path)
    assert list((store / "scratch").iterdir()) == []
    assert good("run", spec, "--store", store, "--format", "csv").out.count(",passed,") == 3
