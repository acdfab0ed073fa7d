"""Addresses of squares: guessed from what one knows of a square, no two alike, the same when others are added."""

from __future__ import annotations

import re

from site_checks import PORTABILITY, RESULTS
from site_samples import cell, document, job

from matrix.results.files import parse_run, read_run
from matrix.site.finding.moved import moved_pages
from matrix.site.releases import link_of
from matrix.site.squares import FIRST, evidence_of, find_squares, slug_of


def slugs(axes: list[dict[str, str]]) -> list[str]:
    jobs = {"k": job("k", "run", "e")}
    run = parse_run(document([cell(each, ["k"]) for each in axes], jobs), source="made.json")
    return [slug_of(table) for table in find_squares(run)]


def grid(**others: str) -> list[dict[str, str]]:
    releases = ("3.1.0", "3.2.0")
    return [{"compiler": one, "runtime": two, **others} for one in releases for two in releases]


def test_the_address_of_a_committed_square_has_names_and_no_digest():
    tables = [table for path in RESULTS for table in find_squares(read_run(path))]
    found = [slug_of(table) for table in tables]
    assert len(set(found)) == len(found) > 30
    assert not [each for each in found if re.search(r"-[0-9a-f]{6,}$", each)]
    assert {"portability-compiler-runtime-linear", "aarch64-compiler-runtime-linear-aarch64"} <= set(found)
    assert "armv6-compiler-runtime-linear-armv6-embedded-repaired" in found


def test_the_evidence_is_guessed_as_well():
    (table,) = find_squares(read_run(PORTABILITY))
    assert evidence_of(table, "3.8.0") == "cell/portability-compiler-runtime-linear--3.8.0.html"


def test_an_address_stays_when_a_square_is_added():
    one = slugs(grid(model="linear"))
    both = slugs([*grid(model="linear"), *grid(model="other")])
    assert one == ["made-compiler-runtime-linear"]
    assert set(both) == {*one, "made-compiler-runtime-other"}


def test_labels_that_could_be_taken_for_each_other_are_apart():
    found = slugs(
        [
            *grid(model="a-b", target="c"),
            *grid(model="a", target="b-c"),
            *grid(model="a", target="c"),
            *grid(model="a-b", target="b-c"),
        ]
    )
    assert len(set(found)) == len(found) == 4


BEFORE = {
    "square/portability-compiler-runtime-linear-ea104a.html": "square/portability-compiler-runtime-linear.html",
    "cell/portability-compiler-runtime-linear-ea104a--3.8.0.html": (
        "cell/portability-compiler-runtime-linear--3.8.0.html"
    ),
    "square/aarch64-compiler-runtime-linear-0c66a7.html": "square/aarch64-compiler-runtime-linear-aarch64.html",
    "square/armv6-compiler-runtime-exp-46deed.html": "square/armv6-compiler-runtime-exp-armv6-embedded.html",
}
"""Addresses of the site as it was built on 21 November 2026."""


def test_former_addresses_lead_to_the_squares_and_their_evidence():
    tables = [table for path in RESULTS for table in find_squares(read_run(path))]
    found = {each.path: each.target for each in moved_pages(tables)}
    today = {f"square/{slug_of(table)}.html" for table in tables}
    today |= {evidence_of(table, row) for table in tables for row in table.rows}
    assert set(found.values()) <= today and not found.keys() & today
    assert BEFORE.items() <= found.items()
    squares = [path for path in found if re.search(r"^square/.*-[0-9a-f]{6}(-\d+)?[.]html$", path)]
    assert len(squares) == len(tables)


def test_the_short_address_stays_when_a_target_is_added():
    releases = {"k": job("k", "run", "e")}
    axes = [*grid(model="linear", target="x86_64"), *grid(model="linear", target="armv6")]
    tables = find_squares(parse_run(document([cell(each, ["k"]) for each in axes], releases), source="made.json"))
    found = {each.path: each.target for each in moved_pages(tables)}
    assert found["square/made-compiler-runtime-linear.html"] == f"square/{slug_of(tables[0])}.html"
    assert found["cell/made-compiler-runtime-linear--3.1.0.html"] == evidence_of(tables[0], "3.1.0")


def test_models_targets_and_releases_have_pages_and_no_value_has_none():
    assert link_of("model", "linear") == "model/linear.html"
    assert link_of("target", "armv6") == "target/armv6.html"
    assert link_of(FIRST[0], "3.8.0") == "release/iree-3.8.0.html"
    assert not any(link_of(axis, "-") for axis in ("model", "target", FIRST[0]))
    assert not link_of("flags", "default")


def test_a_run_of_several_systems_has_short_addresses():
    (run,) = [read_run(path) for path in RESULTS if path.stem == "peers"]
    slugs = {slug_of(table) for table in find_squares(run)}
    assert {"peers-compiler-flags-linear-iree", "peers-model-onnxruntime-onnxruntime"} <= slugs
