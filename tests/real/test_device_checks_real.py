"""`whatis --check`: locked tools look at code for devices, without a device."""

from __future__ import annotations

import json
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import good, matrix
from modules import MODULES, gpu_modules

from matrix.artifacts.vmfb import LoadedExecutable, Vmfb, read_container
from matrix.artifacts.vmfb_archive import open_container
from matrix.builds.devices.device_checks import DeviceCheckers, check_executables, device_checkers
from matrix.core.disk import store_places
from matrix.engines.kind import workshop
from matrix.run.store import Store

pytestmark = pytest.mark.real
if os.uname().machine != "x86_64":
    pytest.skip("NOT TESTED: the locked tools are programs of x86_64", allow_module_level=True)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty one: the tools are fetched into it once."""
    with Store(tmp_path_factory.mktemp("checks") / "store") as made:
        return made.folder


@pytest.fixture
def tools(store: Path) -> Iterator[DeviceCheckers]:
    with device_checkers(workshop(store_places(store)), store) as found:
        yield found


def loaded(path: Path) -> tuple[Vmfb, LoadedExecutable]:
    with open_container(path) as container:
        module, (executable,), _ = read_container(container)
    return module, executable


@pytest.mark.parametrize("name", ["cuda-2.9.0", "cuda-3.13.0"])
def test_ptx_is_what_nvidias_assembler_takes(store: Path, name: str) -> None:
    said = json.loads(
        good("whatis", gpu_modules() / f"{name}.vmfb", "--check", "--format", "json", "--store", store).out
    )
    (checked,) = said["checked"]
    assert (checked["verdict"], checked["said"]) == ("valid", "") and checked["tool"].startswith("ptxas 12.")


def test_spirv_is_what_its_validator_takes(store: Path) -> None:
    ran = good("whatis", MODULES / "vulkan-default-3.13.0.vmfb", "--check", "--store", store)
    line = next(line for line in ran.out.splitlines() if "spirv-val" in line)
    assert "SPIR-V 1.0 (2,096 bytes)" in line and line.split()[-1] == "valid"


def test_damaged_code_is_invalid_and_ends_with_status_1(store: Path, tools: DeviceCheckers, tmp_path: Path) -> None:
    """In the module of 2.9 PTX lies in the module itself, whose bytes have no checksum of their own."""
    module, ptx = loaded(gpu_modules() / "cuda-2.9.0.vmfb")
    broken = replace(ptx, content=ptx.content.replace(b"ld.param", b"xx.param", 1))
    (found,) = check_executables([broken], module.architectures, tools)
    assert found.invalid and "xx" in found.said and str(tools.folder) not in found.said
    module, spirv = loaded(MODULES / "vulkan-default-3.13.0.vmfb")
    (code,) = spirv.executable.device_code
    cut = replace(spirv, content=spirv.content[: code.offset + 40] + bytes(40) + spirv.content[code.offset + 80 :])
    (found,) = check_executables([cut], module.architectures, tools)
    assert found.invalid and found.said
    path = tmp_path / "broken.vmfb"
    with zipfile.ZipFile(gpu_modules() / "cuda-2.9.0.vmfb") as archive:
        whole = archive.read("module.fb")
    bad = whole.replace(b"ld.param", b"xx.param", 1)
    sums = [struct.pack("<I", zlib.crc32(content)) for content in (whole, bad)]
    content = (gpu_modules() / "cuda-2.9.0.vmfb").read_bytes().replace(whole, bad)
    path.write_bytes(content.replace(*sums))
    ran = matrix("whatis", path, "--check", "--store", store)
    assert ran.status == 1 and "invalid" in ran.out


def test_of_hsaco_the_header_is_read(tools: DeviceCheckers) -> None:
    module, hsaco = loaded(gpu_modules() / "rocm-3.13.0.vmfb")
    (found,) = check_executables([hsaco], module.architectures, tools)
    assert (found.verdict, found.tool) == ("header read", "no tool is locked")
    (other,) = check_executables([hsaco], ("gfx90a",), tools)
    assert other.invalid and other.said == "it is for gfx942, and the module was compiled for gfx90a"
