"""A sandbox by bubblewrap: a process sees its environment and its job's folder, and nothing else of the machine.

The root is that of the base, read-only; there is no network, no other process and no privilege. bubblewrap uses the
namespaces of the kernel, as root or as another user. Where it is missing, or where the kernel or a container forbids
it, there is no sandbox, and the evidence of each environment says why.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from matrix.core import processes
from matrix.engines.channel import namespace_prefix
from matrix.images.layer import ENVIRONMENT

NOBODY = "65534"
SANDBOX_SECONDS = 10.0
SHUT_IN = ("--unshare-all", "--die-with-parent", "--uid", NOBODY, "--gid", NOBODY, "--cap-drop", "ALL")
KERNEL = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
"""Paths where a process of root could change settings of the whole machine, even without capabilities. They are
read-only, as in a container (the list is that of Docker's default specification)."""
FRESH = (
    *("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--ro-bind", "/sys", "/sys"),
    *(word for path in KERNEL for word in ("--ro-bind-try", path, path)),
)
"""The sandbox has its own processes, devices and temporary files. /sys is read for the caches of the CPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """`program` is bubblewrap; empty where there is no sandbox, for a `reason`."""

    program: str
    reason: str = ""

    @property
    def works(self) -> bool:
        return bool(self.program)

    @property
    def said(self) -> str:
        """The text for the evidence."""
        return "bubblewrap: no network, read-only files" if self.program else f"none: {self.reason}"

    def line(self, base: Path, environment: Path, mounts: Mapping[Path, tuple[str, str]]) -> list[str]:
        """The prefix of a command line. `mounts`: folder of this machine -> (path, `ro` or `rw`)."""
        words = [self.program, *SHUT_IN]
        for path in sorted(base.iterdir()):
            if path.is_symlink():
                words += ["--symlink", str(path.readlink()), f"/{path.name}"]
            elif any(path.iterdir()):
                words += ["--ro-bind", str(path), f"/{path.name}"]
        words += [*FRESH, "--ro-bind", str(environment / ENVIRONMENT), f"/{ENVIRONMENT}"]
        for folder, (place, mode) in mounts.items():
            words += ["--bind" if mode == "rw" else "--ro-bind", str(folder), place]
        return [*words, "--remount-ro", "/", "--chdir", "/", "--"]


@functools.cache
def find_sandbox() -> Sandbox:
    """Finds out once whether bubblewrap works in the namespace of a worker."""
    program = shutil.which("bwrap")
    if program is None:
        return Sandbox(program="", reason="bubblewrap is not installed")
    words = (*SHUT_IN, "--ro-bind", "/", "/", *FRESH, "--remount-ro", "/", "--", "true")
    done = processes.run([*namespace_prefix(), program, *words], timeout=SANDBOX_SECONDS)
    if done.ok:
        return Sandbox(program=program)
    said = (done.output.splitlines() or [f"exit code {done.exit_code}"])[-1]
    return Sandbox(program="", reason=f"bubblewrap does not work here: {said}")
