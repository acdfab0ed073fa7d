"""A job: the request to a worker, and the state of its processes."""

from __future__ import annotations

import numbers
import os
import signal
from typing import Any, TypeVar

import children
import confine

T = TypeVar("T")
STOPPED = "its processes were stopped from outside (SIGSTOP)"
MOST_PROCESSES = 1000
"""Of a job at a time: a fork bomb is ended before it slows others down."""
NEARLY = 0.9
"""Of its memory limit: what a job has used when the kernel ends it because of that limit."""


class Job:
    """One request and the state of its processes. `end` is set when the worker ends it, by a limit or on request."""

    def __init__(self, message: dict[str, Any]) -> None:
        """Raises ValueError with the name of the field if the request is malformed."""
        self.request = message
        self.id = field(message, "id", str)
        self.argv: list[str] = field(message, "argv", list) if "argv" in message else []
        self.script: str = field(message, "script", str) if "script" in message else ""
        self.arguments: dict[str, Any] = field(message, "arguments", dict) if self.script else {}
        self.cwd = field(message, "cwd", str)
        self.env: dict[str, str] = field(message, "env", dict)
        self.alone = message.get("alone") is True
        self.confined = message.get("confined") is True
        self.loopback = message.get("loopback") is True
        self.writable: list[str] = field(message, "writable", list) if "writable" in message else []
        limits = field(message, "limits", dict)
        self.seconds_limit = field(limits, "seconds", numbers.Real)
        self.memory_limit = field(limits, "memory_bytes", int)
        self.output_limit = field(limits, "output_bytes", int) if "output_bytes" in limits else 0
        self.log = children.Log(field(limits, "log_bytes", int))
        if bool(self.argv) == bool(self.script):
            raise ValueError("exactly one of argv and script must be given")
        if not all(isinstance(text, str) for text in [*self.argv, *self.env, *self.env.values(), *self.writable]):
            raise ValueError("argv, env and writable must hold strings")
        self.cores: frozenset[int] = frozenset()
        self.end = ""
        self.keeper = 0
        self.pid = 0
        """0 until its keeper has said it."""
        self.pipe = -1
        self.status: int | None = None
        self.error = ""
        self.kept = True
        """Its keeper has it: something of it may run."""
        self.stopped = False
        """Somebody has stopped it (SIGSTOP), for a while or for ever."""
        self.oom_kills = 0
        """When it started."""
        self.started = self.over = 0.0
        self.cpu_seconds = 0.0
        self.peak_bytes = 0

    @property
    def ending(self) -> bool:
        return bool(self.end) or self.status is not None or not self.kept

    def finished(self, end: str, error: str = "") -> dict[str, Any]:
        """The message that says how the job ended."""
        status = self.status or 0
        return {
            "type": "finished",
            "id": self.id,
            "end": end,
            "exit_code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0,
            "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
            "seconds": round(self.over - self.started, 6),
            "cpu_seconds": round(self.cpu_seconds, 6),
            "peak_bytes": self.peak_bytes,
            "log": self.log.text(),
            "log_bytes": self.log.size,
            "error": error,
        }

    def end_at_limit(self) -> str:
        """How a job ends that has used its time: lost, if one of its processes was stopped from outside."""
        members = [self.keeper, *children.descendants(self.keeper, children.family())]
        if not (self.stopped or any(children.is_stopped(pid) for pid in members)):
            return "timed_out"
        self.error = STOPPED
        children.kill(self.keeper)  # it may be the one that was stopped; what is below it goes with it
        return "lost"

    def end_by_size(self, family: dict[int, list[int]]) -> str:
        """How it ends if it has too many processes, or uses too much memory. Empty if it may go on."""
        members = children.descendants(self.keeper, family)
        if len(members) > MOST_PROCESSES:
            self.error = f"it ran {len(members)} processes at a time, of at most {MOST_PROCESSES}"
            return "over_limit"
        used = sum(children.private_bytes(pid) for pid in members)
        used += confine.shared_memory_bytes(self.pid) if self.confined else 0
        self.peak_bytes = max(self.peak_bytes, used)
        return "out_of_memory" if used > self.memory_limit else ""

    def natural_end(self, *, boxed: bool) -> str:
        """How a job ended that the worker did not end. `boxed`: the container has its memory limit.

        `crowded_out`: the kernel's OOM killer ended some process of this machine meanwhile, and the job failed without
        reaching its own limit: the machine had too little memory, for it or for another.
        """
        if self.status is None or (self.stopped and self.alone):  # times of the latter are worth nothing
            self.error = STOPPED if self.stopped else "its keeper was killed: its own processes did that, or somebody"
            return "lost"
        if self.error:
            return "not_started"
        failed, number = self.status != 0, os.WTERMSIG(self.status)
        crowded = failed and children.oom_kills() > self.oom_kills
        if crowded and number == signal.SIGKILL and (boxed or self.peak_bytes >= NEARLY * self.memory_limit):
            return "out_of_memory"
        if crowded:
            self.error = f"this machine ran out of memory; the job used {self.peak_bytes >> 20} MiB of its limit"
            return "crowded_out"
        if number == signal.SIGXFSZ:
            self.error = f"it wrote a file of more than {self.output_limit} bytes, the limit of its outputs"
            return "over_limit"
        return "signalled" if number else "exited"

    def note_start(self) -> None:
        """Lets a test count starts without the orchestrator's records: appends to IREE_MATRIX_START_LOG, if set."""
        if start_log := os.environ.get("IREE_MATRIX_START_LOG", ""):
            file = os.open(start_log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            os.write(file, self.id.encode() + b"\n")
            os.close(file)

    def look_for_its_paths(self) -> None:
        """Raises OSError where its script or folder is missing."""
        for path in (self.script, self.cwd) if self.script else (self.cwd,):
            os.stat(path)

    def heed(self, line: str) -> None:
        """Takes a line of its keeper."""
        kind, _, said = line.partition(" ")
        if kind == "pid":
            self.pid = int(said)
        elif kind == "error":
            self.error = said
        elif kind == "stopped":
            self.stopped = True
        elif kind == "status":
            status, kilobytes, over = said.split()
            self.status, self.over = int(status), float(over)
            self.peak_bytes = max(self.peak_bytes, int(kilobytes) * 1024)
        elif kind == "spent":
            self.cpu_seconds = float(said)
        elif kind == "ready":
            self.kept = False

    def why_not_started(self, error: BaseException) -> str:
        if not os.path.isdir(self.cwd):
            return f"no folder {self.cwd} to run in"
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return f"cannot start {self.script or self.argv[0]}: {reason}"


def field(message: dict[str, Any], name: str, kind: type[T]) -> T:
    value = message.get(name)
    if not isinstance(value, kind):
        raise ValueError(f"{name} is missing or of the wrong type: {value!r}")
    return value
