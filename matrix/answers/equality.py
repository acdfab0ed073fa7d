"""Two published runs that should be equal: every difference, and which of them has a named explanation. Pure.

`differences` is for runs that may differ, where only what got worse matters.
"""

from __future__ import annotations

import functools
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from matrix.core.data import DATA
from matrix.core.text import counted
from matrix.results.run import Cell, Run

NOT_THERE = "not there"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """`what` differs, from `before` to `after`; `why` is its named explanation, or empty."""

    what: str
    before: str
    after: str
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Two runs compared: cells in both, artifacts that both made, those that only one made, and every difference."""

    cells: int
    artifacts: int
    alone: int
    differences: tuple[Difference, ...]

    @property
    def unexplained(self) -> tuple[Difference, ...]:
        return tuple(difference for difference in self.differences if not difference.why)


@functools.cache
def explanations() -> dict[tuple[str, str], str]:
    """(lock, artifact) -> why it differs between runs."""
    rows = tomllib.loads((DATA / "explained.toml").read_text(encoding="utf-8"))["artifact"]
    return {(row["lock"], row["name"]): row["why"] for row in rows}


def compare_runs(before: Run, after: Run) -> Compared:
    """Compares outcomes, signatures and artifacts of the cells with the same axes, in whatever order they stand."""
    old, new = _by_axes(before), _by_axes(after)
    differences: list[Difference] = []
    pairs: dict[tuple[str, str, str], None] = {}
    cells = alone = 0
    for place in sorted(old.keys() | new.keys(), key=sorted):
        ends = _verdict(old.get(place, ())), _verdict(new.get(place, ()))
        name = next(cell.name for cell in (*old.get(place, ()), *new.get(place, ())))
        if ends[0] != ends[1]:
            differences.append(Difference(what=name, before=ends[0], after=ends[1]))
        if len(old.get(place, ())) != 1 or len(new.get(place, ())) != 1:
            continue
        cells += 1
        for artifact in _artifacts(before, old[place][0], after, new[place][0]):
            if artifact.pair in pairs:
                continue
            pairs[artifact.pair] = None
            alone += not (artifact.before and artifact.after)
            if artifact.before != artifact.after and ((artifact.before and artifact.after) or ends[0] == ends[1]):
                differences.append(artifact.difference(name))
    return Compared(cells=cells, artifacts=len(pairs) - alone, alone=alone, differences=tuple(differences))


def comparison_lines(compared: Compared) -> Iterator[str]:
    """The text for people: unexplained differences one by one, explained ones counted by reason, then the totals."""
    for difference in compared.unexplained:
        yield f"{difference.what}: {difference.before} -> {difference.after}"
    for why, count in Counter(each.why for each in compared.differences if each.why).items():
        yield f"{count} explained: {why}"
    only = f"; {compared.alone} artifacts are in one of the runs only" if compared.alone else ""
    yield (
        f"{counted(compared.cells, 'cell')} and {counted(compared.artifacts, 'artifact')} compared: "
        f"{counted(len(compared.unexplained), 'difference')}, "
        f"{len(compared.differences) - len(compared.unexplained)} more explained by name{only}"
    )


def _by_axes(run: Run) -> dict[frozenset[tuple[str, str]], list[Cell]]:
    found: dict[frozenset[tuple[str, str]], list[Cell]] = {}
    for cell in run.cells:
        found.setdefault(frozenset(cell.axes.items()), []).append(cell)
    return found


def _verdict(cells: Sequence[Cell]) -> str:
    if len(cells) > 1:
        return f"{len(cells)} cells"  # a file with a cell twice: neither is the one to compare with
    return cells[0].words if cells else NOT_THERE


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """An artifact of a stage of a cell in both runs: its digests, empty where a run does not have it."""

    name: str
    lock: str
    jobs: tuple[str, str]
    before: str = ""
    after: str = ""

    @property
    def pair(self) -> tuple[str, str, str]:
        """Cells share jobs: an artifact of the same two jobs counts once."""
        return (*self.jobs, self.name)

    def difference(self, cell: str) -> Difference:
        return Difference(
            what=f"{self.name} of {self.lock} ({cell})",
            before=self.before or NOT_THERE,
            after=self.after or NOT_THERE,
            why=explanations().get((self.lock, self.name), "") if self.before and self.after else "",
        )


def _artifacts(before: Run, old: Cell, after: Run, new: Cell) -> Iterator[_Made]:
    """The artifacts of two cells, paired by stage and name."""
    first, second = ({job.stage: job for job in run.jobs_of(cell)} for run, cell in ((before, old), (after, new)))
    for stage in dict.fromkeys((*first, *second)):
        jobs = [side.get(stage) for side in (first, second)]
        made = [job.artifacts if job else {} for job in jobs]
        keys = [job.key if job else "" for job in jobs]
        lock = next(job.lock for job in jobs if job)
        for name in sorted({*made[0], *made[1]}):
            digests = [files[name].sha256 if name in files else "" for files in made]
            yield _Made(name=name, lock=lock, jobs=(keys[0], keys[1]), before=digests[0], after=digests[1])
