"""Facts about a worker's processes from Linux: their children, their memory, their output.

Standard library only, CPython 3.9 to 3.14. All decisions are in `worker.py`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
from collections import defaultdict

PROC = "/proc"
READ_BYTES = 1 << 16
"""The default size of a pipe: one read empties it."""

_LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36


class Log:
    """The start and the end of a job's output, in bounded memory.

    A compiler's first lines name the error, its last lines say how it ended; the bytes between are counted.
    """

    def __init__(self, limit: int) -> None:
        self.head_limit = limit // 4
        self.tail_limit = limit - self.head_limit
        self.head = bytearray()
        self.tail = bytearray()
        self.size = 0

    def add(self, data: bytes) -> None:
        self.size += len(data)
        room = self.head_limit - len(self.head)
        if room > 0:
            self.head += data[:room]
            data = data[room:]
        self.tail += data[-self.tail_limit :] if self.tail_limit else b""
        if len(self.tail) > 2 * self.tail_limit:  # twice, so that most additions move no bytes
            del self.tail[: -self.tail_limit]

    def text(self) -> str:
        """As UTF-8; other bytes become `\\xff` (some messages of IREE have them)."""
        tail = self.tail[max(0, len(self.tail) - self.tail_limit) :]
        left_out = self.size - len(self.head) - len(tail)
        marker = f"\n... {left_out:,} bytes left out ...\n".encode() if left_out else b""
        return bytes(self.head + marker + tail).decode("utf-8", "backslashreplace")


def prepare_this_process() -> None:
    """Makes this process adopt the orphans of its descendants, and die with its own parent.

    Its memory and open files are closed to the jobs, which have the same user and could write results there. A job
    can access its own memory again after `exec`, or after `restore_access`.
    """
    prctl(PR_SET_DUMPABLE, 0)
    adopt_orphans()
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def adopt_orphans() -> None:
    """Makes this process the parent of what is below it and loses its own."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with(parent: int) -> None:
    """Makes this process die with its parent, even if the parent has just died."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def restore_access() -> None:
    """For a job: gives it access to its /proc/self. If the machine runs out of memory, the kernel kills it, and not the
    worker or the orchestrator."""
    prctl(PR_SET_DUMPABLE, 1)
    with contextlib.suppress(OSError):
        score = os.open(f"{PROC}/self/oom_score_adj", os.O_WRONLY)
        os.write(score, b"1000")
        os.close(score)


def prctl(option: int, value: int) -> None:
    if _LIBC.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl({option}, {value}) failed")


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def kill_group(pid: int) -> None:
    """Kills a job's process group in one step, which no fork escapes.

    The leader is killed first: just after a fork it does not have its own group yet.
    """
    kill(pid)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def oom_kills() -> int:
    """How many processes the OOM killer has killed since boot, in cgroups or outside.

    0 where it is unknown (before Linux 4.13, or without /proc/vmstat): then such a death counts as a signal.
    """
    with contextlib.suppress(OSError), open(f"{PROC}/vmstat", "rb") as file:
        for line in file:
            if line.startswith(b"oom_kill "):
                return int(line.split()[1])
    return 0


def children_of(parent: int) -> list[int]:
    """The children of a process with one thread (zombies too).

    This is one read where the kernel lists children (`CONFIG_PROC_CHILDREN`), else a scan of all processes: in its
    own PID namespace a worker has few.
    """
    listed = _listed_children(parent, parent)
    if listed is not None:
        return listed
    return [pid for pid in _all_pids() if pid != parent and _parent(pid) == parent]


def family() -> dict[int, list[int]]:
    """Parent -> children for all descendants of this process."""
    me = os.getpid()
    children: dict[int, list[int]] = defaultdict(list)
    if _listed_children(me, me) is None:
        for pid in _all_pids():
            children[_parent(pid)].append(pid)
        return children
    waiting = [me]
    while waiting:
        parent = waiting.pop()
        for task in _tasks(parent):
            children[parent] += _listed_children(parent, task) or []
        waiting += children[parent]
    return children


def descendants(pid: int, children: dict[int, list[int]]) -> list[int]:
    """All processes below `pid`."""
    found = list(children.get(pid, ()))
    for each in found:
        found += children.get(each, ())
    return found


def private_bytes(pid: int) -> int:
    """The memory of a process: anonymous and shared-memory pages, without the pages of files.

    Pages that a fork still shares with its parent count for both.
    """
    total = 0
    try:
        with open(f"{PROC}/{pid}/status", "rb") as file:
            for line in file:
                if line.startswith((b"RssAnon:", b"RssShmem:")):
                    total += int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return total


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir(PROC) if name.isdigit()]


def _parent(pid: int) -> int:
    try:
        with open(f"{PROC}/{pid}/stat", "rb", buffering=0) as file:
            # The command is in brackets, and may contain brackets and spaces.
            return int(file.read(1024).rpartition(b")")[2].split(None, 2)[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def is_stopped(pid: int) -> bool:
    """Whether a process was stopped by a signal."""
    with contextlib.suppress(OSError), open(f"{PROC}/{pid}/stat", "rb", buffering=0) as file:
        return file.read(1024).rpartition(b")")[2].split(None, 1)[0] == b"T"
    return False


def _tasks(pid: int) -> list[int]:
    try:
        return [int(name) for name in os.listdir(f"{PROC}/{pid}/task")]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _listed_children(pid: int, task: int) -> list[int] | None:
    """None where the kernel keeps no such list."""
    try:
        with open(f"{PROC}/{pid}/task/{task}/children", "rb") as file:
            return [int(child) for child in file.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        return None
