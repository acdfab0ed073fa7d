"""The graph of a Nix store: read as Nix writes it, walked, kept once in a run's data, and shown on the pages."""

from __future__ import annotations

import json
import re

import pytest
from pages_read import Page
from reports import ONE, npy, report_of
from samples import STAGES, plan_of, result
from site_samples import generated, in_nix, write

from matrix.core.store_paths import (
    STORE_PATHS,
    StorePath,
    parse_registrations,
    path_closure,
    store_path_name,
    store_paths_data,
)
from matrix.plan.graph import NodeState
from matrix.results.files import parse_run
from matrix.results.formats import run_as_json
from matrix.run.judging import Judge
from matrix.site.build import runs_of_pages
from matrix.site.one_page import one_file
from matrix.site.pages import Site
from matrix.site.squares import find_squares

BASE, TREE = f"/nix/store/{'b' * 32}-base", f"/nix/store/{'t' * 32}-tree"
PROGRAMS = f"{TREE}-programs"
SAID = f"""{PROGRAMS}
407e066a367f4cb586b151ce4b156736393a42ea5583172131d5cb6feb649324
3792
/nix/store/x.drv
3
{BASE}
{PROGRAMS}
{TREE}
{BASE}
1944c07d79414bd1899d88de04dbb9381368fd241f7aea8227b4dff59c9bfa77
51317488

0
"""
"""As Nix 2.8 says it: the base was added and has no derivation, the programs name themselves."""


def test_what_nix_says_is_read():
    assert parse_registrations(SAID) == (
        StorePath(path=PROGRAMS, size=3792, references=(BASE, TREE)),
        StorePath(path=BASE, size=51317488),
    )
    assert parse_registrations("") == ()


@pytest.mark.parametrize("text", ["warning: what is this", SAID.replace("3792", "large"), SAID.removesuffix("0\n")])
def test_anything_else_is_a_fault(text):
    with pytest.raises(ValueError, match=r"."):
        parse_registrations(text)


def test_a_list_of_references_that_ends_early_is_a_fault():
    with pytest.raises(ValueError, match=f"{PROGRAMS}: read 2 references, expected 3"):
        parse_registrations("\n".join(SAID.splitlines()[:7]))


def test_a_closure_begins_with_its_path_and_has_each_once():
    top, middle = StorePath(path="top", size=1, references=("low", "middle")), StorePath(path="middle", size=2)
    low = StorePath(path="low", size=4, references=("middle", "top", "gone"))
    assert path_closure([middle, low, top, StorePath(path="other", size=8)], "top") == (top, low, middle)
    assert path_closure([middle], "top") == ()


def test_a_name_is_what_stands_after_the_digest():
    assert (store_path_name(PROGRAMS), store_path_name("nothing")) == ("tree-programs", "nothing")


def test_a_run_has_each_path_once_and_is_read_back():
    """Its environments stand on one base, and the record of each has all that it needs."""
    base = StorePath(path=BASE, size=51317488)
    own = {stage: StorePath(path=f"{TREE}-{stage}", size=len(stage), references=(BASE,)) for stage in STAGES}
    records = {
        f"environment of {stage}": json.dumps({"nix_programs": each.path, STORE_PATHS: store_paths_data([each, base])})
        for stage, each in own.items()
    }
    plan, states = plan_of(ONE), [NodeState(result=result(stage, key=stage)) for stage in STAGES]
    document = json.loads(run_as_json(Judge(plan, states, {"expected_0.npy": npy(1)}.__getitem__, records).run()))
    assert document[STORE_PATHS].keys() == {BASE, *(each.path for each in own.values())}
    assert all(STORE_PATHS not in each for each in document["environments"].values())
    run = parse_run(document, source="mine")
    assert {path_closure(run.store_paths.values(), each.nix_programs) for each in run.environments.values()} == {
        (each, base) for each in own.values()
    }


def test_a_run_without_nix_has_none():
    document = json.loads(
        run_as_json(report_of(plan_of(ONE), [result(stage) for stage in STAGES], {"expected_0.npy": npy(1)}))
    )
    assert STORE_PATHS not in document
    assert parse_run(document, source="mine").store_paths == {}


def shown(text: str) -> str:
    page = Page()
    page.feed(text)
    return " ".join(page.text.split())


@pytest.fixture
def file(tmp_path):
    content, paths = in_nix(generated(1, 3))
    return write(tmp_path / "run.json", content), paths


def test_the_report_says_what_each_environment_takes_and_refers_to(file):
    """The sum counts the base once: 50 MB and four times 2 MB and 4 kB."""
    path, paths = file
    text = shown(one_file([path]))
    assert "4 environments, 9 paths, 58.0 MB: what environments share counts once." in text
    assert text.count("52.0 MB in 3 paths") == 4
    for path, facts in paths.items():
        assert path in text
        assert (", ".join(store_path_name(each) for each in facts["references"]) or "nothing") in text


def test_a_page_of_the_site_shows_the_closure_of_its_environment(file):
    path, paths = file
    (run,) = runs_of_pages([path])
    pages = {
        name: text for name, text in Site([run], find_squares(run), [], []).pages() if name.startswith("environment/")
    }
    assert len(pages) == 4
    for text in pages.values():
        assert "In the Nix store 52.0 MB with all that it needs." in shown(text)
        programs, base, tree = re.findall(r"<code>(/nix/store/[^<]+)</code>", text)
        assert paths[programs]["references"] == [base, tree]


def test_pages_of_other_engines_do_not_speak_of_nix(tmp_path):
    path = write(tmp_path / "run.json", generated(1, 3))
    (run,) = runs_of_pages([path])
    pages = dict(Site([run], find_squares(run), [], []).pages())
    assert not any("Nix store" in text for text in (one_file([path]), *pages.values()))
