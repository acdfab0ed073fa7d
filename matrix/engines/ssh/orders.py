"""The words between the orchestrator and `scripts/board.sh`: a job as a file of shell, its end as lines. Pure."""

from __future__ import annotations

import re
import shlex
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

from matrix.core.records import JobEnd, Limits

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,200}\Z")
PATTERN = re.compile(r"[A-Za-z0-9._+*?-]+\Z")
BLOCK = 512
"""The unit of `ulimit -f`."""
SIGNALLED = 128
"""A shell adds it to the signal that ended a program."""
CLOCK_SECONDS = 0.5
"""So far its limit and its clock may be apart."""
ROOM_KIB = 1024
"""Where less is free when a job ends, no end counts: tools exit with 0 and leave a file that is cut short."""
NOT_STARTED = (125, 126, 127)
"""What `timeout` and `env` answer where a program does not start; no tool of IREE does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardFile:
    """A file for a job there: `name` in the job's folder. One with the same `digest` is sent once in a connection."""

    name: str
    digest: str
    path: Path
    program: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardOrder:
    """A job for a board. Its outputs come to `folder` on this machine."""

    job_id: str
    argv: tuple[str, ...]
    files: tuple[BoardFile, ...]
    folder: Path
    limits: Limits
    outputs: tuple[str, ...] = ()


class ReplyFault(Exception):
    """A board says what is not this protocol."""


@dataclass(slots=True, kw_only=True)
class Reply:
    """What a board said of a job, until `over`. Times are seconds since it was started."""

    status: int | None = None
    begun: float = 0.0
    ended: float = 0.0
    cpu_seconds: float = 0.0
    free_kib: int | None = None
    log: bytes = b""
    log_bytes: int = 0
    fault: str = ""
    outputs: list[str] = field(default_factory=list)


def order_text(order: BoardOrder, variables: Mapping[str, str]) -> bytes:
    """The file that `board.sh` reads in the job's folder: links to its inputs, the patterns of its outputs, and its
    command line. `$here` is the folder of the connection."""
    lines = []
    for file in order.files:
        lines.append(f'ln -s "$here/files/{file.digest}" {shlex.quote(file.name)} || return 1')
        if file.program:
            lines.append(f'chmod 700 "$here/files/{file.digest}" || return 1')
    patterns = " ".join(pattern for pattern in order.outputs if PATTERN.match(pattern))
    words = [f"{name}={value}" for name, value in variables.items()]
    here = 'HOME="$here/job" TMPDIR="$here/job"'
    lines += [
        f"outputs={shlex.quote(patterns)}",
        f"ulimit -f {max(1, order.limits.output_bytes // BLOCK)} 2>/dev/null",
        f"set -- env -i {shlex.join(words)} {here} {shlex.join(order.argv)}",
    ]
    return ("\n".join(lines) + "\n").encode()


def run_line(order: BoardOrder, name: str) -> bytes:
    return f"run {name} {max(1, round(order.limits.seconds))} {order.limits.log_bytes}\n".encode()


def board_end_of(order: BoardOrder, reply: Reply, *, killed: bool) -> JobEnd:
    """How a job ended. What the board could not do is `lost` or `not_started`, and no finding."""
    end = JobEnd(
        key=order.job_id,
        end="exited",
        exit_code=reply.status or 0,
        seconds=max(0.0, reply.ended - reply.begun),
        cpu_seconds=reply.cpu_seconds,
        log=reply.log.decode("utf-8", "backslashreplace"),
        log_bytes=reply.log_bytes,
    )
    if killed:
        return replace(end, end="killed", exit_code=0)
    if reply.status is None or reply.fault:
        fault = reply.fault or "no word of how the job ended"
        return replace(end, end="lost", exit_code=0, error=f"the board: {fault}")
    if reply.free_kib is not None and reply.free_kib < ROOM_KIB:
        error = f"the board has no space left: {reply.free_kib} KiB are free"
        return replace(end, end="lost", exit_code=0, error=error)
    if reply.status in NOT_STARTED:
        last = (end.log.strip().splitlines() or [f"exit status {reply.status}"])[-1]
        return replace(end, end="not_started", exit_code=0, error=f"the board does not start the program: {last}")
    number = reply.status - SIGNALLED
    return _signalled(end, number, order.limits) if number in {each.value for each in signal.Signals} else end


def _signalled(end: JobEnd, number: int, limits: Limits) -> JobEnd:
    if number == signal.SIGKILL and end.seconds >= limits.seconds - CLOCK_SECONDS:
        return replace(end, end="timed_out", exit_code=0)
    if number == signal.SIGXFSZ:
        return replace(end, end="over_limit", exit_code=0, error="one of its files grew beyond its limit")
    return replace(end, end="signalled", exit_code=0, signal=number)


def is_output(name: str, patterns: Sequence[str]) -> bool:
    """Whether a board may leave a file of this name."""
    return bool(FILE_NAME.match(name)) and any(fnmatchcase(name, pattern) for pattern in patterns)


def read_times(lines: Sequence[str]) -> float:
    """The seconds of CPU time of a shell's children, from the two lines of `times`: user and system."""
    total = 0.0
    for minutes, seconds in re.findall(r"(\d+)m(\d+[.,]\d+)s", lines[-1] if lines else ""):
        total += 60 * int(minutes) + float(seconds.replace(",", "."))
    return total
