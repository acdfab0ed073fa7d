"""Which releases to pin: the newest tested combination that passed, or none. Pure; it never guesses.

A combination counts if its outputs were compared with the reference, and no other run of it contradicts.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from packaging.version import Version

from matrix.answers.causes import GIVEN, Move, cells_of, move_to, move_words, nearest_moves, orders
from matrix.core.errors import NoAnswer
from matrix.core.versions import (
    SelectorFault,
    are_versions,
    did_you_mean,
    is_nightly,
    is_selector,
    is_version,
    release_key,
    select,
)
from matrix.plan.axes import NONE
from matrix.plan.backends.shared import BACKEND_AXIS, MODEL_AXIS, TARGET_AXIS
from matrix.plan.stages import axes, backends
from matrix.results.run import Cell, Run
from matrix.results.times import machine_words

MOST_LISTED = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """`cell` is the answer, from `run`; `runner_up` is the next one with another runtime or compiler. `also_right` and
    `wrong` are the results of other models with the same releases, `unmeasured` are the models without results for
    them. `newer` fit the question too, and are not right."""

    cell: Cell
    run: Run
    runner_up: Cell | None
    also_right: tuple[str, ...]
    wrong: tuple[str, ...]
    unmeasured: tuple[str, ...]
    newer: tuple[Cell, ...] = ()
    passing: int
    tested: int


class KnownCells:
    """The cells of runs, arranged for many questions: a site asks one for each model, target and Python. Only those of
    one backend, the first that has the axes of `asked` and its model: an answer names releases of one system."""

    def __init__(self, runs: Sequence[Run], asked: Mapping[str, str] = MappingProxyType({})) -> None:
        self.cells = _of_one_backend(cells_of(runs), asked)
        refuted = {cell.name for run in runs for cell in run.cells if cell.outcome.red}
        right = (cell for cell in self.cells if cell.right and cell.name not in refuted)
        self.right = sorted(right, key=newness, reverse=True)
        """Those that an answer may be, the newest first."""
        self.labels = orders(self.cells, dict.fromkeys(axis for cell in self.cells for axis in cell.axes))
        self._runs = {id(cell): run for run in runs for cell in run.cells}
        self._right = {id(cell) for cell in self.right}
        self._nearest: dict[frozenset[tuple[str, str]], tuple[Move, ...]] = {}
        self._models: dict[str, list[Cell]] = {}
        self._tools: dict[frozenset[tuple[str, str]], list[Cell]] = {}
        for cell in self.cells:
            self._models.setdefault(cell.axes[MODEL_AXIS.name], []).append(cell)
            self._tools.setdefault(_but_model(cell), []).append(cell)

    def run_of(self, cell: Cell) -> Run:
        return self._runs[id(cell)]

    def is_right(self, cell: Cell) -> bool:
        """It is right, and no other run contradicts it."""
        return id(cell) in self._right

    @property
    def models(self) -> frozenset[str]:
        return frozenset(self._models)

    def fitting(self, meant: Mapping[str, frozenset[str]]) -> list[Cell]:
        """The cells with one of the meant values on each axis."""
        among = meant.get(MODEL_AXIS.name)
        cells = self.cells if among is None else [cell for model in among for cell in self._models[model]]
        return [cell for cell in cells if all(cell.axes.get(axis) in labels for axis, labels in meant.items())]

    def right_of(self, meant: Mapping[str, frozenset[str]]) -> list[Cell]:
        """Those that are right, with one of the meant values on each axis: the newest first."""
        wanted = meant.items()
        return [cell for cell in self.right if all(cell.axes.get(axis) in labels for axis, labels in wanted)]

    def nearest(self, wanted: Mapping[str, str]) -> tuple[Move, ...]:
        """The nearest that is right: with the requested model and target if there is any, else with another one."""
        asked = frozenset(wanted.items())
        if asked not in self._nearest:
            meant = {axis: meant_by(term, self.labels.get(axis, ())) for axis, term in wanted.items()}
            self._nearest[asked] = _nearest(wanted, meant, self) or _nearest_given(wanted, meant, self)
        return self._nearest[asked]

    def with_tools_of(self, cell: Cell) -> list[Cell]:
        """The cells of other models with the same values on all other axes."""
        return [other for other in self._tools[_but_model(cell)] if other.axes != cell.axes]


def _of_one_backend(cells: Sequence[Cell], asked: Mapping[str, str]) -> list[Cell]:
    names = [backend.name for backend in backends()]
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        found.setdefault(cell.axes.get(BACKEND_AXIS.name, names[0]), []).append(cell)
    model = MODEL_AXIS.name
    for name in names:
        known = [cell for cell in found.get(name, ()) if asked.keys() <= cell.axes.keys() and cell.measured]
        if any(asked.get(model, cell.axes[model]) == cell.axes[model] for cell in known):
            return found[name]
    return next((found[name] for name in names if name in found), [])


def find_advice(tested: KnownCells, wanted: Mapping[str, str]) -> Advice:
    """`wanted` maps an axis to a release, a specifier or a name. Raises NoAnswer with the nearest cell that passes."""
    meant = {axis: meant_by(term, tested.labels.get(axis, ())) for axis, term in wanted.items()}
    fitting = tested.fitting(meant)
    chosen = tested.right_of(meant)
    if not chosen:
        raise _no_answer(wanted, meant, fitting, tested)
    best = chosen[0]
    others = [cell for cell in chosen[1:] if _tools(cell) != _tools(best)]
    beside = tested.with_tools_of(best)
    measured = {cell.axes["model"] for cell in beside if cell.measured} | {best.axes["model"]}
    age = newness(best)
    return Advice(
        cell=best,
        run=tested.run_of(best),
        runner_up=next(iter([*others, *chosen[1:]]), None),
        also_right=tuple(cell.axes["model"] for cell in beside if tested.is_right(cell)),
        wrong=tuple(f"{cell.axes['model']} ({cell.words})" for cell in beside if cell.outcome.red),
        unmeasured=tuple(sorted(tested.models - measured)),
        newer=tuple(cell for cell in fitting if newness(cell) > age),
        passing=len(chosen),
        tested=sum(1 for cell in fitting if cell.measured),
    )


def newest_first() -> list[str]:
    """The axes of releases, the last stage's first."""
    return [name for name, axis in reversed(list(axes().items())) if axis.released]


def newness(cell: Cell) -> tuple[bool | tuple[bool, Version], ...]:
    """Ascending: the default flags before others, then newest runtime, compiler, turbine, torch, Python."""
    own = (axis for axis in axes().values() if not axis.released and axis not in (MODEL_AXIS, TARGET_AXIS))
    usual = (cell.axes.get(axis.name) in axis.default or (axis.optional and axis.name not in cell.axes) for axis in own)
    return (*usual, *(_age(cell.axes.get(axis, "")) for axis in newest_first()))


@functools.cache
def _age(label: str) -> tuple[bool, Version]:
    """A name (of a user's toolchain) is older than any release: it is advised only if it is asked for."""
    if is_nightly(label):  # behind all releases: it is advised only where it is asked for
        return False, Version(label)
    return release_key(label) if is_version(label) else (False, Version("0.dev0"))


def _tools(cell: Cell) -> tuple[str | None, ...]:
    return tuple(cell.axes.get(name) for name, axis in axes().items() if axis.tool)


def _but_model(cell: Cell) -> frozenset[tuple[str, str]]:
    return frozenset(item for item in cell.axes.items() if item[0] != MODEL_AXIS.name)


def meant_by(term: str, labels: Sequence[str]) -> frozenset[str]:
    """The measured values (`labels`) that a term means: an exact version, the patch releases of a minor one, a
    specifier. May be empty."""
    if term in labels:
        return frozenset((term,))
    releases = [label for label in labels if is_version(label)]
    try:
        found = select(term if is_selector(term) else f"=={term}.*", releases)
        found = found or (select(f"=={term}", releases) if not is_selector(term) else ())
    except SelectorFault:
        found = ()
    return frozenset(found)


def _no_answer(
    wanted: Mapping[str, str],
    meant: Mapping[str, frozenset[str]],
    fitting: Sequence[Cell],
    tested: KnownCells,
) -> NoAnswer:
    asked = ", ".join(f"{axis} {term}" for axis, term in wanted.items())
    lines = [f"no tested combination passes with {asked}"]
    for axis, labels in meant.items():
        if not labels:
            known = tested.labels.get(axis, ())
            close = "" if are_versions(known) else did_you_mean(wanted[axis], known)
            lines.append(f"  no result has {axis} {wanted[axis]}; tested: {_listed(known)}{close}")
    measured = [cell for cell in fitting if cell.measured]
    if all(meant.values()):
        lines.append(f"  {len(measured)} of these were tested" + (", none is right:" if measured else ""))
        lines += [f"    {count} {words}" for words, count in Counter(cell.words for cell in measured).items()]
    measure = "measure yours: `python -m matrix run --model …`"
    moves = tested.nearest(wanted)
    if not moves or any(step.axis in GIVEN for move in moves for step in move.changes):
        lines.append(f"  nothing that passes has {_asked(wanted, GIVEN)}")
    if not moves:
        return NoAnswer("\n".join(lines), tip=measure)
    lines += ["  nearest that passes:", *(f"    {move_words(move)}: {combination(move.cell)}" for move in moves)]
    return NoAnswer("\n".join(lines), tip=f"take the nearest, or {measure}")


def _asked(wanted: Mapping[str, str], among: Iterable[str]) -> str:
    return ", ".join(f"{axis} {wanted[axis]}" for axis in among if axis in wanted)


def _nearest_given(
    wanted: Mapping[str, str], meant: Mapping[str, frozenset[str]], tested: KnownCells
) -> tuple[Move, ...]:
    """The nearest with another model, and those with another target: one for each that was measured."""
    found: list[Move] = []
    for axis in (axis for axis in GIVEN if axis in wanted):
        kept = {name: labels for name, labels in meant.items() if name != axis}
        for label in tested.labels.get(axis, ()):
            moved = {**kept, axis: frozenset((label,))}
            found += _nearest({**wanted, axis: label}, moved, tested)[:1] if all(moved.values()) else ()
    return nearest_moves(move_to(move.cell, wanted, _order(wanted, tested)) for move in found)


def _order(wanted: Mapping[str, str], tested: KnownCells) -> dict[str, tuple[str, ...]]:
    return {axis: tested.labels.get(axis, ()) for axis in wanted}


def _nearest(wanted: Mapping[str, str], meant: Mapping[str, frozenset[str]], tested: KnownCells) -> tuple[Move, ...]:
    """From the nearest of the requested values, the newest of those equally near; model and target stay as
    requested."""
    order = _order(wanted, tested)
    given = {axis: meant[axis] for axis in GIVEN if axis in wanted}

    def standing(cell: Cell, axis: str) -> str:
        there, among = cell.axes.get(axis, ""), [label for label in order[axis] if label in meant[axis]]
        if there in among or not among or there not in order[axis]:
            return there if there in among else wanted[axis]
        return min(among, key=lambda label: abs(order[axis].index(label) - order[axis].index(there)))

    return nearest_moves(
        move_to(cell, {axis: standing(cell, axis) for axis in wanted}, order) for cell in tested.right_of(given)
    )


def _listed(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - MOST_LISTED} more" if len(labels) > MOST_LISTED else ""
    return ", ".join(labels[-MOST_LISTED:]) + more


def combination(cell: Cell) -> str:
    """`runtime 3.13.0, compiler 3.13.0, turbine 3.9.0, torch 2.9.1, python 3.11`."""
    return ", ".join(f"{axis} {cell.axes[axis]}" for axis in newest_first() if cell.axes.get(axis, NONE) != NONE)


def advice_rows(advice: Advice, wanted: Mapping[str, str]) -> list[tuple[str, str]]:
    """(heading, text) rows of the answer."""
    cell, run = advice.cell, advice.run
    jobs = run.jobs_of(cell)
    rest = ", ".join(f"{axis} {label}" for axis, label in cell.axes.items() if axis not in newest_first())
    free = [axis for axis, label in cell.axes.items() if axis not in wanted and label != NONE]
    rows = [("pin", combination(cell)), ("for", rest)]
    if free:
        rows.append(
            ("chosen", f"{', '.join(free)}: the newest of {advice.passing} that pass, of {advice.tested} tested")
        )
    if advice.newer:
        ends = Counter(each.words for each in advice.newer)
        said = ", ".join(f"{count} {words}" for words, count in ends.most_common())
        rows.append(("", f"newer ones fit too, and did not pass: {said}; such as {combination(advice.newer[0])}"))
    stages = ", ".join(job.stage for job in jobs)
    last = jobs[-1]
    rows.append(("tested", f"{last.finished_at[:10]} on {machine_words(last.machine)}, engine {last.engine}: {stages}"))
    if cell.comparison:
        rows.append(("", f"outputs {cell.comparison.text} (tolerance {cell.comparison.tolerance:.3g})"))
    if advice.also_right:
        rows.append(("", f"also right with these releases: {', '.join(advice.also_right)}"))
    for heading, texts in (("wrong", advice.wrong), ("not tested", advice.unmeasured)):
        if texts:
            what = "with these releases: " if heading == "wrong" else "with these releases: model "
            rows.append((heading, what + ", ".join(texts)))
    rows.append(("not tested", "any other machine, and any model that is not named here"))
    rows.append(("runner-up", combination(advice.runner_up) if advice.runner_up else "none: nothing else passes"))
    rows.append(("reproduce", cell.reproduce))
    return rows
