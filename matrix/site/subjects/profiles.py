"""The page of a model with a release: what each dispatch of a call executes there. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matrix.answers.differences import release_pairs
from matrix.answers.profiled.changes import operation_changes
from matrix.answers.profiled.published import ProfileChange, profile_changes
from matrix.answers.profiled.words import (
    MOST_DISPATCHES,
    folded_lines,
    total_lines,
    where_words,
)
from matrix.answers.timing.joined import TimedDispatch, TimedProfile
from matrix.answers.timing.published import timed_profile_of
from matrix.answers.timing.words import HOW_TIMED_HERE, rate_text, time_lines, top_lines
from matrix.core.versions import releases_first
from matrix.plan.backends.shared import MODEL_AXIS
from matrix.results.measured.counts import instruction_words
from matrix.results.measured.dispatch_times import CallTimes, interrupted_words, span_words
from matrix.results.measured.profiled_code import short_name
from matrix.results.measured.profiles import Profile, profiled_cells, share_words
from matrix.results.run import Run
from matrix.results.times import duration
from matrix.site.harmless import slug
from matrix.site.releases import products


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfiledPlace:
    """A profile on a page. `name` has its labels that differ on the page, `change` is that from the release before."""

    name: str
    run: Run
    profile: Profile
    before: str = ""
    change: ProfileChange | None = None
    timed: TimedProfile | None = None
    timed_by: Run | None = None

    @property
    def headers(self) -> tuple[str, ...]:
        """Of `dispatches`."""
        times = ("least time", "median of calls (quartiles)", "instructions a ns") if self.timed else ()
        return ("dispatch", "instructions", "share", "calls", *times, "operation")

    @property
    def time_sentences(self) -> list[str]:
        """What a call takes in all, and which dispatches time and instructions place otherwise."""
        if not self.timed:
            return []
        times = self.timed.traced
        busy = interrupted_words([times]) if isinstance(times, CallTimes) else ""
        return [*time_lines(self.timed), *([busy] if busy else []), *top_lines(self.timed)]

    @property
    def totals(self) -> Sequence[str]:
        return total_lines(self.profile)

    @property
    def folded(self) -> Sequence[str]:
        return folded_lines(self.profile)

    @property
    def kinds(self) -> list[tuple[str, str, str]]:
        """Kind of operation, instructions, share."""
        whole = self.profile.instructions
        return [(kind, f"{count:,}", share_words(count, whole)) for kind, count in self.profile.by_kind().items()]

    @property
    def dispatches(self) -> list[tuple[str, ...]]:
        """Name, instructions, share, calls, times, operation; those with most instructions first."""
        profile = self.profile
        rows = {each.name: each for each in self.timed.dispatches} if self.timed else {}
        return [
            (
                short_name(each.name),
                f"{each.instructions:,}",
                share_words(each.instructions, profile.instructions),
                f"{each.calls:,}",
                *(_times(rows.get(each.name)) if self.timed else ()),
                where_words(profile.main_operation(each), profile.source),
            )
            for each in profile.code.dispatches
        ]


def _times(row: TimedDispatch | None) -> tuple[str, str, str]:
    if row is None or row.time is None:
        return "", "", ""
    return duration(row.time.least / 1e9), span_words(row.time.quartiles), rate_text(row)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfilePage:
    """What a model executes with a release of `axis`, on each target that was profiled."""

    model: str
    axis: str
    release: str
    places: tuple[ProfiledPlace, ...]

    @property
    def timed(self) -> bool:
        return any(place.timed for place in self.places)

    @property
    def link(self) -> str:
        return f"profile/{slug(self.model)}--{slug(self.release)}.html"


def find_profile_pages(runs: Iterable[Run]) -> tuple[ProfilePage, ...]:
    """A page for each model and release with profiles, by model, then the oldest release first."""
    found: dict[tuple[str, str, str], list[tuple[Run, Profile]]] = {}
    runs = tuple(runs)
    for run in runs:
        for profile in profiled_cells(run).values():
            axis = next((name for name in products() if name in profile.axes), "")
            if axis:
                key = profile.axes[MODEL_AXIS.name], axis, profile.axes[axis]
                found.setdefault(key, []).append((run, profile))
    models = dict.fromkeys((model, axis) for model, axis, _ in found)
    return tuple(
        _page(model, axis, release, found, runs)
        for model, axis in models
        for release in releases_first(key[2] for key in found if key[:2] == (model, axis))
    )


def _page(
    model: str,
    axis: str,
    release: str,
    found: Mapping[tuple[str, str, str], Sequence[tuple[Run, Profile]]],
    runs: Sequence[Run],
) -> ProfilePage:
    here = found[model, axis, release]
    tied = {name for run, _ in here for name in run.moving_together.get(axis, frozenset((axis,)))}
    known = releases_first(key[2] for key in found if key[:2] == (model, axis))
    older = known[: known.index(release)]
    before = older[-1] if older else ""
    earlier = {_place(profile, tied): profile for _, profile in found.get((model, axis, before), ())}
    varying = {name for _, one in here for _, other in here for name in one.axes if one.axes[name] != other.axes[name]}
    places = []
    for run, profile in here:
        old = earlier.get(_place(profile, tied))
        name = ", ".join(label for axis_name, label in profile.axes.items() if axis_name in varying - tied)
        change = None
        if old:
            place = ", ".join(part for part in (model, name) if part)
            change = ProfileChange(place=place, before=old, after=profile, changes=operation_changes(old, profile))
        by, timed = timed_profile_of(profile, runs) or (None, None)
        places.append(
            ProfiledPlace(
                name=name,
                run=run,
                profile=profile,
                before=before if old else "",
                change=change,
                timed=timed,
                timed_by=by,
            )
        )
    return ProfilePage(model=model, axis=axis, release=release, places=tuple(places))


def _place(profile: Profile, tied: Iterable[str]) -> tuple[tuple[str, str], ...]:
    return tuple(pair for pair in profile.axes.items() if pair[0] not in tied)


def profile_page_view(page: ProfilePage, pages: Sequence[ProfilePage]) -> dict[str, Any]:
    """The values of its template."""
    own = [each for each in pages if (each.model, each.axis) == (page.model, page.axis)]
    at = own.index(page)
    return {
        "page": page,
        "shown": MOST_DISPATCHES,
        "how_timed": HOW_TIMED_HERE,
        "neighbours": (own[at - 1] if at else None, own[at + 1] if at + 1 < len(own) else None),
    }


def profile_links(
    pages: Iterable[ProfilePage], *, model: str = "", axes: Iterable[str] = (), release: str = ""
) -> Iterator[tuple[str, str]]:
    """Words and address of the pages of a model, or of a release of one of these axes."""
    axes = tuple(axes)
    for page in pages:
        if model and page.model == model:
            whole = page.places[0].profile.instructions
            yield f"{page.release}: {instruction_words(whole)}", page.link
        elif release and page.axis in axes and page.release == release:
            yield page.model, page.link


def release_profile_changes(runs: Sequence[Run], product: str, before: str, after: str) -> tuple[ProfileChange, ...]:
    """Which operations execute more or fewer instructions from one release of a product to another, each cell once."""
    axis = next((name for name, of in products().items() if of == product), "")
    profiled = [run for run in runs if run.profiles]
    return profile_changes(release_pairs(profiled, axis, before, after)) if axis and profiled else ()
