"""Divides the cores among the jobs that run at the same time.

A compiler starts one thread for each core that it may use. Two compilers on two cores take a tenth longer with two
threads each than with one each (measured on iree-compile 2.9 to 3.13).
"""

from __future__ import annotations

import contextlib
import os


class Shares:
    """One share of the cores for each slot. With more slots than cores, no job is restricted."""

    def __init__(self, slots: int) -> None:
        cores = sorted(os.sched_getaffinity(0))
        several = 1 < slots <= len(cores)
        self.free: list[frozenset[int]] = [frozenset(cores[slot::slots]) for slot in range(slots)] if several else []
        self.taken: dict[int, frozenset[int]] = {}

    def give(self, pid: int) -> None:
        """Restricts a process, and its future children, to a free share."""
        if self.free:
            share = self.free.pop()
            self.taken[pid] = share
            with contextlib.suppress(OSError):  # it may have ended already
                os.sched_setaffinity(pid, share)

    def take_back(self, pid: int) -> None:
        if pid in self.taken:
            self.free.append(self.taken.pop(pid))
