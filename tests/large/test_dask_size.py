"""Thousands of jobs by Dask: what the scheduler takes, and how busy the workers are. The work is simulated."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from answering import plan_in
from command_line import ROOT
from dask_here import end_tree, free_port
from sharded import ElsewhereEngine
from simulated_work import BUSY, SimulatedPool

from matrix.plan.graph import Plan
from matrix.run.elsewhere.executor import PoolExecutor
from matrix.run.progress import PlainProgress
from matrix.run.runner import Runner
from matrix.run.store import Store

SPEC = '[axes]\ncompiler = ["2.9.0", "3.0.0", "3.7.0"]\nruntime = ["3.7.0"]\n'
LEVELS, WORKERS, PROCESSES = 16_667, 48, 2
BUSY_PART, MEBIBYTES = 0.95, 2048


def plan_with(folder: Path, levels: int) -> Plan:
    """1 export, 3 compiles and 3 runs for each level."""
    rows = [f'[axis.level.v{number}]\ncompile = ["--level={number}"]\n' for number in range(levels)]
    return plan_in(folder, SPEC + "".join(rows))


@pytest.mark.full
def test_100_000_jobs_keep_the_workers_busy_and_the_scheduler_small(tmp_path: Path) -> None:
    plan = plan_with(tmp_path / "models", LEVELS)
    address = f"tcp://127.0.0.1:{free_port()}"
    places = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'helpers'}"}
    words = ("--host", "127.0.0.1", "--port", address.rpartition(":")[2], "--dashboard-address", "127.0.0.1:0")
    programs = [subprocess.Popen([sys.executable, "-m", "distributed.cli.dask_scheduler", *words], env=places)]
    try:
        for _ in range(PROCESSES):
            argv = [sys.executable, str(ROOT / "tests" / "helpers" / "simulated_work.py"), address]
            programs.append(subprocess.Popen([*argv, str(WORKERS // PROCESSES)], env=places))
        with Store(tmp_path / "store") as store:
            summary, seconds = carried(plan, store, address, WORKERS)
        assert summary.faults == {} and summary.jobs_run == 6 * LEVELS + 1
        peak = int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{programs[0].pid}/status").read_text())[1]) / 1024
        cpu = sum(os_times(programs[0].pid))
    finally:
        for program in programs:
            end_tree(program.pid)
            program.wait()
    in_jobs, busy, batches = busy_part(tmp_path / BUSY, WORKERS)
    print(
        f"{summary.jobs_run} jobs, {WORKERS} workers, {batches} batches, {seconds:.0f} s: {in_jobs:.1%} of worker time "
        f"in jobs, {busy:.1%} in batches; scheduler {peak:.0f} MiB, {cpu:.0f} s of CPU time; the run "
        f"{time.process_time():.0f} s; load {os.getloadavg()[0]:.0f}"
    )
    assert in_jobs >= BUSY_PART and peak < MEBIBYTES


def carried(plan: Plan, store: Store, address: str, workers: int):
    from distributed import Client

    def make(announce):
        client = Client(address, set_as_default=False, timeout=120)
        client.wait_for_workers(workers, timeout=300)
        return SimulatedPool(client, [str(store.folder)], announce)

    executor = PoolExecutor(store=store, engine=ElsewhereEngine("m"), jobs=1, make_pool=make)
    begun = time.monotonic()
    with (store.folder.parent / "progress").open("a") as stream:
        summary = Runner(plan=plan, store=store, progress=PlainProgress(stream), executor=executor).run()
    return summary, time.monotonic() - begun


def os_times(pid: int) -> tuple[float, float]:
    import psutil

    times = psutil.Process(pid).cpu_times()
    return times.user, times.system


def busy_part(file: Path, workers: int) -> tuple[float, float, int]:
    """The part of the time, from the first compile to the end, that is in simulated jobs, and in which workers carried
    batches out; and how many these were."""
    lines = [tuple(map(float, line.split())) for line in file.read_text().splitlines()]
    batches = sorted((begun, ended, seconds) for begun, ended, jobs, seconds in lines if jobs)
    whole = workers * (max(ended for _, ended, _ in batches) - batches[1][0])
    simulated = sum(seconds for *_, seconds in batches[1:])
    return simulated / whole, sum(ended - begun for begun, ended, _ in batches[1:]) / whole, len(batches)
