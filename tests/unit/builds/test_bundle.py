"""The texts of a bundle, and that its folder appears whole or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy
import pytest
from arm_programs import program

from matrix.artifacts.program_audit import audit_program
from matrix.builds.board_programs import ProgramFacts
from matrix.builds.bundle import (
    BundledModel,
    BundleFacts,
    readme,
    refuse_filled,
    refuse_too_large,
    script,
    write_bundle,
)
from matrix.core.errors import BundleRefused, UsageError
from matrix.plan.backends.iree.boards import boards
from matrix.results.judge import Comparison

VMFB = Path(__file__).parents[2] / "data" / "vmfb"
CLEAN = VMFB / "stripped-3.13.0.vmfb"
FACTS = BundleFacts(
    board=boards()["armv6"],
    model="mine",
    compiler="3.13.0",
    runtime="3.13.0",
    toolchain="zig-static",
    route="vmvx",
    qemu="qemu-arm-static -cpu arm1176",
    facts=ProgramFacts(architecture="v6", floating_point="VFPv2", float_abi="hard", needs=()),
    runner=audit_program(program(b"x" * 2000), "p"),
    unstripped=1_234_567,
    module_bytes=1000,
    idle_bytes=12 << 20,
    compared=Comparison(error=0.0, tolerance=1e-4, text="output 0: equal, byte for byte"),
)
PEAK = 30 << 20


def runs(folder: Path) -> int:
    """In the place of the emulated board: what it leaves, and the memory that it takes."""
    (folder / "log.txt").write_text("EXEC @main")
    return PEAK


@pytest.fixture
def model(tmp_path: Path) -> BundledModel:
    for name, array in (("a", numpy.ones(3, "f4")), ("b", numpy.full(3, -200.0, "f4")), ("c", numpy.zeros(2, "f4"))):
        numpy.save(tmp_path / f"{name}.npy", array)
    paths = [tmp_path / f"{name}.npy" for name in "abc"]
    return BundledModel(name="mine", function="main", inputs=(paths[0],), expected=(paths[1], paths[2]), tolerance=1e-4)


def test_the_script_compares_every_output_on_the_scale_of_the_outputs(model: BundledModel) -> None:
    text = script(model, "qemu-arm-static -cpu arm1176")
    assert "--input=@input_0.npy" in text
    assert "--expected_output=@expected_0.npy \\\n  --expected_output=@expected_1.npy" in text
    assert "--expected_f32_threshold=0.02 " in text
    assert 'TMPDIR="${TMPDIR:-.}"' in text
    assert 'EMULATOR="qemu-arm-static -cpu arm1176" ./run.sh' in text
    assert text.startswith("#!/bin/sh\n")


def test_the_readme_says_what_the_board_must_have() -> None:
    assert "needs nothing beside it on the board" in readme(FACTS, PEAK)
    needs = replace(FACTS, facts=replace(FACTS.facts, needs=("ld-linux.so.3", "libc.so.6")))
    assert "the C library beside it on the board (ld-linux.so.3, libc.so.6)" in readme(needs, PEAK)
    assert readme(FACTS, PEAK).startswith("# mine for an ARM1176 (ARMv6, Raspberry Pi Zero)\n")
    assert readme(replace(FACTS, board=boards()["riscv64"]), PEAK).startswith(
        "# mine for RISC-V (RV64GC, VisionFive 2)"
    )
    for word in ("3.13.0", "zig-static", "1,234,567", "30 MiB", "12 MiB", "| `.rodata` | 2,000 |"):
        assert word in readme(FACTS, PEAK)


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    refuse_filled(tmp_path / "mine")
    (tmp_path / "mine" / "file").touch()
    with pytest.raises(UsageError, match="is not empty"):
        refuse_filled(tmp_path / "mine")


def test_a_bundle_appears_whole(tmp_path: Path, model: BundledModel) -> None:
    runner = tmp_path / "runner"
    runner.write_bytes(program(b"x" * 100))
    write_bundle(tmp_path / "out", model, runner=runner, module=CLEAN, facts=FACTS, words=("a-secret-host",), peak=runs)
    names = {"README.md", "run.sh", "iree-run-module", "model.vmfb", "input_0.npy", "expected_0.npy", "expected_1.npy"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    for name in ("run.sh", "iree-run-module"):
        assert (tmp_path / "out" / name).stat().st_mode & 0o111


@pytest.mark.parametrize(
    ("text", "module", "leak"),
    [
        (b"\0/build/of/someone\0", CLEAN, "iree-run-module: a path: /build/of/someone"),
        (b"\0a-secret-host\0", CLEAN, "iree-run-module: a name of this machine: a-secret-host"),
        (b"x" * 100, VMFB / "absolute-3.13.0.vmfb", "model.vmfb: absolute path: "),
    ],
)
def test_a_bundle_that_leaks_is_not_written(
    text: bytes, module: Path, leak: str, tmp_path: Path, model: BundledModel
) -> None:
    runner = tmp_path / "runner"
    runner.write_bytes(program(text))
    with pytest.raises(BundleRefused) as raised:
        write_bundle(
            tmp_path / "out", model, runner=runner, module=module, facts=FACTS, words=("a-secret-host",), peak=runs
        )
    assert leak in str(raised.value)
    assert not list(tmp_path.glob("*out*"))


def test_a_bundle_that_fails_on_the_board_or_is_too_large_for_it_is_not_written(tmp_path, model):
    runner = tmp_path / "runner"
    runner.write_bytes(program(b"x" * 100))
    with pytest.raises(BundleRefused, match="and a Raspberry Pi Zero has 512 MiB"):
        write_bundle(
            tmp_path / "out", model, runner=runner, module=CLEAN, facts=FACTS, words=(), peak=lambda _: 600 << 20
        )
    assert not list(tmp_path.glob("*out*"))


def test_a_model_that_needs_more_memory_than_the_board_has_is_refused():
    zero, larger = boards()["armv6"], boards()["armv7"]
    refuse_too_large("small", 512 << 20, zero)
    refuse_too_large("large", 600 << 20, larger)
    with pytest.raises(BundleRefused, match="large needs 600 MiB of memory, and a Raspberry Pi Zero has 512 MiB"):
        refuse_too_large("large", 600 << 20, zero)
