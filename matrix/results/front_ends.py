"""What exporters wrote: which of them write identical MLIR, and which compilers take it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from packaging.version import InvalidVersion, Version

from matrix.core.records import AxisValue, Outcome
from matrix.plan.backends.iree import COMPILE, EXPORT, MLIR, RUN
from matrix.results.cells import CellReport, Report
from matrix.results.square import span

EXPORTER = ("python", "torch", "turbine")
NAMES = {"python": "Python"}
OLDER, SAME, NEWER = "older than turbine", "of turbine's minor release", "newer than turbine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Exporters (Python, torch, turbine, and what the spec's own axes bring beside them) whose MLIR of a model is the
    same byte for byte."""

    model: str
    digest: str
    exporters: tuple[tuple[str, ...], ...]
    words: str


def groups(report: Report) -> tuple[Group, ...]:
    """The groups of each model, the largest first; a group of one exporter too. None where there is one exporter."""
    axes = exporter_axes(report)
    found: dict[tuple[str, str], dict[tuple[str, ...], None]] = {}
    for cell in report.cells:
        if digest := _mlir(cell):
            exporter = tuple(cell.labels[axis] for axis in axes)
            found.setdefault((cell.labels["model"], digest), {})[exporter] = None
    if len({exporter for exporters in found.values() for exporter in exporters}) < 2:
        return ()
    order = {axis: _order(axis, report) for axis in axes}
    made = [
        Group(
            model=model,
            digest=digest,
            exporters=tuple(exporters),
            words=f"{model}: {_words(tuple(exporters), order)} (sha256 {digest[:12]})",
        )
        for (model, digest), exporters in found.items()
    ]
    return tuple(sorted(made, key=lambda group: (group.model, -len(group.exporters))))


def exporter_axes(report: Report) -> tuple[str, ...]:
    """What an exporter is: Python, torch, turbine, and the spec's own axes that bring packages into its environment."""
    own = (axis for axis, values in report.plan.axes.items() if axis in report.plan.spec.own_axes and _packages(values))
    return (*EXPORTER, *own)


def _packages(values: Iterable[AxisValue]) -> bool:
    return any(part.packages for value in values for part in value.parts.values())


def _mlir(cell: CellReport) -> str:
    """The digest of the MLIR that the cell's export wrote."""
    exported = [job for job in cell.jobs if job.stage == EXPORT]
    return next((artifact.digest for job in exported for artifact in job.outputs if artifact.name == MLIR), "")


def _order(axis: str, report: Report) -> tuple[str, ...]:
    """All labels of an axis in its order: what was not measured leaves a gap."""
    labels = dict.fromkeys(value.label for value in report.plan.axes[axis])
    labels |= dict.fromkeys(cell.labels[axis] for cell in report.cells)
    try:
        return tuple(sorted(labels, key=Version))
    except InvalidVersion:
        return tuple(labels)


def _words(exporters: Sequence[tuple[str, ...]], order: Mapping[str, Sequence[str]]) -> str:
    verb = "writes MLIR that no other writes" if len(exporters) == 1 else "write identical MLIR"
    several = len(order["python"]) > 1
    axes = tuple(order) if several else tuple(order)[1:]
    points = [exporter if several else exporter[1:] for exporter in exporters]
    listed = "; ".join(
        " with ".join(
            f"{NAMES.get(axis, axis)} {span(_sorted(labels, order[axis]), order[axis])}"
            for axis, labels in zip(axes, block, strict=True)
        )
        for block in blocks(points)
    )
    return f"{listed} {verb}"


def _sorted(labels: Iterable[str], order: Sequence[str]) -> list[str]:
    return sorted(labels, key=order.index)


def blocks(points: Iterable[tuple[str, ...]]) -> list[tuple[tuple[str, ...], ...]]:
    """A set of points as few products: for every value of the first axis what goes with it, equal ones together.

    >>> blocks([("a", "x"), ("a", "y"), ("b", "x"), ("b", "y"), ("c", "x")])
    [(('a', 'b'), ('x', 'y')), (('c',), ('x',))]
    """
    rest: dict[str, list[tuple[str, ...]]] = {}
    for first, *others in points:
        rest.setdefault(first, []).append(tuple(others))
    if all(not any(others) for others in rest.values()):
        return [(tuple(rest),)]
    together: dict[tuple[tuple[tuple[str, ...], ...], ...], list[str]] = {}
    for first, tails in rest.items():
        together.setdefault(tuple(blocks(sorted(tails))), []).append(first)
    return [(tuple(firsts), *block) for tails, firsts in together.items() for block in tails]


def portability(report: Report) -> tuple[str, ...]:
    """How portable MLIR is between front end and compiler releases: a sentence for each model, of what was measured.

    Nothing where only one exporter, or only one compiler, was measured.
    """
    axes = exporter_axes(report)
    models: dict[str, dict[tuple[str, ...], CellReport]] = {}
    for cell in report.cells:
        if _mlir(cell) and any(job.stage == COMPILE for job in cell.jobs):
            pair = tuple(cell.labels[axis] for axis in (*axes, "compiler", "flags"))
            models.setdefault(cell.labels["model"], {})[pair] = cell
    return tuple(
        f"{model}: {_said(list(pairs.values()))}"
        for model, pairs in models.items()
        if len({pair[:-2] for pair in pairs}) > 1 and len({pair[-2] for pair in pairs}) > 1
    )


def _said(cells: Sequence[CellReport]) -> str:
    """`530 of 540 pairs of exporter and compiler compile: compiler older than turbine 110 of 120, ...`."""
    tried: Counter[str] = Counter(_relation(cell) for cell in cells)
    good: Counter[str] = Counter(_relation(cell) for cell in cells if _compiled(cell))
    count = f"all {len(cells)}" if good.total() == len(cells) else f"{good.total()} of {len(cells)}"
    parts = ", ".join(f"{name} {good[name]} of {tried[name]}" for name in (OLDER, SAME, NEWER) if tried[name])
    failed = Counter(cell.words for cell in cells if not _compiled(cell))
    why = "; what does not: " + ", ".join(f"{words} ({n})" for words, n in failed.most_common()) if failed else ""
    ran = [cell for cell in cells if any(job.stage == RUN for job in cell.jobs)]
    right = sum(cell.outcome is Outcome.PASSED for cell in ran)
    numbers = f"; {right} of {len(ran)} that ran give torch's numbers" if ran else ""
    return f"{count} pairs of exporter and compiler compile (compiler {parts}){why}{numbers}"


def _compiled(cell: CellReport) -> bool:
    return any(job.stage == COMPILE and job.outcome is Outcome.PASSED for job in cell.jobs)


def _relation(cell: CellReport) -> str:
    try:
        turbine, compiler = (Version(cell.labels[axis]).release[:2] for axis in ("turbine", "compiler"))
    except InvalidVersion:  # a user's own build
        return NEWER
    return SAME if compiler == turbine else (OLDER if compiler < turbine else NEWER)
