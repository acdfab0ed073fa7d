"""Badges: what they say is what the results hold, as an SVG that every browser opens, whatever a model is called."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from counted_runs import counted_run
from site_samples import HOSTILE, generated

from matrix.answers.causes import cells_of
from matrix.cli.main import main
from matrix.core.errors import NoAnswer
from matrix.core.records import Outcome
from matrix.results.files import parse_run, read_run
from matrix.results.run import Cell
from matrix.site.pictures.badges import BADGE_COLOURS, Badge, as_svg, badge_of, count_badge

ROOT = Path(__file__).parents[3]
PORTABILITY = ROOT / "results" / "portability.json"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def cells() -> tuple[Cell, ...]:
    return cells_of([read_run(PORTABILITY)])


def badge(cells: tuple[Cell, ...], **wanted: str) -> Badge:
    return badge_of(cells, {"model": "linear", **wanted}, date="2026-11-21")


@pytest.mark.parametrize(
    ("wanted", "label", "message", "standing"),
    [
        ({}, "linear", "2.9 to 3.13 pass", "good"),
        ({"runtime": "3.13"}, "linear, runtime 3.13", "3.12 and 3.13 pass", "good"),
        ({"runtime": "3.9.0"}, "linear, runtime 3.9.0", "3.8 and 3.9 pass", "some"),
        ({"runtime": "3.10"}, "linear, runtime 3.10", "3.10 passes", "some"),
        ({"compiler": "3.4"}, "linear, compiler 3.4", "3.4 to 3.7 pass", "some"),
        ({"compiler": "3.4", "runtime": "3.9"}, "linear, compiler 3.4, runtime 3.9", "no release passes", "bad"),
    ],
)
def test_what_it_says(cells, wanted, label, message, standing):
    made = badge(cells, **wanted)
    assert (made.label, made.message, made.standing) == (label, message, standing)


def test_the_title_says_it_whole(cells):
    assert badge(cells).title == (
        "linear: compiler 2.9 to 3.13 pass, each with the runtime of its release; measured 2026-11-21"
    )


def test_a_release_passes_if_a_combination_with_it_does(cells):
    assert cells[0].axes["compiler"] == cells[0].axes["runtime"] == "2.9.0"
    wrong = replace(cells[0], outcome=Outcome.WRONG_OUTPUT)
    older = replace(cells[0], axes={**cells[0].axes, "python": "3.12"}, outcome=Outcome.WRONG_OUTPUT)
    assert badge((*cells, older)).message == "2.9 to 3.13 pass"
    assert badge((*cells, older), python="3.11").message == "2.9 to 3.13 pass"
    assert badge((*cells, older), python="3.12").message == "no release passes"
    assert badge((wrong, *cells[1:])).message == "3.0 to 3.13 pass"


def test_what_was_not_compared_does_not_pass(cells):
    loose = tuple(replace(cell, comparison=None) for cell in cells)
    assert badge(loose).message == "no release passes"


def test_what_was_not_measured_is_said(cells):
    planned = tuple(replace(cell, outcome=Outcome.UNTESTED) for cell in cells)
    assert (badge(planned).message, badge(planned).standing) == ("not measured", "unknown")


def test_a_question_that_no_result_answers(cells):
    with pytest.raises(NoAnswer, match="no result has model linear, runtime 4"):
        badge(cells, runtime="4")


def test_the_picture_holds_the_words(cells):
    made = badge(cells, runtime="3.13")
    tree = ElementTree.fromstring(as_svg(made))
    assert [each.text for each in tree.iter(f"{SVG}text")] == [made.label, made.message]
    assert tree.find(f"{SVG}title").text == made.title
    assert [each.get("fill") for each in tree.iter(f"{SVG}rect")] == ["#1c2327", BADGE_COLOURS["good"]]
    widths = [float(each.get("width")) for each in tree.iter(f"{SVG}rect")]
    assert float(tree.get("width")) == sum(widths)


def test_white_text_is_read_on_every_colour():
    for colour in (*BADGE_COLOURS.values(), "#1c2327"):
        channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
        assert 1.05 / (luminance + 0.05) >= 4.5, colour


def test_names_of_strangers_stay_names():
    content = generated(1, 2)
    for cell in content["cells"]:
        cell["axes"]["model"] = HOSTILE
    made = badge_of(parse_run(content, source="mine").cells, {"model": HOSTILE}, date="")
    svg = as_svg(made)
    tree = ElementTree.fromstring(svg)
    assert {each.tag.removeprefix(SVG) for each in tree.iter()} == {"svg", "title", "rect", "g", "text"}
    assert "\x1b" not in svg and "\u202e" not in svg and len(svg) < 2000


def test_the_command_writes_it(tmp_path, capsys):
    path = tmp_path / "linear.svg"
    words = ["badge", "--model", "linear", "--runtime", "3.13", "--results", str(PORTABILITY)]
    assert main([*words, "-o", str(path)]) == 0
    assert "compiler 3.12 and 3.13 pass; measured 2026-11-21" in capsys.readouterr().out
    assert "3.12 and 3.13 pass" in path.read_text(encoding="utf-8")
    assert main([*words, "-o", str(tmp_path)]) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert main(["badge", "--model", "none", "-o", str(path)]) == 1


COUNTED = counted_run(
    {("m", "x86_64", "2.9.0"): 507_204_175, ("m", "x86_64", "3.13.0"): 409_386_705, ("m", "aarch64", "3.13.0"): 7}
)


@pytest.mark.parametrize(("wanted", "message"), [
    ({}, "409 M instructions with 3.13"),
    ({"target": "x86_64"}, "409 M instructions with 3.13"),
    ({"compiler": "2.9"}, "507 M instructions with 2.9"),
    ({"runtime": "2.9.0"}, "507 M instructions with 2.9"),
])  # fmt: skip
def test_instructions_of_the_newest_wanted_release(wanted, message):
    made = count_badge([COUNTED], {"model": "m", **wanted}, date="2026-11-23")
    assert (made.label, made.message) == ("m, x86_64", message)
    assert made.title == (
        "m, x86_64: 507 M instructions with 2.9, 409 M with 3.13; counted, no speed; measured 2026-11-23"
    )


@pytest.mark.parametrize(
    "wanted", [{"model": "other"}, {"model": "m", "target": "armv6"}, {"model": "m", "compiler": "3.8"}]
)
def test_no_badge_of_what_was_not_counted(wanted):
    with pytest.raises(NoAnswer, match="no result has counted instructions"):
        count_badge([COUNTED], wanted, date="")
