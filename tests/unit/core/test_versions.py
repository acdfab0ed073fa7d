"""What a selector means."""

from __future__ import annotations

import pytest

from matrix.core.versions import (
    SelectorFault,
    ascending,
    did_you_mean,
    is_selector,
    newest_of_each_minor,
    releases_first,
    select,
)

RELEASES = ("2.9.0", "3.0.0", "3.7.0", "3.7.1", "3.9.0", "3.10.0", "3.11.0rc1")


@pytest.mark.parametrize(
    ("term", "meant"),
    [
        ("3.7.1", ["3.7.1"]),
        ("3.10", ["3.10.0"]),
        (" 3.9.0 ", ["3.9.0"]),
        ("all", list(RELEASES)),
        ("latest", ["3.11.0rc1"]),
        ("latest <3.8", ["3.7.1"]),
        ("latest-minors", ["2.9.0", "3.0.0", "3.7.1", "3.9.0", "3.10.0", "3.11.0rc1"]),
        ("latest-minors >=3.7,<3.10", ["3.7.1", "3.9.0"]),
        (">=3.9", ["3.9.0", "3.10.0", "3.11.0rc1"]),
        ("~=3.7.0", ["3.7.0", "3.7.1"]),
        ("!=3.0.0", ["2.9.0", "3.7.0", "3.7.1", "3.9.0", "3.10.0", "3.11.0rc1"]),
        ("==3.7.*", ["3.7.0", "3.7.1"]),
        (">4", []),
    ],
)
def test_a_term(term, meant):
    assert list(select(term, RELEASES)) == meant


@pytest.mark.parametrize(
    ("term", "words"),
    [
        ("3.8.0", "unknown version '3.8.0': the locks know 2.9.0 to 3.11.0rc1; did you mean"),
        ("latst", "read 'latst', expected an exact version, a PEP 440 specifier"),
        ("latst", "; did you mean 'latest'?"),
        (">=banana", "read '>=banana', expected"),
        ("all banana", "read 'all banana', expected"),
        ("", "read '', expected"),
    ],
)
def test_a_term_that_means_nothing(term, words):
    with pytest.raises(SelectorFault) as caught:
        select(term, RELEASES)
    assert words in str(caught.value)


def test_no_release_is_known():
    with pytest.raises(SelectorFault, match="the locks know none"):
        select("3.8.0", ())


def test_builds_stand_behind_the_releases():
    assert releases_first(["zig-3.11", "3.10.0", "3.9.0", "-", "3.10.0"]) == ("3.9.0", "3.10.0", "zig-3.11", "-")


def test_versions_are_no_texts():
    assert ascending(["3.10", "3.9", "3.9", "3.11"]) == ("3.9", "3.10", "3.11")
    assert newest_of_each_minor(["3.7.1", "3.7.10", "3.7.9"]) == ("3.7.10",)


def test_several():
    assert [is_selector(term) for term in ("all", "latest >=3", ">=3", "~=3.1", "3.7.1", "linear", "")] == [
        True, True, True, True, False, False, False,
    ]  # fmt: skip


def test_nearest():
    assert did_you_mean("compilr", ["runtime", "compiler"]) == "; did you mean 'compiler'?"
    assert did_you_mean("x", ["runtime"]) == ""
