"""What a release changed: each cell compared with the same cell at the predecessor. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from matrix.answers.advice import newest_first
from matrix.answers.compiled import release_module_lines
from matrix.answers.costs import CostChange, cost_changes
from matrix.answers.differences import Direction, turn_of
from matrix.answers.releases.compatibility import Dates
from matrix.core.versions import are_versions, is_dated, is_version, releases_first
from matrix.plan.axes import NONE
from matrix.plan.backends.shared import MODEL_AXIS, TARGET_AXIS
from matrix.plan.stages import axes as axis_rows
from matrix.plan.stages import backends
from matrix.results.run import Cell, Run
from matrix.results.square import Square
from matrix.results.weights import STATISTIC_NAMES
from matrix.site.harmless import slug
from matrix.site.squares import column_answer, evidence_of, labels_text, row_answer

SUBJECTS = (MODEL_AXIS.name, TARGET_AXIS.name)
"""Axes without releases whose values have pages."""


def products() -> dict[str, str]:
    """Axes of releases, those of the usual tables first -> the released product."""
    first = [axis for backend in backends() for axis in backend.square]
    names = sorted(newest_first(), key=lambda name: first.index(name) if name in first else len(first))
    return {name: axis_rows()[name].product.lower() or name for name in names}


def product_names() -> dict[str, str]:
    """Product -> its name, in the order of the site."""
    rows = {product: axis_rows()[name] for name, product in products().items()}
    return {product: row.product or row.package or row.name for product, row in rows.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """Neighbouring cells that changed in the same way: `where` in words, and the evidence of the first of them."""

    where: str
    words: str
    count: int
    link: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRow:
    """One axis of one square at one release: its sentence, and the differences from the release before."""

    axis: str
    table: Square
    answer: str
    label: str
    before: str
    broke: tuple[Changed, ...]
    repaired: tuple[Changed, ...]
    otherwise: tuple[Changed, ...]
    same: int

    @property
    def changed(self) -> bool:
        return bool(self.broke or self.repaired or self.otherwise)

    @property
    def said(self) -> tuple[object, ...]:
        """What a page says of it, for any square."""
        parts = (self.broke, self.repaired, self.otherwise)
        lines = tuple(tuple((change.where, change.words) for change in part) for part in parts)
        return self.axis, self.before, self.answer, self.same, lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A page: `IREE 3.8.0`. `days` are those on which its packages were uploaded; none of a build or of a Python.
    `notes` is the address of its release notes; empty if none is known."""

    product: str
    version: str
    sections: tuple[ReleaseRow, ...]
    days: Mapping[str, datetime.date]
    notes: str

    @property
    def day(self) -> str:
        """The first of them."""
        return min(self.days.values()).isoformat() if self.days else ""

    @property
    def released(self) -> str:
        """When which packages were uploaded: `2025-11-25 (iree-base-compiler, iree-base-runtime)`."""
        by_day: dict[datetime.date, list[str]] = {}
        for package, day in self.days.items():
            by_day.setdefault(day, []).append(package)
        return ", ".join(f"{day.isoformat()} ({', '.join(packages)})" for day, packages in by_day.items())

    @property
    def name(self) -> str:
        return f"{product_names()[self.product]} {self.version}"

    @property
    def link(self) -> str:
        return release_link(self.product, self.version)


def release_link(product: str, version: str) -> str:
    return f"release/{plain_product(product)}-{slug(version)}.html"


def plain_product(product: str) -> str:
    """`onnx-runtime`: in an address."""
    return product.replace(" ", "-")


def link_of(axis: str, label: str) -> str:
    """The page of an axis's value; empty if it has none."""
    if label == NONE:
        return ""
    if axis in SUBJECTS:
        return f"{axis}/{slug(label)}.html"
    product = products().get(axis)
    return release_link(product, label) if product else ""


def find_releases(tables: Sequence[Square], dates: Dates) -> list[Release]:
    """Every release on an axis of the squares, or besides them, newest first in each product, then builds. `dates` are
    those of `release_dates`."""
    found: dict[tuple[str, str], list[ReleaseRow]] = {}
    product_of = products()
    for table in tables:
        for axis, labels in ((table.row_axis, table.rows), (table.column_axis, table.columns)):
            if axis in product_of:
                for before, label in zip(("", *labels), labels, strict=False):
                    beside = _beside(table, axis, label, before)
                    found.setdefault((product_of[axis], label), []).append(beside)
        for axis, label in table.others.items():
            if axis in product_of and label != "-":
                found.setdefault((product_of[axis], label), [])
    releases = []
    for product in product_names():
        versions = releases_first(version for name, version in found if name == product)
        newest_first = sorted(reversed(versions), key=lambda version: not are_versions([version]))  # builds at the end
        releases += [_release(product, version, found[product, version], dates) for version in newest_first]
    return releases


def _release(product: str, version: str, sections: Sequence[ReleaseRow], dates: Dates) -> Release:
    """Notes are known of a release of all packages of its product: one package alone may have been mended later."""
    rows = [axis_rows()[name] for name, of in products().items() if of == product]
    dated = is_version(version) and is_dated(version)
    packages = dict.fromkeys(name for row in rows if (name := row.older_package if dated else row.package))
    days = {name: day for name in packages if (day := dates.get(name, {}).get(version))}
    notes = next((text for row in rows if (text := row.older_notes if dated else row.notes)), "")
    whole = days and len(days) == len(packages)
    return Release(
        product=product,
        version=version,
        sections=tuple(sections),
        days=days,
        notes=notes.format(version=version) if whole else "",
    )


def release_costs(runs: Sequence[Run], product: str, before: str, after: str) -> list[CostChange]:
    """What a release costs compared with another one of its product: each measure of each model once, also where two
    axes of the product move together."""
    axes = [axis for axis, of in products().items() if of == product]
    found: dict[tuple[object, ...], CostChange] = {}
    for axis in axes:
        for change in cost_changes(runs, axis, before, after):
            place = tuple((name, label) for name, label in change.axes.items() if name not in axes)
            found.setdefault((id(change.run), place, change.measure.name), change)
    return list(found.values())


def release_modules(runs: Sequence[Run], product: str, before: str, after: str) -> tuple[str, ...]:
    """What another release makes of the same models, by the compiler's own statistics: transient and constant bytes and
    others, once where two axes of the product move together. Empty without such figures."""
    known = [run for run in runs if any(STATISTIC_NAMES[0] in job.measurements for job in run.jobs.values())]
    axes = [axis for axis, of in products().items() if of == product]
    found = (release_module_lines(known, axis, before, after) for axis in axes)
    return tuple(line.strip() for line in next(filter(None, found), []) if line)


def compare_link(before: Release, after: Release) -> str:
    return f"compare/{plain_product(before.product)}-{slug(before.version)}--{slug(after.version)}.html"


def _beside(table: Square, axis: str, label: str, before: str) -> ReleaseRow:
    across = axis == table.column_axis
    new = dict(table.column(label) if across else table.row(label))
    old = dict(table.column(before) if across else table.row(before)) if before else {}
    kinds: dict[str, list[tuple[str, Cell, Cell]]] = {
        "broke": [],
        "repaired": [],
        "otherwise": [],
        "same": [],
    }
    for place in [place for place in new if place in old]:
        kinds[_kind(old[place], new[place])].append((place, old[place], new[place]))
    changed = {name: tuple(_changes(table, axis, label, rows)) for name, rows in kinds.items()}
    return ReleaseRow(
        axis=" = ".join([axis, *(tied for tied, other in table.ties.items() if other == axis)]),
        table=table,
        answer=column_answer(table, label) if across else row_answer(table, label),
        label=label,
        before=before,
        broke=changed["broke"],
        repaired=changed["repaired"],
        otherwise=changed["otherwise"],
        same=len(kinds["same"]),
    )


TURNS = {Direction.WORSE: "broke", Direction.BETTER: "repaired", Direction.CHANGED: "otherwise"}


def _kind(old: Cell, new: Cell) -> str:
    return "same" if (old.passed and new.passed) or old.words == new.words else TURNS[turn_of(old, new)]


def _changes(table: Square, axis: str, label: str, rows: Iterable[tuple[str, Cell, Cell]]) -> Iterable[Changed]:
    """One line for all places with the same two verdicts."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for place, old, new in rows:
        grouped.setdefault((old.words, new.words), []).append(place)
    across = axis == table.column_axis
    other = table.row_axis if across else table.column_axis
    for (old_words, new_words), places in grouped.items():
        yield Changed(
            where=labels_text(table, other, places),
            words=f"{old_words} → {new_words}",
            count=len(places),
            link=f"{evidence_of(table, places[0])}#{slug(label)}"
            if across
            else f"{evidence_of(table, label)}#{slug(places[0])}",
        )


def by_product(releases: Sequence[Release]) -> dict[str, list[Release]]:
    """`IREE` -> its releases, newest first."""
    found: dict[str, list[Release]] = {}
    for release in releases:
        found.setdefault(product_names()[release.product], []).append(release)
    return found


def changed(release: Release) -> list[tuple[ReleaseRow, list[Square]]]:
    """What a release changed, once for all squares with the same text, compared with the nearest predecessor first."""
    found: dict[tuple[object, ...], tuple[ReleaseRow, list[Square]]] = {}
    for each in (each for each in release.sections if each.changed):
        found.setdefault(each.said, (each, []))[1].append(each.table)
    ascending = releases_first(each.before for each, _ in found.values())
    return sorted(found.values(), key=lambda pair: -ascending.index(pair[0].before))
