"""The widths of texts: never less than what the font has, and lines that fit."""

from __future__ import annotations

import string

import pytest
from svg_text import width_of

from matrix.site.pictures.letters import ELLIPSIS, shortened, text_lines, text_width

SENTENCES = (
    "Which IREE runtimes load modules from which compilers?",
    "mobilenet_v2 (3.5 times slower), llama_2l",
    "MMMM WWWW @@ %%",
    "ill, fit; till!",
)


@pytest.mark.parametrize("letter", [letter for letter in string.printable if letter.isprintable()])
def test_a_letter_is_as_wide_as_in_the_font(letter):
    assert text_width(letter, 10) == pytest.approx(width_of(letter, 10), abs=0.06)


@pytest.mark.parametrize("text", SENTENCES)
def test_a_text_is_at_most_as_wide_as_we_say(text):
    assert width_of(text, 13) <= text_width(text, 13) + 0.1
    assert width_of(text, 13, bold=True) <= text_width(text, 13, bold=True) + 0.1


@pytest.mark.parametrize("text", [*SENTENCES, "", "W" * 300, "\u4e2d\u6587" * 40])
def test_lines_fit_and_lose_nothing(text):
    lines = text_lines(text, 150, 13)
    assert all(text_width(line, 13) <= 150 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_what_is_cut_says_so():
    assert shortened("short", 100, 10) == "short"
    cut = shortened("a rather long name of a series", 100, 10)
    assert cut.endswith(ELLIPSIS) and text_width(cut, 10) <= 100
