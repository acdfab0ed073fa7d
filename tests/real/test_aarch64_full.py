"""The preset `aarch64`, whole, against what is published: 468 cells, half of them under an emulator."""

from __future__ import annotations

import json
import os

import pytest
from command_line import ROOT, good

from matrix.answers.equality import compare_runs
from matrix.results.files import parse_run, read_run

pytestmark = [pytest.mark.real, pytest.mark.full]
if os.uname().machine != "x86_64":
    pytest.skip("NOT TESTED: the locked emulators are programs of x86_64", allow_module_level=True)
PUBLISHED = ROOT / "results" / "aarch64.json"


def test_the_preset_ends_as_it_is_published(tmp_path):
    ran = good("run", "aarch64", "--store", tmp_path / "store", "--format", "json", timeout=3600)
    document = json.loads(ran.out)
    run = parse_run(document, source="this run")
    compared = compare_runs(read_run(PUBLISHED), run)
    assert compared.cells == 468
    assert compared.unexplained == ()
    assert "aarch64 ends as x86_64 does in all 234 cells" in document["sentences"]
    assert "-cpu cortex-a53" in run.notes("target")["aarch64"]
    again = good("run", "aarch64", "--store", tmp_path / "store")
    assert again.jobs_run == 0
