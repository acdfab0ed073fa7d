"""The pages, each with its path and text, one after the other, so that a large site needs little memory."""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence

from matrix.answers.costs import CostChange
from matrix.answers.dated.trends import PresetTrend
from matrix.answers.pins.recommendations import Recommendation
from matrix.answers.releases.compatibility import Dates
from matrix.core.store_paths import path_closure
from matrix.core.versions import are_versions, is_dated
from matrix.plan.backends.shared import MODEL_AXIS, TARGET_AXIS
from matrix.results.measured.counts import counted_models
from matrix.results.run import Run
from matrix.results.square import OUTCOMES, Square
from matrix.site.cells import CellTexts
from matrix.site.finding.moved import moved_pages
from matrix.site.finding.pickers import Finder
from matrix.site.finding.search import index_of
from matrix.site.harmless import slug
from matrix.site.machines import OnMachine, on_machines
from matrix.site.notices import Head, head_of, join_heads, labels_of
from matrix.site.pictures.chart import Chart
from matrix.site.pictures.operations import operation_charts_of
from matrix.site.pins import PINS_PAGE, asked_words, pin_link, pin_view, pins_table
from matrix.site.releases import (
    Release,
    by_product,
    changed,
    compare_link,
    find_releases,
    link_of,
    product_names,
    products,
    release_costs,
    release_modules,
)
from matrix.site.squares import (
    FIRST,
    conclusions,
    distinct_names,
    evidence_of,
    mark,
    ordered,
    row_answer,
    slug_of,
)
from matrix.site.subjects.models import model_view, squares_by_label
from matrix.site.subjects.profiles import (
    find_profile_pages,
    profile_links,
    profile_page_view,
    release_profile_changes,
)
from matrix.site.subjects.targets import target_view
from matrix.site.triaged import triage_views
from matrix.site.views import (
    charts_view,
    compatibility_view,
    cost_views,
    signature_view,
    signed,
    square_view,
    tables_link,
    tables_of,
    templates,
)

LOADS_PAGE, RELEASES_PAGE, COMPATIBILITY_PAGE = "loads.html", "releases.html", "compatibility.html"
MOST_COMPARED = 20
"""The most releases of a product of which every two have a page; a site with more compares neighbours."""


def first_table(tables: Sequence[Square]) -> Square:
    """The square of the start page."""
    return next((table for table in tables if (table.row_axis, table.column_axis) == FIRST), tables[0])


def install_words(repository: str) -> str:
    """The lines that make `python -m matrix` work; without an address of this project, those inside a copy of it."""
    install = "python3 -m pip install -e ."
    return f"git clone {repository} iree-matrix && cd iree-matrix && {install}" if repository else install


def latest(runs: Sequence[Run]) -> str:
    """The date of the newest job of all; empty if there is none."""
    return max((run.date for run in runs), default="")


class Site:
    """All pages of the given runs; the first square over compilers and runtimes is on the start page."""

    def __init__(
        self,
        runs: Sequence[Run],
        tables: Sequence[Square],
        charts: Sequence[Chart],
        pins: Sequence[Recommendation] = (),
        *,
        trends: Sequence[PresetTrend] = (),
        dates: Dates | None = None,
        repository: str = "",
    ) -> None:
        self._repository, self._dates = repository, dates or {}
        self._runs, self._tables, self._charts, self._pins = runs, tables, charts, pins
        self._trends = trends
        self._finder, self._date = Finder(tables), latest(runs)
        self.releases = find_releases(tables, self._dates)
        self._models = squares_by_label(tables, MODEL_AXIS.name)
        self._targets = squares_by_label(tables, TARGET_AXIS.name)
        self.signed = signed(tables)
        self._profiled = find_profile_pages(runs)
        self._known_costs: dict[str, tuple[str, list[CostChange]]] = {}

    def pages(self) -> Iterator[tuple[str, str]]:
        """(path below the site's folder, text)."""
        yield from self._start()
        for table in self._tables:
            pickers = self._finder.pickers(table)
            yield self._page(f"square/{slug_of(table)}.html", "square.html", table=table, pickers=pickers)
            texts = CellTexts(table)
            for row in table.rows:
                yield self._evidence(table, row, texts)
        for release in self.releases:
            yield self._release(release)
        for before, after in self._pairs:
            yield self._compared(before, after)
        yield from self._subjects()
        for name, group in self.signed.items():
            yield self._page(f"signature/{slug(name)}.html", "signature.html", **signature_view(name, group))
        yield from self._environments()
        for run in self._runs:
            if blocks := tables_of(run):
                head = head_of(run, {axis.name: axis.labels for axis in run.axes})
                yield self._page(tables_link(run), "tables.html", run=run, blocks=blocks, head=head)
        if self._charts:
            yield self._page("charts.html", "charts.html", **charts_view(self._charts))
        yield from self._pin_pages()
        yield self._page(RELEASES_PAGE, "releases.html", releases=by_product(self.releases))
        yield self._page("data.html", "data.html", runs=self._runs, tables=self._tables, trends=self._trends)
        if self._trends:
            yield self._page("dates.html", "dates.html", trends=self._trends)
        yield self._page("about.html", "about.html", outcomes=OUTCOMES.items())
        found = index_of(
            tables=self._tables,
            charts=self._charts,
            pins=self._pins,
            releases=self.releases,
            models=list(self._models),
            targets=list(self._targets),
            errors=self.signed,
            costs={release.link: self.costs(release)[1] for release in self.releases},
        )
        axes = ordered(axis for run in self._runs for axis in run.names)
        yield self._page("search.html", "search.html", found=found, axes=axes)

    def moved(self) -> Iterator[tuple[str, str]]:
        """Pages at former addresses, which lead to those of today."""
        for page in moved_pages(self._tables):
            yield self._page(page.path, "moved.html", page=page)

    def _start(self) -> Iterator[tuple[str, str]]:
        start = first_table(self._tables)
        yield self._page(
            "index.html",
            "index.html",
            table=start,
            pickers=self._finder.pickers(start),
            concluded=conclusions(start),
            newest=next((each for each in self.releases if each.product == products().get(FIRST[1])), None),
            squares=self._grouped(),
            apart=distinct_names(self._tables),
            charted={chart.run.preset: chart.slug for chart in reversed(self._charts)},
            releases=by_product(self.releases),
            models=list(self._models),
            targets=list(self._targets),
            signatures=[signature_view(name, group) for name, group in self.signed.items()],
        )
        compatible = compatibility_view(self._runs, self._tables, self._dates)
        yield self._page(COMPATIBILITY_PAGE, "compatibility.html", **compatible)
        yield self._page(LOADS_PAGE, "loads.html", table=start, answers=square_view(start)["answers"])

    def _page(self, path: str, template: str, **context: object) -> tuple[str, str]:
        up = "../" * path.count("/")
        views = {"square": square_view}
        page = templates().get_template(template)
        shared = {"up": up, "date": self._date, "views": views, "path": path, "machines": self._machines}
        shared |= {"repository": self._repository, "install": install_words(self._repository)}
        return path, page.render(**shared, has_charts=bool(self._charts), **context)

    def _machines(self, run: Run, kind: str = "") -> tuple[OnMachine, ...]:
        """The selector of machines of a run's page of tables, or of its chart of this kind."""
        if not kind:
            return on_machines(run, self._runs, tables_link)
        links = {each.run.preset: f"charts.html#{each.slug}" for each in self._charts if each.kind.name == kind}
        return on_machines(run, self._runs, lambda each: links.get(each.preset, ""))

    def _grouped(self) -> list[tuple[Run, list[Square]]]:
        return [(run, [table for table in self._tables if table.run is run]) for run in self._runs]

    def _evidence(self, table: Square, row: str, texts: CellTexts) -> tuple[str, str]:
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
            head=head_of(table.run, {**labels_of(table), table.row_axis: (row,)}),
            texts=texts,
            cells=[(column, cell, mark(table.run, cell), own[column]) for column, cell in cells],
            shared=[jobs[key] for key in shared],
        )

    def _subjects(self) -> Iterator[tuple[str, str]]:
        """The pages of models and of targets."""
        axis, counted = MODEL_AXIS.name, counted_models(self._runs)
        for model, tables in self._models.items():
            view = {**model_view(model, tables), "pins": self._pinned(axis, model), "counted": model in counted}
            view |= {
                "profiles": list(profile_links(self._profiled, model=model)),
                "kinds": operation_charts_of(model, self._charts),
            }
            yield self._page(link_of(axis, model), "model.html", **view)
        for page in self._profiled:
            yield self._page(page.link, "profile.html", **profile_page_view(page, self._profiled))
        axis = TARGET_AXIS.name
        for target, tables in self._targets.items():
            view = {**target_view(target, tables, self._runs), "pins": self._pinned(axis, target)}
            yield self._page(link_of(axis, target), "target.html", **view)

    def _pinned(self, axis: str, label: str) -> list[tuple[str, str]]:
        """The pages of what to pin for a value: what was asked, and the address."""
        pins = [each for each in self._pins if each.advice and each.wanted.get(axis) == label]
        return [(asked_words(each.wanted), pin_link(each.wanted)) for each in pins]

    def _release(self, release: Release) -> tuple[str, str]:
        base, costs = self.costs(release)
        older, newer = self._beside(release)
        triaged = triage_views(self._runs, release.product, older.version, release.version) if older else []
        others = [pair for pair in self._pairs if release in pair]
        return self._page(
            release.link,
            "release.html",
            release=release,
            head=self._head(release),
            neighbours=(older, newer),
            triaged=triaged,
            changed=changed(release),
            same=[each for each in release.sections if not each.changed],
            base=base,
            costs=cost_views(costs),
            **self._executed(older, release),
            others=[(old if old is not release else new, compare_link(old, new)) for old, new in others],
        )

    def _head(self, release: Release) -> Head:
        """Of a runtime built from source: what it is, and that its targets are emulated."""
        axes = [axis for axis, product in products().items() if product == release.product]
        runs = [run for run in self._runs if any(release.version in run.notes(axis) for axis in axes)]
        tables = [each.table for each in release.sections if each.table.run in runs]
        targets = dict.fromkeys(cell.axes.get("target", "") for table in tables for cell in table.cells.values())
        asked = {**dict.fromkeys(axes, (release.version,)), "target": tuple(targets)}
        return join_heads(head_of(run, asked) for run in runs)

    def costs(self, release: Release) -> tuple[str, list[CostChange]]:
        """What it costs compared with the nearest older release measured in the same run, and which that is."""
        if release.link not in self._known_costs:
            self._known_costs[release.link] = self._found_costs(release)
        return self._known_costs[release.link]

    def _found_costs(self, release: Release) -> tuple[str, list[CostChange]]:
        versions = [each.version for each in self.releases if each.product == release.product]
        for older in versions[versions.index(release.version) + 1 :]:
            if costs := release_costs(self._runs, release.product, older, release.version):
                return older, costs
        return "", []

    @functools.cached_property
    def _pairs(self) -> list[tuple[Release, Release]]:
        """Every two releases of a product, the older one first; none of a product with too many. Dated releases count
        apart, and only the newest of them is compared with a numbered one, its successor."""
        found = []
        for product in product_names():
            versions = [each for each in self.releases if each.product == product and are_versions([each.version])]
            lines = [list(line) for _, line in itertools.groupby(versions, key=lambda each: is_dated(each.version))]
            for line in lines:
                if len(line) <= MOST_COMPARED:
                    found += [(old, new) for new, old in itertools.combinations(line, 2)]
            found += [(older[0], newer[-1]) for newer, older in itertools.pairwise(lines)]
        return found

    def _compared(self, before: Release, after: Release) -> tuple[str, str]:
        return self._page(
            compare_link(before, after),
            "compare.html",
            before=before,
            after=after,
            triaged=triage_views(self._runs, before.product, before.version, after.version),
            costs=cost_views(release_costs(self._runs, before.product, before.version, after.version)),
            **self._executed(before, after),
        )

    def _executed(self, before: Release | None, after: Release) -> dict[str, object]:
        """What a release plans and executes, and what more or less of both than another one."""
        axes = [axis for axis, product in products().items() if product == after.product]
        old = before.version if before else ""
        return {
            "profiles": list(profile_links(self._profiled, axes=axes, release=after.version)),
            "modules": release_modules(self._runs, after.product, old, after.version) if old else (),
            "executed": release_profile_changes(self._runs, after.product, old, after.version) if old else (),
        }

    def _environments(self) -> Iterator[tuple[str, str]]:
        """Each environment once: several runs share some."""
        found = {each.digest[:16]: (run, each) for run in self._runs for each in run.environments.values()}
        for digest, (run, environment) in found.items():
            paths = path_closure(run.store_paths.values(), environment.nix_programs)
            path = f"environment/{slug(digest)}.html"
            yield self._page(path, "environment.html", environment=environment, paths=paths)

    def _pin_pages(self) -> Iterator[tuple[str, str]]:
        known = {release.link for release in self.releases}
        for each in self._pins:
            yield self._page(pin_link(each.wanted), "pin.html", known=known, **pin_view(each, self._pins, self._runs))
        yield self._page(PINS_PAGE, "pins.html", table=pins_table(self._pins))

    def _beside(self, release: Release) -> tuple[Release | None, Release | None]:
        """The release before and the one after."""
        of_product = [each for each in self.releases if each.product == release.product]
        place = of_product.index(release)
        before = of_product[place + 1] if place + 1 < len(of_product) else None
        return before, of_product[place - 1] if place else None
