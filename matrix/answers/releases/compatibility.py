"""How far the files of one release load on another, of each backend: IREE beside other systems. Pure."""

from __future__ import annotations

import datetime
import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from packaging.version import Version

from matrix.core.keys import Json
from matrix.core.versions import are_versions, is_dated
from matrix.plan.backends.backend import INPUT
from matrix.plan.backends.shared import TARGET_AXIS
from matrix.plan.stages import axes as axis_rows
from matrix.plan.stages import backends
from matrix.results.run import Cell, Run
from matrix.results.square import Square, ends_with, headings, squares

Dates = Mapping[str, Mapping[str, datetime.date]]
"""Package -> version -> the day of its release."""

FEWEST_RELEASES = 5
"""The fewest releases on each axis: less says nothing of a habit."""
HEADERS = (
    "backend",
    "files of",
    "different",
    "loaded by",
    "target",
    "pairs pass",
    "on later",
    "on earlier",
    "all later since",
)
COLUMN_MEANS = (
    "different: how many of the makers wrote different bytes; pairs of the same file say the same",
    "pairs pass: the file is loaded and its outputs are right, of the pairs that were measured",
    "on later: of the pairs whose loader is of the same day or release as the file's maker, or later (backward "
    "compatible)",
    "on earlier: of those whose loader is older than the maker (forward compatible)",
    "all later since: the oldest maker from which on every later loader that was measured takes every file; in "
    "brackets how many pairs of two different releases say so",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """`passed` of `measured` pairs."""

    passed: int
    measured: int

    @property
    def words(self) -> str:
        """`51 of 225 (23 %)`."""
        if not self.measured:
            return "none measured"
        return f"{self.passed} of {self.measured} ({100 * self.passed / self.measured:.0f} %)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compatibility:
    """One square of a backend's files: `maker` and `loader` are the products with their oldest and newest releases,
    `files` says how many makers (of those that made one) wrote different bytes, `since` is the oldest maker from which
    on all later loaders take its files ("": not even those of the newest), `steps` are the pairs of different releases
    behind that."""

    square: Square
    backend: str
    maker: str
    loader: str
    files: tuple[int, int]
    pairs: Share
    later: Share
    earlier: Share
    since: str
    steps: int

    @property
    def target(self) -> str:
        return self.square.others.get(TARGET_AXIS.name, "")

    @property
    def since_words(self) -> str:
        """`3.12 (1 pair)`."""
        if not self.since:
            return "no release"
        return f"{headings([self.since])[0]} ({self.steps} {'pair' if self.steps == 1 else 'pairs'})"

    def as_json(self) -> dict[str, Json]:
        """Its figures: shares as `{"passed": 51, "measured": 225}`."""
        shares = {"pairs": self.pairs, "later": self.later, "earlier": self.earlier}
        return {
            "backend": self.backend,
            "maker": self.maker,
            "loader": self.loader,
            "target": self.target,
            "files": {"different": self.files[0], "of": self.files[1]},
            **{name: {"passed": share.passed, "measured": share.measured} for name, share in shares.items()},
            "since": self.since,
            "steps": self.steps,
        }

    @property
    def row(self) -> tuple[str, ...]:
        """The fields of HEADERS."""
        shares = (self.pairs.words, self.later.words, self.earlier.words)
        files = "{} of {}".format(*self.files)
        return (self.backend, self.maker, files, self.loader, self.target, *shares, self.since_words)


def compatibilities(runs: Sequence[Run], dates: Dates) -> tuple[Compatibility, ...]:
    """The largest square of each run and target with at least `FEWEST_RELEASES` releases on both axes of its backend,
    in the order of the backends; of runs with the same releases and target the first one."""
    found: dict[tuple[object, ...], Compatibility] = {}
    for backend in backends():
        for run in runs:
            fitting = [table for table in squares(run) if _is_of(table, backend.square)]
            for target in dict.fromkeys(table.others.get(TARGET_AXIS.name, "") for table in fitting):
                tables = [table for table in fitting if table.others.get(TARGET_AXIS.name, "") == target]
                table = max(tables, key=lambda each: len(each.cells))
                place = (backend.name, target, table.rows, table.columns)
                found.setdefault(place, _of_square(backend.name, table, dates))
    return tuple(found.values())


def _is_of(table: Square, shown: tuple[str, str]) -> bool:
    many = min(len(table.rows), len(table.columns)) >= FEWEST_RELEASES
    return (table.row_axis, table.column_axis) == shown and many and are_versions((*table.rows, *table.columns))


def _of_square(backend: str, table: Square, dates: Dates) -> Compatibility:
    pairs = [(maker, loader, cell) for (maker, loader), cell in table.cells.items() if cell.measured]
    order = {(maker, loader): _later(table, maker, loader, dates) for maker, loader, _ in pairs}
    later = [pair for pair in pairs if order[pair[:2]] is True]
    since, steps = _since(table, later)
    return Compatibility(
        square=table,
        backend=backend,
        maker=_product(table.row_axis, table.rows),
        loader=_product(table.column_axis, table.columns),
        files=_files(table),
        pairs=_share(pairs),
        later=_share(later),
        earlier=_share([pair for pair in pairs if order[pair[:2]] is False]),
        since=since,
        steps=steps,
    )


def _files(table: Square) -> tuple[int, int]:
    """How many of the makers' files differ, of how many: what the last job of each row's first measured cell read,
    beside the inputs of the model."""
    made = []
    for maker in table.rows:
        jobs = [table.run.jobs[cell.jobs[-1]] for _, cell in table.row(maker) if cell.measured and cell.jobs]
        last = next((job for job in jobs if ends_with(table.run, job.stage)), None)
        if last is not None:
            names = last.inputs.keys() - set(fnmatch.filter(last.inputs, INPUT))
            made.append(tuple((name, last.inputs[name]) for name in sorted(names)))
    return len(set(made)), len(made)


def _share(pairs: Sequence[tuple[str, str, Cell]]) -> Share:
    return Share(passed=sum(cell.passed for *_, cell in pairs), measured=len(pairs))


def _product(axis: str, labels: Sequence[str]) -> str:
    short = headings(labels)
    return f"{axis} {short[0]} to {short[-1]}"


def _later(table: Square, maker: str, loader: str, dates: Dates) -> bool | None:
    """Whether the loader is of the maker's day or release, or later; None if one of the days is not known. Releases of
    one product are compared by number: their packages are not always uploaded on one day."""
    if _of_one_product(table) and is_dated(maker) == is_dated(loader):
        return Version(loader).release[:2] >= Version(maker).release[:2]
    days = [_day(axis, label, dates) for axis, label in ((table.row_axis, maker), (table.column_axis, loader))]
    return None if days[0] is None or days[1] is None else days[1] >= days[0]


def _of_one_product(table: Square) -> bool:
    maker, loader = (axis_rows()[axis].product for axis in (table.row_axis, table.column_axis))
    return bool(maker) and maker == loader


def _day(axis: str, label: str, dates: Dates) -> datetime.date | None:
    row = axis_rows()[axis]
    return dates.get(row.older_package if is_dated(label) else row.package, {}).get(label)


def _since(table: Square, later: Sequence[tuple[str, str, Cell]]) -> tuple[str, int]:
    since, steps = "", 0
    for maker in reversed(table.rows):
        tried = [(loader, cell) for made, loader, cell in later if made == maker]
        if any(not cell.passed for _, cell in tried):
            break
        if tried:
            since = maker
            steps += sum(loader != maker or not _of_one_product(table) for loader, _ in tried)
    return since, steps
