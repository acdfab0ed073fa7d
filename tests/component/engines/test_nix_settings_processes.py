"""Nix asked for its settings: a program that ends before it answers is a missing engine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from matrix.core.errors import EngineMissing
from matrix.engines.nix.store import settings

CONFIG = """{"sandbox": {"value": true}, "substitute": {"value": false}, "substituters": {"value": []}, \
"build-users-group": {"value": ""}}"""
VERSION, TOLD = "echo 'nix-build (Nix) 2.8.0'", f"echo '{CONFIG}'"


@pytest.fixture
def nix(tmp_path, monkeypatch):
    def made(version: str, config: str) -> None:
        for name, body in (("nix-build", version), ("nix", config)):
            (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
            (tmp_path / name).chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{Path('/usr/bin')}{os.pathsep}{Path('/bin')}")
    settings.cache_clear()
    yield made
    settings.cache_clear()


def test_what_nix_reports(nix):
    nix(VERSION, TOLD)
    assert (settings().version, settings().sandbox) == ("2.8.0", True)


@pytest.mark.parametrize(
    ("version", "config", "said"),
    [
        ("echo 'error: interrupted by the user' >&2; exit 1", TOLD, "error: interrupted by the user"),
        ("kill -9 $$", TOLD, "it says nothing"),
        (VERSION, "echo 'error: interrupted by the user' >&2; exit 1", "error: interrupted by the user"),
        (VERSION, "echo '[]'", r"\[\]"),
    ],
)
def test_a_nix_that_is_ended_before_it_answers_is_a_missing_engine(nix, version, config, said):
    nix(version, config)
    with pytest.raises(EngineMissing, match=f"Nix does not report its settings: .*{said}"):
        settings()
