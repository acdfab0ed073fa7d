"""The orchestrator's side of the worker protocol: one object for each worker process, with events.

The other side is `scripts/worker.py`.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Self

from matrix.artifacts.json_reader import read_json
from matrix.core.records import JobEnd, Limits
from matrix.engines import channel as channels
from matrix.engines.channel import STDERR, Channel, ProcessChannel
from matrix.engines.protocol import ProtocolFault, WorkerHello, hello_of, job_end_of, text_of

HELLO_SECONDS = 300.0
"""Importing torch takes 4 s from a warm disk, and minutes from a cold or network disk."""
SEE_SECONDS = 1.0
"""So often a worker that has not said hello is looked at."""
STOPPED_MOST = 3
"""So often in a row it may be found stopped (SIGSTOP, a frozen container); then it is ended."""
STDERR_BYTES = 16 << 10
ASK_SECONDS = 10.0
"""So long a worker with jobs may say nothing before it is asked for a sign of life."""
ASKED_MOST = 6
"""So often it is asked; then it is stopped (SIGSTOP, a frozen container), and ended. Waits are counted and not seconds:
while this program itself is stopped or the machine sleeps, no worker is to blame."""
ASKED_STOPPED = 2
"""So often it is asked where it, or one of its jobs, is seen to be stopped: it answers while a job is."""


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
    confined: bool = False
    """It writes in `cwd` and `writable` alone, as far as the kernel can see to that."""
    loopback: bool = False
    """A confined one has TCP, within a network of its own."""
    writable: tuple[str, ...] = ()
    """Folders that jobs share: caches of compilers."""

    def message(self) -> dict[str, object]:
        what: dict[str, object] = (
            {"script": str(self.script), "arguments": dict(self.arguments)} if self.script else {"argv": self.argv}
        )
        limits = {
            "seconds": self.limits.seconds,
            "memory_bytes": self.limits.memory_bytes,
            "log_bytes": self.limits.log_bytes,
            "output_bytes": self.limits.output_bytes,
        }
        marks = {name: True for name in ("alone", "confined", "loopback") if getattr(self, name)}
        return {
            "type": "job",
            "id": self.job_id,
            "cwd": str(self.cwd),
            "env": dict(self.env),
            "limits": limits,
            **what,
            **marks,
            **({"writable": self.writable} if self.writable else {}),
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


class Worker:
    """A worker at the other end of a channel: takes orders, and reports events by `on_event`, on a thread of this
    object. `Ready` comes when its warm imports have ended."""

    def __init__(self, *, channel: Channel, on_event: Callable[[WorkerEvent], None], name: str) -> None:
        self.name = name
        self._channel = channel
        self._on_event = on_event
        self._closing = False
        self._lost = self._leaving = False
        self.greeted = False
        """Whether its warm imports have ended, well or badly. A worker that is gone before was ended by them."""
        self._unfinished: dict[str, None] = {}
        self._killed: set[str] = set()
        self._lock = threading.Lock()
        self._outgoing: SimpleQueue[bytes | None] = SimpleQueue()
        self._stderr = bytearray()
        self._reader = threading.Thread(target=self._read, name=f"reads {name}", daemon=True)
        self._reader.start()
        threading.Thread(target=self._write, name=f"writes {name}", daemon=True).start()

    @property
    def gone(self) -> bool:
        """Whether it ended, or is about to, without being asked to; then it must be replaced."""
        return self._lost or self._leaving

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
        self._killed.add(job_id)
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
        with contextlib.suppress(OSError, ValueError):  # the latter: the other thread has closed the channel
            while (data := self._outgoing.get()) is not None:
                self._channel.write(data)
        self._channel.end_input()

    def _read(self) -> None:
        reason = ""
        try:
            self._read_all()
        except ProtocolFault as broken:
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
                    reason=reason or f"ended without being asked to, with status {status}",
                    exit_status=status,
                    stderr_tail=self._stderr[-STDERR_BYTES:].decode("utf-8", "backslashreplace"),
                    job_ids=unfinished,
                )
            )

    def _read_all(self) -> None:
        """Reads until the worker's stdout ends. Raises ProtocolFault for an invalid message, and if none comes."""
        deadline: float | None = time.monotonic() + HELLO_SECONDS
        rest, asked = b"", 0
        while True:
            came = self._channel.read(ASK_SECONDS if deadline is None else SEE_SECONDS)
            if came is None:
                asked = self._ask(asked) if deadline is None else self._look(asked, deadline)
                continue
            stream, data = came
            if stream == STDERR:
                self._keep_stderr(data)
            elif not data:
                return
            else:
                asked = 0
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    if event := self._event(line, greeted=deadline is None):
                        self._on_event(event)
                    deadline = None

    def _look(self, stopped: int, deadline: float) -> int:
        """After a wait for its hello: returns how often in a row it was found stopped."""
        if time.monotonic() > deadline:
            raise ProtocolFault(f"no hello within {HELLO_SECONDS:g} s")
        stopped = stopped + 1 if self._channel.is_stopped() else 0
        if stopped == STOPPED_MOST:
            raise ProtocolFault("was stopped from outside before its first word")
        return stopped

    def _ask(self, asked: int) -> int:
        """After a wait for nothing: asks a worker with jobs for a sign of life. Returns how often it was asked."""
        if not self._unfinished:
            return 0
        if asked == ASKED_MOST or (asked >= ASKED_STOPPED and self._channel.is_stopped()):
            raise ProtocolFault(f"gave no sign of life for {ASK_SECONDS * asked:g} s: it was stopped from outside")
        self._send({"type": "ping"})
        return asked + 1

    def _keep_stderr(self, data: bytes) -> None:
        self._stderr += data
        if len(self._stderr) > 2 * STDERR_BYTES:
            del self._stderr[:-STDERR_BYTES]

    def _event(self, line: bytes, *, greeted: bool) -> WorkerEvent | None:
        """None for a mere sign of life."""
        try:
            message = read_json(line)
            kind = message["type"]
            if not greeted:
                self.greeted = True
                return Ready(worker=self.name, hello=hello_of(message))
            if kind == "started":
                return Started(worker=self.name, job_id=text_of(message, "id"))
            if kind == "finished":
                return self._finished(job_end_of(message))
            if kind == "pong":
                return None
        except (ValueError, TypeError, KeyError) as error:
            raise ProtocolFault(f"not this protocol: {error!r} in {line[:200]!r}") from error
        raise ProtocolFault(str(message.get("message", f"unknown message {kind!r}")))

    def _finished(self, end: JobEnd) -> Finished:
        """Only what this side has ended is `killed`: a worker ends its jobs too if another process sends it SIGTERM."""
        with self._lock:
            if end.key not in self._unfinished:
                raise ProtocolFault(f"finished {end.key[:80]!r}, which is none of its jobs")
            del self._unfinished[end.key]
        if end.end == "killed" and not (self._closing or end.key in self._killed):
            self._leaving = True
            end = replace(end, end="lost", error=f"worker {self.name} was told to end by another process")
        return Finished(worker=self.name, end=end)


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
