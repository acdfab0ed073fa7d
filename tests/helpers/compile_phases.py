"""Runs with the CPU time of compiles by phase."""

from __future__ import annotations

from collections.abc import Mapping

from small_runs import finished_job, run_of

from matrix.artifacts.compiler.phases import PHASE_SECONDS, PHASED_SECONDS
from matrix.core.records import Outcome
from matrix.results.measured.compiles import PhaseTimes, SecondsSpread
from matrix.results.run import Cell, Run

Phases = Mapping[str, tuple[float, ...]]
BEFORE: Phases = {
    "input": (0.3, 0.3, 0.3),
    "global-optimization": (9.8, 10.0, 10.2),
    "executable-targets": (2.9, 3.0, 3.1),
}
HERE = "here"


def whole_of(phases: Phases) -> tuple[float, ...]:
    return tuple(round(sum(each), 6) for each in zip(*phases.values(), strict=True))


def times(phases: Phases, *, turns: bool = False) -> PhaseTimes:
    spreads = {name: SecondsSpread(values=each) for name, each in phases.items()}
    return PhaseTimes(phases=spreads, whole=SecondsSpread(values=whole_of(phases)), machine=HERE, turns=turns)


def phased_run(found: Mapping[str, Phases], *, machines: Mapping[str, str] | None = None, turns: bool = False) -> Run:
    """A run with the compiles of one model by each release, in one job or with a job for each of their turns."""
    taken = {
        release: {
            f"{release} {turn}": {name: each[turn : turn + 1] for name, each in phases.items()}
            for turn in range(len(phases["input"]))
        }
        if turns
        else {release: phases}
        for release, phases in found.items()
    }
    jobs = [
        finished_job(
            key,
            "phases",
            {
                PHASE_SECONDS: {name: [*each] for name, each in phases.items()},
                PHASED_SECONDS: [*whole_of(phases)],
            },
            machine=(machines or {}).get(release, HERE),
        )
        for release, jobs in taken.items()
        for key, phases in jobs.items()
    ]
    cells = [
        Cell(
            axes={"model": "m", "compiler": release},
            outcome=Outcome.PASSED,
            stage="compile",
            beside=tuple(taken[release]),
        )
        for release in found
    ]
    return run_of(cells, jobs, {"model": ("m",), "compiler": found}, ("compile", "phases"))


def cells_of(run: Run) -> dict[str, tuple[Run, Cell]]:
    return {cell.axes["compiler"]: (run, cell) for cell in run.cells}
