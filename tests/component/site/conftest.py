"""A site of committed results, built once for the tests of its API."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from site_checks import API_RUNS

from matrix.cli.main import main
from matrix.site.build import build_site


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("api") / "site"
    build_site(folder, API_RUNS)
    return folder


@pytest.fixture
def say(tmp_path, capsys, monkeypatch) -> Callable[..., tuple[int, str, str]]:
    """The command line with a store of its own: exit status, stdout, stderr."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def call(*words: object) -> tuple[int, str, str]:
        status = main([*map(str, words), "--store", str(tmp_path / "store")])
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return status, said.out, said.err

    return call
