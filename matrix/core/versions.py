"""The releases that a selector means: exact versions, PEP 440 specifiers, `all`, `latest`, `latest-minors`,
`nightlies`; and their order.

A package may have an older line of dated releases (`20241104.1068`), which ended where the numbered ones began
(`2.9.0`). PEP 440 would put it after them.
"""

from __future__ import annotations

import difflib
import functools
import itertools
from collections.abc import Iterable, Sequence

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

NIGHTLIES = "nightlies"
KEYWORDS = ("all", "latest", "latest-minors", NIGHTLIES)

GRAMMAR = "an exact version, a PEP 440 specifier such as '>=3.6', 'all', 'latest', 'latest-minors' or 'nightlies'"
FIRST_DATE = 2000_01_01
"""A first number from here on is a date."""


class SelectorFault(ValueError):
    """A selector without a meaning. The text is the end of a fault, after its place."""


def ascending(versions: Iterable[str]) -> tuple[str, ...]:
    """In the order of release (20241104.1068 before 3.9, 3.9 before 3.10), without duplicates."""
    return tuple(sorted(set(versions), key=release_key))


@functools.cache  # as those below: a page sorts the same labels again and again
def release_key(label: str) -> tuple[bool, Version]:
    """Sorts versions in the order of release: dated ones before numbered ones, each by PEP 440."""
    return not is_dated(label), Version(label)


@functools.cache
def is_dated(label: str) -> bool:
    """Whether a version is a date and a build (20241104.1068): of a package's older line."""
    return Version(label).major >= FIRST_DATE


def numbered_releases(versions: Iterable[str]) -> tuple[str, ...]:
    """The releases that are not dated, in their order; all of them if there are no others."""
    every = tuple(versions)
    return tuple(itertools.filterfalse(is_dated, every)) or every


def releases_first(labels: Iterable[str]) -> tuple[str, ...]:
    """Each label once: releases ascending, then names in their order."""
    unique = tuple(dict.fromkeys(labels))
    return (*sorted(filter(is_version, unique), key=release_key), *itertools.filterfalse(is_version, unique))


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


@functools.cache
def is_nightly(label: str) -> bool:
    """Whether it is the version of a nightly build or a release candidate."""
    return is_version(label) and Version(label).is_prerelease


def newest_of_each_minor(versions: Iterable[str]) -> tuple[str, ...]:
    """The newest patch release of each (major, minor)."""
    newest: dict[tuple[int, int], str] = {}
    for version in ascending(versions):
        parsed = Version(version)
        newest[parsed.major, parsed.minor] = version
    return tuple(newest.values())


def select(term: str, releases: Sequence[str]) -> tuple[str, ...]:
    """The releases that a term selects, ascending; a specifier may select none.

    Dated releases are selected by their exact version, or by a specifier that names dates (`>=20230209`), which selects
    no others. A keyword may have a specifier: `latest-minors >=3.0`. Of the keywords only `all`, `nightlies` and one
    with a specifier that names a nightly build or a candidate select such while there are others. Raises SelectorFault
    for an unknown exact version, or a term of no known form.
    """
    word, _, rest = term.strip().partition(" ")
    if word in KEYWORDS:
        among = _matching(rest.strip(), releases, term) if rest.strip() else numbered_releases(ascending(releases))
        if word == "all":
            return among
        if word == NIGHTLIES:
            return tuple(filter(is_nightly, among))
        final = among if SpecifierSet(rest.strip()).prereleases else _final(among)
        return final[-1:] if word == "latest" else newest_of_each_minor(final)
    if is_selector(term):
        return _matching(term, releases, term)
    return (_exact(term, releases),)


def is_selector(term: str) -> bool:
    """Whether a term is a keyword or a specifier, not the name of one value."""
    return term.strip().partition(" ")[0] in KEYWORDS or term.strip()[:1] in tuple("<>=!~")


def _final(releases: tuple[str, ...]) -> tuple[str, ...]:
    """The releases without candidates and nightlies; all of them where there is nothing else."""
    return tuple(release for release in releases if not is_nightly(release)) or releases


def _matching(specifier: str, releases: Sequence[str], term: str) -> tuple[str, ...]:
    try:
        allowed = SpecifierSet(specifier)
    except InvalidSpecifier:
        raise SelectorFault(f"read {term!r}, expected {GRAMMAR}") from None
    named = (clause.version.removesuffix(".*") for clause in allowed)
    dated = {is_dated(version) for version in named if is_version(version)}
    if len(dated) > 1:
        raise SelectorFault(f"read {term!r}, expected dates or numbers: the two are releases of different lines")
    return ascending(
        release for release in releases if is_dated(release) in dated and allowed.contains(release, prereleases=True)
    )


def _exact(term: str, releases: Sequence[str]) -> str:
    known = {Version(release): release for release in releases}
    try:
        wanted = Version(term)
    except InvalidVersion:
        word = did_you_mean(term, KEYWORDS)
        raise SelectorFault(f"read {term!r}, expected {GRAMMAR}{word}") from None
    if wanted not in known and (patches := _patches(wanted, releases)):
        return patches[-1]
    if wanted not in known:
        near = did_you_mean(term, releases)
        raise SelectorFault(f"unknown version {term!r}, expected another: the locks know {_spans(releases)}{near}")
    return known[wanted]


def _patches(wanted: Version, releases: Sequence[str]) -> tuple[str, ...]:
    """The releases of a minor one that is named without its patch release (`2.5`), ascending."""
    if len(wanted.release) > 2 or wanted.is_prerelease:
        return ()
    among = [each for each in releases if (Version(each).major, Version(each).minor) == (wanted.major, wanted.minor)]
    return _final(ascending(among)) if among else ()


def _spans(releases: Sequence[str]) -> str:
    """`2.9.0 to 3.13.0 and 20230209.425 to 20241104.1068`: the ends of both lines."""
    later = numbered_releases(releases)
    earlier = [release for release in releases if release not in later]
    return " and ".join(f"{line[0]} to {line[-1]}" for line in (later, earlier) if line) or "none"


def did_you_mean(read: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or empty. Of versions the nearest is meant: 3.14 is near 3.13.0 and not near 3.4.0."""
    words = list(known)
    releases = [word for word in words if is_version(word)]
    close = [_nearest(read, releases)] if is_version(read) and releases else []
    close = close or difflib.get_close_matches(read, words, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def _nearest(read: str, releases: Sequence[str]) -> str:
    """The release before or after a version: that of its minor release, else of its major one, else the one before."""
    key, order = release_key(read), ascending(releases)
    before, after = (
        [each for each in order if release_key(each) < key],
        [each for each in order if release_key(each) > key],
    )
    beside = [*before[-1:], *after[:1]]
    far = {each: (minor(each) != minor(read), Version(each).major != Version(read).major) for each in beside}
    return min(beside, key=far.__getitem__, default=read)


@functools.cache
def minor(release: str) -> str:
    """`3.7` of `3.7.1`. A patch release must not break the promises of a minor one, and the compiler has patch releases
    that the runtime does not have. A nightly build and a release candidate stand for themselves."""
    if is_nightly(release):
        return release
    return ".".join(release.split(".")[:2])
