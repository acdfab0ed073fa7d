"""The square as SVG: every cell in it, its islands outlined, its words harmless."""

from __future__ import annotations

import functools
from pathlib import Path
from xml.etree import ElementTree

import pytest
from colours import contrast
from site_checks import RESULTS
from site_samples import HOSTILE, generated, hostile, write
from svg_text import text_faults

from matrix.cli.main import main
from matrix.results.files import read_run
from matrix.site.build import first_square
from matrix.site.pictures.picture import CELL_COLOURS, MOST, square_svg
from matrix.site.squares import find_squares, slug_of

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
    assert (said.count("ok"), said.count("B"), said.count("AR")) == (51 + 1, 58 + 1, 32 + 1)  # and once in the legend
    assert "I" not in said  # a stroke
    assert "Which IREE runtimes load modules from which compilers?" in said
    assert "Source: IREE matrix, portability.json, measured 2026-11-21" in said
    assert "Modules of compilers 2.9 to 3.3 run on runtimes 2.9 to 3.3" in " ".join(said)
    assert "passed (51 cells)" in said


def test_an_island_has_an_outline_and_nothing_within_it():
    (path,) = drawn(COMMITTED).iter(f"{SVG}path")
    lines = path.attrib["d"].split("M")[1:]
    sides = [2 * (size + size) for size in (5, 4, 2, 1, 1, 2)]
    assert len(lines) == sum(sides)


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_texts_of_every_committed_square_are_in_the_frame_and_apart(path):
    for table in find_squares(read_run(path)):
        assert text_faults(square_svg(table)) == [], slug_of(table)


def test_texts_of_strangers_are_in_the_frame_and_apart(tmp_path):
    long = generated(1, 3) | {"question": "W" * 200}
    for cell in long["cells"]:
        cell["axes"] = {name: label.replace("3.", "a-rather-long-name-3.") for name, label in cell["axes"].items()}
    for number, content in enumerate((hostile(), long, generated(1, 40))):
        assert text_faults(first_square([write(tmp_path / f"{number}.json", content)])) == []


def test_passed_and_failed_differ_in_lightness():
    """WCAG's contrast of things that are not text: 3 or more."""
    (passed, passed_ink), (red, red_ink), (_, open_ink) = CELL_COLOURS.values()
    assert min(contrast(passed, fill) for fill, _ in list(CELL_COLOURS.values())[1:]) >= 3
    assert min(contrast(*pair) for pair in CELL_COLOURS.values()) >= 4.5
    assert len({passed, red, passed_ink, red_ink, open_ink}) == 5


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
