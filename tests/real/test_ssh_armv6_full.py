"""A Raspberry Pi Zero in all but metal, over SSH: the runtime that is built for it, a model, and an ARMv6 userland
without Python, under qemu."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest
from armv6_board import armv6_command
from command_line import DATA, good
from sshd_here import ssh_server

from matrix.images.debian.unpacked import TOOLS_MACHINE

pytestmark = [pytest.mark.real, pytest.mark.full]
if os.uname().machine != TOOLS_MACHINE:
    pytest.skip("NOT TESTED: the compilers are programs of x86_64", allow_module_level=True)

SPEC = """
format = 1
name = "zero"
question = "Does it run on a Raspberry Pi Zero?"
[axes]
model = "linear0"
python = "3.11"
torch = "2.9.1"
turbine = "3.9.0"
compiler = ["3.11.0", "3.13.0"]
runtime = "source"
target = "zero"

[targets.zero]
ssh = "zero"
ssh_config = "{config}"
machine = "arm"
triple = "armv6-linux-gnueabi"
cpu = "generic"
features = ["+v6", "+vfp2"]
float_abi = "soft"
compile = ["--iree-hal-target-backends=vmvx"]

[builds.source]
source = "3.13.0"
toolchain = "armel-static"

[models.linear0]
mlir = "{data}/linear.mlir"
inputs = ["{data}/linear_input.npy"]
expected = ["{data}/linear_expected.npy"]
"""


def test_a_model_on_an_armv6_board(unpacked: Path, tmp_path: Path) -> None:
    """The gates are those of every other machine: 3.11's module does not load on 3.13."""
    with tempfile.TemporaryDirectory(prefix="iree-matrix-zero-") as folder:
        Path(folder).chmod(0o755)
        command = armv6_command(Path(folder), unpacked)
        with ssh_server(command=str(command)) as server:
            spec = tmp_path / "zero.toml"
            spec.write_text(SPEC.format(config=server.config, data=DATA))
            ran = good("run", spec, "--store", unpacked / "store", "--format", "json", timeout=3600)
        left = sorted(path.name for path in (Path(folder) / "root" / "tmp").iterdir())
    document = json.loads(ran.out)
    ends = {cell["axes"]["compiler"]: (cell["outcome"], cell["signature"]) for cell in document["cells"]}
    assert ends == {"3.13.0": ("passed", None), "3.11.0": ("failed", "import-signature")}, ran.err
    classes = {job["machine"] for job in document["jobs"].values() if job["stage"] == "run"}
    assert len(classes) == 1 and classes.pop().startswith("armv6l, ")
    assert left == []
