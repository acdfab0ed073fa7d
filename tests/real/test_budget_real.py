"""Environments come and go within a budget of the disk, each installed once, also when the run is killed between."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest
from command_line import begin, good, matrix, standing, wait_for, write_spec

from matrix.environments.wheel_cache import Footprint

pytestmark = pytest.mark.real

BUDGET_GB = 1.0
"""Three compilers of 0.5 GB and three runtimes do not fit at the same time."""


def installs(log: Path) -> list[str]:
    """What was installed, as the installer itself wrote it down."""
    return log.read_text().splitlines() if log.exists() else []


def held_bytes(store: Path) -> int:
    return Footprint().add([store / "environments", store / "wheels"])


def finished(store: Path) -> list[Path]:
    """What stands, without what is described already and not yet in its place."""
    return [folder for folder in standing(store) if ".partial-" not in folder.name]


def test_a_run_keeps_to_its_budget_and_installs_each_environment_once(tmp_path):
    spec, store, log = write_spec(tmp_path), tmp_path / "store", tmp_path / "installs"
    words = ("run", spec, "--store", store, "--disk-budget", BUDGET_GB, "--format", "json")
    ran = good(*words, IREE_MATRIX_INSTALL_LOG=str(log))
    assert len(installs(log)) == len(set(installs(log))) == 6
    disk = json.loads(ran.out)["disk"]
    assert (disk["environments_made"], disk["made_again"]) == (6, [])
    assert disk["environments_dropped"] >= 1
    assert held_bytes(store) <= disk["peak_bytes"] <= disk["budget_bytes"] == BUDGET_GB * 1e9
    assert re.search(r"^disk: peak 0\.\d GB of a budget of 1\.0 GB; 6 environments made, \d removed$", ran.err, re.M)
    roomy = good("run", write_spec(tmp_path / "roomy"), "--store", tmp_path / "other", "--format", "json")
    assert "wheels" not in {path.name for path in (tmp_path / "other").iterdir()}
    outcomes = [[cell["outcome"] for cell in json.loads(text)["cells"]] for text in (ran.out, roomy.out)]
    assert outcomes[0] == outcomes[1]
    again = good(*words, IREE_MATRIX_INSTALL_LOG=str(log))
    assert again.jobs_run == 0
    assert len(installs(log)) == 6


@pytest.mark.full
def test_a_killed_run_goes_on_with_what_still_stands(tmp_path):
    spec, store, log = write_spec(tmp_path), tmp_path / "store", tmp_path / "installs"
    words = ("run", spec, "--store", store, "--disk-budget", BUDGET_GB)
    process = begin(*words, IREE_MATRIX_INSTALL_LOG=str(log))
    wait_for(lambda: len(finished(store)) >= 2, seconds=120)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    stood = {json.loads((folder / "environment.json").read_text())["request"] for folder in finished(store)}
    before = len(installs(log))
    good(*words, IREE_MATRIX_INSTALL_LOG=str(log))
    assert len(stood) >= 2
    assert not stood & set(installs(log)[before:])
    assert len(installs(log)[before:]) == len(set(installs(log)[before:])) <= 6 - len(stood)
    assert held_bytes(store) <= BUDGET_GB * 1e9


def test_a_budget_below_one_environment_ends_the_run_before_anything_is_made(tmp_path):
    store = tmp_path / "store"
    ran = matrix("run", write_spec(tmp_path), "--store", store, "--disk-budget", 0.1)
    assert ran.status == 7
    assert "no room for compiler/3.8.0 on Python 3.11, about 0.5 GB" in ran.err
    assert "--disk-budget" in ran.err
    assert standing(store) == []
