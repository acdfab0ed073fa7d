"""What runtimes built from source weigh, and the memory that modules need on them: sizes, never times. Pure."""

from __future__ import annotations

from collections.abc import Container, Mapping

from tabulate import tabulate

from matrix.core.records import JobResult, Outcome
from matrix.plan.axes import ordered_axes
from matrix.plan.backends.iree import BUILD, VMFB
from matrix.plan.backends.source_builds import RUNNER, UNSTRIPPED
from matrix.results.cells import CellReport, Report

MIB = 1 << 20


def sections(report: Report, style: str) -> list[str]:
    """The programs, then every module that ran right on one of them, of the newest compiler; empty without builds."""
    programs = _programs(report)
    if not programs:
        return []
    told = ["runtimes built from source: bytes on the board, and with debug symbols", _program_grid(programs, style)]
    if rows := _modules(report, programs):
        axes = [axis for axis in ordered_axes(report.plan.spec) if len({row.labels[axis] for row in rows}) > 1]
        cells = [[*(row.labels[axis] for axis in axes), f"{_size(row):,}", _peak(row)] for row in rows]
        align = (*("left" for _ in axes), "right", "right")
        headers = [*axes, ".vmfb bytes", "peak MiB"]
        grid = tabulate(cells, headers=headers, tablefmt=style, disable_numparse=True, colalign=align)
        told += [
            "what ran right on them, by the newest compiler that does; an emulator's memory is in the peak",
            str(grid),
        ]
    return told


def _programs(report: Report) -> dict[str, JobResult]:
    """The build of each runtime by its label."""
    return {
        cell.labels["runtime"]: job
        for cell in report.cells
        for job in cell.jobs
        if job.stage == BUILD and job.outcome is Outcome.PASSED
    }


def _program_grid(programs: Mapping[str, JobResult], style: str) -> str:
    rows = []
    for name, job in sorted(programs.items()):
        sizes = {artifact.name: artifact.size for artifact in job.outputs}
        rows.append([name, f"{sizes[RUNNER]:,}", f"{sizes[UNSTRIPPED]:,}"])
    headers = ["runtime", RUNNER, "with debug symbols"]
    align = ("left", "right", "right")
    return str(tabulate(rows, headers=headers, tablefmt=style, disable_numparse=True, colalign=align))


def _modules(report: Report, programs: Container[str]) -> list[CellReport]:
    """The last cell in the order of the compilers that passed, for each place on the other axes, in their order."""
    axes = report.plan.axes
    rank = {(axis, value.label): index for axis, values in axes.items() for index, value in enumerate(values)}
    others = [axis for axis in ordered_axes(report.plan.spec) if axis != "compiler"]

    def place(cell: CellReport) -> tuple[int, ...]:
        return tuple(rank.get((axis, cell.labels[axis]), -1) for axis in others)

    ran = [cell for cell in report.cells if cell.outcome is Outcome.PASSED and cell.labels["runtime"] in programs]
    ran = [cell for cell in ran if any(job.stage == BUILD for job in cell.jobs)]  # not one without a runtime
    ran.sort(key=lambda cell: rank.get(("compiler", cell.labels["compiler"]), -1))
    found = {tuple(cell.labels[axis] for axis in others): cell for cell in ran}
    return sorted(found.values(), key=place)


def _size(cell: CellReport) -> int:
    """Of the module; 0 for one that was not compiled here."""
    outputs = [artifact for job in cell.jobs for artifact in job.outputs]
    return next((artifact.size for artifact in outputs if artifact.name == VMFB), 0)


def _peak(cell: CellReport) -> str:
    """In MiB; `-` where the run was over before it was looked at."""
    peak = cell.jobs[-1].end.peak_bytes
    return f"{peak / MIB:.0f}" if peak else "-"
