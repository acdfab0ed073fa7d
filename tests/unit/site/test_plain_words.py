"""The pages' own words are plain English: terms that readers stumbled over do not come back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import matrix.site

TEMPLATES = sorted((Path(matrix.site.__file__).parent / "templates").glob("*.html"))
AVOIDED = {
    r"\bbeside\b": "compared with, next to",
    r"in another way|ended otherwise|ended the same way": "fails differently, has the same outcome",
    r"could not be had|cannot be had": "unavailable",
    r"taken along|take along": "passed on, downloaded",
    r"load what": "load modules from",
    r"\bjoints?\b": "step",
    r"no outcome looked at": "without looking at any outcome",
}


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_a_template_says_it_plainly(path):
    said = re.sub(r"\{[%{].*?[%}]\}|<[^>]*>", " ", path.read_text(encoding="utf-8"))
    assert {words: instead for words, instead in AVOIDED.items() if re.search(words, said)} == {}
