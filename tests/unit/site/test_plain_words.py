"""Our own words are plain English: terms that readers stumbled over do not come back, in pages, presets or help."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from plain_words import not_plain

import matrix.site
from matrix.cli.verbs import VERBS
from matrix.core.data import DATA

TEMPLATES = sorted((Path(matrix.site.__file__).parent / "templates").glob("*.html"))
TEXTS = [*sorted((DATA / "presets").glob("*.toml")), *sorted(DATA.glob("*.toml"))]
LONGEST_QUESTION = 130
"""Characters: a heading of one or two lines."""


def said(value: object) -> Iterator[str]:
    """Every text of a TOML table."""
    if isinstance(value, dict):
        for each in value.values():
            yield from said(each)
    elif isinstance(value, list):
        for each in value:
            yield from said(each)
    elif isinstance(value, str):
        yield value


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_a_template_says_it_plainly(path):
    text = re.sub(r"\{[%{].*?[%}]\}|<[^>]*>", " ", path.read_text(encoding="utf-8"))
    assert not_plain(text) == {}


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_texts_of_presets_errors_and_values_say_it_plainly(path):
    found = {
        text: words for text in said(tomllib.loads(path.read_text(encoding="utf-8"))) if (words := not_plain(text))
    }
    assert found == {}


@pytest.mark.parametrize("path", sorted((DATA / "presets").glob("*.toml")), ids=lambda path: path.stem)
def test_the_question_of_a_preset_is_one(path):
    question = tomllib.loads(path.read_text(encoding="utf-8"))["question"]
    assert re.match(r"(Which|What|Do|Does|How|Can|Is|Are) ", question) and question.endswith("?")
    assert len(question) <= LONGEST_QUESTION and "  " not in question


def test_the_help_of_the_verbs_says_it_plainly():
    assert {verb: words for verb, text in VERBS.items() if (words := not_plain(text))} == {}


def test_a_word_to_avoid_would_be_found():
    assert not_plain("Which runtimes load what which compilers wrote, beside the wheels?") == {
        "beside": "compared with, next to",
        "load what": "load modules from",
    }
