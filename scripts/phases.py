"""Compiles a module some times, and writes down the CPU time of each phase of the compiler, or of each of its passes.

    python phases.py phases ROUNDS iree-compile WORDS…
    python phases.py passes ROUNDS iree-compile WORDS…

`iree-compile` writes a file behind each of its phases if it is asked to. The kernel says when such a file is made and
when it is closed (inotify), and the CPU time of another process is a clock of its own (`clock_getcpuclockid`): no
thread that ended is missing from it. What the writing itself takes counts to no phase. A line for each phase goes to
the log, so that one knows how far a compiler came that crashed: it ends as the compiler did.

For the passes the compiler measures itself (`--mlir-timing`), on one thread: a pass that runs on several at once has
no time that compares. Leaves `phases.json` or `passes.json`. Standard library only, CPython 3.9 to 3.14.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import shutil
import signal
import struct
import subprocess
import sys
import time
from typing import Any, Iterator

FORMAT = 1
FOLDER, MODULE, TOLD = "phases", "phased.vmfb", "passes.txt"
ELIDED = ("--mlir-elide-resource-strings-if-larger=64", "--mlir-elide-elementsattrs-if-larger=64")
TIMED = ("--mlir-timing", "--mlir-timing-display=tree", "--mlir-output-format=json", "--mlir-disable-threading")
ANALYSIS = "(A)"
CREATED, CLOSED = 0x100, 0x8
EVENT = struct.Struct("iIII")
LOOK_SECONDS = 0.5
MOST_TOLD = 64 << 20


class Refused(Exception):
    """This machine cannot measure it."""


def main(words: list[str]) -> int:
    what, rounds, command = words[0], int(words[1]), words[2:]
    found: list[dict[str, Any]] = []
    for number in range(1, rounds + 1):
        try:
            one = phased(command, number) if what == "phases" else passed(command)
        except Refused as refused:
            print(f"phases: refused: {refused}", flush=True)
            return 1
        finally:
            shutil.rmtree(FOLDER, ignore_errors=True)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(MODULE)
        if one["status"]:
            return ended(one["status"])
        found.append(one)
    if what == "phases" and not all(one["events"] for one in found):
        print("phases: refused: the compiler wrote no file of a phase", flush=True)
        return 1
    with open(f"{what}.json", "w", encoding="utf-8") as file:
        json.dump({"format": FORMAT, "rounds": found}, file, sort_keys=True)
        file.write("\n")
    return 0


def ended(status: int) -> int:
    """Ends as a compiler did."""
    if status < 0:
        signal.signal(-status, signal.SIG_DFL) if -status not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), -status)
    return status


# -- phases


def phased(command: list[str], number: int) -> dict[str, Any]:
    """One compile: its CPU seconds, and for each file of a phase the CPU seconds when it was made and closed."""
    os.mkdir(FOLDER)
    watch = watched(FOLDER)
    before = children_seconds()
    process = subprocess.Popen([*command, f"--dump-compilation-phases-to={FOLDER}", *ELIDED])
    clock = Clock(process.pid)
    made: dict[str, float] = {}
    events: list[list[Any]] = []
    over = False
    while not over:
        over = process.poll() is not None  # before the last look: what was written until then is told
        if not select.select([watch], [], [], 0 if over else LOOK_SECONDS)[0]:
            continue
        spent = clock.seconds()
        for name, kind in told(watch):
            if kind & CREATED:
                made[name] = spent
            elif name in made:
                events.append([name, made[name], spent])
                print(f"phases: round {number}: {name} {made[name]:.3f} {spent:.3f}", flush=True)
    os.close(watch)
    return {"status": process.returncode, "cpu_seconds": children_seconds() - before, "events": events}


def watched(folder: str) -> int:
    """A file descriptor from which one reads what happens in a folder. Raises Refused."""
    libc = ctypes.CDLL(None, use_errno=True)
    watch: int = libc.inotify_init1(os.O_CLOEXEC)
    if watch < 0 or libc.inotify_add_watch(watch, os.fsencode(folder), CREATED | CLOSED) < 0:
        raise Refused(f"this machine does not tell what happens in a folder: {os.strerror(ctypes.get_errno())}")
    return watch


def told(watch: int) -> Iterator[tuple[str, int]]:
    content, place = os.read(watch, 1 << 16), 0
    while place < len(content):
        _, kind, _, length = EVENT.unpack_from(content, place)
        place += EVENT.size
        yield content[place : place + length].rstrip(b"\0").decode("utf-8", "replace"), kind
        place += length


def children_seconds() -> float:
    """The CPU seconds of all processes that this one has waited for, and of those below them."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Clock:
    """The CPU seconds of a process, of those below it, and of those that it has waited for (the linker)."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.last = 0.0

    def seconds(self) -> float:
        """As they were when it was last seen, where it has ended."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            self.last = max(self.last, spent(self.pid))
        return self.last


def spent(pid: int) -> float:
    """Raises OSError for a process that has ended."""
    own = time.clock_gettime((~pid << 3) | 2)
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        waited = file.read().rpartition(")")[2].split()[13:15]
    below = 0.0
    with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        below = sum(spent(int(child)) for child in file.read().split())
    return own + sum(map(int, waited)) / os.sysconf("SC_CLK_TCK") + below


# -- passes


def passed(command: list[str]) -> dict[str, Any]:
    """One compile: the seconds of each pass, by its name. What the compiler says beside that goes to the log."""
    begun, before = time.monotonic(), children_seconds()
    with open(TOLD, "wb") as file:
        status = subprocess.run([*command, *TIMED], stderr=file, check=False).returncode
    seconds, cpu_seconds = time.monotonic() - begun, children_seconds() - before
    if os.path.getsize(TOLD) > MOST_TOLD:
        raise Refused(f"the compiler told more than {MOST_TOLD} bytes of its passes")
    with open(TOLD, encoding="utf-8", errors="replace") as file:
        content = file.read()
    os.unlink(TOLD)
    passes, rest = leaf_passes(content)
    if status:
        sys.stderr.write(rest)
        return {"status": status}
    if not passes:
        raise Refused("the compiler told no time of a pass")
    return {"status": 0, "seconds": seconds, "cpu_seconds": cpu_seconds, "passes": passes}


def leaf_passes(content: str) -> tuple[dict[str, float], str]:
    """Pass -> its seconds, and what is no report. A report is a list of rows with rows below them; a pass is a row with
    none but analyses, whose time is in its own."""
    decoder, passes, rest, place = json.JSONDecoder(), {}, [], 0
    while (start := content.find("[\n{", place)) >= 0:
        rest.append(content[place:start])
        try:
            rows, place = decoder.raw_decode(content, start)
        except ValueError:
            place = start + 1
            rest.append("[")
            continue
        for name, seconds in leaves(rows):
            passes[name] = passes.get(name, 0.0) + seconds
    return passes, "".join([*rest, content[place:]])


def leaves(rows: list[Any]) -> Iterator[tuple[str, float]]:
    for row in rows:
        if not isinstance(row, dict) or "name" not in row:
            continue
        below = [each for each in row.get("passes", ()) if "name" in each and not each["name"].startswith(ANALYSIS)]
        if below:
            yield from leaves(below)
        else:
            yield row["name"], row["wall"]["duration"]


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(main(sys.argv[1:]))
