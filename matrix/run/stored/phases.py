"""The compiles by phase of a run that this store has: also of a compiler that did not come to its end, from its log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from matrix.answers.compiling.phases import CompilePhases
from matrix.artifacts.compiler.phases import PASS_SECONDS, PASSED_SECONDS, PHASES_FILE, phases_until
from matrix.core.errors import NoAnswer
from matrix.core.records import JobResult, Outcome
from matrix.plan.axes import NONE
from matrix.plan.graph import NodeState, Plan
from matrix.plan.stages import later_axes, module_of
from matrix.results.measured.compiles import SecondsSpread, in_one_spread, phase_times, spread
from matrix.results.run import Cell, Run
from matrix.results.signatures import signature_of

PHASES_TIP = "`why` with the same words says more"


def compiles_of(plan: Plan, run: Run, states: Sequence[NodeState]) -> Iterator[CompilePhases]:
    """Those of each cell, with the labels of the axes that a compile depends on. Raises NoAnswer where a cell has none,
    and says why."""
    for planned, cell in zip(plan.cells, run.cells, strict=True):
        nodes = [plan.nodes[index] for index in (*planned.nodes, *planned.repeats)]
        phased = [each for each in nodes if PHASES_FILE in each.kind.reads]
        later = later_axes(phased[0].stage) if phased else frozenset()
        axes = {axis: label for axis, label in cell.axes.items() if axis not in later and label != NONE}
        results = [states[node.index].result for node in phased]
        ended = next((each for each in results if each and each.outcome is not Outcome.PASSED), None)
        yield _compiles(run, replace(cell, axes=axes), ended)


def _compiles(run: Run, cell: Cell, result: JobResult | None) -> CompilePhases:
    usual = next((job.cpu_seconds for job in run.jobs_of(cell) if module_of(job.artifacts)), None)
    if result is not None and result.outcome.red:
        return CompilePhases(
            axes=cell.axes, times=None, usual=usual, ended=_ended(result), until=phases_until(result.end.log)
        )
    times = phase_times(run, cell)
    if times is None:
        reason = _reason(result) or cell.reason or cell.said or cell.words
        raise NoAnswer(f"{cell.name}: its phases were not measured: {reason}", tip=PHASES_TIP)
    passes, waited = _passes(run, cell)
    return CompilePhases(axes=cell.axes, times=times, usual=usual, passes=passes, waited=waited)


def _ended(result: JobResult) -> str:
    found = signature_of(result)
    return f"{result.outcome}, {result.end.status}: {found.means or found.name}"


def _reason(result: JobResult | None) -> str:
    if result is None or result.outcome is Outcome.PASSED:
        return ""
    return f"{result.outcome}: {signature_of(result).means or result.end.error}"


def _passes(run: Run, cell: Cell) -> tuple[dict[str, SecondsSpread], float]:
    """The passes, and how many seconds a CPU second took. A pass that a compile does not tell of took none in it."""
    jobs = [measured for key in cell.evidence if PASS_SECONDS in (measured := run.jobs[key].measurements)]
    names = dict.fromkeys(name for job in jobs for name in job[PASS_SECONDS])
    none = [[0.0] * len(job[PASSED_SECONDS]) for job in jobs]
    waited = (seconds / cpu for job in jobs for cpu, seconds in job[PASSED_SECONDS] if cpu)
    found = {
        name: in_one_spread(spread(job[PASS_SECONDS].get(name, zero)) for job, zero in zip(jobs, none, strict=True))
        for name in names
    }
    return found, max(waited, default=1.0)
