"""The pages, each with its path and text, one after the other, so that a large site needs little memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from matrix.core.store_paths import path_closure
from matrix.core.versions import releases_first
from matrix.plan.stages import kinds
from matrix.results.run import FinishedJob, Run
from matrix.results.square import OUTCOMES, Square
from matrix.site.charts import Chart
from matrix.site.harmless import slug
from matrix.site.pickers import Finder
from matrix.site.releases import Release, ReleaseRow, find_releases, link_of, product_names
from matrix.site.squares import FIRST, evidence_of, mark, meaning, row_answer, slug_of
from matrix.site.views import numbers, signature_view, signed, square_view, tables_link, tables_of, templates


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A row of the index of all pages."""

    title: str
    link: str
    text: str = ""


def first_table(tables: Sequence[Square]) -> Square:
    """The square of the start page."""
    return next((table for table in tables if (table.row_axis, table.column_axis) == FIRST), tables[0])


def latest(runs: Sequence[Run]) -> str:
    """The date of the newest job of all; empty if there is none."""
    return max((run.date for run in runs), default="")


class Site:
    """All pages of the given runs; the first square over compilers and runtimes is on the start page."""

    def __init__(self, runs: Sequence[Run], tables: Sequence[Square], charts: Sequence[Chart]) -> None:
        self._runs, self._tables, self._charts = runs, tables, charts
        self._finder = Finder(tables)
        self._releases = find_releases(tables)
        self._models = _models(tables)
        self._signed = signed(tables)

    def pages(self) -> Iterator[tuple[str, str]]:
        """(path below the site's folder, text)."""
        start = first_table(self._tables)
        yield self._page(
            "index.html",
            "index.html",
            table=start,
            pickers=self._finder.pickers(start),
            squares=self._grouped(),
            apart=distinct_names(self._tables),
            charted={chart.run.preset: chart.slug for chart in reversed(self._charts)},
            releases=by_product(self._releases),
            models=list(self._models),
            signatures=[signature_view(name, group) for name, group in self._signed.items()],
        )
        for table in self._tables:
            pickers = self._finder.pickers(table)
            yield self._page(f"square/{slug_of(table)}.html", "square.html", table=table, pickers=pickers)
            for row in table.rows:
                yield self._evidence(table, row)
        for release in self._releases:
            parts = {"changed": changed(release), "same": [each for each in release.sections if not each.changed]}
            yield self._page(release.link, "release.html", release=release, neighbours=self._beside(release), **parts)
        for model, tables in self._models.items():
            yield self._page(link_of("model", model), "model.html", **_model(model, tables))
        for name, group in self._signed.items():
            yield self._page(f"signature/{slug(name)}.html", "signature.html", **signature_view(name, group))
        for run in self._runs:
            for environment in run.environments.values():
                yield self._page(
                    f"environment/{slug(environment.digest[:16])}.html",
                    "environment.html",
                    environment=environment,
                    paths=path_closure(run.store_paths.values(), environment.nix_programs),
                )
            if blocks := tables_of(run):
                yield self._page(tables_link(run), "tables.html", run=run, blocks=blocks)
        if self._charts:
            yield self._page("charts.html", "charts.html", charts=[(each, numbers(each)) for each in self._charts])
        yield self._page("data.html", "data.html", runs=self._runs, tables=self._tables)
        yield self._page("about.html", "about.html", outcomes=OUTCOMES.items())
        yield self._page("search.html", "search.html", found=self._index())

    def _page(self, path: str, template: str, **context: object) -> tuple[str, str]:
        up = "../" * path.count("/")
        views = {"square": square_view}
        page = templates().get_template(template)
        shared = {"up": up, "date": latest(self._runs), "views": views, "path": path}
        return path, page.render(**shared, has_charts=bool(self._charts), **context)

    def _grouped(self) -> list[tuple[Run, list[Square]]]:
        return [(run, [table for table in self._tables if table.run is run]) for run in self._runs]

    def _evidence(self, table: Square, row: str) -> tuple[str, str]:
        """Jobs that several cells of the row share are shown once, before the cells."""
        cells = table.row(row)
        times = Counter(key for _, cell in cells for key in cell.evidence)
        shared = [key for key in times if times[key] > 1]
        jobs = table.run.jobs
        own = {column: [jobs[key] for key in cell.evidence if times[key] == 1] for column, cell in cells}
        return self._page(
            evidence_of(table, row),
            "row.html",
            table=table,
            row=row,
            answer=row_answer(table, row),
            cells=[(column, cell, mark(table.run, cell), own[column]) for column, cell in cells],
            shared=[jobs[key] for key in shared],
        )

    def _beside(self, release: Release) -> tuple[Release | None, Release | None]:
        """The release before and the one after."""
        of_product = [each for each in self._releases if each.product == release.product]
        place = of_product.index(release)
        before = of_product[place + 1] if place + 1 < len(of_product) else None
        return before, of_product[place - 1] if place else None

    def _index(self) -> dict[str, list[Found]]:
        """Every page except those of environments, by subject."""
        squares = [
            Found(
                title=each.run.question,
                link=f"square/{slug_of(each)}.html",
                text=f"{each.run.preset}, {each.row_axis} by {each.column_axis}, {each.title}",
            )
            for each in self._tables
        ]
        evidence = [
            Found(
                title=f"{table.row_axis} {row}", link=evidence_of(table, row), text=f"{table.run.preset}, {table.title}"
            )
            for table in self._tables
            for row in table.rows
        ]
        errors = [
            Found(
                title=name,
                link=f"signature/{slug(name)}.html",
                text=f"{meaning(group[0][2])} {group[0][2].message[:160]}",
            )
            for name, group in self._signed.items()
        ]
        return {
            "Releases": [Found(title=release.name, link=release.link) for release in self._releases],
            "Error signatures": errors,
            "Charts": [
                Found(title=f"{each.title}, {each.run.preset}", link=f"charts.html#{each.slug}", text=each.summary)
                for each in self._charts
            ],
            "Models": [Found(title=model, link=link_of("model", model)) for model in self._models],
            "Squares": squares,
            "Evidence": evidence,
        }


def distinct_names(tables: Sequence[Square]) -> dict[str, str]:
    """Slug -> what distinguishes the square from the others of its run with the same two axes."""
    found = {}
    for table in tables:
        alike = [each for each in tables if each.run is table.run and _shown(each) == _shown(table)]
        others = [axis for axis in table.others if len({each.others.get(axis) for each in alike}) > 1]
        found[slug_of(table)] = ", ".join(table.others[axis] for axis in others)
    return found


def _shown(table: Square) -> tuple[str, str]:
    return table.row_axis, table.column_axis


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


def _models(tables: Sequence[Square]) -> dict[str, list[Square]]:
    found: dict[str, list[Square]] = {}
    for table in tables:
        for model in {cell.axes.get("model", "-"): None for cell in table.cells.values()}:
            if model != "-":
                found.setdefault(model, []).append(table)
    return found


def _model(model: str, tables: Sequence[Square]) -> dict[str, Any]:
    """For each square with the model: its cells by outcome, what its exports made, and the run's notes about it."""
    questions: dict[str, list[tuple[Square, list[tuple[str, int]], str]]] = {}
    exports: dict[str, FinishedJob] = {}
    first = [kind.name for kind in kinds().values() if not (kind.after or kind.apart)]
    for table in tables:
        cells = [cell for cell in table.cells.values() if cell.axes.get("model") == model]
        counts = Counter(cell.words for cell in cells)
        for cell in cells:
            jobs = [table.run.jobs[key] for key in cell.jobs[:1]]
            exports |= {job.key: job for job in jobs if job.stage in first}
        answer = row_answer(table, model) if table.row_axis == "model" else ""
        questions.setdefault(table.run.question, []).append((table, counts.most_common(), answer))
    notes = {note: None for table in tables if (note := table.run.notes("model").get(model))}
    return {"model": model, "questions": questions, "notes": list(notes), "exports": list(exports.values())}
