"""This machine as results and job keys describe it: cores and class, never a host name."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


def machine_identity() -> str:
    """The machine class for job keys, with the CPU's features: a virtual machine may hide some of them."""
    features = _cpuinfo("flags") or _cpuinfo("Features")
    return f"{machine_class()}, features {hashlib.sha256(features.encode()).hexdigest()[:12]}"


def _cpuinfo(field: str) -> str:
    """The first value of a field of /proc/cpuinfo; empty where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), "")


def machine_class() -> str:
    """The machine class for results: architecture, CPU model and cores."""
    model = _cpuinfo("model name")
    return ", ".join(part for part in (platform.machine(), model, f"{usable_cores()} cores") if part)
