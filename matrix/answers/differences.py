"""What got better or worse between two runs, or between two releases of one axis, grouped, with the likely cause. Pure.

`equality` is for runs that should be equal, where any difference counts; here only what is worse counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from matrix.answers.causes import orders
from matrix.results import signatures
from matrix.results.run import Cell, Run
from matrix.results.square import placed

Pair = tuple[Cell | None, Cell | None]
"""A cell before and after; None if it is not there."""
PairOfRuns = tuple[Run, Cell | None, Run, Cell | None]
"""The same, each with the run that it is of."""


class Direction(StrEnum):
    """How cells changed, the worst first."""

    WORSE = "worse"
    CHANGED = "changed"
    BETTER = "better"


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnedCells:
    """Cells that changed in the same way. `causes` are the meanings of the messages, most frequent first."""

    turn: Direction
    before: str
    after: str
    cells: tuple[Cell, ...]
    gate: str
    causes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """`same` cells end as before. `gone` and `new` are on one side only, `unmeasured` is measured on one side only:
    they are reported, but not judged. `gone_words` say what happened to the `gone` ones. `order` holds the values of
    each axis, `surroundings` what else differs."""

    groups: tuple[TurnedCells, ...]
    order: Mapping[str, Sequence[str]]
    same: int
    gone: int
    new: int
    unmeasured: int
    surroundings: tuple[str, ...] = ()
    gone_words: str = "gone"

    @property
    def worse(self) -> int:
        return sum(len(group.cells) for group in self.groups if group.turn is Direction.WORSE)


def diff_runs(before: Run, after: Run) -> Diff:
    """Compares two runs, cell by cell, by the values of their axes."""
    pairs = [(old, new) for _, old, _, new in run_pairs(before, after)]
    return _diff(pairs, tuple(_surroundings(before, after)))


def run_pairs(before: Run, after: Run) -> list[PairOfRuns]:
    """The cells of two runs by the values of their axes."""
    old, new = before.by_name, after.by_name
    return [(before, old.get(name), after, new.get(name)) for name in dict.fromkeys((*old, *new))]


def diff_releases(runs: Sequence[Run], axis: str, before: str, after: str) -> Diff:
    """Compares two releases of an axis, by `release_pairs`."""
    pairs = [(old, new) for _, old, _, new in release_pairs(runs, axis, before, after)]
    return _diff(pairs, (), gone_words=f"not measured with {axis} {after}")


def release_pairs(runs: Sequence[Run], axis: str, before: str, after: str) -> list[PairOfRuns]:
    """The cells of two releases of an axis; all other axes stay the same. An axis that is tied to it in a run moves
    with it, so that a cell of two runs may have two partners."""
    pairs: dict[tuple[str, str], PairOfRuns] = {}
    for run in runs:
        tied = run.moving_together.get(axis, frozenset((axis,)))
        for cell in run.by_label.get(axis, {}).get(before, ()):
            moved = {name: after if name in tied else label for name, label in cell.axes.items()}
            place = " ".join(map("=".join, moved.items()))
            pair = (run, cell, run, run.by_name.get(place))
            known = pairs.get((cell.name, place))
            if known is None or _measured_sides(pair) >= _measured_sides(known):  # a run may leave out what another has
                pairs[cell.name, place] = pair
    return list(pairs.values())


def _measured_sides(pair: PairOfRuns) -> int:
    return sum(side is not None and side.measured for side in (pair[1], pair[3]))


def _diff(pairs: Sequence[Pair], surroundings: tuple[str, ...], *, gone_words: str = "gone") -> Diff:
    turned: dict[tuple[Direction, str, str], list[tuple[Cell, Cell]]] = {}
    same = unmeasured = 0
    for before, after in pairs:
        if before is None or after is None:
            continue
        if before.measured != after.measured:
            unmeasured += 1
        elif before.words == after.words:
            same += 1
        else:
            turned.setdefault((turn_of(before, after), before.words, after.words), []).append((before, after))
    worst_first = list(Direction)
    groups = [_group(key, cells) for key, cells in turned.items()]
    seen = [cell for before, after in pairs if (cell := before or after)]
    return Diff(
        order=orders(seen, dict.fromkeys(axis for cell in seen for axis in cell.axes)),
        groups=tuple(sorted(groups, key=lambda group: (worst_first.index(group.turn), -len(group.cells)))),
        same=same,
        gone=sum(1 for before, after in pairs if after is None),
        new=sum(1 for before, after in pairs if before is None),
        unmeasured=unmeasured,
        surroundings=surroundings,
        gone_words=gone_words,
    )


def turn_of(before: Cell, after: Cell) -> Direction:
    if before.passed and after.outcome.red:
        return Direction.WORSE
    return Direction.BETTER if after.passed and before.outcome.red else Direction.CHANGED


def _group(key: tuple[Direction, str, str], cells: Sequence[tuple[Cell, Cell]]) -> TurnedCells:
    turn, before, after = key
    failing = [was if turn is Direction.BETTER else now for was, now in cells]
    said: dict[str, int] = {}
    for cell in failing:
        text = cell.means or (cell.comparison.text if cell.comparison else cell.reason)
        said[text] = said.get(text, 0) + 1
    return TurnedCells(
        turn=turn,
        before=before,
        after=after,
        cells=tuple(was for was, _ in cells),
        gate=signatures.gates().get(failing[0].signature, ""),
        causes=tuple(sorted((text for text in said if text), key=lambda text: -said[text])),
    )


def _surroundings(before: Run, after: Run) -> Iterable[str]:
    """Other possible causes: packages of environments with the same name, machines, engines."""
    old, new = ({each.lock: each for each in run.environments.values()} for run in (before, after))
    changes: dict[str, list[str]] = {}
    for lock in sorted(old.keys() & new.keys()):
        was, now = old[lock], new[lock]
        packages = sorted(was.distributions.keys() | now.distributions.keys())
        facts = [(name, was.distributions.get(name, "none"), now.distributions.get(name, "none")) for name in packages]
        facts += [("Python", was.python, now.python), ("C library", was.c_library, now.c_library)]
        for name, first, second in facts:
            if first != second:
                changes.setdefault(f"{name} {first} -> {second}", []).append(lock)
    yield from (f"{text}, in {_few(locks)}" for text, locks in changes.items())
    for what in ("machine", "engine"):
        ends = [" and ".join(sorted({getattr(job, what) for job in run.jobs.values()})) for run in (before, after)]
        if ends[0] != ends[1]:
            yield f"{what} {ends[0] or 'none'} -> {ends[1] or 'none'}"


def _few(texts: Sequence[str]) -> str:
    return ", ".join(texts[:3]) + (f" and {len(texts) - 3} more" if len(texts) > 3 else "")


def difference_lines(found: Diff) -> list[str]:
    """The text for people: the groups, what else differs, the totals."""
    lines: list[str] = []
    for group in found.groups:
        count = f"{len(group.cells)} cells" if len(group.cells) > 1 else "1 cell"
        lines.append(f"{group.turn}: {count}: {group.before} -> {group.after}")
        lines.append(f"  cells    {axis_words(group.cells, found.order)}")
        lines += [f"  gate     {group.gate}"] if group.gate else []
        lines += [f"  cause    {text}" for text in group.causes[:3]]
        lines += [f"  cause    and {len(group.causes) - 3} more"] if len(group.causes) > 3 else []
        lines.append("")
    lines += ["what else differs", *(f"  {text}" for text in found.surroundings), ""] if found.surroundings else []
    better = sum(len(group.cells) for group in found.groups if group.turn is Direction.BETTER)
    changed = sum(len(group.cells) for group in found.groups) - better - found.worse
    total = f"{found.worse} worse, {better} better, {changed} changed, {found.same} the same"
    for number, what in (
        (found.gone, found.gone_words),
        (found.new, "new"),
        (found.unmeasured, "measured on one side only"),
    ):
        total += f", {number} {what}" if number else ""
    return [*lines, total]


def axis_words(cells: Sequence[Cell], order: Mapping[str, Sequence[str]]) -> str:
    """`compiler 3.8; runtime 3.4 to 3.7`: the values of each axis with several."""
    said = placed([cell.axes for cell in cells], order)
    return said or (cells[0].name if len(cells) == 1 else "all of one place")
