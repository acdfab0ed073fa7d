"""Removes what a job may leave for the next one in the same container, besides processes.

Files that a job has removed but keeps open end with its last process.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
from collections.abc import Callable, Collection, Sequence

import children
import trees

IPC_RMID = 0
RESOURCES = sorted({number for name, number in vars(resource).items() if name.startswith("RLIMIT_")})


class Spoiled(Exception):
    """No further job may run here."""


class Box:
    """The state of a container with one worker: scratch folders, System V objects and the limits of the worker.

    Linux lets a job change the limits of the worker, which has the same user, and the next job would inherit them.
    """

    def __init__(self, scratch: Sequence[str]) -> None:
        """`scratch`: the folders that are emptied."""
        self.scratch = scratch
        self.limits = own_limits()

    def clean(self, unkillable: Collection[int]) -> None:
        """Cleans up after a job; `unkillable` are its remaining processes. Raises Spoiled if another job could see
        something of it: then the worker ends, and its container too."""
        if unkillable:
            raise Spoiled(f"processes outlived SIGKILL: {sorted(unkillable)}")
        if own_limits() != self.limits:
            raise Spoiled("a job changed the limits of its worker")
        for folder in self.scratch:
            if not trees.empty(folder):
                raise Spoiled(f"a job left files in {folder} that cannot be removed")
        left = remove_system_v_objects()
        if left:
            raise Spoiled(f"a job left System V objects: {', '.join(left)}")


def own_limits() -> tuple[object, ...]:
    """The limits of this process that other processes of its user can change."""
    return (
        [resource.getrlimit(number) for number in RESOURCES],
        os.getpriority(os.PRIO_PROCESS, 0),
        os.sched_getscheduler(0),
        os.sched_getaffinity(0),
    )


def remove_system_v_objects() -> list[str]:
    """Removes all shared memory segments, message queues and semaphore sets of this IPC namespace. Returns the rest."""
    libc = ctypes.CDLL(None)
    removers: dict[str, Callable[[int], object]] = {
        "shm": lambda number: libc.shmctl(number, IPC_RMID, None),
        "msg": lambda number: libc.msgctl(number, IPC_RMID, None),
        "sem": lambda number: libc.semctl(number, 0, IPC_RMID),
    }
    left = []
    for kind, remove in removers.items():
        for number in system_v_objects(kind):
            if remove(number):
                left.append(f"{kind} {number}")
    return left


def system_v_objects(kind: str) -> list[int]:
    """The IDs in /proc/sysvipc; none where the kernel has no such objects."""
    with contextlib.suppress(FileNotFoundError), open(f"{children.PROC}/sysvipc/{kind}", "rb") as file:
        return [int(line.split()[1]) for line in file.readlines()[1:]]
    return []
