"""How this machine confines the jobs of engines that are no containers. `scripts/confine.py` does it."""

from __future__ import annotations

import ctypes
import functools
import os
import sys

from matrix.artifacts.json_reader import read_json
from matrix.core import processes
from matrix.core.data import data_root
from matrix.engines.kind import Finding

SWITCH = "IREE_MATRIX_CONFINE"
"""`0` in this variable switches confinement off, to find out whether it is the reason of a failure."""
LANDLOCK_VERSION, TCP_SINCE, SIGNALS_SINCE = 444, 4, 6
"""The number of a system call, and the versions of Landlock that first cover these."""
CONFINE_SECONDS = 10.0


def is_confined() -> bool:
    """Whether jobs are to be confined, as far as the kernel can."""
    return os.environ.get(SWITCH, "") != "0"


def confinement_words() -> str:
    """How jobs are confined, for the evidence of an environment. What matters is the kernel, and the switch."""
    if not is_confined():
        return f"none: {SWITCH}=0"
    version = _landlock()
    if not version:
        return "none: this kernel has no Landlock"
    covered = ["Landlock: writes in its own folder alone"]
    covered += ["no TCP"] if version >= TCP_SINCE else []
    covered += ["no signals to others"] if version >= SIGNALS_SINCE else []
    return ", ".join(covered)


def examine_confinement() -> Finding:
    """Tries it in a process of its own, as a worker would."""
    name, said = "confinement of jobs", confinement_words()
    if not is_confined():
        return Finding(name=name, state="warning", found=said, advice=f"unset {SWITCH}")
    script = data_root() / "scripts" / "confine.py"
    asked = processes.run([sys.executable, "-I", str(script)], timeout=CONFINE_SECONDS)
    own = asked.ok and read_json(asked.stdout).get("own_memory") is True
    said += "; own /dev/shm" if own else "; /dev/shm is shared with the machine"
    if not _landlock():
        advice = "Linux 5.13 or newer with Landlock; until then run strangers' models with --engine docker"
        return Finding(name=name, state="warning", found=said, advice=advice)
    if _landlock() < SIGNALS_SINCE or not own:
        advice = "Linux 6.12 and user namespaces cover more; --engine docker covers all"
        return Finding(name=name, state="warning", found=said, advice=advice)
    return Finding(name=name, state="ok", found=said)


@functools.cache
def _landlock() -> int:
    """The version of the kernel's Landlock; 0 where it has none."""
    try:
        asked = ctypes.CDLL(None).syscall(LANDLOCK_VERSION, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    except (OSError, AttributeError):
        return 0
    return max(0, int(asked))
