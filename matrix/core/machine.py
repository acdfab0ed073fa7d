"""This machine as results and job keys describe it: cores and class, never a host name."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
from pathlib import Path


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


def memory_bytes(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int:
    """The memory that this process may use: the machine's, or less by a limit of its cgroup (v2) or of one above."""
    line = next(line for line in (proc / "meminfo").read_text().splitlines() if line.startswith("MemTotal:"))
    limits = [int(line.split()[1]) << 10]
    with contextlib.suppress(OSError):
        own = next((row[3:] for row in (proc / "self" / "cgroup").read_text().splitlines() if row[:3] == "0::"), "/")
        group = groups / own.strip("/")
        for folder in (group, *group.parents[: len(group.parts) - len(groups.parts)]):
            with contextlib.suppress(OSError, ValueError):  # not there, or `max`
                limits.append(int((folder / "memory.max").read_text()))
    return min(limits)


def machine_identity() -> str:
    """The machine class for job keys, with the CPU's features: a virtual machine may hide some of them."""
    parts = (platform.machine(), _cpuinfo("model name"), f"{usable_cores()} cores")
    return f"{', '.join(filter(None, parts))}, features {hashlib.sha256(_features().encode()).hexdigest()[:12]}"


def _cpuinfo(field: str) -> str:
    """The first value of a field of /proc/cpuinfo; empty where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), "")


def machine_class() -> str:
    """The machine class for results: architecture, CPU model, cores, and those of the CPU's flags that decide which
    instructions a compiler may choose for numbers."""
    cores = usable_cores()
    told = f"{CPU_FLAGS} {' '.join(numeric_flags(_features()))}".strip()
    parts = (platform.machine(), _cpuinfo("model name"), f"{cores} core{'s' if cores > 1 else ''}", told)
    return ", ".join(part for part in parts if part)


def _features() -> str:
    return _cpuinfo("flags") or _cpuinfo("Features")


CPU_FLAGS = "CPU flags"
"""Before the flags, in a machine class."""
NUMERIC = re.compile("sse4_|avx|fma|f16c|amx_|asimd|fphp|sve|sme(?!p)|i8mm|bf16|vfp|neon")
"""How the names of such flags begin: vectors, fused multiply-add, half floats, matrices."""


def numeric_flags(features: str) -> list[str]:
    """`avx2 fma` of all that /proc/cpuinfo names, in its order."""
    return [name for name in features.split() if NUMERIC.match(name)]
