"""Releases as candidates for a team: a row each, from what was measured, ranked by weights. Pure; it invents
nothing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from matrix.answers.causes import cells_of
from matrix.core.records import Outcome
from matrix.core.versions import are_versions, minor, releases_first
from matrix.plan.backends.iree.environments import COMPILER, FLAGS, RUNTIME, TORCH, TURBINE
from matrix.plan.backends.iree.names import COMPILE, MLIR, RUN, VMFB
from matrix.plan.backends.shared import MODEL_AXIS, TARGET_AXIS
from matrix.results.measured.counts import count_series
from matrix.results.measured.figures import Verdict
from matrix.results.run import Cell, FinishedJob, Run
from matrix.results.speed import timed_rows

RANKED = COMPILER
"""The axis whose releases are ranked."""
PLANNED_FIGURES = ("transient_bytes", "constant_bytes")
"""What the compiler plans of memory: measurements of a compile, the same on every machine."""
ARM = ("aarch64", "arm")
"""The prefixes of targets for ARM machines."""
DEFAULT_WEIGHTS: Mapping[str, float] = {
    "models": 3,
    "runtimes": 2,
    "exporters": 1,
    "arm": 1,
    "speed": 1,
    "instructions": 1,
    "size": 1,
    "memory": 1,
}
"""The default weights: a model with wrong outputs is not worth any speed."""
MEANS = {
    "models": "models that are right, compiled by it and run on the runtime of its own minor release",
    "runtimes": "runtimes that run its modules right, of some model",
    "exporters": "Python, torch and turbine together, whose MLIR it compiles",
    "arm": "ARM targets whose modules run right",
    "speed": "latency beside the baseline of the results, geometric mean over models; less is faster",
    "instructions": "instructions of a call beside the fewest of any release, geometric mean over models and "
    "targets whose times decide nothing; no speed",
    "size": "bytes of a .vmfb beside the smallest of any release, geometric mean over models; less is smaller",
    "memory": "transient and constant bytes that the compiler plans for a call, beside the fewest of any release, "
    "geometric mean over models",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One field of the table: `got` of `of`, or a ratio. `share` is its score, 0 to 1."""

    text: str
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A minor release of the compiler: `release` lists the measured patch releases. `measures` has no entry for a
    column that was not measured; `score` is 0 to 100."""

    release: str
    measures: Mapping[str, Measure]
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """The best first. `weights` are those of the columns with results, `empty` are the columns without any."""

    candidates: tuple[Candidate, ...]
    weights: Mapping[str, float]
    empty: tuple[str, ...]


def rank_compilers(runs: Sequence[Run], weights: Mapping[str, float]) -> Ranking:
    """Every minor release of the compiler with results: patch releases break nothing, and the runtime has fewer of
    them. An unmeasured column earns a release nothing."""
    cells = [cell for cell in cells_of(runs) if cell.measured and cell.axes.get(FLAGS, "default") == "default"]
    labels = [label for label in releases_first(cell.axes.get(COMPILER, "") for cell in cells) if are_versions([label])]
    releases = tuple(dict.fromkeys(map(minor, labels)))
    by_release = {
        release: [cell for cell in cells if minor(cell.axes.get(COMPILER, "")) == release] for release in releases
    }
    named = {release: ", ".join(label for label in labels if minor(label) == release) for release in releases}
    counts = {name: {release: count(by_release[release]) for release in releases} for name, count in COUNTS.items()}
    columns = {name: _counted(column) for name, column in counts.items()}
    columns["speed"] = _ratios(_speeds(runs, releases), "{:.3f}")
    columns["instructions"] = _ratios(_instructions(runs, releases), "{:.3f}")
    columns["size"] = _ratios(_of_modules(runs, by_release, _module_bytes), "{:.3f}")
    columns["memory"] = _ratios(_of_modules(runs, by_release, _planned_bytes), "{:.3f}")
    used = {name: weight for name, weight in weights.items() if columns[name]}
    total = sum(used.values())
    found = []
    for release in reversed(releases):  # of equals, the newest is first
        measures = {name: column[release] for name, column in columns.items() if release in column}
        earned = sum(weight * measures[name].share for name, weight in used.items() if name in measures)
        found.append(Candidate(release=named[release], measures=measures, score=100 * earned / total if total else 0.0))
    return Ranking(
        candidates=tuple(sorted(found, key=lambda each: each.score, reverse=True)),
        weights=used,
        empty=tuple(name for name in weights if not columns[name]),
    )


# -- the counted cells of one release

Tried = tuple[frozenset[tuple[str, ...]], frozenset[tuple[str, ...]]]
"""The part that passed, of all that was tried."""


def _models(cells: Sequence[Cell]) -> Tried:
    own = [cell for cell in cells if minor(cell.axes.get(RUNTIME, "")) == minor(cell.axes[COMPILER])]
    return _distinct(own, lambda cell: (cell.axes["model"],), lambda cell: cell.right)


def _runtimes(cells: Sequence[Cell]) -> Tried:
    """Only releases: a build would count its release twice."""
    released = [cell for cell in cells if are_versions([cell.axes.get(RUNTIME, "")])]
    return _distinct(released, lambda cell: (cell.axes[RUNTIME],), lambda cell: cell.right)


def _exporters(cells: Sequence[Cell]) -> Tried:
    """Cells that ended before the compile say nothing about the compiler."""
    tried = [cell for cell in cells if cell.passed or cell.stage in (COMPILE, RUN)]
    return _distinct(
        tried,
        lambda cell: tuple(cell.axes.get(axis, "") for axis in ("python", TORCH, TURBINE)),
        lambda cell: cell.passed or cell.stage == RUN,
    )


def _arm(cells: Sequence[Cell]) -> Tried:
    routes = [cell for cell in cells if cell.axes.get("target", "").startswith(ARM)]
    return _distinct(routes, lambda cell: (cell.axes["target"],), lambda cell: cell.right)


def _distinct(
    cells: Iterable[Cell],
    what: Callable[[Cell], tuple[str, ...]],
    good: Callable[[Cell], bool],
) -> Tried:
    tried = [(what(cell), good(cell)) for cell in cells]
    return frozenset(thing for thing, fine in tried if fine), frozenset(thing for thing, _ in tried)


COUNTS: Mapping[str, Callable[[Sequence[Cell]], Tried]] = {
    "models": _models,
    "runtimes": _runtimes,
    "exporters": _exporters,
    "arm": _arm,
}


def _counted(column: Mapping[str, Tried]) -> dict[str, Measure]:
    """Shares count what was tried with at least half of the releases: trying more with one is neither a gain nor a
    loss."""
    times = Counter(thing for _, tried in column.values() for thing in tried)
    common = {thing for thing, count in times.items() if 2 * count >= max(times.values())}
    return {
        release: Measure(text=f"{len(good)} of {len(tried)}", share=len(good & common) / len(common))
        for release, (good, tried) in column.items()
        if tried
    }


# -- ratios


def _ratios(column: Mapping[str, float], form: str) -> dict[str, Measure]:
    best = min(column.values(), default=1.0)
    return {release: Measure(text=form.format(ratio), share=best / ratio) for release, ratio in column.items()}


def _speeds(runs: Iterable[Run], releases: Iterable[str]) -> dict[str, float]:
    """Times with the default flags, of the release's compiler and its own runtime."""
    found: dict[str, list[float]] = {release: [] for release in releases}
    for axes, row, _ in (timed for run in runs for timed in timed_rows(run)):
        compiler = axes.get(COMPILER, "")
        own = minor(compiler) == minor(axes.get(RUNTIME, "")) and axes.get(FLAGS, "default") == "default"
        if own and minor(compiler) in found and row.ratio:
            found[minor(compiler)].append(row.ratio)
    return {release: _mean(ratios) for release, ratios in found.items() if ratios}


def _instructions(runs: Sequence[Run], releases: Iterable[str]) -> dict[str, float]:
    """Counts with the default flags, where no run has a time with a verdict at every release: elsewhere they say less
    than the times."""
    decided = _decided(runs)
    found: dict[str, list[float]] = {release: [] for release in releases}
    for series in (each for run in runs for each in count_series(run)):
        own = series.place.get(FLAGS, "default") == "default" and _place(series.place) not in decided
        if own and series.axis == COMPILER:
            fewest = min(series.instructions.values())
            for label, count in series.instructions.items():
                if minor(label) in found:
                    found[minor(label)].append(count / fewest)
    return {release: _mean(ratios) for release, ratios in found.items() if ratios}


def _decided(runs: Iterable[Run]) -> set[tuple[str, str]]:
    """The models and targets whose rows all have a time, and a verdict that says something."""
    open_ended = {Verdict.UNDECIDED, Verdict.UNSETTLED, Verdict.TOO_FEW, ""}
    rows: dict[tuple[str, str], list[bool]] = {}
    for axes, row, _ in (timed for run in runs for timed in timed_rows(run)):
        if axes.get(FLAGS, "default") == "default":
            said = row.baseline or row.verdict not in open_ended
            rows.setdefault(_place(axes), []).append(row.median_seconds is not None and said)
    return {place for place, verdicts in rows.items() if all(verdicts)}


def _place(axes: Mapping[str, str]) -> tuple[str, str]:
    return axes.get(MODEL_AXIS.name, ""), axes.get(TARGET_AXIS.name, "")


def _of_modules(
    runs: Sequence[Run], by_release: Mapping[str, Sequence[Cell]], bytes_of: Callable[[FinishedJob], int]
) -> dict[str, float]:
    """Modules from the same MLIR, compared with the fewest bytes of them; 0 are none that are known."""
    jobs = {
        key: job
        for run in runs
        for key, job in run.jobs.items()
        if job.stage == COMPILE and job.outcome is Outcome.PASSED
    }
    made: dict[str, dict[tuple[str, str], int]] = {release: {} for release in by_release}
    for release, cells in by_release.items():
        for cell in cells:
            for job in (jobs[key] for key in cell.jobs if key in jobs):
                size, mlir = bytes_of(job), job.inputs.get(MLIR, "")
                if size > 0 and mlir:
                    made[release][mlir, cell.axes.get(TARGET_AXIS.name, "")] = size
    fewest: dict[tuple[str, str], int] = {}
    for sizes in made.values():
        for place, size in sizes.items():
            fewest[place] = min(size, fewest.get(place, size))
    beside = {release: [size / fewest[place] for place, size in sizes.items()] for release, sizes in made.items()}
    return {release: _mean(ratios) for release, ratios in beside.items() if ratios}


def _module_bytes(job: FinishedJob) -> int:
    module = job.artifacts.get(VMFB)
    return module.bytes if module else 0


def _planned_bytes(job: FinishedJob) -> int:
    """0 where the run was measured without the compiler's statistics."""
    found = [job.measurements.get(name) for name in PLANNED_FIGURES]
    return sum(each for each in found if type(each) is int) if all(type(each) is int for each in found) else 0


def _mean(ratios: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, ratios)) / len(ratios))
