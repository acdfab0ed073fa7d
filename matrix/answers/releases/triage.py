"""What changed with a release, sorted for triage: new failures, other failures, flaky, repaired, still failing. Pure.

Cells are grouped by the first stage and signature in which both ends differ. Nothing is accused that may be chance: a
new failure counts as confirmed if its message is one that a signature knows, or if a second attempt ended alike.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from matrix.answers.costs import CostChange
from matrix.answers.differences import Direction, PairOfRuns, turn_of
from matrix.core.records import Outcome
from matrix.plan.stages import rank_of
from matrix.results import signatures
from matrix.results.run import Cell, Run


class Triage(StrEnum):
    """Kinds of changed cells, in the order of a report."""

    NEW = "new failures"
    DIFFERENT = "fail differently"
    FLAKY = "flaky"
    REPAIRED = "repaired"
    STILL = "still failing"


@dataclass(frozen=True, slots=True, kw_only=True)
class TriagedCell:
    """A cell with both ends. `confirmed`: the end of the new one is no chance; `why` says what shows it, or what
    is missing."""

    before: Cell
    after: Cell
    before_run: Run
    run: Run
    confirmed: bool
    why: str

    @property
    def together(self) -> bool:
        """Whether both ends were measured in one run, on one machine."""
        return self.before_run is self.run and _machines(self.run, self.before) == _machines(self.run, self.after)


@dataclass(frozen=True, slots=True, kw_only=True)
class TriageGroup:
    """Cells of one kind with the same ends. `stage` is the first one in which they differ. `causes` are the meanings of
    the messages, the most frequent first."""

    kind: Triage
    stage: str
    before: str
    after: str
    cells: tuple[TriagedCell, ...]
    gate: str
    causes: tuple[str, ...]

    @property
    def confirmed(self) -> int:
        """How many of its cells."""
        return sum(each.confirmed for each in self.cells)


@dataclass(frozen=True, slots=True, kw_only=True)
class Triaged:
    """Groups in the order of the report. `passing` cells pass with both; `alone` were measured with one only."""

    groups: tuple[TriageGroup, ...]
    passing: int
    alone: int

    def of(self, kind: Triage) -> list[TriageGroup]:
        return [group for group in self.groups if group.kind is kind]

    def count(self, kind: Triage) -> int:
        return sum(len(group.cells) for group in self.of(kind))

    @property
    def accused(self) -> list[TriageGroup]:
        """New failures of which a cell is confirmed, the largest first."""
        return [group for group in self.of(Triage.NEW) if group.confirmed]


def triage(pairs: Iterable[PairOfRuns]) -> Triaged:
    grouped: dict[tuple[Triage, str, str, str], list[TriagedCell]] = {}
    passing = alone = 0
    for before_run, before, run, after in pairs:
        if before is None or after is None:
            alone += 1
            continue
        kind = _kind(before, after)
        if kind is None:
            passing += before.passed and after.passed
            alone += not (before.passed and after.passed)
            continue
        confirmed, why = _confirmation(run, after)
        cell = TriagedCell(before=before, after=after, before_run=before_run, run=run, confirmed=confirmed, why=why)
        grouped.setdefault((kind, _stage(before, after), before.words, after.words), []).append(cell)
    groups = [_group(*key, cells) for key, cells in grouped.items()]
    order = list(Triage)
    groups.sort(key=lambda group: (order.index(group.kind), -len(group.cells), group.before, group.after))
    return Triaged(groups=tuple(groups), passing=passing, alone=alone)


def _kind(before: Cell, after: Cell) -> Triage | None:
    """None for a cell that passes with both, or that one of them has not measured."""
    if Outcome.FLAKY in (before.outcome, after.outcome):
        return Triage.FLAKY
    if not (before.measured and after.measured) or (before.passed and after.passed):
        return None
    if before.words == after.words:
        return Triage.STILL
    turns = {Direction.WORSE: Triage.NEW, Direction.BETTER: Triage.REPAIRED, Direction.CHANGED: Triage.DIFFERENT}
    return turns[turn_of(before, after)]


def _stage(before: Cell, after: Cell) -> str:
    """The first stage in which the ends differ: the earlier one of those at which a cell failed."""
    failed = [cell.stage for cell in (before, after) if cell.outcome.red and cell.stage]
    return min(failed, key=rank_of) if failed else after.stage or before.stage


def _confirmation(run: Run, cell: Cell) -> tuple[bool, str]:
    if not cell.outcome.red:
        return True, ""
    job = run.jobs[cell.jobs[-1]] if cell.jobs else None
    if job and job.attempts:
        alike = all(each.status == job.status for each in job.attempts)
        count = len(job.attempts) + 1
        return alike, f"{count} attempts ended alike" if alike else f"{count} attempts ended differently"
    if cell.signature:
        return True, "its message is one that a signature knows"
    if cell.outcome is Outcome.WRONG_OUTPUT:
        return True, "its outputs were compared element by element"
    return False, "one attempt, and no signature knows its message: measure it again"


def _machines(run: Run, cell: Cell) -> set[str]:
    return {run.jobs[key].machine for key in cell.jobs}


def _group(kind: Triage, stage: str, before: str, after: str, cells: list[TriagedCell]) -> TriageGroup:
    failing = [each.before if kind is Triage.REPAIRED else each.after for each in cells]
    said = Counter(text for cell in failing if (text := cell.means or cell.said))
    return TriageGroup(
        kind=kind,
        stage=stage,
        before=before,
        after=after,
        cells=tuple(cells),
        gate=signatures.gates().get(failing[0].signature, ""),
        causes=tuple(text for text, _ in said.most_common()),
    )


# -- costs


def significance(change: CostChange) -> float:
    """How many times its noise a cost changed: the logarithm of its ratio by that of the noise floor. The measures
    without a floor of their own have the part within which they are called equal."""
    floor = change.noise_floor if change.measure.within is None else 1 + change.measure.within
    return math.log(change.size) / math.log(floor) if floor and floor > 1 else 0.0


def significant(changes: Sequence[CostChange]) -> list[CostChange]:
    """Those that changed beyond their noise, the most significant first."""
    return sorted((change for change in changes if change.changed), key=lambda change: -significance(change))
