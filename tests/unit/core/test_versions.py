"""What a selector means."""

from __future__ import annotations

import pytest

from matrix.core.versions import (
    SelectorFault,
    ascending,
    did_you_mean,
    is_selector,
    minor,
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
        ("3.7", ["3.7.0"]),
        ("3.11", ["3.11.0rc1"]),
        (" 3.9.0 ", ["3.9.0"]),
        ("all", list(RELEASES)),
        ("latest", ["3.10.0"]),
        ("latest <3.8", ["3.7.1"]),
        ("latest >=3.11.0rc1", ["3.11.0rc1"]),
        ("latest >3.10", ["3.11.0rc1"]),
        ("latest-minors", ["2.9.0", "3.0.0", "3.7.1", "3.9.0", "3.10.0"]),
        ("nightlies", ["3.11.0rc1"]),
        ("nightlies <3.11", []),
        ("latest-minors >=3.10,<=3.11.0rc1", ["3.10.0", "3.11.0rc1"]),
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
        ("3.8.0", "unknown version '3.8.0', expected another: the locks know 2.9.0 to 3.11.0rc1; did you mean"),
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


BOTH_LINES = ("20230209.425", "20240410.859", "20241104.1068", "2.9.0", "3.10.0")


@pytest.mark.parametrize(
    ("term", "meant"),
    [
        ("all", ["2.9.0", "3.10.0"]),
        ("latest", ["3.10.0"]),
        ("latest-minors", ["2.9.0", "3.10.0"]),
        (">=2.9", ["2.9.0", "3.10.0"]),
        ("!=2.9.0", ["3.10.0"]),
        (">4", []),
        ("20240410.859", ["20240410.859"]),
        (">=20230209", ["20230209.425", "20240410.859", "20241104.1068"]),
        ("<20240501", ["20230209.425", "20240410.859"]),
        ("==20240410.*", ["20240410.859"]),
        ("latest >=20230209", ["20241104.1068"]),
    ],
)
def test_dated_releases_are_selected_by_dates_alone(term, meant):
    assert list(select(term, BOTH_LINES)) == meant


def test_a_specifier_has_dates_or_numbers():
    with pytest.raises(SelectorFault, match="releases of different lines"):
        select(">=20230209,<3", BOTH_LINES)
    with pytest.raises(SelectorFault, match=r"the locks know 2\.9\.0 to 3\.10\.0 and 20230209\.425 to 20241104\.1068"):
        select("3.14.0", BOTH_LINES)


def test_dated_releases_are_the_older_ones():
    assert ascending(["3.10.0", "20241104.1068", "2.9.0", "20230209.425"]) == (
        "20230209.425", "20241104.1068", "2.9.0", "3.10.0",
    )  # fmt: skip
    assert releases_first(["zig-3.11", "3.10.0", "20241104.1068"]) == ("20241104.1068", "3.10.0", "zig-3.11")
    assert select("all", BOTH_LINES[:3]) == BOTH_LINES[:3], "where there are no others"


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


def test_a_minor_release_is_its_newest_patch_release():
    torches = ("2.4.1", "2.5.1", "2.5.2", "2.6.0rc1", "2.15.0")
    assert select("2.5", torches) == ("2.5.2",)
    assert select("2.15", torches) == ("2.15.0",)
    with pytest.raises(SelectorFault):
        select("2.7", torches)
    with pytest.raises(SelectorFault):
        select("2.5.0", torches)


@pytest.mark.parametrize(
    ("read", "nearest"),
    [
        ("3.14", "3.13.0"),
        ("3.14.0", "3.13.0"),
        ("2.5.0", "2.5.1"),
        ("2.4.9", "2.4.1"),
        ("4.0", "3.13.0"),
        ("1.0", "2.4.1"),
    ],
)
def test_the_version_that_was_meant_is_the_nearest_and_not_the_most_alike(read, nearest):
    known = ("2.4.1", "2.5.1", "2.15.0", "3.4.0", "3.13.0")
    assert did_you_mean(read, known) == f"; did you mean '{nearest}'?"


@pytest.mark.parametrize(
    ("release", "of"),
    [("3.7.1", "3.7"), ("3.14.0rc20261120", "3.14.0rc20261120"), ("3.14.0.dev1", "3.14.0.dev1"), ("own", "own")],
)
def test_a_nightly_build_is_none_of_its_minor_release(release, of):
    assert minor(release) == of


def test_nightly_builds_stand_before_their_release():
    known = ("3.14.0", "3.14.0rc20261121", "20241104.1068", "3.13.0", "3.14.0rc20261120")
    in_order = ("20241104.1068", "3.13.0", "3.14.0rc20261120", "3.14.0rc20261121", "3.14.0")
    assert ascending(known) == in_order
    assert releases_first((*known, "own")) == (*in_order, "own")
