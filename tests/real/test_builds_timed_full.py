"""The speed of one's own runtime beside the wheel's: the same module, the same rounds, the same tool."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from command_line import DATA, ROOT, good

from matrix.builds.expected import read_built

pytestmark = [pytest.mark.real, pytest.mark.full]
if os.uname().machine != "x86_64":
    pytest.skip("NOT TESTED: the locked compilers are programs of x86_64", allow_module_level=True)

SPEC = """
format = 1
name = "own-speed"
question = "Is my own runtime as fast as the wheel?"
stages = ["export", "compile", "run", "benchmark"]
[axes]
model = "linear4"
compiler = "RELEASE"
runtime = ["RELEASE", "small"]
target = "x86_64"
driver = "sync"
[builds.small]
source = "RELEASE"
toolchain = "native"
[axis.driver.sync]
run = ["--device=local-sync"]
[models.linear4]
mlir = "linear.mlir"
inputs = ["linear_input.npy"]
expected = ["linear_expected.npy"]
[benchmark]
rounds = 4
passes = 1
baseline = { compiler = "RELEASE", runtime = "RELEASE" }
[table]
rows = "compiler"
columns = "runtime"
"""


@pytest.mark.parametrize("release", ["3.13.0", "3.11.0"])
def test_rounds_of_both_are_laid_beside_each_other(release: str, tmp_path: Path) -> None:
    for name in ("linear.mlir", "linear_input.npy", "linear_expected.npy"):
        shutil.copy(DATA / name, tmp_path)
    spec = tmp_path / "speed.toml"
    spec.write_text(SPEC.replace("RELEASE", release))
    ran = good("run", spec, "--store", tmp_path / "store", "--format", "json", timeout=3600)
    document = json.loads(ran.out)
    (table,) = document["times"]
    rows = {row["axes"]["runtime"]: row for row in table["rows"]}
    assert rows.keys() == {release, "small"}
    for row in rows.values():
        assert len(row["seconds_by_round"]) == 4
        assert 1e-8 < row["median_seconds"] < 1e-2
    assert rows["small"]["verdict"] in ("faster", "slower", "no difference")
    locked = read_built(ROOT / "images" / "armv6")[release]["native"]
    assert locked.removeprefix("sha256:") in json.dumps(document), "the runtime is the one without the tool"
    assert good("run", spec, "--store", tmp_path / "store", timeout=300).jobs_run == 0
