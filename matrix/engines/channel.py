"""The byte streams between the orchestrator and a worker: pipes to a local process here, a container elsewhere.

A local worker runs in its own PID namespace if the machine allows it: then none of its processes survives it, even if
it is killed.
"""

from __future__ import annotations

import contextlib
import functools
import os
import selectors
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol

from matrix.core import errors

READ_BYTES = 1 << 16
GRACE_SECONDS = 2.0
STDOUT, STDERR = 1, 2


class Channel(Protocol):
    """A worker's stdin, stdout and stderr, wherever it runs."""

    def write(self, data: bytes) -> None:
        """Writes all bytes; may block. Raises BrokenPipeError once the worker is gone."""

    def end_input(self) -> None:
        """Closes the worker's stdin. May be called more than once."""

    def read(self, seconds: float | None) -> tuple[int, bytes] | None:
        """(STDOUT or STDERR, bytes), or None if nothing came in time. No bytes: that stream has ended."""

    def wait(self, seconds: float | None) -> int | None:
        """The exit status (negative: a signal), or None if the worker has not ended in time."""

    def is_stopped(self) -> bool:
        """Whether the worker or one of its jobs is stopped or frozen from outside. Where nobody can say: no."""

    def kill(self) -> None:
        """Kills the worker and all its descendants. May be called more than once."""

    def close(self) -> None:
        """Releases the resources of the channel after the end of the worker."""


@functools.cache
def namespace_prefix() -> tuple[str, ...]:
    """The prefix of a command line that gives its process a PID namespace; empty where this machine allows none.

    Root needs no user namespace; other users do, and some distributions and containers forbid it.
    """
    own_pids = ("--fork", "--pid", "--kill-child", "--mount-proc")
    for prefix in (("unshare", *own_pids), ("unshare", "--user", "--map-current-user", *own_pids)):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run([*prefix, "true"], check=True, timeout=10, capture_output=True)
            return prefix
    return ()


class ProcessChannel:
    """A worker as a process of this machine, in its own session: it does not get a terminal's Ctrl-C.

    Create it on a long-lived thread: Linux ends the worker together with the thread that started it. Raises
    errors.WorkerLost if the interpreter cannot be started.
    """

    def __init__(self, argv: Sequence[str], env: Mapping[str, str] | None) -> None:
        self._prefix = namespace_prefix()
        self._process = _start([*self._prefix, *argv], env, Path(argv[0]))
        self._stdin = _pipe(self._process.stdin)
        self._selector = selectors.DefaultSelector()
        for number, stream in ((STDOUT, self._process.stdout), (STDERR, self._process.stderr)):
            self._selector.register(_pipe(stream), selectors.EVENT_READ, number)

    def write(self, data: bytes) -> None:
        self._stdin.write(data)

    def end_input(self) -> None:
        with contextlib.suppress(OSError):
            self._stdin.close()

    def read(self, seconds: float | None) -> tuple[int, bytes] | None:
        for key, _ in self._selector.select(seconds):
            data = os.read(key.fd, READ_BYTES)
            if not data:
                self._selector.unregister(key.fileobj)
            return key.data, data
        return None

    def wait(self, seconds: float | None) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(seconds)
        return None

    def is_stopped(self) -> bool:
        if self._process.poll() is not None:
            return False
        return any(_state(pid) == "T" for pid in (self._process.pid, *_descendants(self._process.pid)))

    def kill(self) -> None:
        """A namespace ends with its first process; `unshare` ends that one when it ends itself, but not if it is killed
        in the moment after its fork. Without one, only the end of its stdin makes the worker end its jobs in order. So
        the descendants are found first, while the process is stopped and starts no other."""
        if not self._prefix and self._process.poll() is None:
            self.end_input()
            self.wait(GRACE_SECONDS)
        if self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGSTOP)
        descendants = _descendants(self._process.pid)
        self._process.kill()
        for pid in descendants:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        self._selector.close()
        for stream in (self._stdin, _pipe(self._process.stdout), _pipe(self._process.stderr)):
            with contextlib.suppress(OSError):
                stream.close()


def _start(command: Sequence[str], env: Mapping[str, str] | None, interpreter: Path) -> subprocess.Popen[bytes]:
    tip = "the environment may be damaged; remove its folder and it is made again"
    if not os.access(interpreter, os.X_OK):
        raise errors.WorkerLost(f"no interpreter at {interpreter}", tip=tip)
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            bufsize=0,
            start_new_session=True,
        )
    except OSError as error:
        raise errors.WorkerLost(f"cannot start {command[0]}: {error.strerror}", tip=tip) from error


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None  # all three were requested
    return stream


def _state(pid: int) -> str:
    """A process's state in /proc: T is stopped by a signal. Empty where it has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0].decode()
    return ""


def _descendants(root: int) -> list[int]:
    """All processes below `root`, by the parents in /proc."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_bytes().rpartition(b")")[2].split()[1])
    found = [root]
    for each in found:
        found += [pid for pid, parent in parents.items() if parent == each]
    return found[1:]
