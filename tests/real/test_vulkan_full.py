"""Modules for Vulkan on the CPU, by the locked driver: right numbers, refusals as the gates predict, and what a person
reads where the driver is not there."""

from __future__ import annotations

import ctypes.util
import json
import os
import subprocess
from pathlib import Path

import numpy
import pytest
from command_line import DATA, ROOT, good, matrix, new_store
from debian_programs import program

from matrix.builds.devices.own_devices import present_devices
from matrix.core.errors import EXIT_UNMEASURED
from matrix.images.debian.mirror import find_sources
from matrix.images.debian.unpacked import read_set, unpack_debs

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


ENDS = {
    ("3.8.0", "3.8.0"): "passed",
    ("3.8.0", "3.10.0"): "vm-bytecode-version",
    ("3.8.0", "3.13.0"): "vm-bytecode-version",
    ("3.13.0", "3.8.0"): "vm-features",
    ("3.13.0", "3.10.0"): "vm-features",
    ("3.13.0", "3.13.0"): "passed",
}
NAME = "GPU-53776966745368616465725555494400"
"""SwiftShader's device, as runtimes since 3.12 list it."""


def ends_of(document: dict) -> dict[tuple[str, str], str]:
    return {
        (cell["axes"]["compiler"], cell["axes"]["runtime"]): cell["signature"] or cell["outcome"]
        for cell in document["cells"]
    }


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


@pytest.mark.parametrize(
    ("target", "version", "device"),
    [
        ("vulkan-lavapipe", "22.3.6", "--device=vulkan://GPU-6d657361"),
        ("vulkan-swiftshader", "150.0.7871.100", "--device=vulkan"),
    ],
)
def test_a_locked_driver_runs_modules_confined_and_stands_in_the_evidence(tmp_path, place, target, version, device):
    ran = good("run", spec_for(tmp_path, target), "--store", place, "--format", "json")
    document = json.loads(ran.out)
    assert ends_of(document) == ENDS
    runs = [job for job in document["jobs"].values() if job["stage"] == "run"]
    drivers = [document["environments"][job["environment"]]["driver"] for job in runs]
    assert {driver["version"].partition("-")[0] for driver in drivers} == {version}
    assert {driver["name"] for driver in drivers} == {target.removeprefix("vulkan-")}
    assert any(device in " ".join(job["command"]) for job in runs)


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


RACE = """
format = 1
name = "race"
question = "Is a depthwise convolution right?"
[axes]
model = "depthwise"
compiler = ["3.6.0", "3.13.0"]
runtime = "= compiler"
target = ["vulkan-swiftshader", "vulkan-lavapipe"]
flags = ["default", "vulkan-default"]
[models.depthwise]
mlir = "depthwise.mlir"
inputs = ["x.npy", "w.npy"]
expected = ["y.npy"]
"""


def test_the_depthwise_convolution_of_the_document_is_wrong_for_subgroups_of_64(tmp_path, place):
    text = (ROOT / "results" / "vulkan" / "README.md").read_text(encoding="utf-8")
    (tmp_path / "depthwise.mlir").write_text(text.partition("```mlir\n")[2].partition("```")[0])
    for name, shape, value in (("x", (1, 8, 18, 18), 1), ("w", (8, 3, 3), 1), ("y", (1, 8, 16, 16), 9)):
        numpy.save(tmp_path / f"{name}.npy", numpy.full(shape, value, numpy.float32))
    (tmp_path / "race.toml").write_text(RACE)
    ran = good("run", tmp_path / "race.toml", "--store", place, "--format", "json", timeout=600)
    cells = json.loads(ran.out)["cells"]
    wrong = {tuple(cell["axes"][axis] for axis in ("compiler", "flags")): cell["outcome"] for cell in cells}
    assert len(cells) == 8
    assert wrong == {
        ("3.6.0", "default"): "passed",
        ("3.6.0", "vulkan-default"): "passed",
        ("3.13.0", "default"): "passed",
        ("3.13.0", "vulkan-default"): "wrong_output",
    }


def test_a_driver_that_is_not_locked_is_named(tmp_path, place):
    table = '[targets.mine]\nmachine = "x86_64"\ndriver = "lavapip"\n'
    ran = matrix("run", spec_for(tmp_path, "mine", table), "--store", place)
    assert (
        "no driver 'lavapip' is locked, expected one of lavapipe, swiftshader; did you mean 'lavapipe'?"
        in ran.out + ran.err
    )


@pytest.mark.parametrize(("target", "device"), [("cuda", "CUDA"), ("rocm", "ROCM"), ("vulkan", "VULKAN")])
def test_what_no_device_is_here_for_is_loaded_and_untested(tmp_path, place, target, device):
    if target in present_devices():
        pytest.skip("NOT TESTED: this machine has a device")
    document = json.loads(good("run", spec_for(tmp_path, target), "--store", place, "--format", "json").out)
    assert ends_of(document) == {**ENDS, ("3.8.0", "3.8.0"): "untested", ("3.13.0", "3.13.0"): "untested"}
    compiled = [job for job in document["jobs"].values() if job["stage"] == "compile"]
    assert [job["outcome"] for job in compiled] == ["passed", "passed"]
    reasons = {cell["evidence"].get("reason") for cell in document["cells"] if cell["outcome"] == "untested"}
    assert reasons == {f"no {device} device here"}


def test_the_machines_own_driver_is_found_by_the_list_of_the_runtime(tmp_path, place, monkeypatch):
    """SwiftShader in the place of an installed driver, by the variable that Vulkan's loader reads."""
    if not ctypes.util.find_library("vulkan"):
        program("vulkaninfo", "vulkan-tools", "libvulkan1")
    lock = read_set(ROOT / "images" / "drivers", "swiftshader")
    tree = unpack_debs(lock, "x86_64", place, source=find_sources).path
    (icd := tmp_path / "icd.json").write_text(
        json.dumps(
            {
                "file_format_version": "1.0.0",
                "ICD": {"api_version": "1.3.0", "library_path": str(tree / "usr/lib/chromium/libvk_swiftshader.so")},
            }
        )
    )
    monkeypatch.setenv("VK_DRIVER_FILES", str(icd))
    monkeypatch.setenv("VK_ICD_FILENAMES", str(icd))
    spec = spec_for(tmp_path, "x86_64")
    words = ("--target", "vulkan", "--device", NAME, "--store", place, "--format", "json")
    ran = good("run", spec, *words)
    document = json.loads(ran.out)
    assert ends_of(document) == ENDS
    assert {cell["axes"]["target"] for cell in document["cells"]} == {f"vulkan://{NAME}"}
    passed = [cell for cell in document["cells"] if cell["axes"]["runtime"] == "3.13.0" and cell["outcome"] == "passed"]
    job = document["jobs"][passed[0]["evidence"]["jobs"][-1]]
    assert f"--device=vulkan://{NAME}" in job["command"]
    assert "SwiftShader Device" in job["machine"]
    driver = document["environments"][job["environment"]]["driver"]
    assert (driver["name"], driver["subgroups"], driver["devices"]) == ("vulkan", [4], [f"vulkan://{NAME}"])
    assert any(
        "assumes subgroups of 64, this machine's vulkan device has subgroups of 4" in each
        for each in document["sentences"]
    )
    monkeypatch.setenv("VK_DRIVER_FILES", "/nowhere.json")
    monkeypatch.setenv("VK_ICD_FILENAMES", "/nowhere.json")
    refused = matrix("run", spec, "--target", "vulkan", "--device", NAME, "--store", place)
    assert "no VULKAN device here" in refused.out + refused.err or refused.status == 0


def test_a_driver_that_crashes_is_a_crash_of_its_cells_alone(tmp_path, place, monkeypatch):
    """A library that is no driver: its first function ends the process."""
    if not ctypes.util.find_library("vulkan"):
        program("vulkaninfo", "vulkan-tools", "libvulkan1")
    compiler = program("cc", "gcc", "libc6-dev")
    (tmp_path / "bad.c").write_text(
        "#include <stdlib.h>\nvoid *vk_icdGetInstanceProcAddr(void *a, const char *b) { abort(); }\n"
    )
    subprocess.run([compiler, "-shared", "-fPIC", "-o", tmp_path / "bad.so", tmp_path / "bad.c"], check=True)
    icd = {"file_format_version": "1.0.0", "ICD": {"api_version": "1.3.0", "library_path": str(tmp_path / "bad.so")}}
    (manifest := tmp_path / "bad.json").write_text(json.dumps(icd))
    monkeypatch.setenv("VK_DRIVER_FILES", str(manifest))
    monkeypatch.setenv("VK_ICD_FILENAMES", str(manifest))
    ran = matrix("run", spec_for(tmp_path, "vulkan"), "--store", place)
    assert ran.status == EXIT_UNMEASURED, ran.err
    assert "lists no VULKAN device: it was ended by signal 6" in ran.err
