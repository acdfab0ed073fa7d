"""Systems side by side: the times, sizes and memory of a run with several backends, model by model. Pure.

Only for a run whose baseline names a backend: then all systems of a model are measured in the same rounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from matrix.plan.axes import NONE
from matrix.plan.backends.backend import INPUT, Backend, matching
from matrix.plan.backends.shared import BACKEND_AXIS, MODEL_AXIS
from matrix.plan.stages import axes as axis_rows
from matrix.plan.stages import backends
from matrix.results.measured.figures import Timed, Verdict
from matrix.results.run import Cell, Run, kept_with_run
from matrix.results.sections import Block, Column, Lines, Section, Words, grid
from matrix.results.speed import ratio_interval, timed_rows
from matrix.results.times import amount, duration


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemRow:
    """A system on a model. `system` is its product with the releases and flags that the run has several of; `ratio` is
    its time beside the baseline's in the same rounds (median), `interval` one of at least 85 % for it. `artifact_bytes`
    is what its runtime loads, `runtime_bytes` the runtime's own package, unpacked; `making_cpu_seconds` is the time of
    the jobs that made the artifact."""

    cell: Cell
    system: str
    timed: Timed
    interval: tuple[float, float] | None
    artifact_bytes: int | None
    runtime_bytes: int | None
    making_cpu_seconds: float | None

    @property
    def model(self) -> str:
        return self.cell.axes[MODEL_AXIS.name]

    @property
    def faster(self) -> bool:
        """Beyond the noise floor, in every pass."""
        return self.timed.verdict == Verdict.FASTER


@kept_with_run
def system_rows(run: Run) -> tuple[SystemRow, ...]:
    """The rows of a run that compares systems, in the order of its times; none of any other run."""
    if BACKEND_AXIS.name not in run.baseline:
        return ()
    known = {backend.name: backend for backend in backends()}
    rows = []
    for axes, row, table in timed_rows(run):
        cell = run.by_name[" ".join(map("=".join, axes.items()))]
        base = table.base.seconds_by_round if table.base else {}
        rows.append(
            SystemRow(
                cell=cell,
                system=_system(run, known[axes[BACKEND_AXIS.name]], axes),
                timed=row,
                interval=None if row.baseline else ratio_interval(row.seconds_by_round, base),
                artifact_bytes=_artifact_bytes(run, cell),
                runtime_bytes=_runtime_bytes(run, cell),
                making_cpu_seconds=_making(run, cell),
            )
        )
    return tuple(rows)


def _system(run: Run, backend: Backend, axes: Mapping[str, str]) -> str:
    """`IREE 3.13.0, host-cpu`, `LiteRT 2.3.0`: by the axis that runs, then by the others with several values."""
    last = backend.square[1]
    product = next((row.product for name in reversed(backend.square) if (row := axis_rows()[name]).product), last)
    own = [axis.name for axis in backend.axes if axis.name != MODEL_AXIS.name]
    several = [name for name in own if name != last and name not in run.ties and len(run.axis(name).labels) > 1]
    return ", ".join([f"{product} {axes[last]}", *(axes[name] for name in several if axes[name] != NONE)])


def _artifact_bytes(run: Run, cell: Cell) -> int | None:
    """The bytes that earlier jobs of the cell made and its last one takes, without the inputs of the model."""
    *before, last = run.jobs_of(cell) or (None,)
    if last is None or not cell.passed:
        return None
    made = {file.sha256: file.bytes for job in before for file in job.artifacts.values()}
    inputs = matching(dict(last.inputs), INPUT)
    return sum(made.get(digest, 0) for name, digest in last.inputs.items() if name not in inputs) or None


def _runtime_bytes(run: Run, cell: Cell) -> int | None:
    """Of the environment of the last job; None where its engine does not tell."""
    jobs = run.jobs_of(cell) if cell.passed else ()
    environment = run.environments.get(jobs[-1].environment) if jobs else None
    sizes = environment.evidence.get("package_bytes") if environment else None
    if not isinstance(sizes, Mapping):
        return None
    return sum(size for size in sizes.values() if isinstance(size, int)) or None


def _making(run: Run, cell: Cell) -> float | None:
    """None for a cell that did not come to its end, or whose model came as a file."""
    before = run.jobs_of(cell)[:-1]
    return sum(job.cpu_seconds for job in before) if before and cell.passed else None


def _right_rows(run: Run) -> tuple[list[SystemRow], dict[str, SystemRow]]:
    """The rows with a time of right outputs; and of these the baseline of each model."""
    rows = [row for row in system_rows(run) if row.cell.right and row.timed.median_seconds is not None]
    return rows, {row.model: row for row in rows if row.timed.baseline}


def standing_lines(run: Run, *, foreign: bool = False) -> tuple[str, ...]:
    """How many models each system is faster on than the baseline. `foreign`: only those of other backends than its."""
    rows, bases = _right_rows(run)
    others: dict[str, list[SystemRow]] = {}
    for row in rows:
        own = row.cell.axes[BACKEND_AXIS.name] == run.baseline[BACKEND_AXIS.name]
        if not row.timed.baseline and row.model in bases and not (foreign and own):
            others.setdefault(row.system, []).append(row)
    return tuple(_standing(next(iter(bases.values())).system, name, found) for name, found in others.items())


def quickest_lines(run: Run) -> tuple[str, ...]:
    """For each model the quickest system that is right."""
    rows, bases = _right_rows(run)
    lines = []
    for model, base in bases.items():
        quickest = min(
            (row for row in rows if row.model == model), key=lambda row: row.timed.median_seconds or float("inf")
        )
        lines.append(f"{model}: {_quickest_words(quickest, base)}")
    return tuple(lines)


def _standing(base: str, system: str, rows: list[SystemRow]) -> str:
    faster = sum(row.faster for row in rows)
    slower = sum(row.timed.verdict == Verdict.SLOWER for row in rows)
    open_ = len(rows) - faster - slower
    rest = f", no verdict on {open_}" if open_ else ""
    return f"{system} is faster than {base} on {faster} of {len(rows)} models, slower on {slower}{rest}"


def _quickest_words(row: SystemRow, base: SystemRow) -> str:
    time = f"{duration(row.timed.median_seconds or 0.0)}"
    if row is base:
        return f"the quickest is {base.system}, the baseline, {time}"
    if not row.faster or not row.timed.ratio:
        return f"the lowest median has {row.system}, {time}, {row.timed.verdict} compared with {base.system}"
    interval = f" ({1 / row.interval[1]:.2g} to {1 / row.interval[0]:.2g})" if row.interval else ""
    return f"the quickest is {row.system}, {time}, {1 / row.timed.ratio:.2g} times{interval} as fast as {base.system}"


HOW_SYSTEMS_COMPARE = (
    "one thread each; ratio: time compared with the baseline in the same rounds, median with its interval of at least "
    "85 %; IREE is timed by its own tool in C++, the others with the call from Python, some microseconds; artifact: "
    "what the runtime loads; package: its own, unpacked, without numpy and Python; made in: CPU seconds of the "
    "jobs that made the artifact, without what a worker imports before; "
    "memory: of the process at its peak, with Python's for the others"
)


def _interval_words(row: SystemRow) -> str | None:
    return None if row.interval is None else f"{row.interval[0]:.3f} - {row.interval[1]:.3f}"


def _verdict_words(row: SystemRow) -> str:
    return row.timed.reason or ("baseline" if row.timed.baseline else row.timed.verdict)


SYSTEM_COLUMNS = (
    Column(title="model", value=lambda row: row.model, align="left"),
    Column(title="system", value=lambda row: row.system, align="left"),
    Column(title="ratio", value=lambda row: row.timed.ratio, text="{:.3f}".format),
    Column(title="interval", value=_interval_words),
    Column(title="verdict", value=_verdict_words, align="left"),
    Column(title="median", value=lambda row: row.timed.median_seconds, text=duration),
    Column(title="artifact", value=lambda row: row.artifact_bytes, text=amount),
    Column(title="package", value=lambda row: row.runtime_bytes, text=amount),
    Column(title="made in", value=lambda row: row.making_cpu_seconds, text="{:.1f} s".format),
    Column(title="memory", value=lambda row: row.timed.peak_bytes, text=amount),
)
SYSTEM_FIGURES = (
    Column(key="system", value=lambda row: row.system),
    Column(key="ratio_low", value=lambda row: _rounded(row.interval and row.interval[0])),
    Column(key="ratio_high", value=lambda row: _rounded(row.interval and row.interval[1])),
    Column(key="artifact_bytes", value=lambda row: row.artifact_bytes),
    Column(key="runtime_bytes", value=lambda row: row.runtime_bytes),
    Column(key="making_cpu_seconds", value=lambda row: _rounded(row.making_cpu_seconds)),
)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)


def _blocks(run: Run) -> Iterator[Block]:
    rows = system_rows(run)
    if not rows:
        return
    yield Words(text="systems side by side")
    yield Lines(lines=(*standing_lines(run), *quickest_lines(run)))
    yield grid(SYSTEM_COLUMNS, rows)
    yield Words(text=HOW_SYSTEMS_COMPARE)


def _by_cell(run: Run) -> Mapping[str, Any]:
    return {row.cell.name: row for row in system_rows(run)}


SYSTEMS_SECTION = Section(name="systems", blocks=_blocks, columns=SYSTEM_FIGURES, rows=_by_cell)
