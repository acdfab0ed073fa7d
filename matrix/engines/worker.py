"""The orchestrator's side of the worker protocol: one object for each worker process, with events.

The other side is `scripts/worker.py`.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

from matrix.core.records import JobEnd, Limits
from matrix.engines import channel as channels
from matrix.engines.channel import STDERR, Channel, ProcessChannel

PROTOCOL = 1
HELLO_SECONDS = 300.0
"""Importing torch takes 4 s from a warm disk, and minutes from a cold or network disk."""
STDERR_BYTES = 16 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerHello:
    """A worker's description of its environment. `warm_error`: the traceback of a failed warm import."""

    protocol: int
    python: str
    implementation: str
    c_library: str
    machine: str
    slots: int
    versions: Mapping[str, str]
    warm_error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A job for a worker: either `argv`, whose first word is an absolute path, or `script` and its `arguments`.

    `env` is the whole environment of a spawned binary; for a script it is added to the worker's.
    """

    job_id: str
    cwd: Path
    env: Mapping[str, str]
    limits: Limits
    argv: tuple[str, ...] = ()
    script: Path | None = None
    arguments: Mapping[str, object] = field(default_factory=dict)
    alone: bool = False
    """It runs alone: it is not restricted to a share of the cores."""

    def message(self) -> dict[str, object]:
        what: dict[str, object] = (
            {"script": str(self.script), "arguments": dict(self.arguments)} if self.script else {"argv": self.argv}
        )
        limits = {
            "seconds": self.limits.seconds,
            "memory_bytes": self.limits.memory_bytes,
            "log_bytes": self.limits.log_bytes,
        }
        alone = {"alone": True} if self.alone else {}
        return {
            "type": "job",
            "id": self.job_id,
            "cwd": str(self.cwd),
            "env": dict(self.env),
            "limits": limits,
            **what,
            **alone,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    worker: str
    hello: WorkerHello


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    worker: str
    job_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    worker: str
    end: JobEnd


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """The worker is gone although it was not closed. `job_ids` were submitted and have not finished.

    `exit_status` is like that of subprocess (negative: a signal); `unshare` returns 1 if its child gets SIGKILL.
    """

    worker: str
    reason: str
    exit_status: int
    stderr_tail: str
    job_ids: tuple[str, ...]


WorkerEvent = Ready | Started | Finished | Lost


class _Broken(Exception):
    """The other side does not follow this protocol."""


class Worker:
    """A worker at the other end of a channel: takes orders, and reports events by `on_event`, on a thread of this
    object. `Ready` comes when its warm imports have ended."""

    def __init__(self, *, channel: Channel, on_event: Callable[[WorkerEvent], None], name: str) -> None:
        self.name = name
        self._channel = channel
        self._on_event = on_event
        self._closing = False
        self._lost = False
        self.greeted = False
        """Whether its warm imports have ended, well or badly. A worker that is gone before was ended by them."""
        self._unfinished: dict[str, None] = {}
        self._lock = threading.Lock()
        self._outgoing: SimpleQueue[bytes | None] = SimpleQueue()
        self._stderr = bytearray()
        self._reader = threading.Thread(target=self._read, name=f"reads {name}", daemon=True)
        self._reader.start()
        threading.Thread(target=self._write, name=f"writes {name}", daemon=True).start()

    @property
    def gone(self) -> bool:
        """Whether it ended without being asked to; then it must be replaced."""
        return self._lost

    def submit(self, order: Order) -> None:
        """Submits a job; never blocks. At a worker that is gone the job finishes at once, as `lost`."""
        with self._lock:
            lost = self._lost
            if not lost:
                self._unfinished[order.job_id] = None
        if lost:
            end = JobEnd(key=order.job_id, end="lost", error=f"worker {self.name} is gone")
            self._on_event(Finished(worker=self.name, end=end))
        else:
            self._send(order.message())

    def kill(self, job_id: str, *, queued_only: bool = False) -> None:
        """Ends a job, queued or (unless `queued_only`) running. It still gets `Finished`. A finished or unknown job is
        ignored."""
        self._send({"type": "kill", "id": job_id, "queued_only": queued_only})

    def close(self, *, seconds: float = 5.0) -> None:
        """Lets the worker finish its jobs, for at most `seconds`, then terminates it."""
        self._closing = True
        self._send({"type": "close"})
        self._channel.wait(seconds)
        self.terminate()

    def terminate(self) -> None:
        """Kills the worker and all its descendants. Its unfinished jobs get no event."""
        self._closing = True
        self._outgoing.put(None)
        self._channel.kill()
        self._channel.wait(None)
        if threading.current_thread() is not self._reader:
            self._reader.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.terminate()

    def _send(self, message: Mapping[str, object]) -> None:
        self._outgoing.put(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    def _write(self) -> None:
        """Writes on its own thread: while a worker imports torch it reads nothing, and a pipe holds only 64 KiB."""
        with contextlib.suppress(OSError):
            while (data := self._outgoing.get()) is not None:
                self._channel.write(data)
        self._channel.end_input()

    def _read(self) -> None:
        reason = ""
        try:
            self._read_all()
        except _Broken as broken:
            reason = str(broken)
            self._channel.kill()
        self._outgoing.put(None)
        if self._channel.wait(channels.GRACE_SECONDS) is None:
            self._channel.kill()
        status = self._channel.wait(None) or 0
        self._channel.close()
        with self._lock:
            self._lost = True
            unfinished = tuple(self._unfinished)
        if not self._closing:
            self._on_event(
                Lost(
                    worker=self.name,
                    reason=reason or f"ended by itself with status {status}",
                    exit_status=status,
                    stderr_tail=self._stderr[-STDERR_BYTES:].decode("utf-8", "backslashreplace"),
                    job_ids=unfinished,
                )
            )

    def _read_all(self) -> None:
        """Reads until the worker's stdout ends. Raises _Broken for an invalid message."""
        deadline: float | None = time.monotonic() + HELLO_SECONDS
        rest = b""
        while True:
            came = self._channel.read(None if deadline is None else max(0.0, deadline - time.monotonic()))
            if came is None:
                raise _Broken(f"no hello within {HELLO_SECONDS:g} s")
            stream, data = came
            if stream == STDERR:
                self._keep_stderr(data)
            elif not data:
                return
            else:
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._on_event(self._event(line, greeted=deadline is None))
                    deadline = None

    def _keep_stderr(self, data: bytes) -> None:
        self._stderr += data
        if len(self._stderr) > 2 * STDERR_BYTES:
            del self._stderr[:-STDERR_BYTES]

    def _event(self, line: bytes, *, greeted: bool) -> WorkerEvent:
        try:
            message = json.loads(line)
            kind = message["type"]
            if not greeted:
                self.greeted = True
                return Ready(worker=self.name, hello=_hello(message))
            if kind == "started":
                return Started(worker=self.name, job_id=message["id"])
            if kind == "finished":
                end = _job_end(message)
                with self._lock:
                    self._unfinished.pop(end.key, None)
                return Finished(worker=self.name, end=end)
        except (ValueError, TypeError, KeyError) as error:
            raise _Broken(f"not this protocol: {error!r} in {line[:200]!r}") from error
        raise _Broken(str(message.get("message", f"unknown message {kind!r}")))


def _hello(message: Mapping[str, Any]) -> WorkerHello:
    if message["type"] != "hello":
        raise _Broken(f"the first message is {message['type']!r}, expected 'hello'")
    if message["protocol"] != PROTOCOL:
        raise _Broken(f"speaks version {message['protocol']} of the protocol, expected {PROTOCOL}")
    return WorkerHello(
        protocol=message["protocol"],
        python=message["python"],
        implementation=message["implementation"],
        c_library=message["c_library"],
        machine=message["machine"],
        slots=message["slots"],
        versions=message["versions"],
        warm_error=message.get("warm_error", ""),
    )


def _job_end(message: Mapping[str, Any]) -> JobEnd:
    return JobEnd(
        key=message["id"],
        end=message["end"],
        exit_code=message["exit_code"],
        signal=message["signal"],
        seconds=message["seconds"],
        cpu_seconds=message["cpu_seconds"],
        peak_bytes=message["peak_bytes"],
        log=message["log"],
        log_bytes=message["log_bytes"],
        error=message["error"],
    )


class WorkerProcess(Worker):
    """A worker as a process of this machine.

    `interpreter` runs `script`; it imports `warm` modules before its hello, which has the versions of `version_of`
    distributions. Raises errors.WorkerLost if the interpreter cannot be started. Create it on a long-lived thread
    (`ProcessChannel`).
    """

    def __init__(
        self,
        *,
        interpreter: Path,
        script: Path,
        slots: int,
        on_event: Callable[[WorkerEvent], None],
        name: str,
        warm: Sequence[str] = (),
        version_of: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        argv = [str(interpreter), *worker_arguments(script, slots=slots, warm=warm, version_of=version_of)]
        super().__init__(channel=ProcessChannel(argv, env), on_event=on_event, name=name)


def worker_arguments(
    script: Path,
    *,
    slots: int,
    warm: Sequence[str] = (),
    version_of: Sequence[str] = (),
    box: Sequence[str] = (),
) -> list[str]:
    """The arguments of a worker after the interpreter. `box`: the scratch folders of its own container."""
    options = [f"--slots={slots}", *(f"--warm={module}" for module in warm)]
    options += [f"--box={folder}" for folder in box]
    return ["-I", str(script), *options, *(f"--version-of={distribution}" for distribution in version_of)]
