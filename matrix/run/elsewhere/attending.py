"""`python -m matrix work` as a process that this one attends: it has the order, tells rows, and ends when this one is
gone."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from typing import IO

from matrix.core.processes import kill_group

STOP_LINE = "stop\n"
END_SECONDS = 10.0
"""How long a process has to end its jobs at once."""
TOLD_OF_ERRORS = 2000
"""Characters of a process's last words that a fault has."""


class Attended:
    """The processes that carry out orders for this one, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._stopped = self._ended = False

    def carry_out(self, argv: Sequence[str], order: str, tell: Callable[[str], None]) -> str:
        """Carries an order out by a command; `tell` takes each row. Returns why it ended early, or "" where it did
        not."""
        if self._stopped:
            return ""
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
            try:
                process = self._started(argv, said.fileno())
            except OSError as error:
                return f"{argv[0]}: {error.strerror}"
            assert process.stdin and process.stdout
            try:
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.write(order + "\n")
                    process.stdin.flush()
                for line in process.stdout:
                    tell(line)
                status = process.wait()
            finally:
                kill_group(process, grace=0.0)
                with self._lock:
                    self._running.discard(process)
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()
                process.stdout.close()
            return "" if status == 0 else self._fault(status, said)

    def _started(self, argv: Sequence[str], errors: int) -> subprocess.Popen[str]:
        with self._lock:
            if self._ended:
                raise OSError(0, "the run has ended")
            process = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
            self._running.add(process)
            return process

    def _fault(self, status: int, said: IO[str]) -> str:
        said.seek(0)
        lines = said.read()[-TOLD_OF_ERRORS:].strip().splitlines()
        told = next((line for line in lines if line.startswith("ERROR ")), lines[-1] if lines else "")
        ended = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        return f"`work` {ended}{': ' if told else ''}{told.removeprefix('ERROR ')}"

    def stop(self) -> None:
        """Asks all to end in order: running jobs finish. It begins no other order."""
        self._stopped = True
        for process in self._all():
            with contextlib.suppress(BrokenPipeError, ValueError):
                assert process.stdin
                process.stdin.write(STOP_LINE)
                process.stdin.flush()

    def end(self) -> None:
        """Ends all at once, as if this process were gone, and starts no other."""
        with self._lock:
            self._ended = True
        running = self._all()
        for process in running:
            assert process.stdin
            with contextlib.suppress(OSError):
                process.stdin.close()
        deadline = time.monotonic() + END_SECONDS
        for process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                kill_group(process, grace=0.0)

    def _all(self) -> tuple[subprocess.Popen[str], ...]:
        with self._lock:
            return tuple(self._running)
