"""The MLIR of exporters: which of them write the same, and which compilers take it, in words. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from packaging.version import InvalidVersion

from matrix.core.records import Outcome
from matrix.core.versions import minor, release_key
from matrix.plan.axes import NONE
from matrix.plan.stages import axes_of, backend_of, exchanged, front_end, module_of
from matrix.results.run import Cell, FinishedJob, Run
from matrix.results.square import span

AXIS_TITLES = {"python": "Python"}
OLDER, SAME_RELEASE, NEWER = "older than {}", "of {}'s minor release", "newer than {}"
"""How a compiler stands to the last tool of the exporter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdenticalExports:
    """Exporters (Python, torch, turbine, and packages of the spec's own axes) with byte for byte the same MLIR of a
    model."""

    model: str
    digest: str
    exporters: tuple[tuple[str, ...], ...]
    words: str


def groups(run: Run) -> tuple[IdenticalExports, ...]:
    """The groups of each model, the largest first, also groups of one exporter. None if there is only one exporter."""
    axes = exporter_axes(run)
    found: dict[tuple[str, str], dict[tuple[str, ...], None]] = {}
    for cell in run.cells:
        if digest := _mlir(run, cell):
            exporter = tuple(cell.axes.get(axis, NONE) for axis in axes)
            found.setdefault((cell.axes.get("model", NONE), digest), {})[exporter] = None
    if len({exporter for exporters in found.values() for exporter in exporters}) < 2:
        return ()
    order = {axis: _order(axis, run) for axis in axes}
    made = [
        IdenticalExports(
            model=model,
            digest=digest,
            exporters=tuple(exporters),
            words=f"{model}: {_words(tuple(exporters), order)} (sha256 {digest[:12]})",
        )
        for (model, digest), exporters in found.items()
    ]
    return tuple(sorted(made, key=lambda group: (group.model, -len(group.exporters))))


def exporter_axes(run: Run) -> tuple[str, ...]:
    """The labels that make an exporter: Python, torch, turbine, those of other front ends in the run, and the run's own
    axes with packages for it."""
    first, there = front_end(), {axis.name for axis in run.axes}
    exporting = (kind for kind in backend_of(first.name).stages if kind.extended)
    others = (axis for kind in exporting for axis in kind.axes if axis in there)
    return tuple(dict.fromkeys((*first.axes, *others, *(axis.name for axis in run.axes if axis.exporter))))


def _mlir(run: Run, cell: Cell) -> str:
    """The digest of the MLIR of the cell's export."""
    return next((job.artifacts[name].sha256 for job in run.jobs_of(cell) if (name := exchanged(job.artifacts))), "")


def _order(axis: str, run: Run) -> tuple[str, ...]:
    """All labels of an axis in its order: a label that was not measured leaves a gap."""
    labels = dict.fromkeys(run.axis(axis).labels)
    labels |= dict.fromkeys(cell.axes.get(axis, NONE) for cell in run.cells)
    try:
        return tuple(sorted(labels, key=release_key))
    except InvalidVersion:
        return tuple(labels)


def _words(exporters: Sequence[tuple[str, ...]], order: Mapping[str, Sequence[str]]) -> str:
    verb = "writes MLIR that no other writes" if len(exporters) == 1 else "write identical MLIR"
    several = len(order["python"]) > 1
    axes = tuple(order) if several else tuple(order)[1:]
    points = [exporter if several else exporter[1:] for exporter in exporters]
    listed = "; ".join(
        " with ".join(
            f"{AXIS_TITLES.get(axis, axis)} {span(_sorted(labels, order[axis]), order[axis])}"
            for axis, labels in zip(axes, block, strict=True)
            if labels != (NONE,) and not {*labels} <= {*axes}  # the front end turbine has its release
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


def portability(run: Run) -> tuple[str, ...]:
    """How portable MLIR is between releases of exporters and compilers: a sentence for each model, from what was
    measured.

    Empty if only one exporter, or only one compiler, was measured.
    """
    axes = exporter_axes(run)
    models: dict[str, dict[tuple[tuple[str, ...], tuple[str, ...]], Cell]] = {}
    for cell in run.cells:
        if _mlir(run, cell) and (took := _compiles(run, cell)):
            exporter, compiler = (
                tuple(cell.axes.get(axis, NONE) for axis in names) for names in (axes, axes_of(took[0].stage))
            )
            models.setdefault(cell.axes.get("model", NONE), {})[exporter, compiler] = cell
    return tuple(
        f"{model}: {_said(run, list(pairs.values()))}"
        for model, pairs in models.items()
        if len({exporter for exporter, _ in pairs}) > 1 and len({compiler[:1] for _, compiler in pairs}) > 1
    )


def _said(run: Run, cells: Sequence[Cell]) -> str:
    """`530 of 540 pairs of exporter and compiler compile (compiler older than turbine 110 of 120, ...): ...`."""
    tried: Counter[str] = Counter(_relation(run, cell) for cell in cells)
    good: Counter[str] = Counter(_relation(run, cell) for cell in cells if _compiled(run, cell))
    count = f"all {len(cells)}" if good.total() == len(cells) else f"{good.total()} of {len(cells)}"
    parts = ", ".join(
        f"{name.format(front_end().axes[-1])} {good[name]} of {tried[name]}"
        for name in (OLDER, SAME_RELEASE, NEWER)
        if tried[name]
    )
    parts = f" (compiler {parts})" if parts else ""
    failed = Counter(cell.words for cell in cells if not _compiled(run, cell))
    why = "; what does not: " + ", ".join(f"{words} ({n})" for words, n in failed.most_common()) if failed else ""
    ran = [cell for cell in cells if any(module_of(job.inputs) for job in run.jobs_of(cell))]
    right = sum(cell.outcome is Outcome.PASSED and not cell.degenerate for cell in ran)
    numbers = f"; {right} of {len(ran)} that ran give torch's numbers" if ran else ""
    return f"{count} pairs of exporter and compiler compile{parts}{why}{numbers}"


def _compiled(run: Run, cell: Cell) -> bool:
    return any(job.outcome is Outcome.PASSED for job in _compiles(run, cell))


def _compiles(run: Run, cell: Cell) -> list[FinishedJob]:
    """The jobs that had the exporter's artifact as input."""
    return [job for job in run.jobs_of(cell) if exchanged(job.inputs)]


def _relation(run: Run, cell: Cell) -> str:
    """How its compiler stands to turbine; empty where another front end wrote the MLIR."""
    axes = (front_end().axes[-1], (*axes_of(_compiles(run, cell)[0].stage), "")[0])
    if cell.axes.get(axes[0], NONE) == NONE:
        return ""
    try:
        exporter, compiler = (release_key(minor(cell.axes.get(axis, NONE))) for axis in axes)
    except InvalidVersion:  # a user's own build
        return NEWER
    return SAME_RELEASE if compiler == exporter else (OLDER if compiler < exporter else NEWER)
