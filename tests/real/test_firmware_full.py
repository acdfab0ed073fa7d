"""Models on an emulated microcontroller: the smoke test, the preset, a bundle that is linked as its README says, boards
that are not there, and programs that are too large."""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
from pathlib import Path

import pytest
from command_line import DATA, ROOT, good, matrix, new_store

from matrix.core.data import DATA as SHIPPED
from matrix.core.errors import EXIT_UNMEASURED

pytestmark = [pytest.mark.real, pytest.mark.full]
if os.uname().machine != "x86_64":
    pytest.skip("NOT TESTED: the locked compilers are programs of x86_64", allow_module_level=True)

SPEC = f"""
format = 1
name = "micro"
question = "Does it run on this board?"
[axes]
model = "linear0"
compiler = "3.13.0"
runtime = "source"
target = "board"
[models.linear0]
mlir = "{DATA}/linear.mlir"
inputs = ["{DATA}/linear_input.npy"]
expected = ["{DATA}/linear_expected.npy"]
[builds.source]
source = "3.13.0"
toolchain = "cortex-m4"
[axis.route.vmvx]
compile = ["--iree-hal-target-backends=vmvx"]
firmware = ["-DROUTE_VMVX"]
[targets.board]
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Path:
    return new_store(tmp_path_factory.mktemp("mcu") / "store", shared)


def spec_with(folder: Path, **changed: object) -> Path:
    """The shipped target as the spec's own, with some of its words changed."""
    target = tomllib.loads((SHIPPED / "targets.toml").read_text())["cortex-m"] | changed
    path = folder / "micro.toml"
    path.write_text(SPEC + "".join(f"{key} = {json.dumps(value)}\n" for key, value in target.items()))
    return path


def words(board: str) -> list[str]:
    given = tomllib.loads((SHIPPED / "targets.toml").read_text())["cortex-m"]["emulator"]
    return [board if word == "mps2-an386" else word for word in given]


def memory(flash: int, ram: int) -> list[str]:
    given = {"flash_origin": 0, "flash_bytes": flash, "ram_origin": 0x20000000, "ram_bytes": ram, "stack_bytes": 0x8000}
    return [f"-Wl,--defsym,{name}={value:#x}" for name, value in given.items()]


def the_cell(path: Path, store: Path) -> dict[str, str]:
    (cell,) = json.loads(good("run", path, "--store", store, "--format", "json", timeout=3600).out)["cells"]
    return cell


def test_the_smoke_test_of_the_microcontroller(store: Path) -> None:
    first = matrix("mcu-smoke", "--store", store, timeout=5400)
    assert first.status == 0, first.out[-4000:] + first.err[-2000:]
    assert "mps2-an386: right" in first.out and "mps2-an385: fault" in first.out
    again = matrix("mcu-smoke", "--store", store, timeout=600)
    assert again.status == 0
    assert again.out.partition("flash ")[2] == first.out.partition("flash ")[2]


def test_a_board_that_the_emulator_has_not_is_named_with_the_nearest_one(tmp_path: Path, store: Path) -> None:
    path = spec_with(tmp_path, emulator=words("mps2-an368"))
    ran = matrix("run", path, "--store", store, timeout=3600)
    assert ran.status == EXIT_UNMEASURED
    assert "qemu-system-arm has no board 'mps2-an368'; did you mean 'mps2-an386'?" in ran.err


def test_a_model_that_is_too_large_is_said_before_the_link_and_a_runtime_by_it(tmp_path: Path, store: Path) -> None:
    smaller = the_cell(spec_with(tmp_path, firmware=memory(0x1000, 0x400000)), store)
    assert (smaller["outcome"], smaller["signature"]) == ("failed", "board-memory")
    assert "bytes of flash, and the board has 4,096" in smaller["evidence"]["means"]
    small = the_cell(spec_with(tmp_path, firmware=memory(0x10000, 0x400000)), store)
    assert (small["outcome"], small["signature"]) == ("failed", "board-link")


def test_a_heap_that_is_full_is_said_by_the_program(tmp_path: Path, store: Path) -> None:
    cell = the_cell(spec_with(tmp_path, firmware=memory(0x400000, 0xC000)), store)
    assert (cell["outcome"], cell["signature"]) == ("failed", "board-heap")


def test_a_cpu_that_lacks_what_the_code_needs_faults(tmp_path: Path, store: Path) -> None:
    cell = the_cell(spec_with(tmp_path, emulator=words("mps2-an385")), store)
    assert (cell["outcome"], cell["signature"]) == ("failed", "board-fault")


def test_a_bundle_is_linked_by_the_words_of_its_readme(tmp_path: Path, store: Path) -> None:
    folder = tmp_path / "folder"
    good("bundle", "cortex-m", SHIPPED / "modules" / "matmul.mlir", "-o", folder, "--store", store, timeout=3600)
    names = {path.name for path in folder.iterdir()}
    assert {"README.md", "arrays.h", "libmodel.a", "main.c", "model.h"} <= names
    readme = (folder / "README.md").read_text()
    rows = dict(line.strip("| ").split(" | ", 1) for line in readme.splitlines() if line.startswith("| Arduino"))
    assert rows["Arduino Portenta H7, Giga R1"].endswith("yes")
    assert "no: IREE's compiler makes no code for an AVR" in rows["Arduino Uno R3"]
    (compiler,) = store.glob("trees/*/usr/bin/arm-none-eabi-gcc")
    tree = compiler.parents[2]
    command = readme.partition("```\n")[2].partition("```")[0].replace("\\\n", " ").split()
    newlib = (f"-B{tree}/usr/lib/arm-none-eabi/newlib", f"-isystem{tree}/usr/include/newlib")
    own = [word for word in command[1:] if word != "YOUR_FILES"]
    libraries = {"LD_LIBRARY_PATH": str(tree / "usr/lib/x86_64-linux-gnu"), "PATH": os.defpath}
    made = subprocess.run(
        [str(compiler), *newlib, "board.c", "-nostartfiles", "-T", "board.ld", *memory(0x400000, 0x400000), *own],
        cwd=folder,
        env=libraries,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert made.returncode == 0, made.stderr


def test_a_bundle_of_a_model_that_is_too_large_says_both_figures(tmp_path: Path, store: Path) -> None:
    refused = matrix("bundle", "cortex-m", "mobilenet_v2", "-o", tmp_path / "folder", "--store", store, timeout=5400)
    assert refused.status != 0 and not (tmp_path / "folder").exists()
    assert "bytes of flash, and the board has 4,194,304" in refused.err


def test_the_preset_gives_what_is_published(store: Path) -> None:
    published = json.loads((ROOT / "results" / "cortex-m.json").read_text())
    only = ("--only", "model=linear", "--only", "compiler=3.13.0", "--only", "runtime=m4_3.13")
    found = json.loads(good("run", "cortex-m", *only, "--store", store, "--format", "json", timeout=3600).out)
    assert found["cells"] and figures(found).items() <= figures(published).items()


def figures(document: dict) -> dict[str, tuple[object, ...]]:
    """The end of each cell, and what its program needed: the same bytes and ticks wherever it runs."""
    measured = {key: job.get("measurements", {}) for key, job in document["jobs"].items()}
    names = ("flash_bytes", "heap_bytes", "stack_bytes", "ticks")
    return {
        " ".join(cell["axes"].values()): (
            cell["outcome"],
            *(next((measured[key][name] for key in keys if name in measured[key]), None) for name in names),
        )
        for cell in document["cells"]
        for keys in [cell.get("evidence", {}).get("jobs", [])]
    }
