"""The least CPU that is read from a module's code, against QEMU's CPUs: every committed module with code for x86-64 or
aarch64 runs on the CPUs that have what it needs, and dies of an illegal instruction on those that do not.

Code for 32-bit Arm is in test_cpu_needs_arm_real.py; code for RISC-V is not run: IREE publishes no runtime for it.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from command_line import DATA, good, quoted, standing
from modules import ARM_MODULES, FILES, RELEASES, linear_modules
from packaging.version import Version

from matrix.artifacts.contents.cpu_needs import BASELINES, CpuNeeds, cpu_needs
from matrix.artifacts.contents.regions import read_regions
from matrix.artifacts.vmfb_archive import open_container

pytestmark = pytest.mark.real
if os.uname().machine != "x86_64":
    pytest.skip("NOT TESTED: the locked emulators are programs of x86_64", allow_module_level=True)

CPUS = {
    "x86_64": {
        "core2duo": ("x86-64", set()),
        "Nehalem": ("x86-64-v2", set()),
        "Haswell": ("x86-64-v3", set()),
    },
    "aarch64": {
        "cortex-a53": ("Armv8.0-A", set()),
        "cortex-a76": ("Armv8.2-A", {"FP16", "DotProd"}),
        "a64fx": ("Armv8.2-A", {"FP16", "SVE"}),
        "max": ("Armv9.0-A", {"FP16", "DotProd", "SVE", "I8MM", "BF16"}),
    },
}
"""QEMU's CPUs -> what they have. QEMU 7.2 runs no AVX-512."""
RUNTIMES = {"2.9": "3.3.0", "3.4": "3.7.0", "3.8": "3.9.0", "3.10": "3.10.0", "3.11": "3.11.0", "3.12": "3.13.0"}
"""The first compiler whose modules it loads -> a runtime (results/portability.json)."""
INPUTS = {
    "linear": ("4x64xf32=1",),
    "again": ("256x256xf32=1", "256x256xf32=1"),
    "x86-64-v2": ("16x64xi8=1", "64x32xi8=1"),
    "vnni": ("16x64xi8=1", "64x32xi8=1"),
    "dotprod": ("16x64xi8=1", "64x32xi8=1"),
    "fp16": ("4x64xf16=1", "64x32xf16=1"),
}
"""By the beginning of a module's name; those of `linear.mlir` have one input."""
MODULES = [*FILES, *(linear_modules() / f"linear-{release}.vmfb" for release in RELEASES)]
SPEC = """
format = 1
name = "cpus"
question = "Which CPUs run it?"
[axes]
model = ["host", "arm"]
runtime = {runtimes}
target = ["x86_64", "aarch64"]
[models.host]
vmfb = "{data}/vmfb/plain-3.13.0.vmfb"
inputs = ["{data}/linear_input.npy"]
[models.arm]
vmfb = "{data}/vmfb/aarch64-3.13.0.vmfb"
inputs = ["{data}/linear_input.npy"]
[[exclude]]
when = {{ model = "arm", target = "x86_64" }}
reason = "code for another machine"
[[exclude]]
when = {{ model = "host", target = "aarch64" }}
reason = "code for another machine"
[[exclude]]
when = {{ model = "arm", runtime = "<3.13" }}
reason = "one is enough"
"""


def needs_of(path: Path) -> CpuNeeds | None:
    with open_container(path) as container:
        return next(iter(cpu_needs(container, read_regions(container)[1])), None)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the runtimes, the emulators and aarch64's C library, as a run leaves it."""
    folder = tmp_path_factory.mktemp("cpus")
    spec = folder / "cpus.toml"
    spec.write_text(SPEC.format(runtimes=quoted(RUNTIMES.values()), data=DATA))
    good("run", spec, "--store", folder / "store")
    return folder / "store"


def command(store: Path, machine: str, cpu: str, path: Path) -> list[str]:
    """iree-run-module of a runtime that loads the module, on a CPU of QEMU."""
    ordered = list(RUNTIMES)
    release = Version(next(word for word in path.stem.split("-") if word.count(".") == 2))
    runtime = RUNTIMES[[first for first in ordered if Version(first) <= release][-1]]
    start = f"runtime-{runtime}-aarch64-" if machine == "aarch64" else f"runtime-{runtime}-py"
    environment = next(each for each in standing(store) if each.name.startswith(start))
    program = next(each for each in environment.rglob("_runtime_libs/iree-run-module") if each.is_file())
    (emulator,) = store.glob(f"trees/*/usr/bin/qemu-{machine}-static")
    where = ["-L", str(environment / "sysroot")] if machine == "aarch64" else []
    inputs = next((given for name, given in INPUTS.items() if path.stem.startswith(name)), ("4x8xf32=1",))
    words = [f"--module={path}", "--device=local-sync", *(f"--input={each}" for each in inputs)]
    return [str(emulator), "-cpu", cpu, *where, str(program), *words]


def rank(level: str) -> tuple[str, str]:
    return ("", "") if level in BASELINES.values() else ("more", level)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_runs_on_the_cpus_that_have_what_it_needs_and_on_no_other(path, made):
    needs = needs_of(path)
    if needs is None or needs.machine not in CPUS:
        assert path.stem in ("vmvx-3.13.0", "vulkan-default-3.13.0", "riscv64-3.13.0", *ARM_MODULES)
        return
    extra = {each.name for each in needs.extensions if each.extra}
    expected, seen = {}, {}
    for cpu, (level, has) in CPUS[needs.machine].items():
        expected[cpu] = rank(needs.least) <= rank(level) and extra <= has
        argv = command(made, needs.machine, cpu, path)
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, cwd=made)
        assert done.returncode in (0, -signal.SIGILL), done.stderr
        seen[cpu] = done.returncode == 0
        assert not seen[cpu] or "EXEC @main" in done.stdout
    assert seen == expected, needs.words
