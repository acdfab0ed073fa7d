"""Runtimes built from source in the matrix: this machine's own beside the wheel's, one for the ARM1176, one whose build
fails. A second run finds all of it done."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from command_line import DATA, ROOT, good

from matrix.builds.expected import read_built

pytestmark = [pytest.mark.real, pytest.mark.full]
SPEC = """
format = 1
name = "builds"
question = "Does my own runtime do what the wheel does?"
[axes]
model = "linear1"
compiler = "3.13.0"
runtime = ["3.13.0", "mine", "board", "refused"]
target = ["x86_64", "armv6"]
route = ["plain", "repaired"]
[builds.mine]
source = "3.13.0"
toolchain = "native"
[builds.board]
source = "3.13.0"
toolchain = "zig-static"
[builds.refused]
source = "3.13.0"
toolchain = "armel-static"
options = ["-DIREE_HAL_DRIVER_LOCAL_TASK=ON"]
[axis.route.plain]
[axis.route.repaired]
compile = ["--iree-llvmcpu-embedded-linker-path={link}/iree-lld"]
[[exclude]]
when = { target = "x86_64", runtime = ["board", "refused"] }
reason = "programs for an ARM1176"
[[exclude]]
when = { target = "armv6", runtime = ["3.13.0", "mine"] }
reason = "programs for this machine"
[models.linear1]
mlir = "linear.mlir"
inputs = ["input.npy"]
expected = ["expected.npy"]
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, object]]:
    """(spec, store, the run's JSON)."""
    folder = tmp_path_factory.mktemp("builds")
    for name, source in (("input", "linear_input"), ("expected", "linear_expected")):
        shutil.copy(DATA / f"{source}.npy", folder / f"{name}.npy")
    shutil.copy(DATA / "linear.mlir", folder)
    spec = folder / "builds.toml"
    spec.write_text(SPEC)
    store = folder / "store"
    good("run", spec, "--store", store, "--format", "json", "--output", folder / "run.json", timeout=3600)
    return spec, store, json.loads((folder / "run.json").read_text())


def outcomes(run: tuple[Path, Path, dict[str, object]]) -> dict[tuple[str, str, str], tuple[str, str | None]]:
    cells = run[2]["cells"]
    assert isinstance(cells, list)
    return {
        tuple(cell["axes"][axis] for axis in ("target", "runtime", "route")): (cell["outcome"], cell["signature"])
        for cell in cells
        if cell["outcome"] != "excluded"
    }


def test_a_runtime_of_ones_own_does_what_the_wheel_does(run: tuple[Path, Path, dict[str, object]]) -> None:
    found = outcomes(run)
    for route in ("plain", "repaired"):
        assert found["x86_64", "3.13.0", route] == found["x86_64", "mine", route] == ("passed", None)


def test_the_repaired_link_runs_on_the_board_and_the_plain_one_does_not(
    run: tuple[Path, Path, dict[str, object]],
) -> None:
    found = outcomes(run)
    assert found["armv6", "board", "repaired"] == ("passed", None)
    assert found["armv6", "board", "plain"] == ("failed", "elf-imports")


def test_a_build_that_fails_is_a_typed_outcome_of_its_stage(run: tuple[Path, Path, dict[str, object]]) -> None:
    cells = run[2]["cells"]
    assert isinstance(cells, list)
    (cell, other) = (cell for cell in cells if cell["axes"]["runtime"] == "refused" and cell["outcome"] != "excluded")
    assert (cell["outcome"], cell["stage"]) == (other["outcome"], other["stage"]) == ("failed", "build")
    assert "static" in json.dumps(cell)


def test_the_board_s_runtime_is_that_of_the_smoke_test(run: tuple[Path, Path, dict[str, object]]) -> None:
    locked = read_built(ROOT / "images" / "armv6")["3.13.0"]["zig-static"]
    assert locked.removeprefix("sha256:") in json.dumps(run[2])


def test_a_second_run_builds_nothing(run: tuple[Path, Path, dict[str, object]]) -> None:
    spec, store, _ = run
    again = good("run", spec, "--store", store, timeout=300)
    assert again.jobs_run == 0
