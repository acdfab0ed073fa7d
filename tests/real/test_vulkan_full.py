"""Modules for Vulkan on the CPU, by the locked driver: right numbers, refusals as the gates predict, and what a person
reads where the driver is not there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from command_line import DATA, good, matrix, new_store

pytestmark = [pytest.mark.real, pytest.mark.full]
if os.uname().machine != "x86_64":
    pytest.skip("NOT TESTED: the locked drivers are for x86_64", allow_module_level=True)

SPEC = f"""
format = 1
name = "devices"
question = "Does it run on Vulkan?"
[axes]
model = "linear0"
compiler = ["3.8.0", "3.13.0"]
runtime = ["3.8.0", "3.10.0", "3.13.0"]
target = "TARGET"
[models.linear0]
mlir = "{DATA}/linear.mlir"
inputs = ["{DATA}/linear_input.npy"]
expected = ["{DATA}/linear_expected.npy"]
"""


def spec_for(folder: Path, target: str, more: str = "") -> Path:
    path = folder / "devices.toml"
    path.write_text(SPEC.replace("TARGET", target) + more)
    return path


@pytest.fixture
def place(tmp_path: Path, shared: Path, unpacked: Path) -> Path:
    """A store that finds compilers and the unpacked packages."""
    store = new_store(tmp_path / "store", shared)
    for name in ("trees", "files"):
        (unpacked / name).mkdir(exist_ok=True)
        (store / name).symlink_to(unpacked / name)
    return store


def test_a_locked_driver_runs_modules_confined_and_stands_in_the_evidence(tmp_path, place):
    ran = good("run", spec_for(tmp_path, "vulkan-lavapipe"), "--store", place, "--format", "json")
    document = json.loads(ran.out)
    ends = {
        (cell["axes"]["compiler"], cell["axes"]["runtime"]): cell["signature"] or cell["outcome"]
        for cell in document["cells"]
    }
    assert ends == {
        ("3.8.0", "3.8.0"): "passed",
        ("3.8.0", "3.10.0"): "vm-bytecode-version",
        ("3.8.0", "3.13.0"): "vm-bytecode-version",
        ("3.13.0", "3.8.0"): "vm-features",
        ("3.13.0", "3.10.0"): "vm-features",
        ("3.13.0", "3.13.0"): "passed",
    }
    runs = [job for job in document["jobs"].values() if job["stage"] == "run"]
    drivers = [document["environments"][job["environment"]]["driver"] for job in runs]
    assert {driver["version"] for driver in drivers} == {"22.3.6-1+deb12u2"}
    assert {driver["name"] for driver in drivers} == {"lavapipe"}
    assert any("vulkan://GPU-6d657361" in " ".join(job["command"]) for job in runs)


def test_what_compilers_assume_of_a_device_is_warned_of_and_runs(tmp_path, place):
    text = SPEC.replace("TARGET", "vulkan-lavapipe").replace('"3.8.0", ', "").replace('"3.10.0", ', "")
    spec = tmp_path / "assumed.toml"
    spec.write_text(text.replace("[models", 'flags = ["default", "vulkan-default"]\n[models', 1))
    document = json.loads(good("run", spec, "--store", place, "--format", "json").out)
    said = {cell["axes"]["flags"]: cell["evidence"].get("warning", "") for cell in document["cells"]}
    assert said["default"] == ""
    assert "assumes subgroups of 64, the device of lavapipe has subgroups of 8" in said["vulkan-default"]
    assert [cell["stage"] for cell in document["cells"]] == ["run", "run"]
    assert any("1 of 1 compared are right: flags vulkan-default" in each for each in document["sentences"])
    told = good("why", "flags=vulkan-default", "--preset", spec, "--store", place)
    assert f"warning    {said['vulkan-default']}" in told.out


def test_a_driver_that_is_not_locked_is_named(tmp_path, place):
    table = '[targets.mine]\nmachine = "x86_64"\ndriver = "lavapip"\n'
    ran = matrix("run", spec_for(tmp_path, "mine", table), "--store", place)
    assert "no driver 'lavapip' is locked, expected one of lavapipe; did you mean 'lavapipe'?" in ran.out + ran.err


@pytest.mark.parametrize(("target", "device"), [("cuda", "CUDA"), ("rocm", "ROCM")])
def test_what_no_device_is_here_for_is_compiled_and_untested(tmp_path, place, target, device):
    if Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists():
        pytest.skip("NOT TESTED: this machine has a device")
    document = json.loads(good("run", spec_for(tmp_path, target), "--store", place, "--format", "json").out)
    assert {cell["outcome"] for cell in document["cells"]} == {"untested"}
    compiled = [job for job in document["jobs"].values() if job["stage"] == "compile"]
    assert [job["outcome"] for job in compiled] == ["passed", "passed"]
    assert f"no {device} device here" in json.dumps(document["cells"])
