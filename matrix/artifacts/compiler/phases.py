"""What `scripts/phases.py` leaves of some compiles of a module: CPU seconds of each phase, seconds of each pass. Pure.

The compiler writes a file behind each phase, named `module.4.global-optimization.mlir`. A phase is the CPU time from
the end of the file before it to the beginning of its own; what writing the files takes is in none. What comes before
the first file (the start of the process, reading the model) is in the first phase, and what comes behind the last one
(writing the module) is one of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matrix.artifacts.json_reader import JsonFault, read_json
from matrix.core.keys import Json

PHASES_FILE, PASSES_FILE = "phases.json", "passes.json"
PHASE_SECONDS, PHASED_SECONDS = "phase_cpu_seconds", "phased_cpu_seconds"
"""Measurements of a job: phase -> its CPU seconds in each compile, and those of the compiles without writing files."""
PASS_SECONDS = "pass_seconds"
"""Pass -> its seconds in each compile, on one thread. What the compile waited for a core is taken off, as a part that
is the same for all passes."""
PASSED_SECONDS = "passed_seconds"
"""Of each compile with passes: its CPU seconds, and its seconds by the clock."""
LAST_PHASE = "writing-the-module"
MOST_PHASES, MOST_PASSES = 100, 5000
_FILE = re.compile(r"[^/\n]{0,200}?\.(?P<number>\d{1,3})\.(?P<name>[a-z0-9-]{1,60})\.mlir")
_LINE = re.compile(
    r"^phases: round (?P<round>\d{1,3}): (?P<file>\S{1,300}) (?P<made>[\d.]{1,20}) (?P<closed>[\d.]{1,20})$"
)
_HOLDS_OTHERS = re.compile(
    r"Pipeline|Adaptor|^(root|Rest|Total)$|"
    r"^(JitGlobals|FixedPointIterator|LLVMCPULowerExecutableTarget|"
    r"((Configure|Translate|Link|Serialize)(All)?Executables)|((Configure|Translate)TargetExecutableVariants))$"
)
"""Rows that hold the time of other rows: of pipelines, and of passes that run a pipeline of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseEvent:
    """The file of a phase, and the CPU seconds of the compiler when it was made and closed."""

    phase: str
    made: float
    closed: float


def phase_measurements(content: bytes) -> Mapping[str, Json]:
    """The measurements of a job from its file; none if it is not whole, or the compiles had different phases."""
    try:
        rounds = read_json(content)["rounds"]
        found = [_seconds(_events(one["events"]), float(one["cpu_seconds"])) for one in rounds]
    except (JsonFault, KeyError, TypeError, ValueError):
        return {}
    phases = [each for each, _ in found]
    if not phases or any(one.keys() != phases[0].keys() for one in phases):
        return {}
    return {
        PHASE_SECONDS: {name: [one[name] for one in phases] for name in phases[0]},
        PHASED_SECONDS: [whole for _, whole in found],
    }


def _events(rows: Sequence[Sequence[object]]) -> tuple[PhaseEvent, ...]:
    """Raises ValueError where the files are not those of phases in order."""
    if not 0 < len(rows) <= MOST_PHASES:
        raise ValueError(f"{len(rows)} phases")
    return tuple(_event(str(name), float(str(made)), float(str(closed))) for name, made, closed in rows)


def _event(file: str, made: float, closed: float) -> PhaseEvent:
    found = _FILE.fullmatch(file)
    if not found or not 0 <= made <= closed:
        raise ValueError(file)
    return PhaseEvent(phase=found["name"], made=made, closed=closed)


def _seconds(events: Sequence[PhaseEvent], whole: float | None) -> tuple[dict[str, float], float]:
    """Phase -> CPU seconds, and those of all. Without a `whole`: of a compile that did not come to its end."""
    found: dict[str, float] = {}
    before = writing = 0.0
    for event in events:
        if event.phase in found or event.made < before:
            raise ValueError(event.phase)
        found[event.phase] = round(event.made - before, 6)
        writing += event.closed - event.made
        before = event.closed
    if whole is None:
        return found, before - writing
    found[LAST_PHASE] = round(max(whole - before, 0.0), 6)
    return found, round(max(whole, before) - writing, 6)


def phases_until(log: str) -> Mapping[str, float]:
    """Phase -> CPU seconds of the last compile in a job's log, which did not come to its end."""
    rows: dict[str, list[PhaseEvent]] = {}
    for line in log.splitlines():
        if found := _LINE.match(line):
            try:
                event = _event(found["file"], float(found["made"]), float(found["closed"]))
            except ValueError:
                continue
            rows.setdefault(found["round"], []).append(event)
    try:
        return _seconds(rows[max(rows, key=int)], None)[0] if rows else {}
    except ValueError:
        return {}


def pass_measurements(content: bytes) -> Mapping[str, Json]:
    """The same of the passes: those that run no others. Older releases call some of them without `Pass` at the end."""
    try:
        rounds = read_json(content)["rounds"]
        whole = [(float(one["cpu_seconds"]), float(one["seconds"])) for one in rounds]
        found = [_passes(one["passes"], min(cpu / wall, 1.0)) for one, (cpu, wall) in zip(rounds, whole, strict=True)]
    except (JsonFault, KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError):
        return {}
    names = dict.fromkeys(name for one in found for name in one)
    if not names or len(names) > MOST_PASSES:
        return {}
    return {
        PASS_SECONDS: {name: [one.get(name, 0.0) for one in found] for name in names},
        PASSED_SECONDS: [[*each] for each in whole],
    }


def _passes(rows: Mapping[str, object], part: float) -> dict[str, float]:
    """Raises ValueError for a row whose time is no number."""
    found: dict[str, float] = {}
    for row, seconds in rows.items():
        name = row.removesuffix("Pass")
        if not _HOLDS_OTHERS.search(name):
            found[name] = round(found.get(name, 0.0) + float(str(seconds)) * part, 6)
    return found
