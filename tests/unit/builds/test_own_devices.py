"""What a machine says of its own devices: files as the drivers of NVIDIA and AMD and Vulkan's loader have them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from matrix.builds.devices.own_devices import (
    kept_variables,
    own_driver,
    present_devices,
    read_devices,
    with_device_class,
)

NVIDIA = """NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024
GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)
"""
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build  (dvs-builder)\n"


def write(root: Path, name: str, text: str = "") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_machine_without_devices_has_none(tmp_path: Path):
    assert present_devices(tmp_path, {}) == frozenset()
    assert own_driver("cuda", tmp_path, {}) == {"name": "cuda", "version": "not told", "gpus": []}


@pytest.mark.parametrize(("said", "version"), [(NVIDIA, "550.54.15"), (OPEN, "570.86.15")])
def test_nvidias_driver_says_its_version_and_its_gpus(tmp_path: Path, said: str, version: str):
    write(tmp_path, "dev/nvidiactl")
    write(tmp_path, "proc/driver/nvidia/version", said)
    write(tmp_path, "proc/driver/nvidia/gpus/0000:01:00.0/information", "Model: \t\t NVIDIA H100\nIRQ:   \t\t 44\n")
    assert present_devices(tmp_path, {}) == {"cuda"}
    facts = own_driver("cuda", tmp_path, {})
    assert facts == {"name": "cuda", "version": version, "gpus": ["NVIDIA H100"]}
    assert with_device_class("x86_64, 2 cores", facts) == f"x86_64, 2 cores, NVIDIA H100 (cuda {version})"


def test_amds_driver_says_them_too(tmp_path: Path):
    write(tmp_path, "dev/kfd")
    write(tmp_path, "sys/module/amdgpu/version", "6.7.0\n")
    for node, number in (("0", 0), ("1", 90402), ("2", 110000)):
        place = f"sys/class/kfd/kfd/topology/nodes/{node}/properties"
        write(tmp_path, place, f"cpu_cores_count 1\ngfx_target_version {number}\n")
    assert present_devices(tmp_path, {}) == {"rocm"}
    assert own_driver("rocm", tmp_path, {}) == {"name": "rocm", "version": "6.7.0", "gpus": ["gfx1100", "gfx942"]}


def test_drivers_for_vulkan_are_known_by_their_bytes(tmp_path: Path):
    library = write(tmp_path, "usr/lib/libvulkan_x.so", "one")
    icd = {"file_format_version": "1.0.0", "ICD": {"library_path": str(library), "api_version": "1.3.0"}}
    installed = write(tmp_path, "usr/share/vulkan/icd.d/x.json", json.dumps(icd))
    assert present_devices(tmp_path, {}) == {"vulkan"}
    first = own_driver("vulkan", tmp_path, {})
    library.write_text("two")
    second = own_driver("vulkan", tmp_path, {})
    assert first["drivers"] == second["drivers"] == ["x.json"] and first["version"] != second["version"]
    variables = {"VK_DRIVER_FILES": str(installed), "LD_PRELOAD": "x"}
    assert present_devices(tmp_path / "other", variables) == {"vulkan"}
    assert kept_variables("vulkan", variables) == (("VK_DRIVER_FILES", str(installed)),)
    assert kept_variables("cuda", variables) == ()


DUMPED = """# --device=vulkan://GPU-5377
#   SwiftShader Device (Subzero) (SwiftShader driver)
# ===----------------------------------------------------------------------===
subgroup: size=4 operations=0xbf quadOperationsInAllStages=no minSubgroupSize=4 maxSubgroupSize=4 requiredStages=0x31
subgroup: size=32 operations=0xbf quadOperationsInAllStages=no minSubgroupSize=8 maxSubgroupSize=32 requiredStages=0x31
"""


def test_what_a_runtime_lists_is_what_device_takes():
    """As 3.13 says it of SwiftShader's device, and of another that has more sizes than one."""
    found = read_devices("vulkan://GPU-5377\nvulkan://GPU-02\n", DUMPED)
    assert found == {
        "devices": ["vulkan://GPU-5377", "vulkan://GPU-02"],
        "names": ["SwiftShader Device (Subzero) (SwiftShader driver)"],
        "subgroups": [4, 8, 16, 32],
    }
    assert with_device_class("x86_64", {**found, "name": "vulkan", "version": "1f"}).endswith("driver) (vulkan 1f)")
    assert read_devices("", "no driver 'cuda' registered") == {"devices": [], "names": [], "subgroups": []}
