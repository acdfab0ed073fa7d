"""A board: its one connection, what it said of itself, and the jobs that it runs, one after another."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from matrix.artifacts.json_reader import read_json
from matrix.core.errors import EngineMissing
from matrix.core.keys import digest
from matrix.core.records import Board, JobEnd
from matrix.engines.contract import EVERYWHERE
from matrix.engines.ssh.connection import Connection, LinkLost
from matrix.engines.ssh.facts import OVER, BoardFacts, read_facts
from matrix.engines.ssh.orders import (
    BoardFile,
    BoardOrder,
    Reply,
    ReplyFault,
    board_end_of,
    is_output,
    order_text,
    read_times,
    run_line,
)
from matrix.engines.worker import Finished, Started, WorkerEvent

_CHUNK_BYTES = 1 << 18
"""A file is sent in such parts: on a slow link the board then hears something often enough."""
ALIVE_SECONDS = 20.0
_HELLO_SECONDS = 120.0
_GRACE_SECONDS = 60.0
"""So long after its limit a job may be without a word."""
DOWN_SECONDS = 10.0
"""A board that did not answer is not asked again for so long: many jobs may wait for it."""
_SHARE = 0.8
"""The part of the board's free space that files of jobs may take."""


class SshBoard:
    """Jobs are submitted from any thread; their events come on a thread of this object. `keep` is the folder for what
    lookups without a connection need."""

    def __init__(self, board: Board, *, script: Path, keep: Path, on_event: Callable[[WorkerEvent], None]) -> None:
        self.board = board
        self._script, self._on_event = script, on_event
        self._kept = keep / f"{digest([board.ssh, str(board.config or '')])[:16]}.json"
        self._turn = threading.RLock()
        self._link: Connection | None = None
        self._facts: BoardFacts | None = None
        self._down: tuple[float, LinkLost] | None = None
        self._sent: dict[str, int] = {}
        self._orders: queue.SimpleQueue[BoardOrder | None] = queue.SimpleQueue()
        self._queued: dict[str, None] = {}
        self._killed: set[str] = set()
        self._thread: threading.Thread | None = None
        self._over = threading.Event()

    # -- what it is

    def facts(self) -> BoardFacts:
        """Connects if there is no connection. Raises EngineMissing, whose text names the target and no host."""
        with self._turn:
            try:
                self._connected()
            except LinkLost as lost:
                raise EngineMissing(f"the board of target {self.board.target}: {lost}", tip=lost.tip) from None
            assert self._facts is not None
            return self._facts

    def known_facts(self) -> BoardFacts:
        """Those of the last connection from this store, without a new one. Raises EngineMissing."""
        try:
            return BoardFacts(**read_json(self._kept.read_bytes()))
        except (OSError, ValueError, TypeError):
            raise EngineMissing(
                f"the board of target {self.board.target} was not reached from this store yet", tip="run the spec"
            ) from None

    # -- jobs

    def submit(self, order: BoardOrder) -> None:
        """Never blocks. The job gets `Finished`, whatever becomes of it."""
        self._queued[order.job_id] = None
        self._orders.put(order)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=f"board of {self.board.target}", daemon=True)
            self._thread.start()
            threading.Thread(target=self._say_alive, name="says alive", daemon=True).start()

    def cancel(self, job_id: str) -> None:
        """Ends a job that has not started."""
        if job_id in self._queued:
            self._killed.add(job_id)

    def run(self, order: BoardOrder) -> JobEnd:
        """One job, from its files to its outputs. What the link does not survive is `lost`."""
        with self._turn:
            try:
                link = self._connected()
                self._send_files(link, order.files, order)
                reply = self._reply(link, order)
            except (LinkLost, ReplyFault, OSError) as fault:
                self._drop_link()
                error = f"the board of target {self.board.target}: {fault}"
                return JobEnd(key=order.job_id, end="lost", error=error)
        return board_end_of(order, reply, killed=order.job_id in self._killed)

    def close(self) -> None:
        """Lets the running job end its way if it is quick, and leaves nothing on the board."""
        self._over.set()
        self._orders.put(None)
        if self._thread:
            self._thread.join(_GRACE_SECONDS)
        if self._link:
            self._link.close()

    def terminate(self) -> None:
        """Cuts the link: the board then ends its job and removes its folder."""
        self._over.set()
        self._orders.put(None)
        if link := self._link:
            link.cut()
        if self._thread:
            self._thread.join(_GRACE_SECONDS)

    def _work(self) -> None:
        while (order := self._orders.get()) is not None:
            self._queued.pop(order.job_id, None)
            if order.job_id in self._killed or self._over.is_set():
                end = JobEnd(key=order.job_id, end="killed")
            else:
                self._on_event(Started(worker=self.board.target, job_id=order.job_id))
                end = self.run(order)
            if not self._over.is_set() or end.end == "killed":
                self._on_event(Finished(worker=self.board.target, end=end))

    def _say_alive(self) -> None:
        while not self._over.wait(ALIVE_SECONDS):
            with contextlib.suppress(LinkLost):
                if link := self._link:
                    link.send(b"alive\n")

    # -- the connection

    def _connected(self) -> Connection:
        """Raises LinkLost."""
        if self._link:
            return self._link
        if self._over.is_set():
            raise LinkLost("this run is ending")
        if self._down and time.monotonic() < self._down[0]:
            raise self._down[1]
        link = Connection(self.board, self._script)
        try:
            lines = []
            while (line := link.line(_HELLO_SECONDS)) != OVER:
                if line.startswith("fault "):
                    raise LinkLost(
                        line.removeprefix("fault "), "free space there, or mount a folder that runs programs"
                    )
                lines.append(line)
            facts = read_facts(lines)
            if self._facts and facts.identity != self._facts.identity:
                raise LinkLost("another board answers now", "one board at a time: run again")
        except LinkLost as lost:
            link.cut()
            self._down = (time.monotonic() + DOWN_SECONDS, lost)
            raise
        self._facts, self._link, self._down, self._sent = facts, link, None, {}
        self._keep(facts)
        return link

    def _drop_link(self) -> None:
        if self._link:
            self._link.cut()
        self._link, self._sent = None, {}

    def _keep(self, facts: BoardFacts) -> None:
        with contextlib.suppress(OSError):
            self._kept.parent.mkdir(exist_ok=True)
            partial = self._kept.with_suffix(f".{os.getpid()}")
            partial.write_text(json.dumps(facts.kept()), encoding="utf-8")
            partial.replace(self._kept)

    def _send_files(self, link: Connection, files: Iterable[BoardFile], order: BoardOrder) -> None:
        """Those that the board does not have, after room was made for them."""
        missing = {file.digest: file.path for file in files if file.digest not in self._sent}
        sizes = {name: path.stat().st_size for name, path in missing.items()}
        needed = {file.digest for file in order.files}
        for name in [name for name in self._sent if name not in needed]:
            if sum(sizes.values()) + sum(self._sent.values()) <= self._most_bytes:
                break
            link.send(f"drop {name}\n".encode())
            del self._sent[name]
        for name, path in missing.items():
            self._send_file(link, name, path)
            self._sent[name] = sizes[name]

    def _send_file(self, link: Connection, name: str, path: Path) -> None:
        with path.open("rb") as file:
            data = file.read(_CHUNK_BYTES)
            while True:
                link.send(f"put {name} {len(data)}\n".encode(), data)
                if not (data := file.read(_CHUNK_BYTES)):
                    return

    @property
    def _most_bytes(self) -> int:
        return int(_SHARE * 1024 * self._facts.free_kib) if self._facts else 0

    def _reply(self, link: Connection, order: BoardOrder) -> Reply:
        """Raises LinkLost, ReplyFault."""
        text = order_text(order, EVERYWHERE)
        link.send(f"drop order\nput order {len(text)}\n".encode(), text, run_line(order, "order"))
        reply, wait = Reply(), order.limits.seconds + _GRACE_SECONDS
        while (line := link.line(wait)) != OVER:
            self._heed(link, order, reply, line)
        if reply.fault:
            self._drop_link()  # what the board holds is not known
        return reply

    def _heed(self, link: Connection, order: BoardOrder, reply: Reply, line: str) -> None:
        word, _, rest = line.partition(" ")
        try:
            if word == "end":
                status, begun, ended = rest.split()
                reply.status, reply.begun, reply.ended = int(status), float(begun), float(ended)
                reply.cpu_seconds = read_times([link.line(_GRACE_SECONDS), link.line(_GRACE_SECONDS)])
            elif word == "free":
                reply.free_kib = int(rest or 0)
            elif word == "whole":
                reply.log_bytes = int(rest)
            elif word == "log":
                reply.log = self._bytes(link, int(rest.split()[-1]), 2 * order.limits.log_bytes)
                reply.log_bytes = max(reply.log_bytes, len(reply.log))
            elif word == "out":
                name, size = rest.split()
                self._take_output(link, order, reply, name, int(size))
            elif word in ("fault", "full"):
                reply.fault = rest if word == "fault" else f"no space for files there: {rest or 'few'} KiB are free"
            else:
                raise ReplyFault(f"says {line[:80]!r}, which is not this protocol")
        except ValueError:
            raise ReplyFault(f"says {line[:80]!r}, which is not this protocol") from None

    def _bytes(self, link: Connection, size: int, most: int) -> bytes:
        if not 0 <= size <= most:
            raise ReplyFault(f"sends {size} bytes of a log, expected {most} at most")
        data = b""
        while len(data) < size:
            data += link.some(size - len(data), _GRACE_SECONDS)
        return data

    def _take_output(self, link: Connection, order: BoardOrder, reply: Reply, name: str, size: int) -> None:
        if not is_output(name, order.outputs) or not 0 <= size <= order.limits.output_bytes:
            raise ReplyFault(f"sends a file {name[:80]!r} of {size} bytes, which the job does not leave")
        with (order.folder / name).open("xb") as file:
            while size:
                data = link.some(size, _GRACE_SECONDS)
                file.write(data)
                size -= len(data)
        reply.outputs.append(name)
