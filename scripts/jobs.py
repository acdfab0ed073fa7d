"""A job: the request to a worker, and the state of its processes."""

from __future__ import annotations

import numbers
import os
import resource
import subprocess
from typing import Any, TypeVar

import children

T = TypeVar("T")


class Job:
    """One request and the state of its processes. `end` is set when the worker ends it, by a limit or on request."""

    def __init__(self, message: dict[str, Any]) -> None:
        """Raises ValueError with the name of the field if the request is malformed."""
        self.id = field(message, "id", str)
        self.argv: list[str] = field(message, "argv", list) if "argv" in message else []
        self.script: str = field(message, "script", str) if "script" in message else ""
        self.arguments: dict[str, Any] = field(message, "arguments", dict) if self.script else {}
        self.cwd = field(message, "cwd", str)
        self.env: dict[str, str] = field(message, "env", dict)
        self.alone = message.get("alone") is True
        limits = field(message, "limits", dict)
        self.seconds_limit = field(limits, "seconds", numbers.Real)
        self.memory_limit = field(limits, "memory_bytes", int)
        self.log = children.Log(field(limits, "log_bytes", int))
        if bool(self.argv) == bool(self.script):
            raise ValueError("exactly one of argv and script must be given")
        if not all(isinstance(text, str) for text in [*self.argv, *self.env, *self.env.values()]):
            raise ValueError("argv and env must hold strings")
        self.end = ""
        self.pid = 0
        self.pipe = -1
        self.status: int | None = None
        self.started = self.over = 0.0
        self.cpu_seconds = 0.0
        self.peak_bytes = 0

    @property
    def ending(self) -> bool:
        return bool(self.end) or self.status is not None

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

    def note_start(self) -> None:
        """Lets a test count starts without the orchestrator's records: appends to IREE_MATRIX_START_LOG, if set."""
        if start_log := os.environ.get("IREE_MATRIX_START_LOG", ""):
            file = os.open(start_log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            os.write(file, self.id.encode() + b"\n")
            os.close(file)

    def spawn(self, output: int) -> int:
        """Starts the binary by Popen, which uses vfork (from 3.10 on) and has `cwd`; the worker reaps the child."""
        process = subprocess.Popen(
            self.argv, cwd=self.cwd, env=self.env, stdout=output, stderr=output, start_new_session=True
        )
        process.returncode = 0  # or Popen's destructor would wait for this pid too
        return process.pid

    def note_peak(self, kilobytes: int) -> None:
        """Linux's peak includes the process before `exec`, here the worker (all of it with vfork, a part with fork).

        So the peak of a spawned job below the worker's own is unknown: the job keeps the polled value, or 0.
        """
        if self.script or kilobytes > resource.getrusage(resource.RUSAGE_SELF).ru_maxrss:
            self.peak_bytes = max(self.peak_bytes, kilobytes * 1024)

    def why_not_started(self, error: Exception) -> str:
        if not os.path.isdir(self.cwd):
            return f"no folder {self.cwd} to run in"
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return f"cannot start {self.script or self.argv[0]}: {reason}"


def field(message: dict[str, Any], name: str, kind: type[T]) -> T:
    value = message.get(name)
    if not isinstance(value, kind):
        raise ValueError(f"{name} is missing or of the wrong type: {value!r}")
    return value
