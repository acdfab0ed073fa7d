"""This machine as results and job keys name it: its cores and its class, never a host name."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path


def cores_of_machine() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


def machine_identity() -> str:
    """The machine class as keys hold it: with the CPU's features, of which a virtual machine may hide some."""
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
    """The machine as results name it: architecture, CPU, cores; never a host name."""
    model = _cpuinfo("model name")
    return ", ".join(part for part in (platform.machine(), model, f"{cores_of_machine()} cores") if part)
