"""The index of the search: a row for every page that answers something. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from matrix.answers.advice import combination
from matrix.answers.causes import GIVEN
from matrix.answers.costs import CostChange
from matrix.answers.pins.recommendations import Recommendation
from matrix.results.square import Square
from matrix.site.cells import ended
from matrix.site.harmless import slug
from matrix.site.pictures.chart import Chart
from matrix.site.pins import asked_words, pin_link
from matrix.site.releases import Release, link_of
from matrix.site.squares import FIRST, evidence_of, meaning, slug_of
from matrix.site.views import Signed

MOST_CELLS = 1500
"""The most cells that have a row of their own; the evidence of the others is found by their rows of squares."""
MOST_COSTS = 12
MOST_OF_MESSAGES = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A row of the index of all pages."""

    title: str
    link: str
    text: str = ""
    message: str = ""
    """The words of error messages, to find a pasted one by; not shown."""


def index_of(
    *,
    tables: Sequence[Square],
    charts: Sequence[Chart],
    pins: Sequence[Recommendation],
    releases: Sequence[Release],
    models: Sequence[str],
    targets: Sequence[str],
    errors: Mapping[str, Signed],
    costs: Mapping[str, Sequence[CostChange]],
) -> dict[str, list[Found]]:
    """Every page except those of environments, by subject; `costs` are those of releases, by their link."""
    return {
        "Releases": [Found(title=release.name, link=release.link, text=release.day) for release in releases],
        "What releases cost": [row for release in releases for row in _costs(release, costs.get(release.link, ()))],
        "Error signatures": _errors(errors),
        "Charts": [
            Found(title=f"{each.title}, {each.run.preset}", link=f"charts.html#{each.slug}", text=each.summary)
            for each in charts
        ],
        "What to pin": [
            Found(
                title=f"What to pin for {asked_words(each.wanted)}",
                link=pin_link(each.wanted),
                text=combination(each.advice.cell),
            )
            for each in pins
            if each.advice
        ],
        "Models": [Found(title=model, link=link_of("model", model)) for model in models],
        "Targets": [Found(title=target, link=link_of("target", target)) for target in targets],
        "Squares": _squares(tables),
        "Compilers with runtimes": list(itertools.islice(_cells(tables), MOST_CELLS)),
        "Evidence": _evidence(tables),
    }


def _squares(tables: Sequence[Square]) -> list[Found]:
    return [
        Found(
            title=each.run.question,
            link=f"square/{slug_of(each)}.html",
            text=f"{each.run.preset}, {each.row_axis} by {each.column_axis}, {each.title}",
        )
        for each in tables
    ]


def _evidence(tables: Sequence[Square]) -> list[Found]:
    return [
        Found(title=f"{table.row_axis} {row}", link=evidence_of(table, row), text=f"{table.run.preset}, {table.title}")
        for table in tables
        for row in table.rows
    ]


def _errors(errors: Mapping[str, Signed]) -> list[Found]:
    return [
        Found(
            title=name,
            link=f"signature/{slug(name)}.html",
            text=meaning(group[0][2]),
            message=" ".join(dict.fromkeys(_plain(cell.message) for _, _, cell in group))[:MOST_OF_MESSAGES],
        )
        for name, group in errors.items()
    ]


def _plain(message: str) -> str:
    """The words of a message without its numbers, as the script of the page looks for those of a pasted one."""
    return " ".join(dict.fromkeys(re.findall(r"[a-z_]{3,}", message.lower())))


def _costs(release: Release, changes: Sequence[CostChange]) -> Iterator[Found]:
    """What a release changed in speed, memory and size: without the release that it is compared with, so that a search
    for that one does not find it."""
    for change in [change for change in changes if change.changed][:MOST_COSTS]:
        words = f"{release.name}: {change.place}: {change.measure.name} {change.words}"
        yield Found(title=words, link=release.link)


def _cells(tables: Sequence[Square]) -> Iterator[Found]:
    """Each compiler with each runtime: how it ended, and its evidence."""
    for table in tables:
        if (table.row_axis, table.column_axis) == FIRST:
            for (row, column), cell in table.cells.items():
                yield Found(
                    title=f"{table.row_axis} {row}, {table.column_axis} {column}: {ended(cell)}",
                    link=f"{evidence_of(table, row)}#{slug(column)}",
                    text=", ".join(table.others[axis] for axis in table.others if axis in GIVEN),
                )
