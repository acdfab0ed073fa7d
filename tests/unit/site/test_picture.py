"""The square as SVG: every cell in it, its islands outlined, its words harmless."""

from __future__ import annotations

import functools
from pathlib import Path
from xml.etree import ElementTree

import pytest
from site_samples import HOSTILE, generated, hostile, write

from matrix.cli.main import main
from matrix.site.build import first_square
from matrix.site.picture import MOST

COMMITTED = Path(__file__).parents[3] / "results" / "portability.json"
SVG = "{http://www.w3.org/2000/svg}"


@functools.cache
def drawn(*results: Path) -> ElementTree.Element:
    return ElementTree.fromstring(first_square(results))


def words(picture: ElementTree.Element) -> list[str]:
    return [text.text or "" for text in picture.iter(f"{SVG}text")]


def test_every_cell_is_there_with_its_mark():
    picture = drawn(COMMITTED)
    assert len(list(picture.iter(f"{SVG}rect"))) == 1 + 225
    said = words(picture)
    assert (said.count("ok"), said.count("B"), said.count("I")) == (51 + 1, 58 + 1, 32 + 1)  # and once in the legend
    assert "Which runtimes load what which compilers wrote?" in said
    assert "Source: IREE matrix, portability.json, measured 2026-11-21" in said
    assert "runtimes 2.9 to 3.3" in said and "passed (51 cells)" in said


def test_an_island_has_an_outline_and_nothing_within_it():
    (path,) = drawn(COMMITTED).iter(f"{SVG}path")
    lines = path.attrib["d"].split("M")[1:]
    sides = [2 * (size + size) for size in (5, 4, 2, 1, 1, 2)]
    assert len(lines) == sum(sides)


def test_nothing_reaches_beyond_the_picture():
    picture = drawn(COMMITTED)
    for each in (*picture.iter(f"{SVG}rect"), *picture.iter(f"{SVG}text")):
        right = float(each.attrib.get("x", 0)) + float(each.attrib.get("width", 0)) + 6 * len(each.text or "")
        assert right <= float(picture.attrib["width"]) + 1 or each.attrib.get("font-size")
        assert float(each.attrib.get("y", 0)) <= float(picture.attrib["height"])


def test_hostile_words_are_words(tmp_path):
    text = first_square([write(tmp_path / "run.json", hostile())])
    picture = ElementTree.fromstring(text)
    assert {each.tag.removeprefix(SVG) for each in picture.iter()} <= {
        "svg", "title", "desc", "rect", "text", "g", "path"
    }  # fmt: skip
    assert any(HOSTILE.split("\x1b")[0] in each for each in words(picture))
    assert not [letter for letter in text if ord(letter) < 32 and letter != "\n"]


@pytest.mark.parametrize("releases", [1, 2, 40])
def test_a_square_of_any_size(tmp_path, releases):
    picture = drawn(write(tmp_path / "run.json", generated(1, releases)))
    assert len(list(picture.iter(f"{SVG}rect"))) == 1 + releases**2
    assert any(word.startswith("And ") for word in words(picture)) == (releases == 40)
    assert len([text for text in words(picture) if text.startswith("Modules of")]) <= MOST


def test_a_file_that_cannot_be_written(tmp_path, capsys):
    assert main(["picture", "-o", str(tmp_path), str(COMMITTED)]) == 2
    assert "cannot be written" in capsys.readouterr().err
