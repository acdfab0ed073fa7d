"""Times calls as the runtimes' scripts do: five samples of at least 0.2 s each after a warm-up of 0.1 s, as JSON of the
form of Google's benchmark library, which IREE's own tool writes. Standard library only."""

from __future__ import annotations

import json
import os
import time
from typing import Any, Callable

SAMPLES, SAMPLE_SECONDS, WARM_SECONDS = 5, 0.2, 0.1


def write_times(path: str, call: Callable[[], object]) -> None:
    with open(path, "w", encoding="utf-8") as file:
        json.dump(benchmark(call), file, indent=1)


def benchmark(call: Callable[[], object]) -> dict[str, Any]:
    count, elapsed = 1, 0.0
    start = time.perf_counter()
    while time.perf_counter() < start + WARM_SECONDS:
        call()
    while True:  # as many calls as fill a sample
        elapsed, _ = timed(call, count)
        if elapsed >= SAMPLE_SECONDS or count >= 1 << 24:
            break
        count = max(count + 1, int(count * min(10.0, 1.1 * SAMPLE_SECONDS / max(elapsed, 1e-9))))
    rows = []
    for _ in range(SAMPLES):
        wall, cpu = timed(call, count)
        sample = {"real_time": wall / count * 1e3, "cpu_time": cpu / count * 1e3, "time_unit": "ms"}
        rows.append({"run_type": "iteration", "iterations": count, **sample})
    return {"context": {"num_cpus": os.cpu_count(), "load_avg": list(os.getloadavg())}, "benchmarks": rows}


def timed(call: Callable[[], object], count: int) -> tuple[float, float]:
    """Wall and CPU seconds of so many calls."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(count):
        call()
    return time.perf_counter() - wall, time.process_time() - cpu
