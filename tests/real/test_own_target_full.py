"""A target of one's own, from hello world to whole models: riscv64, with Debian's cross compiler and an older qemu
unpacked as a user would have them, and IREE's runtime built from source by the stage `build`."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest
from command_line import DATA, ROOT, good

from matrix.builds.board_check import HELLO
from matrix.images.debian import mirror
from matrix.images.debian.archive import fetch_deb, package_closure, suite_index, suite_release
from matrix.images.debian.layer import write_base_layer
from matrix.images.debian.lock import MachineBase
from matrix.images.debian.unpacked import TOOLS_MACHINE, ToolLock

pytestmark = [pytest.mark.real, pytest.mark.full]
if os.uname().machine != TOOLS_MACHINE:
    pytest.skip("NOT TESTED: the compilers are programs of x86_64", allow_module_level=True)

OLDER = "older/usr/bin/qemu-riscv64-static"
COMPILER = ("g++-riscv64-linux-gnu",)
NOT_NEEDED = ("libc6", "libgcc-s1", "libstdc++6", "libgomp1-riscv64-cross", "libasan8-riscv64-cross")
SPEC = f"""
format = 1
name = "riscv"
question = "Does it run on RISC-V?"
[axes]
model = ["linear0", "mobilenet_v2"]
python = "3.11"
torch = "2.9.1"
turbine = "3.9.0"
compiler = ["3.11.0", "3.13.0"]
runtime = "source"
target = "board"

[targets.board]
triple = "riscv64-linux-gnu"
features = ["+m", "+a", "+f", "+d", "+c"]
abi = "lp64d"
emulator = ["EMULATOR", "-cpu", "rv64"]
[targets.board.toolchain]
path = "cross"
cc = ["{{toolchain}}/usr/bin/riscv64-linux-gnu-gcc", "--sysroot={{toolchain}}"]
cxx = ["{{toolchain}}/usr/bin/riscv64-linux-gnu-g++", "--sysroot={{toolchain}}"]
binutils = "{{toolchain}}/usr/bin/riscv64-linux-gnu-"
link = ["-static"]
tool_libraries = "usr/lib/x86_64-linux-gnu"

[builds.source]
source = "3.13.0"
toolchain = "board"
options = ["-DCMAKE_SYSTEM_PROCESSOR="]     # gcc 12 has no riscv_vector.h, which IREE's code for riscv64 needs

[models.linear0]
mlir = "{DATA}/linear.mlir"
inputs = ["{DATA}/linear_input.npy"]
expected = ["{DATA}/linear_expected.npy"]
"""


def unpack(suite: str, packages: tuple[str, ...], exclude: tuple[str, ...], folder: Path) -> None:
    """Packages of a suite as they are today, unpacked below a folder; none of their code runs."""
    files, source = folder.parent / "files", mirror.find_sources()
    files.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        release = suite_release(suite, source, Path(scratch))
        debs = package_closure(suite_index(release, "amd64", Path(scratch)), packages, exclude)
    machine = MachineBase(machine=TOOLS_MACHINE, layer="", debs=debs)
    lock = ToolLock(name=suite, suite=suite, released=release.released, machines=(machine,))
    for deb in debs:
        fetch_deb(deb, files, lock=lock, source=source)
    with tempfile.TemporaryFile() as file:
        write_base_layer(lock, TOOLS_MACHINE, files, file)
        file.seek(0)
        with tarfile.open(fileobj=file) as tar:
            tar.extractall(folder, filter="tar")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `cross`, Debian's compiler, and `older`, an emulator that does not know riscv_hwprobe."""
    place = tmp_path_factory.mktemp("riscv")
    unpack("bookworm", COMPILER, NOT_NEEDED, place / "cross")
    unpack("bookworm", ("qemu-user-static",), (), place / "older")
    return place


def test_hello_world(bench: Path) -> None:
    cross, program = bench / "cross", bench / "hello"
    gcc = [str(cross / "usr/bin/riscv64-linux-gnu-gcc"), f"--sysroot={cross}", "-O2", "-static"]
    source = ROOT / "images" / "armv6" / "smoke" / "hello.c"
    libraries = {"LD_LIBRARY_PATH": str(cross / "usr/lib/x86_64-linux-gnu"), "PATH": os.defpath}
    subprocess.run([*gcc, str(source), "-o", str(program), "-lm"], check=True, env=libraries)
    qemu = bench / OLDER
    ran = subprocess.run([qemu, "-cpu", "rv64", program, "2"], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == HELLO


def test_models_on_a_runtime_from_source(bench: Path) -> None:
    """The islands are those of every other machine: 3.11's modules do not load. Under Debian 12's qemu 7.2 nothing that
    loads runs: IREE ends where the kernel does not know a call, and the signature says so."""
    store = bench / "store"
    ends = {}
    for name, emulator in (("locked", "qemu-riscv64-static"), ("older", OLDER)):
        spec = bench / f"{name}.toml"
        spec.write_text(SPEC.replace("EMULATOR", emulator))
        document = json.loads(good("run", spec, "--store", store, "--format", "json", timeout=3600).out)
        for cell in document["cells"]:
            ends[name, cell["axes"]["model"], cell["axes"]["compiler"]] = cell["outcome"], cell["signature"]
    for model in ("linear0", "mobilenet_v2"):
        assert ends["locked", model, "3.13.0"] == ("passed", None)
        assert ends["locked", model, "3.11.0"] == ends["older", model, "3.11.0"] == ("failed", "import-signature")
        assert ends["older", model, "3.13.0"] == ("failed", "kernel-hwprobe")


def test_the_default_processor_asks_for_a_header_that_this_compiler_lacks(bench: Path) -> None:
    spec = bench / "plain.toml"
    plain = SPEC.replace("EMULATOR", "qemu-riscv64-static").replace("options =", "# options =")
    spec.write_text(plain.replace('["linear0", "mobilenet_v2"]', '"linear0"').replace('"3.11.0", ', ""))
    ran = good("run", spec, "--store", bench / "store", "--format", "json", timeout=3600)
    (cell,) = json.loads(ran.out)["cells"]
    assert (cell["outcome"], cell["stage"], cell["signature"]) == ("failed", "build", "c-error")
    assert "riscv_vector.h: No such file or directory" in cell["evidence"]["means"]
