"""docs/reference.md is what the code says: verbs, options and exit statuses."""

from __future__ import annotations

import os
import runpy
from pathlib import Path
from unittest.mock import patch

from matrix.core.errors import STATUSES

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "reference.md").read_text(encoding="utf-8")


def test_the_page_is_made_from_the_code():
    usual = {name: value for name, value in os.environ.items() if name != "IREE_MATRIX_ENGINE"}
    with patch.dict(os.environ, usual, clear=True):
        made = runpy.run_path(str(DOCS / "make_reference.py"))["page"]()
    assert made == PAGE, "docs/reference.md is stale: run `nox -s docs`"


def test_it_has_every_exit_status():
    assert all(f"| {status} | {meaning} |" in PAGE for status, meaning in STATUSES.items())
