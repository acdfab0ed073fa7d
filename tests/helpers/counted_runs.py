"""Runs with counted instructions, and with times, made here."""

from __future__ import annotations

from collections.abc import Mapping

from matrix.core.records import Outcome
from matrix.results.measured.figures import Timed, Times
from matrix.results.run import Cell, FinishedJob, Run, RunAxis, RunValue

Place = tuple[str, str, str]
"""(model, target, release)"""


def axes_of(place: Place) -> dict[str, str]:
    model, target, release = place
    return {"model": model, "compiler": release, "runtime": release, "target": target, "flags": "default"}


def counted_run(counts: Mapping[Place, int | None], misses: Mapping[Place, int] | None = None) -> Run:
    """A run on the runtime of each compiler's own release; None is a cell that was not counted. Without `misses` it is
    as runs were that had none."""
    jobs, cells = {}, []
    for place, count in counts.items():
        key = "count " + " ".join(place)
        jobs[key] = FinishedJob(
            key=key, stage="count", outcome=Outcome.PASSED, lock="", exit_code=0, signal=0, seconds=1.0,
            cpu_seconds=1.0, peak_bytes=None, finished_at="2026-11-23T05:00:00Z",
            measurements=_measured(count, (misses or {}).get(place)),
        )  # fmt: skip
        cells.append(Cell(axes=axes_of(place), outcome=Outcome.PASSED, beside=(key,)))
    names = ("model", "compiler", "runtime", "target", "flags")
    axes = tuple(
        RunAxis(
            name=name,
            values=tuple(RunValue(label=label) for label in dict.fromkeys(cell.axes[name] for cell in cells)),
            tied="compiler" if name == "runtime" else "",
        )
        for name in names
    )
    return Run(preset="cost", question="What?", axes=axes, cells=tuple(cells), jobs=jobs)


def _measured(count: int | None, misses: int | None) -> dict[str, int]:
    if count is None:
        return {}
    missed = {} if misses is None else {"d1_misses": misses}
    return {"instructions": count, "loads": 1, "stores": 2, **missed}


def timed_run(seconds: Mapping[Place, tuple[float, str]]) -> Run:
    """A run of times: (seconds, verdict); the first place is the baseline."""
    rows: dict[tuple[str, str], list[Timed]] = {}
    for place, (time, verdict) in seconds.items():
        model, target, release = place
        base = not rows.get((model, target))
        row = Timed(
            axes={"compiler": release, "runtime": release}, baseline=base, median_seconds=time,
            ratio=1.0, verdicts=() if base else (verdict,),
        )  # fmt: skip
        rows.setdefault((model, target), []).append(row)
    tables = tuple(
        Times(
            shared={"model": model, "target": target, "flags": "default"},
            axes=("compiler", "runtime"),
            rows=tuple(found),
        )
        for (model, target), found in rows.items()
    )
    run = counted_run(dict.fromkeys(seconds))
    return Run(preset="times", axes=run.axes, cells=run.cells, jobs=run.jobs, times=tables)
