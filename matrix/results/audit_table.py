"""What each `.vmfb` weighs by part and gives away, per release and set of flags, and which flags remove it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from matrix.plan.axes import ordered_axes
from matrix.plan.backends.iree import COMPILE
from matrix.results.cells import CellReport, Report

if TYPE_CHECKING:
    from matrix.artifacts.vmfb_audit import VmfbAudit

WEIGHTS = {
    "code": ("code",),
    "constants": ("constants",),
    "debug": ("executable debug", "VM debug"),
}
"""A column of the table -> the parts of the file that it sums up; what is left is `other`."""
LEAKS = {
    "paths": "absolute path",
    "file names": "file name",
    "dispatches": "dispatch name",
    "libraries": "library name",
    "functions": "function name",
}
"""A column -> the kind of string that it counts: how many of them stand in the file."""


def sections(report: Report, style: str) -> list[str]:
    """A table of all modules that were audited, and what removes the strings, in words; empty if none was."""
    cells = audited(report)
    if not cells:
        return []
    axes = _differing(report, [cell for cell, _ in cells])
    rows = []
    for cell, audit in cells:
        weights = [weight(audit, parts) for parts in WEIGHTS.values()]
        other = audit.size - sum(weights)
        kilobytes = [f"{size / 1e3:.1f}" for size in (audit.size, *weights, other)]
        counts = [str(audit.count(kind)) for kind in LEAKS.values()]
        rows.append([*(cell.labels[axis] for axis in axes), *kilobytes, *counts])
    headers = [*axes, "kB", *WEIGHTS, "other", *LEAKS]
    align = ("left",) * len(axes) + ("right",) * (len(headers) - len(axes))
    grid = tabulate(rows, headers=headers, tablefmt=style, disable_numparse=True, colalign=align)
    title = "what is in each .vmfb: kB by part, and strings that tell where it comes from, as counts"
    return [title, str(grid), *recipe(report)]


def audited(report: Report) -> list[tuple[CellReport, VmfbAudit]]:
    """A cell for each module: those that only differ in what is done with the module share one."""
    found: dict[str, tuple[CellReport, VmfbAudit]] = {}
    for cell in report.cells:
        if cell.audit is not None:
            compiled = (job.key for job in cell.jobs if job.stage == COMPILE)
            key = next(compiled, cell.labels["model"])  # a model that comes as a `.vmfb` is its own module
            found.setdefault(key, (cell, cell.audit))
    return list(found.values())


def weight(audit: VmfbAudit, parts: Iterable[str]) -> int:
    sizes = dict(audit.parts)
    return sum(sizes.get(part, 0) for part in parts)


def recipe(report: Report) -> list[str]:
    """Per kind of string: the sets of flags whose modules hold none, as the bytes say, or that none does."""
    by_flags: dict[str, list[VmfbAudit]] = {}
    for cell, audit in audited(report):
        by_flags.setdefault(cell.labels["flags"], []).append(audit)
    told = []
    for kind in LEAKS.values():
        holding = [flags for flags, audits in by_flags.items() if any(audit.count(kind) for audit in audits)]
        clean = [flags for flags in by_flags if flags not in holding]
        if not holding:
            told.append(f"{kind}s: in no module, whatever the flags")
        elif clean:
            told.append(f"{kind}s: flags {', '.join(clean)} leave none in any module; {', '.join(holding)} do")
        else:
            told.append(f"{kind}s: none of the flags {', '.join(by_flags)} removes them from all modules")
    return told


def as_data(report: Report) -> list[dict[str, Any]]:
    """For JSON: parts in bytes and counts by kind, without the strings themselves."""
    return [
        {
            "axes": dict(cell.labels),
            "bytes": audit.size,
            "parts": dict(audit.parts),
            "strings": {kind: audit.count(kind) for kind in LEAKS.values()},
            "unscanned_bytes": audit.unscanned,
        }
        for cell, audit in audited(report)
    ]


def _differing(report: Report, cells: Sequence[CellReport]) -> list[str]:
    """The axes that tell the modules apart, without those that repeat an earlier one."""
    columns: dict[tuple[str, ...], str] = {}
    for axis in ordered_axes(report.plan.spec):
        labels = tuple(cell.labels[axis] for cell in cells)
        if len(set(labels)) > 1 or axis == "compiler":
            columns.setdefault(labels, axis)
    return list(columns.values())
