"""Runs the jobs of one environment, each in its own child process, under limits; leaves no process behind.

    python -I worker.py --slots N [--warm MODULE]... [--version-of DISTRIBUTION]... [--box FOLDER]...

The orchestrator starts this file once in an environment. The protocol is JSON lines on stdin and stdout (requests:
job, kill, close; answers: hello, started, finished, error). A job is either a binary to spawn (`argv`), or the function
`run(arguments)` of a Python file (`script`). That is called in a fork of this process, which has imported the modules
of `--warm`: importing torch takes seconds, a fork milliseconds.

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
import forked
from box import Box, Spoiled
from cores import Shares
from environment import hello, versions_of, warm_up
from jobs import Job, field
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
        self.owners: dict[int, Job] = {}
        self.unkillable: set[int] = set()
        self.polled = 0.0
        self.oom_kills = children.oom_kills()
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
        elif kind == "close":
            self.closing = True
        else:
            raise ValueError(f"unknown type {kind!r}, expected job, kill or close")

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
        job.pipe, write_end = os.pipe()
        job.started = job.over = time.monotonic()
        try:
            job.pid = self.fork(job, write_end) if job.script else job.spawn(write_end)
        except BaseException:
            os.close(job.pipe)
            raise
        finally:
            os.close(write_end)
        if not job.alone:
            self.shares.give(job.pid)
        self.running[job.id] = self.owners[job.pid] = job
        os.set_blocking(job.pipe, False)
        self.selector.register(job.pipe, selectors.EVENT_READ, functools.partial(self.read_log, job))
        children.offer_to_oom_killer(job.pid)
        self.send({"type": "started", "id": job.id, "pid": job.pid})

    def fork(self, job: Job, output: int) -> int:
        pipes = [job.pipe, *(other.pipe for other in self.running.values() if other.pipe >= 0)]
        loop = [self.protocol.requests, self.protocol.answers, self.signals, self.signals_end, self.selector.fileno()]
        return forked.fork(job, output, inherited=[output, *pipes, *loop], warm_error=self.warm_error)

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
                self.end_job(job, "timed_out")
        old = [job for job in running if now >= job.started + POLL_AFTER]
        if old and now >= self.polled + POLL_EVERY:
            self.polled = now
            self.enforce_memory(old)

    def enforce_memory(self, jobs: list[Job]) -> None:
        family = children.family()
        orphans = [pid for pid in family.get(os.getpid(), []) if pid not in self.owners]
        for job in jobs:
            roots = [job.pid, *(pid for pid in orphans if children.session_of(pid) == job.pid)]
            members = [pid for root in roots for pid in children.descendants(root, family)]
            used = sum(children.private_bytes(pid) for pid in members)
            job.peak_bytes = max(job.peak_bytes, used)
            if used > job.memory_limit:
                self.end_job(job, "out_of_memory")

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

    def read_signals(self) -> None:
        received = os.read(self.signals, children.READ_BYTES)
        self.reap()
        if signal.SIGTERM in received or signal.SIGINT in received:
            self.stop()

    def reap(self) -> None:
        """Reaps every child that has ended: jobs, and orphans that this process has adopted."""
        while True:
            try:
                dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if dead is None:
                return
            job = self.owner(dead.si_pid)
            pid, status, usage = os.wait4(dead.si_pid, 0)
            self.owners.pop(pid, None)
            self.unkillable.discard(pid)
            if job is None:
                continue
            job.cpu_seconds += usage.ru_utime + usage.ru_stime
            job.note_peak(usage.ru_maxrss)
            if pid == job.pid:
                job.status = status
                job.over = time.monotonic()

    def owner(self, pid: int) -> Job | None:
        """The job of a dead child, by its session, which is known until the child is reaped."""
        session = children.session_of(pid)
        return self.owners.get(pid) or next((job for job in self.running.values() if job.pid == session), None)

    # Ending

    def end_job(self, job: Job, end: str) -> None:
        if not job.ending:
            job.end = end
            job.over = time.monotonic()
            children.kill_group(job.pid)

    def settle(self) -> None:
        """Finishes the jobs whose process has ended and which have no other process left.

        The remaining processes of a job become children of this process. Killing those until there are none ends any
        tree, level by level, with or without setsid.
        """
        ending = [job for job in self.running.values() if job.ending]
        if not ending:
            return
        strays = self.strays(ending)
        for pid in strays:
            children.kill(pid)
        now = time.monotonic()
        for job in ending:
            if job.status is not None and not strays:
                self.finish(job)
            elif now >= job.over + GIVE_UP_AFTER:
                left = strays if job.status is not None else [job.pid, *strays]
                self.unkillable.update(left)
                self.finish(job, f"processes outlived SIGKILL: {left}")

    def strays(self, ending: list[Job]) -> list[int]:
        """Children of this process that belong to no running job.

        An orphan in the session of a running job is spared. An orphan in no job's session counts as a leftover of the
        jobs that are ending: Linux does not tell where it came from.
        """
        mains = {job.pid for job in self.running.values() if job.status is None}
        by_session = {job.pid: job for job in ending}
        spared = {job.pid for job in self.running.values() if not job.ending}
        found = []
        for pid in children.own_children(mains | self.unkillable):
            session = children.session_of(pid)
            if session not in spared:
                self.owners.setdefault(pid, by_session.get(session, ending[0]))
                found.append(pid)
        return found

    def finish(self, job: Job, error: str = "") -> None:
        while job.pipe >= 0 and self.read_log(job):
            pass
        if job.pipe >= 0:
            self.close_log(job)
        del self.running[job.id]
        self.shares.take_back(job.pid)
        self.send(job.finished(job.end or self.natural_end(job), error))
        if self.box and not self.running:
            self.box.clean(self.unkillable)

    def natural_end(self, job: Job) -> str:
        """exited, signalled, or out_of_memory if the kernel's OOM killer has killed a process meanwhile."""
        if job.status is None or os.WIFEXITED(job.status):
            return "exited"
        if os.WTERMSIG(job.status) == signal.SIGKILL:
            before, self.oom_kills = self.oom_kills, children.oom_kills()
            if self.oom_kills > before:
                return "out_of_memory"
        return "signalled"


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
