"""Workers of Dask that are killed, lost, or lose whom they work for; TLS as the documents have it.

The tools are scripts, all else is real: `dask scheduler`, `dask worker`, `work`, certificates."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from command_line import DATA, Ran, begin, end, good, matrix, processes_of, standing, started, wait_for, wait_until_gone
from dask_here import Programs, children_of, documented_lines, end_tree
from executor_contract import slow_desk

pytestmark = [pytest.mark.real, pytest.mark.full]

LEVELS = 60
JOBS = 2 * LEVELS + 1
"""Compiles for two stacks, and one run that all of them share: they leave the same bytes."""
AT_A_TIME = 2 * len(os.sched_getaffinity(0))
"""Jobs under way on two workers."""


def is_whole(programs: Programs, ran: Ran, table: Path) -> bool:
    """Whether all cells passed, and nothing red or of ours was recorded."""
    assert ran.status == 0, ran.err
    outcomes = Counter(cell["outcome"] for cell in json.loads(table.read_text())["cells"])
    return outcomes == {"passed": 2 * LEVELS}


def test_ten_workers_are_killed_and_each_costs_one_batch(tmp_path: Path) -> None:
    seed = int(os.environ.get("IREE_MATRIX_SAMPLE_SEED") or time.time_ns() % 100_000)
    print(f"seed {seed}")
    chosen = random.Random(seed)
    desk, table = slow_desk(tmp_path / "desk", "+" * LEVELS, 1.0), tmp_path / "table.json"
    with Programs(tmp_path / "dask") as programs:
        run = programs.begin_run(
            "mine.toml", "--store", tmp_path / "store", "--format", "json", "--output", table, cwd=desk
        )
        wait_for(lambda: started(programs.started_jobs), seconds=120)
        kills = 0
        while kills < 10 and run.poll() is None:
            time.sleep(chosen.uniform(0.2, 5.0))
            kills += programs.kill_worker(chosen)
        ran = end(run, timeout=600)
        assert kills == 10, "the run was over too early to say anything"
        assert is_whole(programs, ran, table)
        begun = started(programs.started_jobs)
        lost = ran.err.count("of it are dealt again")  # of the batch ahead nothing had begun
        print(f"{kills} kills, {lost} batches dealt again, {len(begun) - len({*begun})} jobs started twice")
        assert lost <= kills
        assert len({*begun}) == JOBS and len(begun) - JOBS <= kills * AT_A_TIME // 2


def test_the_lines_of_the_document_keep_strangers_out_and_results_in(tmp_path: Path) -> None:
    desk = slow_desk(tmp_path / "desk", "+" * 4, 0.1)
    words = ("mine.toml", "--store")
    with Programs(tmp_path / "dask") as programs:
        ran = end(programs.begin_run(*words, tmp_path / "store", cwd=desk))
        assert (ran.status, ran.jobs_run) == (0, 9), ran.err
        pages = {address for address in listening(programs) if answers_http(address)}
        assert {host for host, _ in pages} <= {"127.0.0.1"}, "no page for other machines"
        assert ("127.0.0.1", programs.port) in listening(programs)
        told = matrix(
            *("run", *words, tmp_path / "other", "--executor", "dask", "--scheduler", programs.address),
            *("--remote", programs.folder / "remote"),
            cwd=desk,
        )
        assert told.status == 2 and "Dask is set to no certificate of this machine" in told.err
        for security in ("", "Security(require_encryption=True, tls_ca_file=A, tls_client_cert=C, tls_client_key=K)"):
            assert "reached" not in strange_client(tmp_path, programs, security)


def listening(programs: Programs) -> set[tuple[str, int]]:
    return {
        (each.laddr.ip, each.laddr.port)
        for process in (programs.scheduler, *programs.workers)
        for pid in (process.pid, *children_of(process.pid))
        for each in psutil.Process(pid).net_connections()
        if each.status == psutil.CONN_LISTEN
    }


def answers_http(address: tuple[str, int]) -> bool:
    with socket.create_connection(("127.0.0.1", address[1]), timeout=5) as one, contextlib.suppress(OSError):
        one.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return one.recv(5).startswith(b"HTTP")
    return False


def strange_client(folder: Path, programs: Programs, security: str) -> str:
    """What a client says that has no certificate, or one of another authority."""
    other = folder / "other-tls"
    other.mkdir(exist_ok=True)
    certificates, *_ = documented_lines()
    subprocess.run(["sh", "-ec", certificates], cwd=other, check=True, capture_output=True, timeout=60)
    address = programs.address if security else programs.address.replace("tls:", "tcp:")
    code = (
        "from distributed import Client\nfrom distributed.security import Security\n"
        f"A, C, K = {str(other / 'ca.pem')!r}, {str(other / 'cert.pem')!r}, {str(other / 'key.pem')!r}\n"
        f"Client({address!r}, security={security or None}, timeout=5).run(int)\nprint('reached')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    return done.stdout


def test_an_empty_machine_with_everything_cached_makes_no_environment(tmp_path: Path) -> None:
    desk = slow_desk(tmp_path / "desk", "+" * 4, 0.1)
    with Programs(tmp_path / "dask", workers=1) as programs:
        assert end(programs.begin_run("mine.toml", "--store", tmp_path / "store", cwd=desk)).jobs_run == 9
        end_tree(programs.workers[0].pid)
        programs.workers.append(programs.add_worker("disk1"))
        ran = end(programs.begin_run("mine.toml", "--store", tmp_path / "empty", cwd=desk))
        assert (ran.status, ran.jobs_run) == (0, 0), ran.err
        assert len(started(programs.started_jobs)) == 9
        assert not programs.store(1).exists() and standing(tmp_path / "empty") == []


@pytest.mark.parametrize("is_back", [True, False])
def test_the_scheduler_is_lost(tmp_path: Path, is_back: bool) -> None:
    """The workers end what they have. With a scheduler and workers there again, the run goes on; else it ends with what
    is finished."""
    desk, table = slow_desk(tmp_path / "desk", "+" * LEVELS, 0.5), tmp_path / "table.json"
    words = ("mine.toml", "--store", tmp_path / "store", "--format", "json", "--output", table)
    with Programs(tmp_path / "dask") as programs:
        run = programs.begin_run(*words, cwd=desk)
        wait_for(lambda: len(started(programs.started_jobs)) > 8, seconds=120)
        end_tree(programs.scheduler.pid)
        begun = time.monotonic()
        wait_for(lambda: not works(programs), seconds=30)
        print(f"the workers' processes had ended after {time.monotonic() - begun:.1f} s")
        if is_back:
            programs.scheduler = programs.start_scheduler()
            programs.workers += [programs.add_worker("disk0"), programs.add_worker("disk1")]
            ran = end(run, timeout=300)
        else:
            ran = end(run, timeout=120)
            assert ran.status == 5 and "the scheduler does not answer any more" in ran.err
            assert "the same command goes on from there" in ran.err
            wait_until_gone(tmp_path / "store")
            kept = len({*started(programs.started_jobs)})
            programs.scheduler = programs.start_scheduler()
            programs.workers += [programs.add_worker("disk0"), programs.add_worker("disk1")]
            ran = end(programs.begin_run(*words, cwd=desk), timeout=300)
            assert kept < JOBS
        assert is_whole(programs, ran, table)
        log = started(programs.started_jobs)
        assert len({*log}) == JOBS and len(log) - JOBS <= AT_A_TIME


def works(programs: Programs) -> list[str]:
    return [line for line in processes_of(programs.folder).values() if "matrix work" in line]


def test_the_run_is_lost(tmp_path: Path) -> None:
    desk, table = slow_desk(tmp_path / "desk", "+" * LEVELS, 0.5), tmp_path / "table.json"
    words = ("mine.toml", "--store", tmp_path / "store", "--format", "json", "--output", table)
    with Programs(tmp_path / "dask") as programs:
        run = programs.begin_run(*words, cwd=desk)
        wait_for(lambda: len(started(programs.started_jobs)) > 8, seconds=120)
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
        begun = time.monotonic()
        wait_for(lambda: not works(programs), seconds=30)
        print(f"the workers' processes had ended after {time.monotonic() - begun:.1f} s")
        before = len({*started(programs.started_jobs)})
        ran = end(programs.begin_run(*words, cwd=desk), timeout=300)
        assert is_whole(programs, ran, table) and before - AT_A_TIME <= JOBS - ran.jobs_run <= before
        log = started(programs.started_jobs)
        assert len({*log}) == JOBS and len(log) - JOBS <= AT_A_TIME


def test_workers_on_this_machine_end_with_the_run(tmp_path: Path) -> None:
    desk = slow_desk(tmp_path / "desk", "+" * LEVELS, 30.0)
    run = begin("run", "mine.toml", "--store", tmp_path / "store", "--executor", "dask", cwd=desk)
    wait_for(lambda: any("matrix work" in line for line in processes_of(tmp_path / "store").values()), seconds=120)
    below = children_of(run.pid)
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()
    wait_for(lambda: not any(psutil.pid_exists(pid) for pid in below), seconds=60)
    wait_until_gone(tmp_path / "store")


TIMED = """
format = 1
name = "timed"
question = "What does a release cost?"
stages = ["export", "compile", "run", "benchmark"]
[axes]
model = "linear4"
compiler = "= runtime"
runtime = ["3.8.0", "3.10.0"]
[models.linear4]
mlir = "linear.mlir"
inputs = ["linear_input.npy"]
expected = ["linear_expected.npy"]
[benchmark]
rounds = 2
passes = 1
baseline = { compiler = "3.8.0", runtime = "3.8.0" }
"""


def test_times_are_measured_by_workers_of_dask(tmp_path: Path) -> None:
    for name in ("linear.mlir", "linear_input.npy", "linear_expected.npy"):
        shutil.copy(DATA / name, tmp_path)
    (tmp_path / "timed.toml").write_text(TIMED)
    words = ("timed.toml", "--store", tmp_path / "store")
    ran = matrix("run", *words, "--executor", "dask", "--format", "json", cwd=tmp_path, timeout=900)
    assert ran.status == 0, ran.err
    with contextlib.closing(sqlite3.connect(tmp_path / "store" / "store.sqlite")) as database:
        records = [json.loads(text) for (text,) in database.execute("SELECT record FROM results")]
    assert Counter(each["stage"] for each in records)["benchmark"] == 2 * 3, "two releases, the baseline's twin"
    assert good("show", *words, cwd=tmp_path).out
