"""Presets with runtimes from source against what is published: `sources` whole, of `armv6` one model on one runtime, of
`boards` one model; and bundles for the boards of the last."""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
from pathlib import Path

import pytest
from command_line import ROOT, good, new_store

from matrix.core.data import DATA
from matrix.plan.backends.iree.boards import boards

pytestmark = [pytest.mark.real, pytest.mark.full]
if os.uname().machine != "x86_64":
    pytest.skip("NOT TESTED: the locked compilers are programs of x86_64", allow_module_level=True)


@pytest.mark.parametrize(
    ("preset", "only", "cells"),
    [
        ("sources", (), 72),
        ("armv6", ("--only", "model=linear", "--only", "runtime=zig-3.13"), 40),
        ("boards", ("--only", "model=linear"), 19),
    ],
)
def test_it_ends_as_it_is_published(preset: str, only: tuple[str, ...], cells: int, tmp_path: Path) -> None:
    published = ends(json.loads((ROOT / "results" / f"{preset}.json").read_text()))
    ran = good("run", preset, *only, "--store", tmp_path / "store", "--format", "json", timeout=3600)
    found = ends(json.loads(ran.out))
    assert len(found) == cells
    assert {place: end for place, end in published.items() if place in found} == found
    assert good("run", preset, *only, "--store", tmp_path / "store", timeout=600).jobs_run == 0


@pytest.mark.parametrize(("board", "emulator"), [("armv7", "qemu-arm-static"), ("riscv64", "qemu-riscv64")])
def test_a_bundle_for_the_board_passes_under_its_emulator(
    board: str, emulator: str, tmp_path: Path, shared: Path
) -> None:
    """The script of the folder, started as a user would on another machine."""
    store, folder = new_store(tmp_path / "store", shared), tmp_path / "folder"
    good("bundle", board, DATA / "modules" / "matmul.mlir", "-o", folder, "--store", store, timeout=3600)
    target = read_targets(board)
    (program,) = store.glob(f"trees/*/usr/bin/{emulator}")
    env = {"EMULATOR": f"{program} -cpu {target['emulator'][2]}", "PATH": os.defpath}
    ran = subprocess.run([folder / "run.sh"], capture_output=True, text=True, env=env, timeout=600, check=False)
    assert ran.returncode == 0 and ran.stdout.startswith("pass in "), ran.stderr
    assert boards()[board].name in (folder / "README.md").read_text()


def read_targets(name: str) -> dict[str, list[str]]:
    return tomllib.loads((DATA / "targets.toml").read_text())[name]


def ends(document: dict[str, object]) -> dict[tuple[str, ...], tuple[str, str, str]]:
    """The end of every cell that was asked for, by its axes."""
    cells = document["cells"]
    assert isinstance(cells, list)
    return {
        tuple(cell["axes"].values()): (cell["outcome"], cell["stage"], cell["signature"])
        for cell in cells
        if cell["outcome"] != "excluded"
    }
