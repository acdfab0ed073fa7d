"""The report of the bed: what was tried, what held, what could not be tried here."""

from __future__ import annotations

import os
import platform
import resource
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from invariants import INVARIANTS
from tabulate import tabulate
from workload import COMPILERS, RUNTIMES

import matrix
from matrix.core.machine import machine_class, usable_cores


@dataclass(slots=True, kw_only=True)
class Tally:
    """What came of one family."""

    name: str
    what: str
    tried: int = 0
    seconds: float = 0.0
    broken: list[str] = field(default_factory=list)


class Load:
    """How busy the machine is from now on, with the bed and with what else runs on it."""

    def __init__(self) -> None:
        self.begun, self.before, self.busy = time.monotonic(), os.getloadavg()[0], _busy_seconds()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.begun

    def __str__(self) -> str:
        """The CPU time of containers, and of what outlives its parent, is counted with the rest of the machine."""
        own = resource.getrusage(resource.RUSAGE_CHILDREN)
        busy, cores = _busy_seconds() - self.busy, usable_cores()
        return (
            f"load average {self.before:.1f} at the start, {os.getloadavg()[0]:.1f} at the end; {busy:.0f} CPU s of "
            f"{self.seconds * cores:.0f} ({cores} cores), {own.ru_utime + own.ru_stime:.0f} of them the bed's processes"
        )


def _busy_seconds() -> float:
    """The CPU seconds of the whole machine so far, without idle ones and those that wait for a disk."""
    user, nice, system = map(int, Path("/proc/stat").read_text().split()[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


def report_text(
    tallies: Sequence[Tally], *, seed: int, short: bool, load: Load, untried: Mapping[str, str], commit: str
) -> str:
    """The report as Markdown."""
    faults, broken = sum(tally.tried for tally in tallies), sum(len(tally.broken) for tally in tallies)
    rows = [[tally.name, tally.what, tally.tried, len(tally.broken), f"{tally.seconds:.0f}"] for tally in tallies]
    facts = [
        ["date", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())],
        ["version", f"iree-matrix {matrix.__version__}, commit {commit}"],
        ["machine", machine_class()],
        ["kernel", f"{platform.system()} {platform.release()}"],
        ["Python, SQLite", f"{platform.python_version()}, {sqlite3.sqlite_version}"],
        ["question", f"compilers {', '.join(COMPILERS)} x runtimes {', '.join(RUNTIMES)}: 6 jobs, 4 cells"],
        ["load", str(load)],
        ["seed", f"{seed}: `nox -s faults -- --seed {seed}{' --short' if short else ''}` does the same faults again"],
    ]
    return "\n".join(
        [
            "# The bed of faults",
            "",
            f"{faults} faults tried, {broken} invariants broken, {load.seconds / 60:.0f} min.",
            "",
            tabulate(facts, headers=("what", "value"), tablefmt="github", disable_numparse=True),
            "",
            tabulate(rows, headers=("family", "what is done", "faults", "broken", "s"), tablefmt="github"),
            "",
            "## What holds after each fault",
            "",
            *(f"- {(invariant.__doc__ or '').splitlines()[0]}" for invariant in INVARIANTS),
            "",
            "`fuzz` and `bad_input` look at messages and time instead.",
            "",
            "## What could not be tried here",
            "",
            *([f"- {what}: {why}" for what, why in untried.items()] or ["Nothing: all was tried."]),
            "",
            *_broken(tallies),
        ]
    )


def _broken(tallies: Sequence[Tally]) -> list[str]:
    lines = [f"- {tally.name}: {line}" for tally in tallies for line in tally.broken]
    return ["## What did not hold", "", *lines, ""] if lines else []
