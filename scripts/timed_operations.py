"""What each operation of a model takes, as the runtimes' scripts write it. Standard library only.

A sample is so many calls as the runtime's profiler needs for a figure. Of each operation's seconds a call, over the
samples, there are the median, the quartiles and the least; of a whole call also the CPU time, which says whether other
programs had the processor meanwhile.
"""

from __future__ import annotations

import json
import statistics
import time
from typing import Any, Callable

FORMAT = 1
LEAST, MOST = 30, 300


class Samples:
    """Wall and CPU seconds of a call, by sample; the seconds of each operation, and what is known of it besides."""

    def __init__(self, calls_in_each: int) -> None:
        self.calls_in_each = calls_in_each
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self.operations: dict[str, list[float]] = {}
        self.facts: dict[str, dict[str, Any]] = {}

    def take(self, call: Callable[[], object]) -> None:
        start, started = time.perf_counter(), time.process_time()
        for _ in range(self.calls_in_each):
            call()
        self.wall.append((time.perf_counter() - start) / self.calls_in_each)
        self.cpu.append((time.process_time() - started) / self.calls_in_each)

    def enough(self, seconds: float) -> bool:
        """Whether that many seconds are full, within bounds."""
        calls = len(self.wall) * self.calls_in_each
        return calls >= MOST or (calls >= LEAST and sum(self.wall) * self.calls_in_each >= seconds)

    def write(self, path: str) -> None:
        operations = [
            {"name": name, **self.facts[name], **spread(seconds)} for name, seconds in self.operations.items()
        ]
        call = {**spread(self.wall), "cpu": statistics.median(self.cpu)}
        samples = {"samples": len(self.wall), "calls_in_each": self.calls_in_each}
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"format": FORMAT, **samples, "call": call, "operations": operations}, file, indent=1)


def spread(seconds: list[float]) -> dict[str, float]:
    low, middle, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return {"seconds": middle, "low": low, "high": high, "least": min(seconds)}
