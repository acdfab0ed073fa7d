"""The site as it is published, built once for the processes of a session, by the command that publishes it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from matrix.core.disk import claimed

ROOT = Path(__file__).parents[2]
MEASURE = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(status, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
"""
"""Between the tests and the program: the peak that Linux tells of a program is also that of who started it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltSite:
    """`seconds` of CPU time and the peak in `megabytes` are what its build took."""

    folder: Path
    seconds: float
    megabytes: float


def build_measured(folder: Path, *results: Path) -> tuple[float, float]:
    """CPU seconds and the peak in MB: the wall clock of a shared machine says nothing of the program."""
    words = [sys.executable, "-m", "matrix", "site", "-o", str(folder), *map(str, results)]
    asked = [sys.executable, "-c", MEASURE, *words]
    told = subprocess.run(asked, cwd=ROOT, check=True, capture_output=True, text=True, timeout=600)
    status, seconds, peak = map(float, told.stdout.split())
    assert status == 0, told.stderr
    return seconds, peak


def build_once(together: Path) -> BuiltSite:
    """By whichever process comes first. Below a folder with a blank and a #, as a sub-path of a server has no say in
    it either."""
    place = together / "published a b#c"
    place.mkdir(exist_ok=True)
    told, folder = place / "took.json", place / "site"
    with claimed(place / "lock"):
        if not told.exists():
            told.write_text(json.dumps(build_measured(folder)))
    seconds, megabytes = json.loads(told.read_text())
    return BuiltSite(folder=folder, seconds=seconds, megabytes=megabytes)
