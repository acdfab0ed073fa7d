"""Runs the jobs of one environment, each in its own child process, under limits; leaves no process behind.

    python -I worker.py --slots N [--warm MODULE]... [--version-of DISTRIBUTION]... [--box FOLDER]...

The orchestrator starts this file once in an environment. The protocol is JSON lines on stdin and stdout (requests:
job, kill, close, ping; answers: hello, started, finished, pong, error). A job is either a binary to spawn (`argv`), or
the function `run(arguments)` of a Python file (`script`). That is called in a fork of this process, which has imported
the modules of `--warm`: importing torch takes seconds, a fork milliseconds.

It is one thread with one `epoll` loop, because a process that forks must have no other threads. Standard library only,
CPython 3.9 to 3.14, Linux 4.5 or newer.
"""

from __future__ import annotations

import argparse
import faulthandler
import functools
import json
import os
import selectors
import signal
import sys
import time
from typing import Any, Optional

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # -I leaves a script's own folder out

import children
from box import Box, Spoiled
from cores import Shares
from environment import hello, versions_of, warm_up
from jobs import Job, field
from keeper import Keeper
from protocol import Protocol

POLL_AFTER = 0.1
"""Seconds. The memory of a job is polled from this age on, so that short jobs (most of them) cost nothing."""
POLL_EVERY = 0.05
SWEEP_EVERY = 0.002
GIVE_UP_AFTER = 5.0
"""Seconds. A process in uninterruptible sleep outlives SIGKILL; then its job ends without it, and reports it."""


class Worker:
    """The event loop. A job goes from `queue` to `running` to a `finished` message; `slots` jobs run at a time."""

    def __init__(self, slots: int, protocol: Protocol, warm_error: str, box: Optional[Box] = None) -> None:
        self.slots = slots
        self.protocol = protocol
        self.box = box
        self.shares = Shares(slots)
        self.warm_error = warm_error
        self.closing = False
        self.queue: dict[str, Job] = {}
        self.running: dict[str, Job] = {}
        self.keepers: dict[int, Keeper] = {}
        self.unkillable: set[int] = set()
        self.polled = 0.0
        self.selector = selectors.EpollSelector()
        self.signals, self.signals_end = os.pipe()
        self.listen()

    def listen(self) -> None:
        """Turns signals into bytes in a pipe, so that no handler runs between two lines of this file."""
        os.set_blocking(self.signals, False)
        os.set_blocking(self.signals_end, False)
        signal.set_wakeup_fd(self.signals_end, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        self.selector.register(self.signals, selectors.EVENT_READ, self.read_signals)
        self.selector.register(self.protocol.requests, selectors.EVENT_READ, self.read_requests)

    def run(self) -> None:
        while self.running or self.queue or not self.closing:
            for key, _ in self.selector.select(self.seconds_to_wait()):
                key.data()
            self.enforce_limits()
            self.settle()
            self.start_queued()

    # Requests and answers

    def send(self, message: dict[str, Any]) -> None:
        try:
            self.protocol.send(message)
        except BrokenPipeError:
            self.stop()

    def read_requests(self) -> None:
        lines = self.protocol.read_lines()
        if lines is None:
            self.selector.unregister(self.protocol.requests)
            self.stop()
            return
        for line in lines:
            try:
                self.handle(json.loads(line))
            except (ValueError, RecursionError) as error:  # the errors of json are ValueErrors
                self.send({"type": "error", "message": f"malformed request: {error}: {line[:200]!r}"})

    def handle(self, message: object) -> None:
        if not isinstance(message, dict):
            raise ValueError("not an object")
        kind = message.get("type")
        if kind == "job":
            self.accept(Job(message))
        elif kind == "kill":
            self.kill(field(message, "id", str), message.get("queued_only") is True)
        elif kind == "ping":
            self.send({"type": "pong"})
        elif kind == "close":
            self.closing = True
        else:
            raise ValueError(f"unknown type {kind!r}, expected job, kill, ping or close")

    def accept(self, job: Job) -> None:
        if self.closing:
            raise ValueError("a job after close")
        if job.id in self.running or job.id in self.queue:
            raise ValueError(f"job {job.id} is already here")
        self.queue[job.id] = job

    def kill(self, job_id: str, queued_only: bool) -> None:
        """An unknown ID is no error: the job may have finished before the request arrived."""
        if job_id in self.running and not queued_only:
            self.end_job(self.running[job_id], "killed")
        elif job_id in self.queue:
            self.send(self.queue.pop(job_id).finished("killed"))

    def stop(self) -> None:
        """Ends all jobs at once: the orchestrator does not listen any more."""
        self.closing = True
        self.queue.clear()
        for job in self.running.values():
            self.end_job(job, "killed")

    # Starting

    def start_queued(self) -> None:
        while self.queue and len(self.running) < self.slots:
            job = self.queue.pop(next(iter(self.queue)))
            try:
                self.start(job)
            except (OSError, ValueError) as error:  # ValueError: a NUL byte in argv
                self.send(job.finished("not_started", job.why_not_started(error)))

    def start(self, job: Job) -> None:
        job.note_start()
        job.look_for_its_paths()
        job.oom_kills = children.oom_kills()
        if not job.alone:
            job.cores = self.shares.give(job.id)
        job.pipe, output = os.pipe()
        job.started = job.over = time.monotonic()
        try:
            job.keeper = self.give(job, output)
        except BaseException:
            os.close(job.pipe)
            self.shares.take_back(job.id)
            raise
        finally:
            os.close(output)
        self.running[job.id] = job
        os.set_blocking(job.pipe, False)
        self.selector.register(job.pipe, selectors.EVENT_READ, functools.partial(self.read_log, job))
        self.send({"type": "started", "id": job.id, "pid": job.keeper})

    def give(self, job: Job, output: int) -> int:
        """Gives a job to a keeper that has none, or to a new one. Returns its pid."""
        for keeper in [each for each in self.keepers.values() if not each.job]:
            if keeper.take(job, output):
                return keeper.pid
            self.dismiss(keeper)
        keeper = Keeper(job, output, inherited=self.open_files(job), warm_error=self.warm_error)
        self.keepers[keeper.pid] = keeper
        self.selector.register(keeper.line, selectors.EVENT_READ, functools.partial(self.read_report, keeper))
        return keeper.pid

    def dismiss(self, keeper: Keeper) -> None:
        """It gets no further job."""
        children.kill(keeper.pid)
        del self.keepers[keeper.pid]
        self.selector.unregister(keeper.line)
        keeper.line.close()

    def open_files(self, job: Job) -> list[int]:
        """The files of this process that no job may have."""
        pipes = [each.pipe for each in (job, *self.running.values()) if each.pipe >= 0]
        lines = [keeper.line.fileno() for keeper in self.keepers.values()]
        return [*pipes, *lines, *self.protocol.files, self.signals, self.signals_end, self.selector.fileno()]

    # Watching

    def seconds_to_wait(self) -> float | None:
        """Seconds until the next check, if no event comes first."""
        if not self.running:
            return None
        if any(job.ending for job in self.running.values()):
            return SWEEP_EVERY
        deadline = min(job.started + job.seconds_limit for job in self.running.values())
        oldest = min(job.started for job in self.running.values())
        return max(0.0, min(deadline, max(oldest + POLL_AFTER, self.polled + POLL_EVERY)) - time.monotonic())

    def enforce_limits(self) -> None:
        now = time.monotonic()
        running = [job for job in self.running.values() if not job.ending]
        for job in running:
            if now >= job.started + job.seconds_limit:
                self.end_job(job, job.end_at_limit())
        old = [job for job in running if now >= job.started + POLL_AFTER]
        if old and now >= self.polled + POLL_EVERY:
            self.polled = now
            self.enforce_sizes(old)

    def enforce_sizes(self, jobs: list[Job]) -> None:
        family = children.family()
        for job in jobs:
            if end := job.end_by_size(family):
                self.end_job(job, end)

    def read_log(self, job: Job) -> bool:
        """Reads once. True while there may be more."""
        try:
            data = os.read(job.pipe, children.READ_BYTES)
        except BlockingIOError:
            return False
        if data:
            job.log.add(data)
            return True
        self.close_log(job)
        return False

    def close_log(self, job: Job) -> None:
        self.selector.unregister(job.pipe)
        os.close(job.pipe)
        job.pipe = -1

    def read_report(self, keeper: Keeper) -> bool:
        """Reads once what a keeper says. True while there may be more."""
        said = keeper.said()
        if said and keeper.job:
            keeper.job.heed(said)
        return bool(said)

    def read_signals(self) -> None:
        received = os.read(self.signals, children.READ_BYTES)
        self.reap()
        if signal.SIGTERM in received or signal.SIGINT in received:
            self.stop()

    def reap(self) -> None:
        """Reaps every child that has ended: keepers, and what lost its keeper."""
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.unkillable.discard(pid)
            if keeper := self.keepers.get(pid):
                while self.read_report(keeper):
                    pass
                if keeper.job:
                    keeper.job.kept = False
                self.dismiss(keeper)

    # Ending

    def end_job(self, job: Job, end: str) -> None:
        if not job.ending:
            job.end = end
            job.over = time.monotonic()
            if job.pid:
                children.kill_group(job.pid)

    def settle(self) -> None:
        """Finishes the jobs whose process has ended and which have no other process left.

        The remaining processes of a job become children of its keeper. Killing those until there are none ends any
        tree, level by level, with or without setsid. Then the keeper is ready for another.
        """
        ending = [job for job in self.running.values() if job.ending]
        if not ending:
            return
        lost = [pid for pid in children.children_of(os.getpid()) if pid not in self.keepers]
        strays = [pid for pid in lost if pid not in self.unkillable]  # a job has killed its keeper: it is ending
        for pid in strays:
            children.kill(pid)
        now = time.monotonic()
        for job in ending:
            left = self.kill_below(job)
            if not job.kept and not strays:
                self.finish(job)
            elif now >= job.over + GIVE_UP_AFTER:
                self.unkillable.update([job.keeper, *strays])
                self.finish(job, f"processes outlived SIGKILL: {[*left, *strays]}")

    def kill_below(self, job: Job) -> list[int]:
        """Kills the processes of a job. Returns them."""
        left = children.children_of(job.keeper) if job.kept else []
        for pid in left:
            children.kill(pid)
        return left

    def finish(self, job: Job, error: str = "") -> None:
        while job.pipe >= 0 and self.read_log(job):
            pass
        if job.pipe >= 0:
            self.close_log(job)
        if keeper := self.keepers.get(job.keeper):
            keeper.job = None
            if job.kept:
                self.dismiss(keeper)
        del self.running[job.id]
        self.shares.take_back(job.id)
        self.send(job.finished(job.end or job.natural_end(boxed=bool(self.box)), error or job.error))
        if self.box and not self.running:
            self.box.clean(self.unkillable)


def main() -> None:
    parser = argparse.ArgumentParser(description="Runs jobs in this environment; JSON lines on stdin and stdout.")
    parser.add_argument("--slots", type=int, required=True, help="jobs at a time")
    parser.add_argument("--warm", action="append", default=[], metavar="MODULE", help="import this before any fork")
    parser.add_argument("--version-of", action="append", default=[], metavar="DISTRIBUTION")
    ours = "in a container for this worker alone: removes after each job what it left there and elsewhere"
    parser.add_argument("--box", action="append", default=[], metavar="FOLDER", help=ours)
    options = parser.parse_args()
    if options.slots < 1:
        parser.error("--slots must be 1 or more")
    sys.dont_write_bytecode = True  # a script may be in a folder of the user
    protocol = Protocol()
    children.prepare_this_process()
    faulthandler.enable()
    warm_error = warm_up(options.warm)
    box = Box(options.box) if options.box else None
    worker = Worker(options.slots, protocol, warm_error, box)
    worker.send(hello(options.slots, versions_of(options.version_of), warm_error))
    try:
        worker.run()
    except Spoiled as spoiled:
        sys.exit(f"given up: {spoiled}")


if __name__ == "__main__":
    main()
