"""Modules for aarch64: compiled here, run by the releases' own aarch64 runtimes under an emulator that is called by
name; and what a person reads where the emulator, its CPU or the C library is not there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from command_line import DATA, good, matrix, new_store, quoted

from matrix.core.errors import NotAllMeasured
from matrix.run.judging import without_folders

pytestmark = pytest.mark.real
if os.uname().machine != "x86_64":
    pytest.skip("NOT TESTED: the locked emulators are programs of x86_64", allow_module_level=True)

MODEL = f"""
[models.linear0]
mlir = "{DATA}/linear.mlir"
inputs = ["{DATA}/linear_input.npy"]
expected = ["{DATA}/linear_expected.npy"]
"""
SPEC = """
format = 1
name = "foreign"
question = "Does it run on another machine?"
[axes]
model = "linear0"
compiler = {compilers}
runtime = "3.8.0"
target = {targets}
"""
ARM = """
[targets.{name}]
triple = "aarch64-linux-gnu"
"""
RISCV = """
[targets.{name}]
triple = "riscv64-linux-gnu"
features = ["+m", "+a", "+f", "+d", "+c"]
abi = "lp64d"
"""
A53 = 'emulator = ["qemu-aarch64-static", "-cpu", "cortex-a53", "-L", "{sysroot}"]'
RV64 = 'emulator = ["qemu-riscv64-static", "-L", "{sysroot}"]'


def write(folder: Path, *, compilers: str = '"3.8.0"', targets: Iterable[str], more: str = "") -> Path:
    path = folder / "foreign.toml"
    path.write_text(SPEC.format(compilers=compilers, targets=quoted(targets)) + more + MODEL)
    return path


@pytest.fixture
def place(tmp_path: Path, shared: Path, unpacked: Path) -> Path:
    """A store that finds compilers and the unpacked packages."""
    store = new_store(tmp_path / "store", shared)
    for name in ("trees", "files"):
        (unpacked / name).mkdir(exist_ok=True)
        (store / name).symlink_to(unpacked / name)
    return store


def test_cells_of_aarch64_end_as_those_of_this_machine_and_show_the_emulated_cpu(tmp_path, place):
    spec = write(tmp_path, compilers='["3.8.0", "3.13.0"]', targets=["x86_64", "aarch64"])
    ran = good("run", spec, "--store", place, "--format", "json")
    document = json.loads(ran.out)
    ends = {(cell["axes"]["target"], cell["axes"]["compiler"]): cell for cell in document["cells"]}
    for compiler, outcome, signature in (("3.8.0", "passed", None), ("3.13.0", "failed", "vm-features")):
        for target in ("x86_64", "aarch64"):
            cell = ends[target, compiler]
            assert (cell["outcome"], cell["signature"], cell["stage"]) == (outcome, signature, "run")
    native, emulated = (
        document["jobs"][ends[target, "3.8.0"]["evidence"]["jobs"][-1]] for target in ("x86_64", "aarch64")
    )
    assert native["command"][0] == "iree-run-module"
    words = ["qemu-aarch64-static", "-cpu", "cortex-a53", "-L", "{sysroot}", "iree-run-module"]
    assert emulated["command"][:6] == words
    assert native["artifacts"] == emulated["artifacts"]  # the outputs, byte for byte
    facts = document["environments"][emulated["environment"]]
    assert facts["machine"] == "aarch64"
    assert facts["emulator"].startswith("qemu-aarch64 version 7.2")
    assert facts["c_library"] == "glibc 2.36"
    again = good("run", spec, "--store", place)
    assert again.jobs_run == 0
    why = good("why", "--preset", spec, "--store", place, "target=aarch64", "compiler=3.8.0").out
    assert "-cpu cortex-a53" in why


BAD = {
    "none": (
        ARM + 'emulator = ["qemu-none", "-L", "{sysroot}"]',
        "the emulator qemu-none is not on this machine; install it, or name a locked one: qemu-aarch64-static",
    ),
    "no-file": (ARM + 'emulator = ["./qemu-mine"]', "the emulator {folder}/qemu-mine is not on this machine"),
    "not-locked": (
        ARM + 'emulator = ["qemu-none-static"]',
        "the locked emulators have no qemu-none-static, expected one of qemu-aarch64-static, ",
    ),
    "no-cpu": (
        ARM + A53.replace("a53", "a99"),
        "unable to find CPU model 'cortex-a99'; `qemu-aarch64-static -cpu help` lists the CPUs",
    ),
    "no-sysroot": (ARM + A53 + '\nsysroot = "nowhere"', "the sysroot {folder}/nowhere is no folder; `sysroot` is"),
    "no-c-library": (ARM + A53 + '\nsysroot = "empty"', "-L {sysroot} does not run iree-run-module: "),
    "none-locked": (
        RISCV + RV64,
        "no C library for riscv64 is locked in images/base/3.11.toml; give the target a `sysroot`",
    ),
}
"""Name of a target -> its table, and what is said of it."""


def test_what_is_missing_is_said_with_the_next_step_and_the_cell_is_untested(tmp_path, place):
    (tmp_path / "empty").mkdir()
    spec = write(tmp_path, targets=BAD, more="".join(table.replace("{name}", name) for name, (table, _) in BAD.items()))
    ran = matrix("run", spec, "--store", place, "--format", "json")
    assert ran.status == NotAllMeasured.exit_code
    cells = {cell["axes"]["target"]: cell for cell in json.loads(ran.out)["cells"]}
    for name, (_, said) in BAD.items():
        assert said.replace("{folder}", str(tmp_path)) in ran.err
        assert (cells[name]["outcome"], cells[name]["stage"]) == ("untested", "run")
        assert cells[name]["evidence"]["reason"] in without_folders(ran.err)
    table = good("show", spec, "--store", place).out
    assert "7 untested" in table


def test_a_release_without_wheels_for_a_machine_is_not_installable(tmp_path, place):
    """The runtimes have no wheel for riscv64, and this target brings a C library: what is missing is the release's."""
    (tmp_path / "root").mkdir()
    table = RISCV.replace("{name}", "board") + RV64 + '\nsysroot = "root"\n'
    spec = write(tmp_path, targets=["board"], more=table)
    (cell,) = json.loads(good("run", spec, "--store", place, "--format", "json").out)["cells"]
    assert cell["outcome"] == "not_installable"
    assert cell["evidence"]["reason"] == "iree-base-runtime==3.8.0 has no wheel for Python 3.11 on riscv64"


CROSS = """[targets.board.toolchain]
cc = ["riscv64-none-gcc"]
cxx = ["riscv64-none-g++"]
binutils = "riscv64-none-"
[builds.mine]
source = "3.13.0"
toolchain = "board"
"""


@pytest.mark.full
def test_without_its_cross_compiler_a_runtime_is_not_built_and_the_cell_is_untested(tmp_path, place):
    table = RISCV.replace("{name}", "board") + 'emulator = ["qemu-riscv64-static"]\n' + CROSS
    spec = write(tmp_path, targets=["board"], more=table)
    spec.write_text(spec.read_text().replace('runtime = "3.8.0"', 'runtime = "mine"'))
    ran = matrix("run", spec, "--store", place, "--format", "json")
    assert ran.status == NotAllMeasured.exit_code
    said = "the toolchain of targets.board has no riscv64-none-gcc on this machine"
    assert f"{said}; install it (on Debian g++-TRIPLE), or name its folder" in ran.err
    (cell,) = json.loads(ran.out)["cells"]
    assert (cell["outcome"], cell["stage"]) == ("untested", "build")
    assert said in cell["evidence"]["reason"]
