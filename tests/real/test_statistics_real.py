"""The compiler's statistics on real releases: the figures of each, and a module with the bytes of one without them."""

from __future__ import annotations

import json

import pytest
from command_line import DATA, matrix

pytestmark = pytest.mark.real

RELEASES = ("20240129.785", "2.9.0", "3.13.0")
SPEC = f"""
format = 1
name = "told"
question = "Do the statistics change the module?"
stages = ["export", "compile"]
[axes]
model = "linear"
compiler = {list(RELEASES)}
[models.linear]
mlir = "{DATA / "linear.mlir"}"
[axis.statistics.written]
[axis.statistics.left]
compile = ["--iree-scheduling-dump-statistics-file=none.csv"]  # without a format none are made
[table]
rows = "compiler"
columns = "statistics"
"""


def test_they_are_there_and_the_modules_bytes_stay(tmp_path):
    (tmp_path / "told.toml").write_text(SPEC)
    ran = matrix("run", tmp_path / "told.toml", "--store", tmp_path / "store", "--format", "json")
    assert ran.status == 0, ran.err
    told = json.loads(ran.out)
    modules: dict[str, set[str]] = {release: set() for release in RELEASES}
    for cell in told["cells"]:
        job = told["jobs"][cell["evidence"]["jobs"][-1]]
        modules[cell["axes"]["compiler"]].add(job["artifacts"]["module.vmfb"]["sha256"])
        written = cell["axes"]["statistics"] == "written"
        assert ("statistics.csv" in job["artifacts"]) == written
        assert job.get("measurements", {}).get("dispatch_count", 0) == written * (1 if "3.13" in job["lock"] else 3)
    assert all(len(each) == 1 for each in modules.values()), modules
