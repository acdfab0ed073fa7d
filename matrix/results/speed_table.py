"""The times as tables: text, Markdown, HTML by `tabulate`, rows for CSV and JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

from matrix.core.records import Outcome
from matrix.core.versions import in_order
from matrix.results.cells import CellReport, Report
from matrix.results.speed import (
    Speed,
    SpeedTable,
    Verdict,
    compile_end,
    device_bytes,
    peak_bytes,
    speed_tables,
    vmfb_bytes,
)
from matrix.results.square import Page, headings, mark_of, pages

HEADERS = ("ratio", "verdict", "median", "quartiles", "compile", "of it CPU", ".vmfb", "MLIR", "memory", "buffers")
MARKS = {Verdict.SAME: "=", Verdict.UNSETTLED: "?", Verdict.TOO_FEW: "few"}
"""In place of a ratio that cannot be told from 1. The table of the group has the number."""
CSV_HEADERS = (
    "median_seconds",
    "quartile_1_seconds",
    "quartile_3_seconds",
    "rounds",
    "ratio",
    "verdict",
    "noise_floor",
    "compile_seconds",
    "compile_cpu_seconds",
    "vmfb_bytes",
    "mlir_bytes",
    "peak_bytes",
    "device_peak_bytes",
)
BUSY = 0.05
"""The share of time without a core from which on the table says that the machine was not quiet."""
HOW_TO_READ = (
    "median: latency of a call, over all rounds; ratio: to the baseline in the same round, median; verdict: slower or "
    "faster only beyond the noise floor and in (nearly) all rounds of every pass, unsettled where passes disagree; "
    "compile: seconds of the quickest compile; memory: of the process, buffers: IREE's own, both at their peak"
)


def sections(report: Report, style: str) -> list[str]:
    """The ratios at a glance, then a table for each baseline; empty if nothing was asked to be timed."""
    tables = speed_tables(report)
    if not tables:
        return []
    known = {id(row.cell): row for table in tables for row in table.rows}
    parts = [part for page in pages(report) for part in _glance(report, page, known, style)]
    for table in tables:
        parts += [caption(table), _grid(table, style)]
    return [*parts, agreement(tables), HOW_TO_READ]


def caption(table: SpeedTable) -> str:
    """What the rows share, the baseline, and how far the numbers can be trusted."""
    shared = ", ".join(f"{axis} {label}" for axis, label in table.shared.items())
    base = next((row for row in table.rows if row.baseline), None)
    if base is None or base.median is None:
        why = f": {base.reason}" if base else ": it is not among the cells"
        return f"times; {shared}; no baseline{why}"
    name = ", ".join(f"{axis} {base.cell.labels[axis]}" for axis in table.axes)
    noise = "noise floor unknown" if table.floor is None else f"noise floor {_percent(table.floor)} (it, twice)"
    busy = f"; the machine was NOT quiet: calls waited for a core {table.waited:.0%} of the time"
    load = "" if table.load is None else f", load of the machine up to {table.load:.1f}"
    told = f"times; {shared}; baseline {name}: {duration(base.median)}, {noise}{load}"
    return told + (busy if table.waited > BUSY else "")


def agreement(tables: Sequence[SpeedTable]) -> str:
    """Whether complete repeats came to the same verdicts, and which did not."""
    rows = [(table, row) for table in tables for row in table.rows if row.verdicts]
    judged = [(table, row) for table, row in rows if row.verdict is not Verdict.TOO_FEW]
    passes = max((table.passes for table in tables), default=1)
    if passes == 1 or not judged:
        return "measured in one pass: no verdict was repeated" if judged else ""
    open_rows = [(table, row) for table, row in judged if row.verdict is Verdict.UNSETTLED]
    text = f"{passes} complete passes agree on {len(judged) - len(open_rows)} of {len(judged)} verdicts"
    for table, row in open_rows:
        told = ", then ".join(row.verdicts)
        text += f"\n  not on {_name(table, row)}{_of(table, tables)}: {told}"
    return text


def _of(table: SpeedTable, tables: Sequence[SpeedTable]) -> str:
    """What tells a table apart from the others."""
    differing = [axis for axis in table.shared if len({other.shared[axis] for other in tables}) > 1]
    return "".join(f", {axis} {table.shared[axis]}" for axis in differing)


def _name(table: SpeedTable, row: Speed) -> str:
    return " ".join(f"{axis} {row.cell.labels[axis]}" for axis in table.axes)


def _grid(table: SpeedTable, style: str) -> str:
    rows = [[*(row.cell.labels[axis] for axis in table.axes), *_columns(row)] for row in table.rows]
    align = ("left",) * len(table.axes) + ("right", "left", *("right",) * (len(HEADERS) - 2))
    headers = [*table.axes, *HEADERS]
    return str(tabulate(rows, headers=headers, tablefmt=style, disable_numparse=True, colalign=align))


def _columns(row: Speed) -> list[str]:
    cell, end = row.cell, compile_end(row.cell)
    if row.median is None or row.quartiles is None:
        times = ["", row.reason, "", ""]
    else:
        verdict = "baseline" if row.baseline else (row.verdict or "")
        ratio = "" if row.ratio is None else f"{row.ratio:.3f}"
        low, high = row.quartiles
        times = [ratio, verdict, duration(row.median), f"{duration(low)} - {duration(high)}"]
    compiled = [f"{end.seconds:.2f} s", f"{end.cpu_seconds:.2f} s"] if end else ["", ""]
    sizes = [vmfb_bytes(cell), cell.mlir_bytes, peak_bytes(cell), device_bytes(cell)]
    return [*times, *compiled, *(amount(size) for size in sizes)]


# -- the ratios of many cells at a glance


def _glance(report: Report, page: Page, known: Mapping[int, Speed], style: str) -> list[str]:
    """`known` are the times of cells, by the identity of their records."""
    view = page.view
    timed = [(cell, known[id(cell)]) for cell in page.cells if id(cell) in known]
    if not timed:
        return []
    found = {(cell.labels[view.rows], cell.labels[view.columns]): mark(report, row) for cell, row in timed}
    rows, columns = in_order(row for row, _ in found), in_order(column for _, column in found)
    lines = [
        [heading, *(found.get((row, column), "") for column in columns)]
        for heading, row in zip(headings(rows), rows, strict=True)
    ]
    base = ", ".join(f"{axis} {label}" for axis, label in report.plan.baseline.items())
    title = f"latency as a ratio to {base}; {view.rows} down, {view.columns} across; {page.title}"
    grid = tabulate(lines, headers=["", *headings(columns)], tablefmt=style, disable_numparse=True, stralign="center")
    return [
        title,
        str(grid),
        "= no difference beyond the noise floor, ? passes disagree, - no time, ms: the baseline has no time",
    ]


def mark(report: Report, row: Speed) -> str:
    """The ratio where it is a finding, a sign where it is none, the time where no baseline is, else the cell's mark."""
    if row.baseline and row.median is not None:
        return "base"
    if row.verdict in (Verdict.FASTER, Verdict.SLOWER) and row.ratio is not None:
        return f"{row.ratio:.2f}"
    if row.verdict is not None:
        return MARKS[row.verdict]
    if row.cell.outcome is not Outcome.PASSED:
        return mark_of(report, row.cell)
    return "-" if row.median is None else duration(row.median)


# -- rows for CSV and JSON


def by_cell(report: Report) -> dict[int, tuple[SpeedTable, Speed]]:
    """The times of each cell, by the identity of its record."""
    return {id(row.cell): (table, row) for table in speed_tables(report) for row in table.rows}


def csv_columns(known: Mapping[int, tuple[SpeedTable, Speed]], cell: CellReport) -> list[str]:
    values = _values(*known[id(cell)]) if id(cell) in known else {}
    return ["" if values.get(name) is None else f"{values[name]}" for name in CSV_HEADERS]


def as_data(report: Report) -> list[dict[str, Any]]:
    """For JSON: every round of every cell, beside what the tables say."""
    return [
        {
            "shared": dict(table.shared),
            "noise_floor": _rounded(table.floor),
            "waited_for_a_core": round(table.waited, 4),
            "highest_load": table.load,
            "passes": table.passes,
            "rows": [_row(table, row) for row in table.rows],
            "twin_seconds_by_round": {str(number): timing.seconds for number, timing in sorted(table.twins.items())},
        }
        for table in speed_tables(report)
    ]


def _row(table: SpeedTable, row: Speed) -> dict[str, Any]:
    return {
        "axes": {axis: label for axis, label in row.cell.labels.items() if axis not in table.shared},
        "baseline": row.baseline,
        "reason": row.reason or None,
        "command": _command(row.cell),
        **_values(table, row),
        "verdicts": [verdict.value for verdict in row.verdicts],
        "seconds_by_round": {str(number): timing.seconds for number, timing in sorted(row.rounds.items())},
        "cpu_seconds_by_round": {str(number): timing.cpu_seconds for number, timing in sorted(row.rounds.items())},
    }


def _command(cell: CellReport) -> list[str] | None:
    """What was timed: the words of the first round, the threads and the repetitions among them."""
    timed = (repeat.result for repeat in cell.repeats if repeat.timing and repeat.result)
    return next((list(result.command) for result in timed), None)


def _values(table: SpeedTable, row: Speed) -> dict[str, Any]:
    end = compile_end(row.cell)
    low, high = row.quartiles or (None, None)
    return {
        "median_seconds": row.median,
        "quartile_1_seconds": low,
        "quartile_3_seconds": high,
        "rounds": len(row.rounds),
        "ratio": _rounded(row.ratio),
        "verdict": row.verdict.value if row.verdict else None,
        "noise_floor": _rounded(table.floor),
        "compile_seconds": round(end.seconds, 4) if end else None,
        "compile_cpu_seconds": round(end.cpu_seconds, 4) if end else None,
        "vmfb_bytes": vmfb_bytes(row.cell),
        "mlir_bytes": row.cell.mlir_bytes,
        "peak_bytes": peak_bytes(row.cell),
        "device_peak_bytes": device_bytes(row.cell),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):.1f} %"


def duration(seconds: float) -> str:
    """`1.23 ms`: three digits and a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size or unit == "us":
            return f"{seconds / size:.3g} {unit}" if seconds / size < 1000 else f"{seconds / size:.0f} {unit}"
    raise AssertionError(seconds)


def amount(size: int | None) -> str:
    """`1.2 MB`; nothing for what is not known."""
    if size is None:
        return ""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
