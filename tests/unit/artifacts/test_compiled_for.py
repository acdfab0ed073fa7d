"""What modules with code for a device say of themselves. The pieces of PTX and HSACO are as the formats have them."""

from __future__ import annotations

import json
import struct

import pytest
from modules import MODULES, gpu_modules, vulkan_modules

from matrix.answers.gates import load_gates
from matrix.answers.whatis import code_words, explain_module, module_text
from matrix.artifacts.contents.compiled_for import (
    DeviceCode,
    device_architectures,
    device_code,
    device_header,
    device_subgroups,
    target_cpus,
)
from matrix.artifacts.vmfb import read_vmfb
from matrix.artifacts.vmfb_audit import VmfbAudit
from matrix.builds.drivers import shipped_drivers
from matrix.cli.main import main

PTX = b"//\n.version 7.6\n.target sm_80\n.address_size 64\n"
SPIRV_BYTES = {"2.9.0": 5372, "3.6.0": 3660, "3.13.0": 6980}
HSACO = b"\x7fELF\x02\x01\x01\x40\x04" + bytes(7) + struct.pack("<HHIQQQI", 3, 224, 1, 0, 64, 128, 0x54C)


@pytest.mark.parametrize(
    ("content", "header", "words"),
    [
        (b"CDA1" + bytes(60) + PTX, True, ("PTX 7.6 for sm_80",)),
        (b"\x08\0\0\0CDA1" + PTX, False, ("PTX 7.6 for sm_80",)),
        (b"HIP1" + bytes(60) + HSACO, True, ("HSACO for gfx942",)),
        (b"HIP1" + HSACO.replace(b"\x4c\x05", b"\x77\x05"), True, ("HSACO for machine 0x77",)),
        (b"VKE1" + b"\x03\x02\x23\x07\x00\x03\x01\x00", True, ("SPIR-V 1.3",)),
        (b"VKE1" + PTX + PTX, True, ("PTX 7.6 for sm_80",)),
        (b"\x7fELF" + PTX, None, ()),
        (b"", None, ()),
    ],
)
def test_code_for_a_device_says_what_it_is(content, header, words):
    assert device_header(content) is header
    assert tuple(dict.fromkeys(piece.words for piece in device_code(content))) == words


def test_a_piece_of_code_says_where_it_lies():
    spirv = b"\x03\x02\x23\x07\x00\x03\x01\x00" + bytes(12)
    vulkan = b"VKE1" + bytes(60) + 2 * (struct.pack("<I", 5) + spirv) + spirv
    found = device_code(vulkan)
    assert [(each.offset, each.size) for each in found] == [(68, 20), (92, 20), (112, 0)]  # no length before the last
    assert found[0].of(vulkan) == spirv
    (ptx,) = device_code(b"CDA1" + bytes(60) + struct.pack("<I", len(PTX)) + PTX + b"\0after")
    assert (ptx.offset, ptx.size) == (68, len(PTX))
    elf = HSACO[:40] + struct.pack("<Q", 64) + HSACO[48:52] + struct.pack("<HHHHHH", 64, 0, 0, 64, 2, 1)
    (whole,) = device_code(b"HIP1" + bytes(60) + elf + bytes(128) + b"after")
    (cut,) = device_code(b"HIP1" + bytes(60) + elf + bytes(100))
    assert (whole.size, cut.size) == (192, 0)


def test_each_form_of_code_is_said_with_its_bytes():
    ptx = DeviceCode(form="PTX", version="7.6", device="sm_80", offset=0, size=1204)
    unknown = DeviceCode(form="SPIR-V", version="1.0", device="", offset=0, size=0)
    assert code_words([ptx, unknown]) == ["PTX 7.6 for sm_80 (1,204 bytes)", "SPIR-V 1.0"]
    assert code_words([ptx, ptx]) == ["PTX 7.6 for sm_80 (2 modules, 2,408 bytes)"]


def test_a_module_says_what_it_assumes_of_its_device():
    said = b'x #iree_gpu.target<arch = "sm_80", wgp = <subgroup_size_choices = [32, 64], y>> cpu = "generic"'
    assert device_architectures(said) == ("sm_80",)
    assert device_subgroups(said) == (32, 64)
    assert target_cpus(said) == ("generic",)
    assert (device_architectures(b""), device_subgroups(b"[8]"), target_cpus(b"")) == ((), (), ())


@pytest.mark.parametrize("release", ["2.9.0", "3.6.0", "3.13.0"])
def test_whatis_says_it_of_a_real_module_and_shows_no_outcome_of_native_code(release):
    module = read_vmfb(vulkan_modules() / f"vulkan-{release}.vmfb")
    assert (module.architectures, module.subgroups) == (("vp_android_baseline_2022",), (8,))
    (code,) = module.executables[0].device_code
    assert (code.words, code.size) == ("SPIR-V 1.0", SPIRV_BYTES[release])
    found = explain_module(module, load_gates(), {("3.13", "3.13"): "passed", ("2.9", "2.9"): "passed"})
    assert set(found.observed) == {""}
    text = module_text(
        "m.vmfb", module, VmfbAudit(size=1, parts=(), debug_database=False, leaks=(), unscanned=0), found
    )
    assert "vp_android_baseline_2022; subgroups of 8: without them its numbers can be wrong" in text


@pytest.mark.parametrize(
    ("name", "words", "size"),
    [
        ("cuda-2.9.0", "PTX 7.6 for sm_80", 3560),  # in the module itself, not beside it
        ("cuda-3.8.0", "PTX 7.6 for sm_80", 2091),
        ("cuda-3.13.0", "PTX 7.6 for sm_80", 2258),
        ("rocm-2.9.0", "HSACO for gfx942", 8080),
        ("rocm-3.13.0", "HSACO for gfx942", 4976),
    ],
)
def test_real_modules_for_gpus_say_what_is_inside(name, words, size, capsys):
    module = read_vmfb(gpu_modules() / f"{name}.vmfb")
    (executable,) = module.executables
    (code,) = executable.device_code
    assert (code.words, code.size) == (words, size)
    assert sum(size for _, size in module.parts) == module.size
    assert main(["whatis", str(gpu_modules() / f"{name}.vmfb")]) == 0
    assert f"{words} ({size:,} bytes)" in capsys.readouterr().out


def test_whatis_names_the_drivers_without_the_subgroups_that_a_module_assumes(capsys):
    assert main(["whatis", str(MODULES / "vulkan-default-3.13.0.vmfb")]) == 0
    warning = "the module assumes subgroups of 64, the device of lavapipe has subgroups of 8: numbers can be wrong"
    assert warning in capsys.readouterr().out
    assert main(["whatis", "--format", "json", str(MODULES / "vulkan-default-3.13.0.vmfb")]) == 0
    said = json.loads(capsys.readouterr().out)["warnings"]
    assert warning in said[0] and "the device of swiftshader has subgroups of 4" in said[1]


@pytest.mark.parametrize("name", ["vulkan-3.13.0.vmfb", "plain-3.13.0.vmfb"])
def test_whatis_warns_of_no_module_that_assumes_what_the_device_has_or_is_not_for_vulkan(name):
    folder = vulkan_modules() if name.startswith("vulkan") else MODULES
    devices = {driver.name: driver.sizes for driver in shipped_drivers().values() if driver.name == "lavapipe"}
    assert devices["lavapipe"] == (8,)
    assert explain_module(read_vmfb(folder / name), load_gates(), {}, devices=devices).warnings == ()
