"""Compares two published runs (`show --format json`): what differs, and which of it is explained by name. Pure."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matrix.errors import UsageError

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """`what` differs, from `before` to `after`; `why` explains it by name, or is empty."""

    what: str
    before: str
    after: str
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Two runs beside each other: cells in both, artifacts that both made, and every difference."""

    cells: int
    artifacts: int
    differences: tuple[Difference, ...]

    @property
    def unexplained(self) -> tuple[Difference, ...]:
        return tuple(difference for difference in self.differences if not difference.why)


def read_run(path: Path) -> dict[str, Any]:
    """A run as JSON. Raises UsageError."""
    tip = "`python -m matrix show --format json --output FILE` writes one"
    try:
        read: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}", tip=tip) from None
    except ValueError as error:
        raise UsageError(f"{path}: not JSON: {error}", tip=tip) from None
    if not isinstance(read, dict) or read.get("format") != FORMAT or not isinstance(read.get("cells"), list):
        raise UsageError(f"{path}: expected a run of format {FORMAT}", tip=tip)
    return read


def explanations() -> dict[tuple[str, str], str]:
    """(lock, artifact) -> why it differs from run to run."""
    rows = tomllib.loads((Path(__file__).parent / "explained.toml").read_text(encoding="utf-8"))["artifact"]
    return {(row["lock"], row["name"]): row["why"] for row in rows}


def compare_runs(before: Mapping[str, Any], after: Mapping[str, Any]) -> Compared:
    """Outcomes and signatures cell by cell, artifact digests job by job."""
    old, new = _cells(before), _cells(after)
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


def words(compared: Compared) -> Iterator[str]:
    """What a person reads: the unexplained one by one, the explained counted by their reason, then the totals."""
    for difference in compared.unexplained:
        yield f"{difference.what}: {difference.before} -> {difference.after}"
    for why, count in Counter(each.why for each in compared.differences if each.why).items():
        yield f"{count} explained: {why}"
    yield (
        f"{compared.cells} cells and {compared.artifacts} artifacts compared: {len(compared.unexplained)} differences, "
        f"{len(compared.differences) - len(compared.unexplained)} more explained by name"
    )


def _cells(run: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {" ".join(f"{axis}={value}" for axis, value in cell["axes"].items()): cell for cell in run["cells"]}


def _verdict(cell: Mapping[str, Any] | None) -> str:
    if cell is None:
        return "not there"
    return " ".join(str(cell[key]) for key in ("outcome", "stage", "signature") if cell[key])


def _artifacts(run: Mapping[str, Any], cells: Mapping[str, Mapping[str, Any]]) -> dict[tuple[str, str, str], str]:
    """(axes that the stage sees, lock, artifact) -> sha256. A job stands once, under the first cell that has it."""
    found: dict[tuple[str, str, str], str] = {}
    seen: set[str] = set()
    for name, cell in cells.items():
        for key in cell["evidence"]["jobs"]:
            if key in seen:
                continue
            seen.add(key)
            job = run["jobs"][key]
            for artifact, facts in job["artifacts"].items():
                found[name, job["lock"], artifact] = facts["sha256"]
    return found
