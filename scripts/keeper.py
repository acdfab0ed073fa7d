"""The processes between the worker and its jobs: each is the parent of one job at a time, and of what that job leaves.

A keeper is a fork of the worker. Linux gives an orphan to the nearest process above it that asked for orphans, so what
is below a keeper belongs to its job, whatever session it is in and however often it forked. The keeper waits until
nothing of it is left, and then takes another job: a second fork for each job would cost more than a short job. It tells
the worker, in messages:

    pid N                    the job's process
    error TEXT               it could not be started
    stopped                  somebody has stopped it, or one of its orphans
    status N KILOBYTES TIME  the job's process has ended, with its peak of memory, on the monotonic clock
    spent SECONDS            nothing of the job is left; the CPU time of all its processes
    ready                    another job may come; without this word it ends
"""

from __future__ import annotations

import contextlib
import marshal
import os
import resource
import signal
import socket
import time
from collections.abc import Sequence
from typing import Optional

import children
import confine
import forked
from box import own_limits
from jobs import Job

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""A keeper ignores them: the worker ends it, by ending the job."""
PYTHON_IGNORES = (signal.SIGPIPE, signal.SIGXFSZ)
"""Python ignores them, and a program would inherit it."""
LONGEST = 1 << 20
"""Bytes of a request: more than the kernel takes in one message."""


class Keeper:
    """What the worker knows of a keeper: its pid, its job, and the line to it."""

    def __init__(self, job: Job, output: int, *, inherited: Sequence[int], warm_error: str) -> None:
        """Forks it, with its first job. `output` is the job's stdout and stderr, `inherited` are the worker's other
        open files."""
        self.job: Optional[Job] = job
        self.line, its_line = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        worker = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                _become_keeper(worker, [*inherited, self.line.fileno()])
                _serve(its_line, job, output, warm_error=warm_error)
            finally:
                os._exit(1)  # never returns, whatever happens
        its_line.close()
        self.line.setblocking(False)

    def take(self, job: Job, output: int) -> bool:
        """Gives it another job. False if it is gone, or the request is too long for one message."""
        try:
            socket.send_fds(self.line, [marshal.dumps((job.request, job.cores))], [output])
        except OSError:
            return False
        self.job = job
        return True

    def said(self) -> str:
        """One message of it. Empty if there is none."""
        with contextlib.suppress(OSError):
            return self.line.recv(children.READ_BYTES).decode("utf-8", "replace")
        return ""


def _become_keeper(worker: int, inherited: Sequence[int]) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    children.adopt_orphans()
    children.die_with(worker)
    for fd in inherited:
        os.close(fd)


def _serve(line: socket.socket, job: Job, output: int, *, warm_error: str) -> None:
    """Runs jobs until the worker has gone, or a job has changed what the next one would inherit. Never returns."""
    limits = own_limits()
    while True:
        _keep(job, output, line, warm_error=warm_error)
        if own_limits() != limits:
            os._exit(0)
        _say(line, "ready")
        message, files, _, _ = socket.recv_fds(line, LONGEST, 1)
        if not message:
            os._exit(0)
        (output,) = files
        request, cores = marshal.loads(message)
        job = Job(request)
        job.cores = cores


def _keep(job: Job, output: int, line: socket.socket, *, warm_error: str) -> None:
    """Starts a job, and waits until nothing of it is left."""
    keeper = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become_job(job, output, line, keeper=keeper, warm_error=warm_error)
    os.close(output)
    _say(line, f"pid {pid}")
    spent = 0.0
    while True:
        try:
            dead, status, usage = os.wait4(-1, os.WUNTRACED)
        except ChildProcessError:
            break
        if os.WIFSTOPPED(status):
            _say(line, "stopped")
            continue
        spent += usage.ru_utime + usage.ru_stime  # with that of all whom it has waited for
        if dead == pid:
            _say(line, f"status {status} {_peak(job, usage.ru_maxrss)} {time.monotonic()!r}")
    _say(line, f"spent {spent!r}")


def _peak(job: Job, kilobytes: int) -> int:
    """Linux's peak includes the process before `exec`, here a fork of this one.

    So the peak of a spawned job below the keeper's own is unknown: 0.
    """
    return kilobytes if job.script or kilobytes > resource.getrusage(resource.RUSAGE_SELF).ru_maxrss else 0


def _become_job(job: Job, output: int, line: socket.socket, *, keeper: int, warm_error: str) -> None:
    """Becomes the job. Never returns."""
    try:
        os.setsid()
        children.die_with(keeper)
        if job.cores:
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, job.cores)
        for number in ENDING:
            signal.signal(number, signal.SIG_DFL)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        children.restore_access()
        os.chdir(job.cwd)
        if job.confined:
            confine.shut_in(job.cwd, *job.writable, memory_bytes=job.memory_limit, loopback=job.loopback)
        if job.output_limit:
            _, most = resource.getrlimit(resource.RLIMIT_FSIZE)  # a container or a user may have a lower one
            limit = job.output_limit if most == resource.RLIM_INFINITY else min(job.output_limit, most)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        if job.argv:
            for number in PYTHON_IGNORES:
                signal.signal(number, signal.SIG_DFL)
            os.execvpe(job.argv[0], job.argv, job.env)
    except BaseException as error:  # noqa: BLE001 - the worker says it
        _say(line, f"error {job.why_not_started(error)}")
        os._exit(1)
    line.close()
    forked.run(job, warm_error=warm_error)


def _say(line: socket.socket, message: str) -> None:
    with contextlib.suppress(OSError):
        line.send(message.encode())
