"""Whether a set of pinned releases was measured, and how each stage ended: evidence first, then the gates. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from packaging.version import Version

from matrix.answers import predictions
from matrix.answers.advice import KnownCells
from matrix.answers.causes import GIVEN, Move, move_to, nearest_moves
from matrix.core.records import Outcome
from matrix.core.versions import are_versions, is_dated, is_version, releases_first
from matrix.plan.axes import NONE
from matrix.plan.backends.backend import StageKind
from matrix.plan.backends.shared import MODEL_AXIS, PYTHON_AXIS
from matrix.plan.stages import axes, environments, kinds
from matrix.results.run import Cell, RealisedEnvironment, Run


class Grade(StrEnum):
    """What is known of a stage with these releases."""

    PASSES = "passes"
    MIXED = "passes with some"
    FAILS = "fails"
    FORETOLD = "would fail"
    UNMEASURED = "not measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCheck:
    """A stage of the set. `beside` has the pinned axes that differ in the cells that are shown; empty if the set was
    measured together. `words` is how cells ended -> the models with that end."""

    stage: str
    grade: Grade
    words: Mapping[str, tuple[str, ...]]
    beside: tuple[str, ...] = ()
    foretold: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Displaced:
    """A package of the exporter's environment, as it was measured, that the set has at another version: in one
    environment there is only one of them."""

    package: str
    measured: str
    pinned: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetCheck:
    """`pins` are the axes that the set pins, `unknown` those at a release that no result has."""

    pins: Mapping[str, str]
    unknown: Mapping[str, str]
    together: int
    stages: tuple[StageCheck, ...]
    displaced: tuple[Displaced, ...]
    mends: tuple[Move, ...]

    @property
    def fails(self) -> bool:
        return any(each.grade in (Grade.FAILS, Grade.FORETOLD) for each in self.stages)

    @property
    def measured(self) -> bool:
        return not self.displaced and all(each.grade in (Grade.PASSES, Grade.MIXED) for each in self.stages)


def packages() -> dict[str, str]:
    """Axis -> the package of its releases."""
    return {name: axis.package for name, axis in axes().items() if axis.package}


def measured_packages(known: KnownCells) -> dict[str, str]:
    """Those of the system that the results are of: packages of another one are pins of nothing."""
    measured = {axis for axis, labels in known.labels.items() if set(labels) - {NONE}}
    return {axis: package for axis, package in packages().items() if axis in measured}


def package_of(axis: str, release: str) -> str:
    """The package that has a release of an axis: dated ones are of the older one."""
    row = axes()[axis]
    return row.older_package if row.older_package and is_version(release) and is_dated(release) else row.package


def pins_of(versions: Mapping[str, str], known: KnownCells, runs: Sequence[Run]) -> dict[str, str]:
    """Axis -> release: the label of the results where there is one. A local part (`+cpu`) is left out, and the version
    of a wheel's METADATA stands for the release that brought it."""
    found = {}
    for axis, newer in measured_packages(known).items():
        package = newer if newer in versions else axes()[axis].older_package
        if package in versions:
            version, labels = Version(versions[package]), known.labels.get(axis, ())
            exact = [label for label in labels if is_version(label) and Version(label) == Version(version.public)]
            told = [label for label in labels if label == version.base_version and _came(package, version, runs)]
            found[axis] = next(iter([*exact, *told]), version.public)
    return found


def _came(package: str, version: Version, runs: Sequence[Run]) -> bool:
    """Whether an environment that was measured said this version of a package."""
    return any(each.distributions.get(package) == str(version) for run in runs for each in run.environments.values())


def check_set(
    pins: Mapping[str, str], given: Mapping[str, str], known: KnownCells, *, one_environment: bool = True
) -> SetCheck:
    """`given` are the model, target and Python in question, as far as they are. With `one_environment`, what the
    exporter was measured with has to be what is pinned."""
    cells = [cell for cell in known.cells if _usual(cell) and _agrees(cell, given)]
    chain = list(_chain(pins))
    stages = [_stage_check(place, chain, pins, given, cells) for place in range(len(chain))]
    displaced = _displaced(pins, cells, known) if one_environment else ()
    checked = SetCheck(
        pins=pins,
        unknown={axis: label for axis, label in pins.items() if label not in known.labels.get(axis, ())},
        together=sum(1 for cell in cells if cell.measured and _has(cell, pins)),
        stages=tuple(stages),
        displaced=tuple(displaced),
        mends=(),
    )
    if checked.measured and not any(each.beside for each in stages):
        return checked
    return SetCheck(
        pins=checked.pins,
        unknown=checked.unknown,
        together=checked.together,
        stages=checked.stages,
        displaced=checked.displaced,
        mends=_mends(pins, given, cells, known, one_environment=one_environment),
    )


def _usual(cell: Cell) -> bool:
    """With the default flags."""
    own = (axis for name, axis in axes().items() if not axis.released and name not in GIVEN)
    return all(cell.axes.get(axis.name, axis.default[0]) in axis.default for axis in own)


def _agrees(cell: Cell, given: Mapping[str, str]) -> bool:
    return all(cell.axes.get(axis) == label for axis, label in given.items() if axis != PYTHON_AXIS.name)


def _has(cell: Cell, pins: Mapping[str, str]) -> bool:
    return all(cell.axes.get(axis) == label for axis, label in pins.items())


# -- stages


def _chain(pins: Mapping[str, str]) -> Iterator[StageKind]:
    """The stages whose tools the set pins, each tool once, in the order of a run."""
    seen: set[tuple[str, ...]] = set()
    for kind in kinds().values():
        own = tuple(axis for axis in kind.axes if axis in pins)
        if own and not kind.comes_with and own not in seen and environments()[kind.environment].axes:
            seen.add(own)
            yield kind


def _stage_check(
    place: int, chain: Sequence[StageKind], pins: Mapping[str, str], given: Mapping[str, str], cells: Sequence[Cell]
) -> StageCheck:
    """From the cells with all releases up to this stage; else with those of this stage and the one before; else, except
    of the last stage, with its own."""
    order = list(kinds())
    kind = chain[place]
    there = [cell for cell in cells if cell.measured or cell.outcome is Outcome.NOT_INSTALLABLE]
    there = [cell for cell in there if cell.passed or order.index(cell.stage) >= order.index(kind.name)]
    asked = {**pins, **{axis: label for axis, label in given.items() if axis == PYTHON_AXIS.name}}
    so_far = [axis for each in chain[: place + 1] for axis in each.axes if axis in asked]
    two = [axis for each in chain[max(0, place - 1) : place + 1] for axis in each.axes if axis in pins]
    own = [axis for axis in kind.axes if axis in pins]
    levels = (so_far, two) if place and kind is chain[-1] else (so_far, two, own)  # a runtime alone loads nothing
    for names in levels:
        wanted = {axis: asked[axis] for axis in names}
        if found := [cell for cell in there if _has(cell, wanted)]:
            beside = tuple(axis for axis in dict.fromkeys(so_far) if axis not in names)
            return _graded(kind, found, beside)
    foretold = predictions.prediction_of(pins, predictions.committed_predictions()) if place else None
    if foretold and kind is chain[-1]:
        grade = Grade.UNMEASURED if foretold.loads else Grade.FORETOLD
        return StageCheck(stage=kind.name, grade=grade, words={}, foretold=predictions.prediction_words(foretold))
    return StageCheck(stage=kind.name, grade=Grade.UNMEASURED, words={})


def _graded(kind: StageKind, cells: Sequence[Cell], beside: tuple[str, ...]) -> StageCheck:
    """A model that passes in one of the cells and not in another is in both rows."""
    words: dict[str, dict[str, None]] = {}
    for cell in cells:
        said = cell.words if cell.stage == kind.name and not cell.passed else "passed"
        if cell.outcome is Outcome.NOT_INSTALLABLE:
            said = f"not installable on Python {cell.axes.get(PYTHON_AXIS.name, '')}"
        words.setdefault(said, {})[cell.axes[MODEL_AXIS.name]] = None
    grade = Grade.PASSES if set(words) == {"passed"} else Grade.MIXED if "passed" in words else Grade.FAILS
    models = {said: tuple(found) for said, found in words.items()}
    return StageCheck(stage=kind.name, grade=grade, words=models, beside=beside)


# -- one environment


def _displaced(pins: Mapping[str, str], cells: Sequence[Cell], known: KnownCells) -> list[Displaced]:
    """What stood beside the exporter when it was measured, and is pinned at another version."""
    first = next(iter(kinds().values()))
    exporter = [axis for axis in first.axes if axis in pins]
    beside = [axis for axis in packages() if axis not in first.axes and axis in pins]
    if not exporter or not beside:
        return []
    for cell in cells:
        if _has(cell, {axis: pins[axis] for axis in exporter}) and (stood := _exporter_of(cell, known)):
            return [
                Displaced(package=packages()[axis], measured=version, pinned=pins[axis])
                for axis in beside
                if (version := _installed(stood, packages()[axis])) and Version(version) != Version(pins[axis])
            ]
    return []


def _exporter_of(cell: Cell, known: KnownCells) -> RealisedEnvironment | None:
    run = known.run_of(cell)
    first = next(iter(kinds().values())).name
    jobs = [run.jobs[key] for key in cell.jobs if run.jobs[key].stage == first]
    return run.environments.get(jobs[0].environment) if jobs else None


def _installed(environment: RealisedEnvironment, package: str) -> str:
    """Its release; some wheels of IREE's say a candidate of it."""
    version = environment.distributions.get(package, "")
    return Version(version).base_version if is_version(version) else ""


def fits_in_one(cell: Cell, known: KnownCells) -> bool:
    """Whether its releases and those that its exporter was measured with can stand in one environment."""
    stood = _exporter_of(cell, known)
    first = next(iter(kinds().values()))
    its = {name for name, label in cell.axes.items() if label != NONE}
    beside = [axis for axis in axes().values() if axis.package and axis.name in its - set(first.axes)]
    return stood is None or all(
        _installed(stood, axis.package) in ("", cell.axes[axis.name])
        and not (axis.older_package and axis.older_package in stood.distributions)
        for axis in beside
    )


def _mends(
    pins: Mapping[str, str],
    given: Mapping[str, str],
    cells: Sequence[Cell],
    known: KnownCells,
    *,
    one_environment: bool,
) -> tuple[Move, ...]:
    """The smallest changes that lead to a set that was measured and is right; first those with which most models
    are."""
    right = [cell for cell in cells if known.is_right(cell) and are_versions(cell.axes[axis] for axis in pins)]
    if any(axis in pins for axis in next(iter(kinds().values())).axes):
        right = [cell for cell in right if _has(cell, given)]
        right = [cell for cell in right if not one_environment or fits_in_one(cell, known)] or right
    tools = Counter(frozenset((axis, cell.axes[axis]) for axis in packages() if axis in cell.axes) for cell in right)

    def models(cell: Cell) -> int:
        return tools[frozenset((axis, cell.axes[axis]) for axis in packages() if axis in cell.axes)]

    order = {axis: releases_first((*known.labels.get(axis, ()), label)) for axis, label in pins.items()}
    return nearest_moves(move_to(cell, pins, order) for cell in sorted(right, key=models, reverse=True))
