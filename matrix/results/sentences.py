"""What a run says in sentences: its targets compared with each other, runtimes from source compared with the wheels of
their releases, the MLIR of exporters and the compilers that accept it, compilers whose output is not reproducible.
Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from packaging.version import InvalidVersion

from matrix.core.records import Outcome
from matrix.core.text import counted
from matrix.core.versions import minor, release_key
from matrix.plan.axes import NONE
from matrix.plan.stages import axes_of, exchanged, front_end, kinds, module_of
from matrix.results.measured.figures import Recompiled
from matrix.results.run import Cell, FinishedJob, Run, RunAxis
from matrix.results.square import placed, span

Place = tuple[str, ...]
"""The labels of a cell on all axes but the target, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectComparison:
    """A subject compared with a first one: a target with the first target, or a build with the wheel of its release.

    `cells` are measured on both, `same` of them have the same end (outcome, stage and signature), `differences` are the
    others in words, `unmeasured` is the number of cells that are measured on only one of the two. In `built` of the
    cells a runtime from source is compared with the wheel of its release.
    """

    subject: str
    first: str
    cells: int
    same: int
    differences: tuple[str, ...]
    unmeasured: int
    built: int = 0

    @property
    def words(self) -> str:
        if not self.cells:
            return f"no cell is measured on both {self.subject} and {self.first}, {self.unmeasured} on one of them only"
        count = counted(self.cells, "cell")
        part = ("all " if self.cells > 1 else "") if self.same == self.cells else f"{self.same} of "
        missing = f"; {self.unmeasured} more are measured on one of them only" if self.unmeasured else ""
        return f"{self.subject} ends as {self.first} does in {part}{count}{self._how}{missing}"

    @property
    def _how(self) -> str:
        if not self.built:
            return ""
        which = "" if self.built == self.cells else f"{self.built} of them "
        return f", {which}on runtimes built from source, compared with the wheels of the same releases"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """The ends of a place on both; `built` if the second ran on a build and the first on a wheel."""

    first: Cell
    second: Cell
    built: bool


class _Cells:
    """The measured and planned cells of a run by target and place."""

    def __init__(self, run: Run) -> None:
        self.axes = [axis.name for axis in run.axes if axis.name != "target"]
        self.targets = run.axis("target").labels
        built = next((axis for axis in run.axes if any(value.release for value in axis.values)), RunAxis(name=""))
        self.built = built.name
        self.releases = {value.label: value.release for value in built.values if value.release}
        self.found: dict[str, dict[Place, Cell]] = {target: {} for target in self.targets}
        for cell in run.cells:  # a target that an [[include]] adds to one cell is not on the axis
            place = tuple(cell.axes.get(axis, NONE) for axis in self.axes)
            self.found.get(cell.axes.get("target", NONE), {})[place] = cell
        self.order = {axis: tuple(dict.fromkeys(cell.axes.get(axis, NONE) for cell in run.cells)) for axis in self.axes}

    def on_the_wheel(self, place: Place) -> Place | None:
        """The place with the wheel of the release that its runtime is built from."""
        runtime = self.axes.index(self.built) if self.releases else 0
        release = self.releases.get(place[runtime])
        return (*place[:runtime], release, *place[runtime + 1 :]) if release else None

    def across(self, target: str) -> Iterator[_Pair]:
        """A target compared with the first one."""
        before = self.found[self.targets[0]]
        for place, cell in self.found[target].items():
            wheel = self.on_the_wheel(place)
            if place in before:
                yield _Pair(first=before[place], second=cell, built=False)
            elif wheel in before:
                yield _Pair(first=before[wheel], second=cell, built=True)

    def builds(self, runtime: str) -> Iterator[_Pair]:
        """A build compared with the wheel of its release, on the same target."""
        for cells in self.found.values():
            for place, cell in cells.items():
                wheel = self.on_the_wheel(place)
                if cell.axes[self.built] == runtime and wheel in cells:
                    yield _Pair(first=cells[wheel], second=cell, built=False)


def compare_targets(run: Run) -> tuple[SubjectComparison, ...]:
    """A record for each target after the first that has cells in common with it; none for a run with one target."""
    cells = _Cells(run)
    rows = (_beside(cells, target, cells.targets[0], cells.across(target)) for target in cells.targets[1:])
    return tuple(row for row in rows if row.cells or row.unmeasured)


def compare_builds(run: Run) -> tuple[SubjectComparison, ...]:
    """A record for each runtime from source that has cells where the wheel of its release has one."""
    cells = _Cells(run)
    rows = (_beside(cells, name, f"the wheel {cells.releases[name]}", cells.builds(name)) for name in cells.releases)
    return tuple(row for row in rows if row.cells or row.unmeasured)


def _beside(cells: _Cells, subject: str, first: str, pairs: Iterator[_Pair]) -> SubjectComparison:
    groups: dict[tuple[str, str], list[Mapping[str, str]]] = {}
    count = same = unmeasured = built = 0
    for pair in pairs:
        if not (_measured(pair.first) and _measured(pair.second)):
            unmeasured += _measured(pair.first) != _measured(pair.second)
            continue
        count += 1
        built += pair.built
        if pair.first.words == pair.second.words:
            same += 1
        else:
            groups.setdefault((pair.first.words, pair.second.words), []).append(pair.second.axes)
    told = [
        f"{subject} {words} where {first} {others} in {len(held)} of them: {placed(held, cells.order)}".rstrip(": ")
        for (others, words), held in sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    ]
    return SubjectComparison(
        subject=subject,
        first=first,
        cells=count,
        same=same,
        differences=tuple(told),
        unmeasured=unmeasured,
        built=built,
    )


def _measured(cell: Cell) -> bool:
    """A runtime that cannot be built loads nothing; this says nothing about the modules."""
    kind = kinds().get(cell.stage)
    return cell.measured and not (kind and kind.apart)


def _targets(run: Run) -> tuple[str, ...]:
    """The sentences of a run with several targets, and of one with builds."""
    rows = (*compare_targets(run), *compare_builds(run))
    return tuple(sentence for row in rows for sentence in (row.words, *row.differences))


# -- the MLIR of exporters

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
    """The labels that make an exporter: Python, torch, turbine, and the run's own axes with packages for it."""
    return (*front_end().axes, *(axis.name for axis in run.axes if axis.exporter))


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
    """`530 of 540 pairs of exporter and compiler compile: compiler older than turbine 110 of 120, ...`."""
    tried: Counter[str] = Counter(_relation(run, cell) for cell in cells)
    good: Counter[str] = Counter(_relation(run, cell) for cell in cells if _compiled(run, cell))
    count = f"all {len(cells)}" if good.total() == len(cells) else f"{good.total()} of {len(cells)}"
    parts = ", ".join(
        f"{name.format(front_end().axes[-1])} {good[name]} of {tried[name]}"
        for name in (OLDER, SAME_RELEASE, NEWER)
        if tried[name]
    )
    failed = Counter(cell.words for cell in cells if not _compiled(run, cell))
    why = "; what does not: " + ", ".join(f"{words} ({n})" for words, n in failed.most_common()) if failed else ""
    ran = [cell for cell in cells if any(module_of(job.inputs) for job in run.jobs_of(cell))]
    right = sum(cell.outcome is Outcome.PASSED and not cell.degenerate for cell in ran)
    numbers = f"; {right} of {len(ran)} that ran give torch's numbers" if ran else ""
    return f"{count} pairs of exporter and compiler compile (compiler {parts}){why}{numbers}"


def _compiled(run: Run, cell: Cell) -> bool:
    return any(job.outcome is Outcome.PASSED for job in _compiles(run, cell))


def _compiles(run: Run, cell: Cell) -> list[FinishedJob]:
    """The jobs that had the exporter's artifact as input."""
    return [job for job in run.jobs_of(cell) if exchanged(job.inputs)]


def _relation(run: Run, cell: Cell) -> str:
    axes = (front_end().axes[-1], (*axes_of(_compiles(run, cell)[0].stage), "")[0])
    try:
        exporter, compiler = (release_key(minor(cell.axes.get(axis, NONE))) for axis in axes)
    except InvalidVersion:  # a user's own build
        return NEWER
    return SAME_RELEASE if compiler == exporter else (OLDER if compiler < exporter else NEWER)


# -- all sentences


def comparison_sentences(run: Run) -> tuple[str, ...]:
    """Which exporters write the same MLIR, and which compilers accept it; how targets differ. Empty if there is one of
    each."""
    return (*(group.words for group in groups(run)), *portability(run), *_targets(run))


def recompiled(run: Run) -> tuple[str, ...]:
    """What the repeated compiles show; empty if none was repeated."""
    told = []
    for row in run.compiled_again:
        ends = f"; {row.ends} of them did not end in the same outcome" if row.ends else ""
        if row.unequal:
            told.append(
                f"compiler {row.compiler} is not deterministic: {row.unequal} of {row.modules} modules came out with "
                f"other bytes when compiled again{_classes(row)}{ends}"
            )
    steady = [row for row in run.compiled_again if not row.unequal]
    if steady:
        releases = ", ".join(row.compiler for row in steady)
        told.append(f"compiled again, the same bytes: all {sum(row.modules for row in steady)} modules of {releases}")
    return tuple(told)


def _classes(row: Recompiled) -> str:
    """`: VM bytecode in 4, dispatches in 1`; nothing where nobody looked."""
    found = sorted(row.differing.items(), key=lambda item: (-item[1], item[0]))
    return ": " + ", ".join(f"{name} in {count}" for name, count in found) if found else ""
