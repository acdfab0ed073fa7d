"""Runs an .onnx with ONNX Runtime on one thread, in the job's own folder: `run_onnx.py MODEL [--times FILE]`.

Takes `input_N.npy` in the order of the model's inputs and leaves `output_N.npy`. With --times it measures instead: five
samples of at least 0.2 s each after a warm-up of 0.1 s, as JSON of the form of Google's benchmark library, which IREE's
own tool writes. Standard library, numpy and onnxruntime only.
"""

from __future__ import annotations

import glob
import json
import os
import sys
import time
from typing import Any, Callable

import numpy
import onnxruntime

SAMPLES, SAMPLE_SECONDS, WARM_SECONDS = 5, 0.2, 0.1


def main(words: list[str]) -> None:
    session = opened(words[0])
    wanted = session.get_inputs()
    given = sorted(glob.glob("input_*.npy"), key=lambda name: int(name[len("input_") : -len(".npy")]))
    if len(given) != len(wanted):
        raise SystemExit(f"run_onnx: the model takes {len(wanted)} inputs, and {len(given)} are given")
    arrays = {entry.name: numpy.load(path) for entry, path in zip(wanted, given)}  # noqa: B905 - Python 3.9
    if "--times" in words:
        measured = benchmark(lambda: session.run(None, arrays))
        with open(words[words.index("--times") + 1], "w", encoding="utf-8") as file:
            json.dump(measured, file, indent=1)
        return
    for number, output in enumerate(session.run(None, arrays)):
        numpy.save(f"output_{number}.npy", output)


def opened(path: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


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


if __name__ == "__main__":
    main(sys.argv[1:])
