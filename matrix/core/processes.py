"""The only place that starts programs: argv lists, always a timeout, and the whole process group is killed. Also the
signals that ask this program to stop.

`run` never raises for a program: one that is missing, fails or takes too long is described by the returned
`Completed`, and the caller decides what it means.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from matrix.core.errors import MatrixError, ProgramKilled

NOT_FOUND = 127
"""The exit code of a program that could not be started, as in a shell."""
TERMINATION_SECONDS = 2.0
"""The time between SIGTERM and SIGKILL for a process group."""
TAIL_LINES = 20
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, a service manager or a batch system, a closed terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A program that has ended: how to run it again, and how it ended. `exit_code` is -N for signal N."""

    argv: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str
    seconds: float
    timed_out: bool = False

    @property
    def ok(self) -> bool:
        return self.exit_code == 0 and not self.timed_out

    @property
    def output(self) -> str:
        """stderr, then stdout."""
        return "\n".join(part.strip() for part in (self.stderr, self.stdout) if part.strip())

    @property
    def tail(self) -> str:
        """The last lines of the output."""
        return "\n".join(self.output.splitlines()[-TAIL_LINES:])

    @property
    def command(self) -> str:
        """The argv as a line for a shell."""
        return shlex.join(self.argv)


_running: set[subprocess.Popen[str]] = set()
_guard = threading.Lock()
_pauses = threading.Condition()


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str = "",
) -> Completed:
    """Runs a program to its end, or for `timeout` seconds. `env` is the whole environment; None inherits this one's."""
    started = time.monotonic()
    words = tuple(str(word) for word in argv)
    search = (os.environ if env is None else env).get("PATH")
    prefix = parent_death_prefix() if shutil.which(words[0], path=search) else ()
    try:
        process = subprocess.Popen(
            (*prefix, *words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=None if env is None else dict(env),
            cwd=cwd,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return Completed(argv=words, exit_code=NOT_FOUND, stdout="", stderr=str(error), seconds=0.0)
    with _guard:
        _running.add(process)
    try:
        stdout, stderr, timed_out = _communicate(process, stdin, timeout)
    except BaseException:  # an interrupt must not leave the group running
        kill_group(process)
        raise
    finally:
        with _guard:
            _running.discard(process)
    return Completed(
        argv=words,
        exit_code=process.returncode,
        stdout=stdout,
        stderr=stderr,
        seconds=time.monotonic() - started,
        timed_out=timed_out,
    )


@functools.cache
def parent_death_prefix() -> tuple[str, ...]:
    """The prefix of a command line whose process the kernel kills when this process dies.

    Linux ties this to the *thread* that started the process, and `run` waits in that thread. A `preexec_fn` would do
    the same but is unsafe beside other threads. So a program does it: setpriv of util-linux, or else Python (20 ms
    instead of 1).
    """
    setpriv, true = shutil.which("setpriv"), shutil.which("true")
    if setpriv and true:
        prefix = (setpriv, "--pdeathsig", "KILL", "--")
        with contextlib.suppress(OSError, subprocess.SubprocessError):  # the setpriv of busybox lacks the option
            subprocess.run([*prefix, true], check=True, timeout=10, capture_output=True)
            return prefix
    code = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execvp(sys.argv[1], sys.argv[1:])"
    return (sys.executable, "-I", "-S", "-c", code)


def _communicate(process: subprocess.Popen[str], stdin: str, timeout: float) -> tuple[str, str, bool]:
    try:
        stdout, stderr = process.communicate(stdin, timeout=timeout)
    except subprocess.TimeoutExpired:
        kill_group(process)
    else:
        return stdout, stderr, False
    try:
        stdout, stderr = process.communicate(timeout=TERMINATION_SECONDS)
    except subprocess.TimeoutExpired as still:  # a descendant left the group and holds the pipe open
        stdout, stderr = _text(still.stdout), _text(still.stderr)
    return stdout, stderr, True


def _text(read: str | bytes | None) -> str:
    return read.decode("utf-8", "replace") if isinstance(read, bytes) else read or ""


def kill_group(process: subprocess.Popen[str], *, grace: float | None = None) -> None:
    """Sends SIGTERM, then SIGKILL to the process's group, and waits for the process."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(TERMINATION_SECONDS if grace is None else grace)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def pause(seconds: float) -> None:
    """Waits like a program that does nothing. Raises ProgramKilled if `kill_all` ends the wait."""
    with _pauses:
        if _pauses.wait(seconds):
            raise ProgramKilled("a wait was ended", tip="run the same command again")


def kill_all() -> None:
    """Kills all programs that `run` waits for in other threads: an interrupt only reaches the main thread."""
    with _pauses:
        _pauses.notify_all()
    with _guard:
        running = tuple(_running)
    for process in running:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def failure(completed: Completed, what: str, *, tip: str = "") -> MatrixError:
    """The error for a failed program, where no other class fits: how it ended, its argv and the tail of its output."""
    if completed.timed_out:
        ending = f"took longer than {completed.seconds:.0f} s and was ended"
    elif completed.exit_code < 0:
        ending = f"was killed by signal {-completed.exit_code}"
    else:
        ending = f"ended with exit code {completed.exit_code}"
    lines = [f"{what}: the command {ending}", f"  {completed.command}"]
    lines += [f"  | {line}" for line in completed.tail.splitlines()]
    if completed.exit_code < 0 and not completed.timed_out:
        return ProgramKilled("\n".join(lines), tip="run the same command again; the kernel ends what takes all memory")
    return MatrixError("\n".join(lines), tip=tip or "run the command above by hand to see more")


@contextlib.contextmanager
def stop_signals(heed: Callable[[], None]) -> Iterator[None]:
    """Calls `heed` for each of these signals. One that is ignored stays ignored: `nohup` does this for SIGHUP."""

    def note(number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP:
            leave_terminal()
        heed()

    heeded = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, note) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_terminal() -> None:
    """Lets output go nowhere that would go to a terminal that is closed: writing there is an error."""
    for descriptor in (1, 2):
        try:
            os.write(descriptor, b"")
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)
