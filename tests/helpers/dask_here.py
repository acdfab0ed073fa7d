"""Dask for tests: a scheduler and workers in this process, and executors on them."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from command_line import ROOT, begin, surroundings
from distributed import Client, LocalCluster
from executor_contract import options

from matrix.engines.choice import lookup_engine
from matrix.run.elsewhere.choice import work_words
from matrix.run.elsewhere.cluster.dask_pool import DaskPool
from matrix.run.elsewhere.executor import PoolExecutor
from matrix.run.store import Store


@contextmanager
def local_scheduler(workers: int = 2) -> Iterator[LocalCluster]:
    with LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=False,
        protocol="tcp",
        dashboard_address="127.0.0.1:0",
        memory_limit=0,
    ) as cluster:
        yield cluster


def by_dask(store: Store, address: str) -> PoolExecutor:
    """An executor whose workers have its own store, as those of `--executor dask` without a scheduler."""
    words = [*work_words(store, options(), here=True), "--jobs", "1"]
    return PoolExecutor(
        store=store,
        engine=lookup_engine("venv", store.places),
        jobs=1,
        make_pool=lambda announce: DaskPool(Client(address, set_as_default=False), words, announce),
    )


SCALE = ROOT / "docs" / "scale.md"


def documented_lines() -> tuple[str, str, str, str]:
    """The lines of docs/scale.md for Dask: the certificates, what to export, the scheduler, a worker."""
    section = SCALE.read_text(encoding="utf-8").partition("\n## Dask\n")[2].partition("\n## ")[0]
    certificates, exports, programs = re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    scheduler, worker = programs.splitlines()
    return certificates, exports, scheduler, worker


class Programs:
    """A scheduler and workers of Dask as the documents start them: by TLS, each worker with a disk of its own."""

    def __init__(self, folder: Path, *, workers: int = 2, more: str = "") -> None:
        """`more`: further words of each worker."""
        self.folder, self._more = folder, more
        self.tls = folder / "tls"
        self.tls.mkdir(parents=True)
        self.started_jobs = folder / "started"
        self.port = free_port()
        self.address = f"tls://127.0.0.1:{self.port}"
        certificates, self._exports, self._scheduler, self._worker = documented_lines()
        subprocess.run(["sh", "-ec", certificates], cwd=self.tls, check=True, capture_output=True, timeout=60)
        self.scheduler = self.start_scheduler()
        self.workers = [self.add_worker(f"disk{number}") for number in range(workers)]

    def __enter__(self) -> Programs:
        return self

    def __exit__(self, *_: object) -> None:
        for process in (*self.workers, self.scheduler):
            end_tree(process.pid)
            process.wait()

    def _text(self, line: str, **words: str) -> str:
        found = {"HOST": "127.0.0.1", "8786": str(self.port), "FOLDER": str(self.tls), **words}
        for word, meant in found.items():
            line = re.sub(rf"\b{word}\b", meant, line)
        return line

    def _begin(self, line: str, **words: str) -> subprocess.Popen[bytes]:
        script = self._text(self._exports + line, **words)
        variables = {"IREE_MATRIX_START_LOG": str(self.started_jobs), "PYTHONPATH": str(ROOT)}
        places = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        with (self.folder / "said").open("ab") as said:
            return subprocess.Popen(
                ["sh", "-ec", script],
                env=surroundings(PATH=places, **variables),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    def start_scheduler(self) -> subprocess.Popen[bytes]:
        return self._begin(self._scheduler)

    def add_worker(self, disk: str) -> subprocess.Popen[bytes]:
        (self.folder / disk).mkdir(exist_ok=True)
        return self._begin(f"{self._worker} {self._more}", DISK=str(self.folder / disk))

    def store(self, number: int) -> Path:
        return self.folder / f"disk{number}" / "iree-matrix"

    def begin_run(self, *words: object, cwd: Path = ROOT) -> subprocess.Popen[str]:
        """`run --executor dask …` with the certificates of the documents."""
        return begin(
            *("run", *words, "--executor", "dask", "--scheduler", self.address),
            *("--remote", self.folder / "remote"),
            cwd=cwd,
            before=["sh", "-ec", self._text(self._exports) + 'exec "$@"', "run"],
        )

    def kill_worker(self, chosen: random.Random) -> bool:
        """SIGKILL for a process of a worker, which its nanny starts again. Whether there was one."""
        found = [child for process in self.workers for child in children_of(process.pid, "spawn_main")]
        if found:
            os.kill(chosen.choice(found), signal.SIGKILL)
        return bool(found)


def children_of(pid: int, word: str = "") -> list[int]:
    """All processes below one, whose command line has a word."""
    with contextlib.suppress(psutil.Error):
        return [each.pid for each in psutil.Process(pid).children(recursive=True) if word in " ".join(each.cmdline())]
    return []


def end_tree(pid: int) -> None:
    """Ends a process and all below it at once."""
    for each in (pid, *children_of(pid)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
