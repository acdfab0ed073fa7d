"""Compilers that write other bytes from the same input, found by compiling twice. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from matrix.core.records import JobResult
from matrix.plan.backends.iree import COMPILE
from matrix.results.cells import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Recompiled:
    """The modules of one compiler release that were compiled more than once: how many, and how many came out unequal.

    `ends` counts those whose jobs did not even end in the same outcome.
    """

    compiler: str
    modules: int
    unequal: int
    ends: int


def recompiled(report: Report) -> tuple[Recompiled, ...]:
    """One record for each compiler release of which a compile was repeated, in the order of the axis."""
    seen: dict[str, dict[str, list[JobResult]]] = {}
    for cell in report.cells:
        first = next((job for job in cell.jobs if job.stage == COMPILE), None)
        again = [repeat.result for repeat in cell.repeats if repeat.result and repeat.node.stage == COMPILE]
        if first and again:
            seen.setdefault(cell.labels["compiler"], {})[first.key] = [first, *again]
    order = [value.label for value in report.plan.axes["compiler"]]
    labels = sorted(seen, key=lambda label: order.index(label) if label in order else len(order))
    return tuple(_recompiled(label, list(seen[label].values())) for label in labels)


def _recompiled(compiler: str, modules: list[list[JobResult]]) -> Recompiled:
    return Recompiled(
        compiler=compiler,
        modules=len(modules),
        unequal=sum(1 for jobs in modules if len({job.outputs for job in jobs}) > 1),
        ends=sum(1 for jobs in modules if len({job.outcome for job in jobs}) > 1),
    )


def sentences(report: Report) -> tuple[str, ...]:
    """What the repeats say, in words; nothing where no compile was repeated."""
    found = recompiled(report)
    told = []
    for row in found:
        ends = f"; {row.ends} of them did not end in the same outcome" if row.ends else ""
        if row.unequal:
            told.append(
                f"compiler {row.compiler} is not deterministic: {row.unequal} of {row.modules} modules came out with "
                f"other bytes when compiled again{ends}"
            )
    steady = [row.compiler for row in found if not row.unequal]
    if steady:
        modules = sum(row.modules for row in found if not row.unequal)
        told.append(f"compiled again, the same bytes: all {modules} modules of {', '.join(steady)}")
    return tuple(told)
