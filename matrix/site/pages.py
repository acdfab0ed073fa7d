"""The pages: for each a path and its text, one after the other, so that a big site needs little memory."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2

from matrix.answers import predictions
from matrix.core.records import Outcome
from matrix.core.store_paths import path_closure, store_path_name
from matrix.core.versions import in_order
from matrix.plan.backends.iree import EXPORT, IMPORT
from matrix.results import signatures
from matrix.results.published import PublishedCell, PublishedJob, PublishedRun
from matrix.results.square import OUTCOMES
from matrix.site.charts import Chart, Point, value_words
from matrix.site.harmless import slug
from matrix.site.pickers import Finder
from matrix.site.releases import NAMES, Beside, Release, find_releases, link_of
from matrix.site.squares import FIRST, Table, column_answer, edges, kind, legend, mark, meaning, row_answer, several

EXAMPLES = 5
"""Messages of one signature, and lines of one list, that a page shows before it counts the rest."""
LINES = 60
FEW = 8
"""Squares of a question that the start page names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A row of the index of all pages."""

    title: str
    link: str
    text: str = ""


@functools.cache
def templates() -> jinja2.Environment:
    """Everything that is filled in is escaped; a name that a page lacks is an error, never an empty place."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("matrix.site"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"slug": slug, "size": size_words, "counted": counted, "name_of": store_path_name}
    made.globals |= {
        "closure": path_closure,
        "link_of": link_of,
        "outcome_kind": kind,
        "foreseen_words": foreseen_words,
        "LINES": LINES,
        "FEW": FEW,
        "FIRST": FIRST,
    }
    return made


def foreseen_words(cell: PublishedCell) -> str:
    """What the gates say of a cell beside what was observed; empty where nothing is predicted."""
    return predictions.beside_words(cell, predictions.committed())


def counted(number: int, name: str) -> str:
    """`1 cell`, `2 cells`."""
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def size_words(size: int) -> str:
    """`17.7 kB`."""
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= limit:
            return f"{size / limit:.1f} {unit}"
    return f"{size} B"


def first_table(tables: Sequence[Table]) -> Table:
    """The square that the start page shows."""
    return next((table for table in tables if (table.row_axis, table.column_axis) == FIRST), tables[0])


def latest(runs: Sequence[PublishedRun]) -> str:
    """The day of the newest job of all; empty where there is none."""
    return max((run.date for run in runs), default="")


class Site:
    """All pages of the given runs; the first square over compilers and runtimes is the start page's."""

    def __init__(self, runs: Sequence[PublishedRun], tables: Sequence[Table], charts: Sequence[Chart]) -> None:
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
            apart=apart(self._tables),
            charted={chart.run.preset: chart.slug for chart in reversed(self._charts)},
            releases=by_product(self._releases),
            models=list(self._models),
            signatures=[signature_view(name, group) for name, group in self._signed.items()],
        )
        for table in self._tables:
            pickers = self._finder.pickers(table)
            yield self._page(f"square/{table.slug}.html", "square.html", table=table, pickers=pickers)
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
                    paths=path_closure(run.store_paths, environment.programs),
                )
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

    def _grouped(self) -> list[tuple[PublishedRun, list[Table]]]:
        return [(run, [table for table in self._tables if table.run is run]) for run in self._runs]

    def _evidence(self, table: Table, row: str) -> tuple[str, str]:
        """Jobs that several cells of the row share stand once, before the cells."""
        cells = table.row(row)
        times = Counter(key for _, cell in cells for key in cell.jobs)
        shared = [key for key in times if times[key] > 1]
        jobs = table.run.jobs
        own = {column: [jobs[key] for key in cell.jobs if times[key] == 1] for column, cell in cells}
        return self._page(
            table.evidence(row),
            "row.html",
            table=table,
            row=row,
            answer=row_answer(table, row),
            cells=[(column, cell, mark(table, cell), own[column]) for column, cell in cells],
            shared=[jobs[key] for key in shared],
        )

    def _beside(self, release: Release) -> tuple[Release | None, Release | None]:
        """The release before and the one after."""
        of_product = [each for each in self._releases if each.product == release.product]
        place = of_product.index(release)
        before = of_product[place + 1] if place + 1 < len(of_product) else None
        return before, of_product[place - 1] if place else None

    def _index(self) -> dict[str, list[Found]]:
        """Every page but those of environments, by what it is about."""
        squares = [
            Found(
                title=each.run.question,
                link=f"square/{each.slug}.html",
                text=f"{each.run.preset}, {each.row_axis} by {each.column_axis}, {each.title}",
            )
            for each in self._tables
        ]
        evidence = [
            Found(title=f"{table.row_axis} {row}", link=table.evidence(row), text=f"{table.run.preset}, {table.title}")
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


def apart(tables: Sequence[Table]) -> dict[str, str]:
    """Slug -> what tells the square from the others of its run on the same two axes."""
    found = {}
    for table in tables:
        alike = [each for each in tables if each.run is table.run and _shown(each) == _shown(table)]
        others = [axis for axis in table.others if len({each.others.get(axis) for each in alike}) > 1]
        found[table.slug] = ", ".join(table.others[axis] for axis in others)
    return found


def _shown(table: Table) -> tuple[str, str]:
    return table.row_axis, table.column_axis


def by_product(releases: Sequence[Release]) -> dict[str, list[Release]]:
    """`IREE` -> its releases, newest first."""
    found: dict[str, list[Release]] = {}
    for release in releases:
        found.setdefault(NAMES[release.product], []).append(release)
    return found


def changed(release: Release) -> list[tuple[Beside, list[Table]]]:
    """What a release changed, once for all squares that say the same, beside its nearest predecessor first."""
    found: dict[tuple[object, ...], tuple[Beside, list[Table]]] = {}
    for each in (each for each in release.sections if each.changed):
        found.setdefault(each.said, (each, []))[1].append(each.table)
    ascending = in_order(each.before for each, _ in found.values())
    return sorted(found.values(), key=lambda pair: -ascending.index(pair[0].before))


def numbers(chart: Chart) -> list[tuple[str, list[str]]]:
    """A chart as a table: for each release what stands in each panel."""
    return [(x, [_number(series.points.get(x), chart.measure) for series in chart.series]) for x in chart.x]


def _number(point: Point | None, measure: str) -> str:
    if point is None or point.value is None:
        return "-"
    spread = ""
    if point.low is not None and point.high is not None:
        spread = f" ({value_words(point.low, measure)} to {value_words(point.high, measure)})"
    return f"{value_words(point.value, measure)}{spread} {point.verdict}".strip()


def square_view(table: Table) -> dict[str, Any]:
    """What the template of a square fills in."""
    rows = []
    for row in table.rows:
        places: list[dict[str, str] | None] = []
        for column in table.columns:
            cell = table.cells.get((row, column))
            passed = cell is not None and cell.outcome is Outcome.PASSED
            places.append(
                {
                    "mark": mark(table, cell),
                    "kind": " ".join([kind(cell), edges(table, row, column) if passed else ""]).strip(),
                    "words": cell.words,
                    "link": f"{table.evidence(row)}#{slug(column)}",
                }
                if cell
                else None
            )
        rows.append({"label": row, "short": table.short_rows[row], "places": places})
    answers = [(table.row_axis, row, row_answer(table, row), table.evidence(row)) for row in table.rows]
    answers += [(table.column_axis, column, column_answer(table, column), "") for column in table.columns]
    return {
        "rows": rows,
        "foreseen": predictions.agreement(table.cells.values(), predictions.committed()),
        "columns": list(table.short_columns.items()),
        "legend": legend(table),
        "answers": answers,
        "islands": _islands(table),
    }


def _islands(table: Table) -> list[str]:
    """Neighbouring rows that pass on the same columns, in words."""
    groups: list[tuple[list[str], list[str]]] = []
    for row in table.rows:
        held = [column for column, cell in table.row(row) if cell.outcome is Outcome.PASSED]
        if groups and groups[-1][1] == held:
            groups[-1][0].append(row)
        else:
            groups.append(([row], held))
    first = (table.row_axis, table.column_axis) == FIRST
    who, verb = ("modules of ", "load on") if first else ("", "with")
    return [
        f"{who}{several(table.row_axis, rows, table.rows)} {verb} {several(table.column_axis, held, table.columns)}"
        for rows, held in groups
        if held
    ]


def _models(tables: Sequence[Table]) -> dict[str, list[Table]]:
    found: dict[str, list[Table]] = {}
    for table in tables:
        for model in {cell.axes.get("model", "-"): None for cell in table.cells.values()}:
            if model != "-":
                found.setdefault(model, []).append(table)
    return found


def _model(model: str, tables: Sequence[Table]) -> dict[str, Any]:
    """For each square with the model: its cells by outcome; what its exports left; what the run notes of it."""
    questions: dict[str, list[tuple[Table, list[tuple[str, int]], str]]] = {}
    exports: dict[str, PublishedJob] = {}
    for table in tables:
        cells = [cell for cell in table.cells.values() if cell.axes.get("model") == model]
        counts = Counter(cell.words for cell in cells)
        for cell in cells:
            jobs = [table.run.jobs[key] for key in cell.jobs[:1]]
            exports |= {job.key: job for job in jobs if job.stage in (EXPORT, IMPORT)}
        answer = row_answer(table, model) if table.row_axis == "model" else ""
        questions.setdefault(table.run.question, []).append((table, counts.most_common(), answer))
    notes = {table.run.notes[model]: None for table in tables if model in table.run.notes}
    return {"model": model, "questions": questions, "notes": list(notes), "exports": list(exports.values())}


Signed = list[tuple[Table, tuple[str, str], PublishedCell]]


def signed(tables: Sequence[Table]) -> Mapping[str, Signed]:
    """Signature -> its cells, the most frequent first."""
    found: dict[str, Signed] = {}
    for table in tables:
        for place, cell in table.cells.items():
            if cell.signature:
                found.setdefault(cell.signature, []).append((table, place, cell))
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))


def signature_view(name: str, group: Signed) -> dict[str, Any]:
    """What the templates say of an error signature. A cell of two runs has a row in both squares and counts once."""
    cells = {frozenset(cell.axes.items()): cell for _, _, cell in group}.values()
    messages = Counter(cell.means or cell.message for cell in cells)
    first = {cell.means or cell.message: cell for _, _, cell in reversed(group)}
    rows: dict[tuple[str, str], tuple[Table, str, list[str]]] = {}
    for table, (row, column), _ in group:
        rows.setdefault((table.slug, row), (table, row, []))[2].append(column)
    lines = [
        (
            table,
            f"{table.row_axis} {table.short_rows[row]}",
            several(table.column_axis, columns, table.columns),
            f"{table.evidence(row)}#{slug(columns[0])}",
        )
        for table, row, columns in rows.values()
    ]
    steps = [table.run.next_steps[name] for table, _, _ in group if name in table.run.next_steps]
    return {
        "name": name,
        "code": signatures.codes().get(name, ""),
        "general": meaning(group[0][2]),
        "count": len(cells),
        "messages": [(first[said], count) for said, count in messages.most_common(EXAMPLES)],
        "more": max(0, len(messages) - EXAMPLES),
        "lines": lines,
        "next": steps[0] if steps else "",
    }
