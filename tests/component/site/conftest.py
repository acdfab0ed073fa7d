"""A site of committed results, built once for the tests of its API."""

from __future__ import annotations

from pathlib import Path

import pytest
from site_checks import API_RUNS

from matrix.site.build import build_site


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("api") / "site"
    build_site(folder, API_RUNS)
    return folder
