"""Divides the cores among the jobs that run at the same time.

A compiler starts one thread for each core that it may use. Two compilers on two cores take a tenth longer with two
threads each than with one each (measured on iree-compile 2.9 to 3.13).
"""

from __future__ import annotations

import os


class Shares:
    """One share of the cores for each slot. With more slots than cores, no job is restricted."""

    def __init__(self, slots: int) -> None:
        cores = sorted(os.sched_getaffinity(0))
        several = 1 < slots <= len(cores)
        self.free: list[frozenset[int]] = [frozenset(cores[slot::slots]) for slot in range(slots)] if several else []
        self.taken: dict[str, frozenset[int]] = {}

    def give(self, job: str) -> frozenset[int]:
        """A free share for a job; empty where no job is restricted."""
        if self.free:
            self.taken[job] = self.free.pop()
        return self.taken.get(job, frozenset())

    def take_back(self, job: str) -> None:
        if job in self.taken:
            self.free.append(self.taken.pop(job))
