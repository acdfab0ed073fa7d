"""The least CPU that is read from code for 32-bit Arm, against QEMU's CPUs. IREE publishes no runtime for them: each
dispatch of a committed module is called by a small C program of Armv5TE without VFP."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from command_line import DATA
from modules import ARM_MODULES, FILES

from matrix.artifacts.contents.cpu_needs import CpuNeeds, cpu_needs
from matrix.artifacts.contents.regions import read_regions
from matrix.artifacts.vmfb_archive import open_container
from matrix.builds.board_programs import BoardTools
from matrix.builds.linker import GCC, LINKER_LIBRARIES

pytestmark = pytest.mark.real
if os.uname().machine != "x86_64":
    pytest.skip("NOT TESTED: the locked compilers and emulators are programs of x86_64", allow_module_level=True)

CPUS = {
    "arm946": ("Armv5TE", set()),
    "arm926": ("Armv5TE", {"VFPv2"}),
    "arm1176": ("Armv6", {"VFPv2"}),
    "cortex-r5": ("Armv7-A", set()),
    "cortex-r5f": ("Armv7-A", {"VFPv2", "VFPv3"}),
    "cortex-a8": ("Armv7-A", {"VFPv2", "VFPv3", "NEON"}),
    "cortex-a7": ("Armv7-A", {"VFPv2", "VFPv3", "VFPv4", "NEON"}),
}
"""QEMU's CPUs -> what they have. Those of the R profile are Armv7-R, which has Armv7-A's instructions."""
LEVELS = ("Armv5TE", "Armv6", "Armv6T2", "Armv7-A")
OLDEST = ("-march=armv4t", "-marm", "-mfloat-abi=soft", "-static", "-O2", "-Wall", "-Werror")
"""Debian's C library for armel raises it to Armv5TE."""


@pytest.fixture(scope="module")
def caller(arm_board: BoardTools, tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("caller") / "call_dispatches"
    source = DATA / "arm" / "call_dispatches.c"
    made = arm_board.run((f"{GCC}gcc", "--sysroot={armel}", *OLDEST, str(source), "-o", str(program)), LINKER_LIBRARIES)
    assert made.passed, made.log
    return program


def needs_of(path: Path, folder: Path) -> tuple[CpuNeeds, list[Path]]:
    """What a module needs, and its executables as files."""
    with open_container(path) as container:
        module, regions = read_regions(container)
        (needs,) = cpu_needs(container, regions)
        libraries = {folder / f"{each.name}.so": each for each in module.segments if each.external}
        for library, each in libraries.items():
            library.write_bytes(container.read(each.offset, each.size))
        return needs, list(libraries)


@pytest.mark.parametrize("stem", ARM_MODULES)
def test_code_for_32_bit_arm_runs_on_the_cpus_that_have_what_it_needs(stem, arm_board, caller, tmp_path):
    needs, libraries = needs_of(DATA / "vmfb" / f"{stem}.vmfb", tmp_path)
    assert needs.words == ARM_MODULES[stem]
    assert needs.certain and libraries
    extra = {each.name for each in needs.extensions if each.extra}
    expected, seen = {}, {}
    for cpu, (level, has) in CPUS.items():
        expected[cpu] = LEVELS.index(needs.least) <= LEVELS.index(level) and extra <= has
        ended = [arm_board.emulate(caller, str(library), cpu=cpu) for library in libraries]
        assert all(each.ending in ("passed", signal.SIGILL.name) for each in ended), [each.log for each in ended]
        seen[cpu] = all(each.passed for each in ended)
        assert not seen[cpu] or all("called 0" in each.log for each in ended)
    assert seen == expected, needs.words


def test_every_committed_module_for_32_bit_arm_is_among_them():
    assert [path.stem for path in FILES if path.stem.startswith("arm")] == sorted(ARM_MODULES)
