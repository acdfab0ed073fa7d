"""Two published runs that should be equal: every difference, and which of them has a named explanation. Pure.

`differences` is for runs that may differ, where only what got worse matters.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from matrix.core.data import DATA
from matrix.results.run import Cell, Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """`what` differs, from `before` to `after`; `why` is its named explanation, or empty."""

    what: str
    before: str
    after: str
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Two runs compared: cells in both, artifacts that both made, and every difference."""

    cells: int
    artifacts: int
    differences: tuple[Difference, ...]

    @property
    def unexplained(self) -> tuple[Difference, ...]:
        return tuple(difference for difference in self.differences if not difference.why)


def explanations() -> dict[tuple[str, str], str]:
    """(lock, artifact) -> why it differs between runs."""
    rows = tomllib.loads((DATA / "explained.toml").read_text(encoding="utf-8"))["artifact"]
    return {(row["lock"], row["name"]): row["why"] for row in rows}


def compare_runs(before: Run, after: Run) -> Compared:
    """Compares outcomes and signatures cell by cell, and artifact digests job by job."""
    old, new = ({cell.name: cell for cell in run.cells} for run in (before, after))
    differences = [
        Difference(what=name, before=_verdict(old.get(name)), after=_verdict(new.get(name)))
        for name in sorted(old.keys() | new.keys())
        if _verdict(old.get(name)) != _verdict(new.get(name))
    ]
    made_before, made_after = _artifacts(before, old), _artifacts(after, new)
    known = explanations()
    for key in sorted(made_before.keys() & made_after.keys()):
        if made_before[key] != made_after[key]:
            cell, lock, artifact = key
            why = known.get((lock, artifact), "")
            differences.append(
                Difference(
                    what=f"{artifact} of {lock} ({cell})", before=made_before[key], after=made_after[key], why=why
                )
            )
    return Compared(
        cells=len(old.keys() & new.keys()),
        artifacts=len(made_before.keys() & made_after.keys()),
        differences=tuple(differences),
    )


def comparison_lines(compared: Compared) -> Iterator[str]:
    """The text for people: unexplained differences one by one, explained ones counted by reason, then the totals."""
    for difference in compared.unexplained:
        yield f"{difference.what}: {difference.before} -> {difference.after}"
    for why, count in Counter(each.why for each in compared.differences if each.why).items():
        yield f"{count} explained: {why}"
    yield (
        f"{compared.cells} cells and {compared.artifacts} artifacts compared: {len(compared.unexplained)} differences, "
        f"{len(compared.differences) - len(compared.unexplained)} more explained by name"
    )


def _verdict(cell: Cell | None) -> str:
    return cell.words if cell else "not there"


def _artifacts(run: Run, cells: Mapping[str, Cell]) -> dict[tuple[str, str, str], str]:
    """(axes of the stage, lock, artifact) -> sha256. A job is there once, for the first cell that has it."""
    found: dict[tuple[str, str, str], str] = {}
    seen: set[str] = set()
    for name, cell in cells.items():
        for job in run.jobs_of(cell):
            if job.key not in seen:
                found |= {(name, job.lock, made): file.sha256 for made, file in job.artifacts.items()}
            seen.add(job.key)
    return found
