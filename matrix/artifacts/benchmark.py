"""The JSON of `iree-benchmark-module`: stripped of private data, and read. Pure."""

from __future__ import annotations

import json
import re
import statistics
from dataclasses import asdict, dataclass
from typing import Any

from matrix.artifacts.json_reader import JsonFault, read_json

KEPT_CONTEXT = ("num_cpus", "mhz_per_cpu", "cpu_scaling_enabled", "aslr_enabled", "load_avg", "library_build_type")
"""The kept facts of the machine and its state. The others are the host name, the executable's path and the date."""
UNIT_SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
_EXECUTABLE = re.compile(rb"(?m)^Running .*\n?")
_PEAK = re.compile(r"DEVICE_LOCAL:\s*(\d+)B peak")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One round of one module.

    `seconds` is the median latency of a call over the round's samples, `cpu_seconds` the median CPU time of a call in
    all threads, `samples` their number, `load` the machine's load at that time (the mean of a minute).
    """

    seconds: float
    cpu_seconds: float
    samples: int
    load: float | None


def strip_private_data(content: bytes) -> bytes:
    """The JSON, or the log, without the host name and paths of the machine."""
    try:
        read = read_json(content)
    except JsonFault:
        return b"{}" if content.lstrip().startswith(b"{") else _EXECUTABLE.sub(b"", content)
    try:
        context = {name: read["context"][name] for name in KEPT_CONTEXT if name in read["context"]}
        kept = {"context": context, "benchmarks": read["benchmarks"]}
    except (KeyError, TypeError):
        kept = {}
    return json.dumps(kept, indent=1).encode()


def read_timing(content: bytes) -> Timing | None:
    """The round in a stored JSON; None where it has no sample."""
    try:
        document = read_json(content)
        samples = [row for row in document.get("benchmarks", []) if _is_sample(row)]
        times = [float(row["real_time"] * UNIT_SECONDS[row["time_unit"]]) for row in samples]
        cpu = [float(row["cpu_time"] * UNIT_SECONDS[row["time_unit"]]) for row in samples]
        load = next((float(each) for each in document.get("context", {}).get("load_avg") or ()), None)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None
    if not times or min(times) <= 0 or min(cpu) < 0:
        return None
    return Timing(seconds=statistics.median(times), cpu_seconds=statistics.median(cpu), samples=len(times), load=load)


def read_benchmark(content: bytes, log: bytes) -> dict[str, float | int | None]:
    """The figures of a round, from its JSON and its log; none where it has no sample."""
    timing = read_timing(content)
    return {**asdict(timing), "device_peak_bytes": device_peak(log.decode(errors="replace"))} if timing else {}


def device_peak(log: str) -> int | None:
    """The peak size of the device buffers in bytes, as `--print_statistics` reports it; None where it does not."""
    found = _PEAK.search(log)
    return int(found[1]) if found else None


def _is_sample(row: dict[str, Any]) -> bool:
    return row.get("run_type") == "iteration" and not row.get("error_occurred")
