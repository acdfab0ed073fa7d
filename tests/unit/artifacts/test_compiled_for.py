"""What modules with code for a device say of themselves. The pieces of PTX and HSACO are as the formats have them."""

from __future__ import annotations

import json
import struct

import pytest
from modules import MODULES, vulkan_modules

from matrix.answers.gates import load_gates
from matrix.answers.whatis import explain_module, module_text
from matrix.artifacts.contents.compiled_for import (
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
    assert device_code(content) == words


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
    assert module.executables[0].device_code == ("SPIR-V 1.0",)
    found = explain_module(module, load_gates(), {("3.13", "3.13"): "passed", ("2.9", "2.9"): "passed"})
    assert set(found.observed) == {""}
    text = module_text(
        "m.vmfb", module, VmfbAudit(size=1, parts=(), debug_database=False, leaks=(), unscanned=0), found
    )
    assert "vp_android_baseline_2022; subgroups of 8: without them its numbers can be wrong" in text


def test_whatis_names_the_drivers_without_the_subgroups_that_a_module_assumes(capsys):
    assert main(["whatis", str(MODULES / "vulkan-default-3.13.0.vmfb")]) == 0
    warning = "the module assumes subgroups of 64, the device of lavapipe has subgroups of 8: numbers can be wrong"
    assert warning in capsys.readouterr().out
    assert main(["whatis", "--format", "json", str(MODULES / "vulkan-default-3.13.0.vmfb")]) == 0
    (said,) = json.loads(capsys.readouterr().out)["warnings"]
    assert warning in said


@pytest.mark.parametrize("name", ["vulkan-3.13.0.vmfb", "plain-3.13.0.vmfb"])
def test_whatis_warns_of_no_module_that_assumes_what_the_device_has_or_is_not_for_vulkan(name):
    folder = vulkan_modules() if name.startswith("vulkan") else MODULES
    devices = {driver.name: driver.sizes for driver in shipped_drivers().values()}
    assert devices["lavapipe"] == (8,)
    assert explain_module(read_vmfb(folder / name), load_gates(), {}, devices=devices).warnings == ()
