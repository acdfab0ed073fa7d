"""The times of a run as a section: an overview of the ratios, then a table for each baseline. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from matrix.core.machine import CPU_FLAGS
from matrix.core.versions import is_version, minor, release_key, releases_first
from matrix.plan.stages import axes as axis_rows
from matrix.plan.stages import kinds
from matrix.results.measured.figures import Timed, Times, Verdict
from matrix.results.run import Run
from matrix.results.sections import Block, Column, Grid, Section, Words, by_axes, grid
from matrix.results.speed import timed_rows
from matrix.results.square import Square, headings, mark_of, squares
from matrix.results.weights import statistics_of

VERDICT_MARKS = {
    Verdict.SAME: "=",
    Verdict.SAME_BYTES: "==",
    Verdict.UNDECIDED: "~",
    Verdict.UNSETTLED: "?",
    Verdict.TOO_FEW: "few",
}
"""Instead of a ratio that cannot be distinguished from 1. The table of the group has the number."""
BUSY = 0.05
"""From this part of time without a core on, the table says that the machine was not quiet."""
PLACEMENT = (
    "a difference of a few per cent may come from where the code lies in memory: the noise floor is that of the same "
    "bytes measured twice, which cannot show it"
)
"""Stands beside all verdicts: the twin of the baseline runs the baseline's own module and runtime."""
SIGNS = (
    "== the same bytes, = no difference beyond the noise floor, ~ undecided: the noise floor is over 25 %, ? passes "
    f"disagree, - no time, ms: the baseline has no time; {PLACEMENT}"
)
BUFFERS_COUNTED = (
    "runtimes up to 3.10 do not count constants in their buffers, later ones do; 3.11 has them twice, the second time "
    "in host buffers, which are only in the memory of the process; that memory compares across releases, and so do the "
    "compiler's transient and constant bytes"
)
HOW_TO_READ = (
    "median: latency of a call, over all rounds; ratio: to the baseline in the same round, median; verdict: slower or "
    "faster only beyond the noise floor and in (nearly) all rounds of every pass, unsettled where passes disagree; "
    f"{PLACEMENT}; "
    "compile: seconds of the quickest compile; memory: of the process, buffers: IREE's own, both at their peak; "
    f"transient, constants: bytes that the compiler plans; {BUFFERS_COUNTED}"
)


def duration(seconds: float) -> str:
    """`1.23 ms`: three digits and a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size or unit == "us":
            return f"{seconds / size:.3g} {unit}" if seconds / size < 1000 else f"{seconds / size:.0f} {unit}"
    raise AssertionError(seconds)


def amount(size: int | None) -> str:
    """`1.2 MB`; empty if it is unknown."""
    if size is None:
        return ""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


TimesRow = tuple[Times, Timed]


def _field(name: str) -> Callable[[TimesRow], Any]:
    return lambda row: getattr(row[1], name)


def _verdict(row: TimesRow) -> str:
    if row[1].reason:
        return row[1].reason
    return "baseline" if row[1].baseline else row[1].verdict


def _quartiles(row: TimesRow) -> str | None:
    low, high = row[1].quartile_1_seconds, row[1].quartile_3_seconds
    return None if low is None or high is None else f"{duration(low)} - {duration(high)}"


def _sized(key: str, title: str) -> Column:
    return Column(key=key, title=title, value=_field(key), text=amount)


def _seconds(key: str, title: str) -> tuple[Column, Column]:
    return (
        Column(title=title, value=_field(key), text=lambda seconds: f"{seconds:.2f} s"),
        Column(key=key, value=_rounded(key, 4)),
    )


def _rounded(name: str, digits: int) -> Callable[[TimesRow], float | None]:
    return lambda row: _round(getattr(row[1], name), digits)


def _round(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


WITHOUT_CONSTANTS, ALSO_IN_HOST = "without constants", "and constants in host buffers"
WITH_CONSTANTS = "with constants"
LAST_WITHOUT, COPIED_TO_HOST = "3.10", "3.11"
"""Minor releases of the runtime. Measured: modules whose constants are known, on all of them. 3.11 keeps a copy of them
in HOST_LOCAL buffers while it loads them; the DEVICE_LOCAL figure has them once."""


def miscounted(release: str) -> str:
    """What is wrong with IREE's own figure of its buffers in a release of the runtime; empty if nothing is known."""
    if not is_version(release):
        return ""
    if release_key(minor(release)) <= release_key(LAST_WITHOUT):
        return WITHOUT_CONSTANTS
    return ALSO_IN_HOST if minor(release) == COPIED_TO_HOST else ""


def _ran(labels: Mapping[str, str]) -> str:
    return next((labels[name] for name, axis in axis_rows().items() if axis.built and name in labels), "")


def buffers_counted(labels: Mapping[str, str]) -> str:
    """Whether the figure has the constants: figures of which only one has them are not compared. `labels` have the
    runtime; empty if it is no release."""
    ran = _ran(labels)
    if not is_version(ran):
        return ""
    return WITHOUT_CONSTANTS if miscounted(ran) == WITHOUT_CONSTANTS else WITH_CONSTANTS


def _buffers(row: TimesRow) -> str | None:
    """`8.8 MB without constants`; the release of the runtime is one of the row, or of the whole table."""
    table, timed = row
    if timed.device_peak_bytes is None:
        return None
    return f"{amount(timed.device_peak_bytes)} {miscounted(_ran({**table.shared, **timed.axes}))}".strip()


def _counted(row: TimesRow) -> str | None:
    """Empty where it is not known."""
    labels = {**row[0].shared, **row[1].axes}
    if row[1].device_peak_bytes is None:
        return None
    return " ".join(dict.fromkeys(filter(None, (buffers_counted(labels), miscounted(_ran(labels)))))) or None


COLUMNS = (
    Column(title="ratio", value=_field("ratio"), text=lambda ratio: f"{ratio:.3f}"),
    Column(title="verdict", value=_verdict, align="left"),
    Column(key="median_seconds", title="median", value=_field("median_seconds"), text=duration),
    Column(title="quartiles", value=_quartiles),
    Column(key="quartile_1_seconds", value=_field("quartile_1_seconds")),
    Column(key="quartile_3_seconds", value=_field("quartile_3_seconds")),
    Column(key="rounds", value=lambda row: len(row[1].seconds_by_round)),
    Column(key="ratio", value=_rounded("ratio", 5)),
    Column(key="verdict", value=lambda row: row[1].verdict or None),
    Column(key="noise_floor", value=lambda row: _round(row[0].noise_floor, 5)),
    *_seconds("compile_seconds", "/".join(kind.name for kind in kinds().values() if kind.repeatable)),
    *_seconds("compile_cpu_seconds", "of it CPU"),
    _sized("vmfb_bytes", ".vmfb"),
    _sized("mlir_bytes", "MLIR"),
    _sized("peak_bytes", "memory"),
    Column(title="buffers", value=_buffers),
    Column(key="device_peak_bytes", value=_field("device_peak_bytes")),
    Column(key="device_peak_counted", value=_counted),
)


def rows_of(run: Run) -> dict[str, TimesRow]:
    """The times of each cell by its name."""
    return {" ".join(map("=".join, axes.items())): (table, row) for axes, row, table in timed_rows(run)}


def _blocks(run: Run) -> Iterator[Block]:
    """Empty if no times were asked for."""
    if not run.times:
        return
    if conditions := measured_on(run):
        yield Words(text=f"times: {conditions}")
    known = rows_of(run)
    planned = _planned(run, known)
    for square in squares(run):
        yield from _glance(square, known)
    for table in run.times:
        yield Words(text=caption(table))
        axes = by_axes(table.axes, lambda row: row[1].axes)
        yield grid([*axes, *COLUMNS, *planned], [(table, row) for row in table.rows])
    if said := repeat_agreement(run.times):
        yield Words(text=said)
    yield Words(text=HOW_TO_READ)


def _planned(run: Run, known: Mapping[str, TimesRow]) -> list[Column]:
    """What the compiler plans, as columns; none for a run without its statistics. CSV has them as `transient_bytes`."""
    cells = run.by_name  # a damaged file may have times of none of its cells
    found = {id(row): statistics_of(run, cells[name]) for name, (_, row) in known.items() if name in cells}

    def column(figure: str, title: str) -> Column:
        return Column(title=title, value=lambda row: found.get(id(row[1]), {}).get(figure), text=amount)

    both = (("transient_bytes", "transient"), ("constant_bytes", "constants"))
    return [column(*each) for each in both] if any(found.values()) else []


TIMES_SECTION = Section(name="times", blocks=_blocks, columns=COLUMNS, rows=rows_of)


def caption(table: Times) -> str:
    """What the rows have in common, the baseline, and how far the numbers can be trusted."""
    shared = ", ".join(f"{axis} {label}" for axis, label in table.shared.items())
    base = table.base
    if base is None or base.median_seconds is None:
        why = f": {base.reason}" if base else ": it is not among the cells"
        return f"times; {shared}; no baseline{why}"
    noise = "noise floor unknown"
    if table.noise_floor is not None:
        noise = f"noise floor {100 * (table.noise_floor - 1):.1f} % (it, twice, the same bytes)"
    busy = f"; the machine was NOT quiet: calls waited for a core {table.waited_for_a_core:.0%} of the time"
    load = "" if table.highest_load is None else f", load of the machine up to {table.highest_load:.1f}"
    name = _name(table, base, ", ")
    told = f"times; {shared}; baseline {name}: {duration(base.median_seconds)}, {noise}{load}"
    return told + (busy if table.waited_for_a_core > BUSY else "")


def measured_on(run: Run) -> str:
    """What the times of a run rest on: rounds, passes, noise floors, load, machine. Empty for a run without times."""
    rows = [row for table in run.times for row in table.rows if row.seconds_by_round]
    if not rows:
        return ""
    passes = max(table.passes for table in run.times)
    rounds = max(len(row.seconds_by_round) for row in rows)
    floors = [100 * (table.noise_floor - 1) for table in run.times if table.noise_floor is not None]
    floor = f"noise floor {min(floors):.0f} to {max(floors):.0f} %" if floors else "noise floor unknown"
    loads = [table.highest_load for table in run.times if table.highest_load is not None]
    load = f"; load of the machine up to {max(loads):.1f}" if loads else ""
    waited = max(table.waited_for_a_core for table in run.times)
    quiet = f"; NOT quiet: calls waited for a core {waited:.0%} of the time" if waited > BUSY else "; quiet"
    return f"{rounds} rounds in {passes} passes; {floor}{load}{quiet}; {' and '.join(machines_of(run))}; {run.date}"


def machines_of(run: Run) -> tuple[str, ...]:
    """The machines of its jobs, each with the flags of its CPU, or that they were not recorded."""
    found = dict.fromkeys(machine_words(job.machine) for job in run.jobs.values() if job.machine)
    return tuple(each if CPU_FLAGS in each else f"{each} ({CPU_FLAGS} not recorded)" for each in found)


def machine_words(machine: str) -> str:
    """A machine class as results have it; older ones say `1 cores`."""
    return re.sub(r"\b1 cores\b", "1 core", machine)


def repeat_agreement(tables: Sequence[Times]) -> str:
    """Whether complete repeats have the same verdicts, and which do not."""
    rows = [(table, row) for table in tables for row in table.rows if row.verdicts]
    judged = [(table, row) for table, row in rows if row.verdict != Verdict.TOO_FEW]
    passes = max((table.passes for table in tables), default=1)
    if passes == 1 or not judged:
        return "measured in one pass: no verdict was repeated" if judged else ""
    open_rows = [(table, row) for table, row in judged if row.verdict == Verdict.UNSETTLED]
    text = f"{passes} complete passes agree on {len(judged) - len(open_rows)} of {len(judged)} verdicts"
    for table, row in open_rows:
        told = ", then ".join(row.verdicts)
        text += f"\n  not on {_name(table, row, ' ')}{_of(table, tables)}: {told}"
    return text


def _of(table: Times, tables: Sequence[Times]) -> str:
    """The labels that distinguish a table from the others."""
    differing = [axis for axis in table.shared if len({other.shared.get(axis) for other in tables}) > 1]
    return "".join(f", {axis} {table.shared[axis]}" for axis in differing)


def _name(table: Times, row: Timed, between: str) -> str:
    return between.join(f"{axis} {row.axes[axis]}" for axis in table.axes)


# -- the ratios of many cells in one table


def _glance(square: Square, known: Mapping[str, TimesRow]) -> Iterator[Block]:
    found = {place: _mark(square.run, cell.name, known) for place, cell in square.cells.items() if cell.name in known}
    if not found:
        return
    rows, columns = releases_first(row for row, _ in found), releases_first(column for _, column in found)
    base = ", ".join(f"{axis} {label}" for axis, label in square.run.baseline.items())
    yield Words(text=f"latency as a ratio to {base}; {square.caption}")
    yield Grid(
        headings=("", *headings(columns)),
        rows=tuple(
            (heading, *(found.get((row, column), "") for column in columns))
            for heading, row in zip(headings(rows), rows, strict=True)
        ),
        align=("center",) * (1 + len(columns)),
    )
    yield Words(text=SIGNS)


def _mark(run: Run, name: str, known: Mapping[str, TimesRow]) -> str:
    """The ratio if it is a finding, a sign if it is none, the time if there is no baseline, else the cell's mark."""
    row = known[name][1]
    if row.baseline and row.median_seconds is not None:
        return "base"
    if row.verdict in (Verdict.FASTER, Verdict.SLOWER) and row.ratio is not None:
        return f"{row.ratio:.2f}"
    if row.verdict:
        return VERDICT_MARKS[Verdict(row.verdict)]
    if row.median_seconds is not None:
        return duration(row.median_seconds)
    cell = next(cell for cell in run.cells if cell.name == name)
    return "-" if cell.passed else mark_of(run, cell)
