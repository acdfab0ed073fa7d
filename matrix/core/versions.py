"""The releases that a selector means: exact versions, PEP 440 specifiers, `all`, `latest`, `latest-minors`."""

from __future__ import annotations

import difflib
import functools
import itertools
from collections.abc import Iterable, Sequence

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

KEYWORDS = ("all", "latest", "latest-minors")

GRAMMAR = "an exact version, a PEP 440 specifier such as '>=3.6', 'all', 'latest' or 'latest-minors'"


class SelectorFault(ValueError):
    """A selector without a meaning. The text is the end of a fault, after its place."""


def ascending(versions: Iterable[str]) -> tuple[str, ...]:
    """Sorted by PEP 440 (3.9 before 3.10), without duplicates."""
    return tuple(sorted(set(versions), key=Version))


def releases_first(labels: Iterable[str]) -> tuple[str, ...]:
    """Each label once: releases ascending, then names in their order."""
    unique = tuple(dict.fromkeys(labels))
    return (*sorted(filter(is_version, unique), key=Version), *itertools.filterfalse(is_version, unique))


def are_versions(labels: Iterable[str]) -> bool:
    """Whether all labels are versions: with a user's own toolchain among them they are names."""
    return all(map(is_version, labels))


@functools.cache
def is_version(label: str) -> bool:
    """Whether PEP 440 accepts the label. The names of builds and toolchains are no versions."""
    try:
        Version(label)
    except InvalidVersion:
        return False
    return True


def newest_of_each_minor(versions: Iterable[str]) -> tuple[str, ...]:
    """The newest patch release of each (major, minor)."""
    newest: dict[tuple[int, int], str] = {}
    for version in ascending(versions):
        parsed = Version(version)
        newest[parsed.major, parsed.minor] = version
    return tuple(newest.values())


def select(term: str, releases: Sequence[str]) -> tuple[str, ...]:
    """The releases that a term selects, ascending; a specifier may select none.

    A keyword may have a specifier: `latest-minors >=3.0`. Raises SelectorFault for an unknown exact version, or a term
    of no known form.
    """
    word, _, rest = term.strip().partition(" ")
    if word in KEYWORDS:
        among = _matching(rest.strip(), releases, term) if rest.strip() else ascending(releases)
        if word == "latest":
            return among[-1:]
        return newest_of_each_minor(among) if word == "latest-minors" else among
    if is_selector(term):
        return _matching(term, releases, term)
    return (_exact(term, releases),)


def is_selector(term: str) -> bool:
    """Whether a term is a keyword or a specifier, not the name of one value."""
    return term.strip().partition(" ")[0] in KEYWORDS or term.strip()[:1] in tuple("<>=!~")


def _matching(specifier: str, releases: Sequence[str], term: str) -> tuple[str, ...]:
    try:
        allowed = SpecifierSet(specifier)
    except InvalidSpecifier:
        raise SelectorFault(f"read {term!r}, expected {GRAMMAR}") from None
    return ascending(release for release in releases if allowed.contains(release, prereleases=True))


def _exact(term: str, releases: Sequence[str]) -> str:
    known = {Version(release): release for release in releases}
    try:
        wanted = Version(term)
    except InvalidVersion:
        word = did_you_mean(term, KEYWORDS)
        raise SelectorFault(f"read {term!r}, expected {GRAMMAR}{word}") from None
    if wanted not in known:
        near = did_you_mean(term, releases)
        span = f"the locks know {releases[0]} to {releases[-1]}" if releases else "the locks know none"
        raise SelectorFault(f"unknown version {term!r}: {span}{near}")
    return known[wanted]


def did_you_mean(read: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or empty."""
    close = difflib.get_close_matches(read, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def minor(release: str) -> str:
    """`3.7` of `3.7.1`. A patch release must not break the promises of a minor one, and the compiler has patch releases
    that the runtime does not have."""
    return ".".join(release.split(".")[:2])
