"""The command line in a process of its own, with what it used: forked from a server that has imported it already."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import re
import resource
from multiprocessing.connection import Connection
from pathlib import Path

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["measured", "matrix.cli.main", "matrix.cli.answer"])


def main_in_process(argv: list[str], answer: Connection) -> None:
    from matrix.cli.main import main

    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = main(argv)
    used = resource.getrusage(resource.RUSAGE_SELF)
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    answer.send((status, said.getvalue(), used.ru_utime + used.ru_stime, int(found[1]) << 10))


def command_line(argv: list[str]) -> tuple[int, str, float, int]:
    """(exit status, what it said, CPU seconds, peak bytes)."""
    answer, theirs = SERVER.Pipe(duplex=False)
    process = SERVER.Process(target=main_in_process, args=(argv, theirs))
    process.start()
    theirs.close()
    try:
        assert answer.poll(60), f"{argv}: no answer in 60 s"
        return answer.recv()
    finally:
        process.kill()
        process.join()
