"""Which releases to pin: the newest tested combination that passed, or none. Pure; it never guesses.

A combination counts if its outputs were compared with the reference, and no other run of it contradicts.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from packaging.version import InvalidVersion, Version

from matrix.answers.causes import GIVEN, Move, cells_of, move_to, move_words, nearest_moves, orders
from matrix.core.errors import NoAnswer
from matrix.core.versions import SelectorFault, are_versions, did_you_mean, is_selector, releases_first, select
from matrix.plan.axes import NONE
from matrix.plan.backends.shared import MODEL_AXIS, TARGET_AXIS
from matrix.plan.stages import axes
from matrix.results.run import Cell, Run

"""The order of `newest`: the newest runtime, of those the newest compiler, and so on."""
MOST_LISTED = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """`cell` is the answer, from `run`; `runner_up` is the next one with another runtime or compiler. `also_right` and
    `wrong` are the results of other models with the same releases, `unmeasured` are the models without results for
    them."""

    cell: Cell
    run: Run
    runner_up: Cell | None
    also_right: tuple[str, ...]
    wrong: tuple[str, ...]
    unmeasured: tuple[str, ...]
    passing: int
    tested: int


def find_advice(runs: Sequence[Run], wanted: Mapping[str, str]) -> Advice:
    """`wanted` maps an axis to a release, a specifier or a name. Raises NoAnswer with the nearest cell that passes."""
    cells = cells_of(runs)
    meant = {axis: meant_by(axis, term, cells) for axis, term in wanted.items()}
    refuted = {cell.name for run in runs for cell in run.cells if cell.outcome.red}
    right = [cell for cell in cells if cell.right and cell.name not in refuted]

    def fits(cell: Cell) -> bool:
        return all(cell.axes.get(axis) in labels for axis, labels in meant.items())

    fitting = [cell for cell in cells if fits(cell)]
    chosen = sorted(filter(fits, right), key=newness, reverse=True)
    if not chosen:
        raise _no_answer(wanted, meant, fitting, right, cells)
    best = chosen[0]
    others = [cell for cell in chosen[1:] if _tools(cell) != _tools(best)]
    beside = [cell for cell in cells if cell.axes != best.axes and _but_model(cell) == _but_model(best)]
    measured = {cell.axes["model"] for cell in beside if cell.measured} | {best.axes["model"]}
    return Advice(
        cell=best,
        run=next(run for run in runs if any(cell is best for cell in run.cells)),
        runner_up=next(iter([*others, *chosen[1:]]), None),
        also_right=tuple(cell.axes["model"] for cell in beside if cell.right and cell.name not in refuted),
        wrong=tuple(f"{cell.axes['model']} ({cell.words})" for cell in beside if cell.outcome.red),
        unmeasured=tuple(sorted({cell.axes["model"] for cell in cells} - measured)),
        passing=len(chosen),
        tested=sum(1 for cell in fitting if cell.measured),
    )


def newest_first() -> list[str]:
    """The axes of releases, the last stage's first."""
    return [name for name, axis in reversed(list(axes().items())) if axis.released]


def newness(cell: Cell) -> tuple[bool | Version, ...]:
    """Ascending: the default flags before others, then newest runtime, compiler, turbine, torch, Python."""
    own = (axis for axis in axes().values() if not axis.released and axis not in (MODEL_AXIS, TARGET_AXIS))
    usual = (cell.axes.get(axis.name) in axis.default for axis in own)
    return (*usual, *(_version(cell.axes.get(axis, "")) for axis in newest_first()))


@functools.cache
def _version(label: str) -> Version:
    """A name (of a user's toolchain) is older than any release: it is advised only if it is asked for."""
    try:
        return Version(label)
    except InvalidVersion:
        return Version("0.dev0")


def _tools(cell: Cell) -> tuple[str | None, ...]:
    return tuple(cell.axes.get(name) for name, axis in axes().items() if axis.tool)


def _but_model(cell: Cell) -> dict[str, str]:
    return {axis: label for axis, label in cell.axes.items() if axis != "model"}


def meant_by(axis: str, term: str, cells: Sequence[Cell]) -> frozenset[str]:
    """The measured values of a term: an exact version, the patch releases of a minor one, a specifier. May be empty."""
    labels = releases_first(cell.axes[axis] for cell in cells if axis in cell.axes)
    if term in labels:
        return frozenset((term,))
    releases = [label for label in labels if _version(label) > Version("0.dev0")]
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
    right: Sequence[Cell],
    cells: Sequence[Cell],
) -> NoAnswer:
    asked = ", ".join(f"{axis} {term}" for axis, term in wanted.items())
    lines = [f"no tested combination passes with {asked}"]
    for axis, labels in meant.items():
        if not labels:
            known = releases_first(cell.axes[axis] for cell in cells if axis in cell.axes)
            close = "" if are_versions(known) else did_you_mean(wanted[axis], known)
            lines.append(f"  no result has {axis} {wanted[axis]}; tested: {_listed(known)}{close}")
    measured = [cell for cell in fitting if cell.measured]
    if all(meant.values()):
        lines.append(f"  {len(measured)} of these were tested" + (", none is right:" if measured else ""))
        ends: dict[str, int] = {}
        for cell in measured:
            ends[cell.words] = ends.get(cell.words, 0) + 1
        lines += [f"    {count} {words}" for words, count in ends.items()]
    moves = _nearest(wanted, meant, right, cells)
    if moves:
        lines += ["  nearest that passes:", *(f"    {move_words(move)}: {combination(move.cell)}" for move in moves)]
    else:
        lines.append("  nothing that passes has this model and target")
    return NoAnswer("\n".join(lines), tip="take the nearest, or measure yours: `python -m matrix run --model …`")


def _nearest(
    wanted: Mapping[str, str],
    meant: Mapping[str, frozenset[str]],
    right: Sequence[Cell],
    cells: Sequence[Cell],
) -> tuple[Move, ...]:
    """From the nearest of the requested values, the newest of those equally near; model and target stay as
    requested."""
    order = orders(cells, wanted)
    given = [axis for axis in GIVEN if axis in wanted]

    def standing(cell: Cell, axis: str) -> str:
        there, among = cell.axes.get(axis, ""), [label for label in order[axis] if label in meant[axis]]
        if there in among or not among or there not in order[axis]:
            return there if there in among else wanted[axis]
        return min(among, key=lambda label: abs(order[axis].index(label) - order[axis].index(there)))

    return nearest_moves(
        move_to(cell, {axis: standing(cell, axis) for axis in wanted}, order)
        for cell in sorted(right, key=newness, reverse=True)
        if all(cell.axes.get(axis) in meant[axis] for axis in given)
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
    stages = ", ".join(job.stage for job in jobs)
    last = jobs[-1]
    rows.append(("tested", f"{last.finished_at[:10]} on {last.machine}, engine {last.engine}: {stages}"))
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
