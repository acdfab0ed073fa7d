"""Which jobs may run at a time, so that the sum of their memory limits fits into this machine.

A job's limit is what it may need at most, and most need far less: were each held to its whole limit, a machine of 16 GB
would run one or two at a time. So a job first gets a share of the memory: that of a core, or LEAST. One that reaches
its share has said nothing about a release: it is started again with its whole limit, as soon as that fits.
"""

from __future__ import annotations

from collections.abc import Collection

from matrix.core.records import Job, JobEnd

LEAST = 2 << 30
"""The smallest share, in bytes: most jobs need less. Where there is less for each core, fewer jobs run at a time."""


class Memory:
    """What the jobs of a run may use of `total` bytes, `cores` jobs at a time."""

    def __init__(self, total: int, cores: int) -> None:
        self._total, self._cores = total, cores
        self._whole: set[str] = set()
        """The keys of jobs that reached their share."""

    def limit(self, job: Job) -> int:
        """The bytes that a job may use if it starts now: a share, or its own limit."""
        own = job.limits.memory_bytes
        return own if job.alone or job.key in self._whole else min(own, max(LEAST, self._total // self._cores))

    def fits(self, job: Job, others: Collection[Job]) -> bool:
        """Whether a job may start beside others. One job always may."""
        return not others or self._together([job, *others]) <= self._total

    def _together(self, jobs: Collection[Job]) -> int:
        """The most that jobs use at a time: tools wait for a core in their worker, scripts do not."""
        tools = sorted((self.limit(job) for job in jobs if not job.script), reverse=True)
        return sum(tools[: self._cores]) + sum(self.limit(job) for job in jobs if job.script)

    def needs_more(self, job: Job, end: JobEnd) -> str:
        """What is said of a job that ended because it reached its share; it gets its whole limit from now on. Empty
        for any other end."""
        share = self.limit(job)
        if end.end != "out_of_memory" or share == job.limits.memory_bytes:
            return ""
        self._whole.add(job.key)
        return f"it needs more than {share >> 20} MiB, its share of this machine's memory"
