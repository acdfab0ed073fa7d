"""Addresses that squares and their evidence had before, or have in short: each leads to the page of today. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from matrix.plan.backends.shared import MODEL_AXIS
from matrix.results.square import Square
from matrix.site.harmless import slug
from matrix.site.squares import evidence_of, slug_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """`path` is no page of its own and leads to `target`: both below the root of the site. `title` is what is there."""

    path: str
    target: str
    title: str


def moved_pages(tables: Sequence[Square]) -> Iterator[Moved]:
    """Of two squares that shared a former address the first has it; no address of today is taken."""
    taken = {slug_of(table) for table in tables}
    for table in tables:
        new = slug_of(table)
        for old in former_slugs(table):
            if old in taken:
                continue
            taken.add(old)
            yield Moved(path=f"square/{old}.html", target=f"square/{new}.html", title=_words(table))
            for row in table.rows:
                title = f"{_words(table)}: {table.row_axis} {table.short_rows[row]}"
                yield Moved(path=f"cell/{old}--{slug(row)}.html", target=evidence_of(table, row), title=title)


def former_slugs(square: Square) -> tuple[str, ...]:
    """`portability-compiler-runtime-linear-ba15c9`, as all squares were called until November 2026; and the name with
    the model alone, which a square has until its run gets a second target, Python or the like."""
    start = [square.run.preset, square.row_axis, square.column_axis]
    model = [square.others[MODEL_AXIS.name]] if MODEL_AXIS.name in square.others else []
    fixed = hashlib.sha256(repr(sorted(square.others.items())).encode()).hexdigest()[:6]
    part = square.part.split()[:1]
    return slug("-".join([*start, *model, fixed, *part])), slug("-".join([*start, *model, *part]))


def _words(table: Square) -> str:
    model = table.others.get(MODEL_AXIS.name, "")
    return f"{table.run.preset}, {table.row_axis} by {table.column_axis}{model and f', {model}'}"
