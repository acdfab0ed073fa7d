"""Presets with runtimes from source against what is published: `sources` whole, of `armv6` one model on one runtime."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from command_line import ROOT, good

pytestmark = [pytest.mark.real, pytest.mark.full]
if os.uname().machine != "x86_64":
    pytest.skip("NOT TESTED: the locked compilers are programs of x86_64", allow_module_level=True)


@pytest.mark.parametrize(
    ("preset", "only", "cells"),
    [
        ("sources", (), 72),
        ("armv6", ("--only", "model=linear", "--only", "runtime=zig-3.13"), 40),
    ],
)
def test_it_ends_as_it_is_published(preset: str, only: tuple[str, ...], cells: int, tmp_path: Path) -> None:
    published = ends(json.loads((ROOT / "results" / f"{preset}.json").read_text()))
    ran = good("run", preset, *only, "--store", tmp_path / "store", "--format", "json", timeout=3600)
    found = ends(json.loads(ran.out))
    assert len(found) == cells
    assert {place: end for place, end in published.items() if place in found} == found
    assert good("run", preset, *only, "--store", tmp_path / "store", timeout=600).jobs_run == 0


def ends(document: dict[str, object]) -> dict[tuple[str, ...], tuple[str, str, str]]:
    """The end of every cell that was asked for, by its axes."""
    cells = document["cells"]
    assert isinstance(cells, list)
    return {
        tuple(cell["axes"].values()): (cell["outcome"], cell["stage"], cell["signature"])
        for cell in cells
        if cell["outcome"] != "excluded"
    }
