"""The least CPU of a module, from its code: real modules for many CPUs, and instructions one by one."""

from __future__ import annotations

import json
import struct

import pytest
from modules import ARM_MODULES, FILES, RELEASES, module

from matrix.artifacts.contents import cpu_needs as looked
from matrix.artifacts.contents.cpu_needs import CpuNeeds, cpu_needs
from matrix.artifacts.contents.regions import Region, read_regions
from matrix.artifacts.vmfb_archive import Container, open_container
from matrix.cli.main import main

LEAST = {
    "plain-3.13.0": "x86-64-v3",
    "system-2.9.0": "x86-64-v3",
    "x86-64-3.13.0": "x86-64",
    "x86-64-v2-3.13.0": "x86-64-v2",
    "x86-64-v4-3.13.0": "x86-64-v4",
    "vnni-3.13.0": "x86-64-v4 with AVX512-VNNI",
    "aarch64-3.13.0": "Armv8.0-A",
    "fp16-3.13.0": "Armv8.2-A with FP16",
    "dotprod-3.13.0": "Armv8.2-A with DotProd",
    "sve-3.13.0": "Armv8.2-A with SVE",
    **ARM_MODULES,
}


def needs_of(name: str) -> CpuNeeds:
    with open_container(module(name)) as container:
        (found,) = cpu_needs(container, read_regions(container)[1])
    return found


@pytest.mark.parametrize(("name", "words"), LEAST.items())
def test_the_least_cpu_of_a_module(name, words):
    found = needs_of(name)
    assert (found.words, found.unknown, found.unseen) == (words, 0, 0)


@pytest.mark.parametrize("release", RELEASES)
def test_modules_of_every_compiler_for_x86_64_v3(release):
    found = needs_of(f"linear-{release}")
    assert found.words == "x86-64-v3" and {each.name for each in found.extensions} == {"AVX", "FMA"}


def test_every_committed_module_with_code_for_a_cpu_has_a_least_one():
    for path in FILES:
        with open_container(path) as container:
            found = cpu_needs(container, read_regions(container)[1])
        assert len(found) == (0 if path.stem.startswith(("riscv64", "vmvx", "vulkan")) else 1), path.stem


def code(machine: str, *encoded: str) -> CpuNeeds:
    content = b"".join(map(bytes.fromhex, encoded))
    region = Region(part="dispatches", owner="", name="f", offset=0, size=len(content), machine=machine)

    class Whole(Container):
        def read(self, offset: int, size: int) -> bytes:
            return content[offset : offset + size]

    container = Whole(file=None, place="x", size=len(content), zipped=False, module=b"", start=0, base=0, entries=())
    (found,) = cpu_needs(container, [region])
    return found


@pytest.mark.parametrize(
    ("machine", "encoded", "name", "words"),
    [
        ("x86_64", "f30fb8c1", "POPCNT", "x86-64-v2"),  # popcnt eax, ecx
        ("x86_64", "660f3a0fc101", "SSSE3", "x86-64-v2"),  # palignr xmm0, xmm1, 1
        ("x86_64", "660f3817c1", "SSE4.1", "x86-64-v2"),  # ptest
        ("x86_64", "f30fbdc1", "LZCNT", "x86-64-v3"),
        ("x86_64", "f30fbcc1", None, "x86-64"),  # tzcnt, `rep bsf` elsewhere
        ("x86_64", "c4e270f7c2", "BMI1", "x86-64-v3"),  # bextr
        ("x86_64", "c4e27913c0", "F16C", "x86-64-v3"),  # vcvtph2ps
        ("x86_64", "c5f5fec2", "AVX2", "x86-64-v3"),  # vpaddd ymm
        ("x86_64", "c4e27d18c0", "AVX2", "x86-64-v3"),  # vbroadcastss ymm0, xmm0
        ("x86_64", "c4e2f1b8c2", "FMA", "x86-64-v3"),
        ("x86_64", "62f17c4858c1", "AVX512F", "x86-64-v4"),  # vaddps zmm
        ("x86_64", "62f17c2858c1", "AVX512VL", "x86-64-v4"),  # the same of ymm, by EVEX
        ("x86_64", "62f27d4850c1", "AVX512-VNNI", "x86-64-v4 with AVX512-VNNI"),
        ("aarch64", "2094824e", "DotProd", "Armv8.2-A with DotProd"),
        ("aarch64", "20a4824e", "I8MM", "Armv8.2-A with I8MM"),
        ("aarch64", "20fca188", "LSE", "Armv8.1-A"),  # casl
        ("aarch64", "0040e21e", None, "Armv8.0-A"),  # fcvt s0, h0: every Armv8 has it
    ],
)
def test_an_instruction_and_its_extension(machine, encoded, name, words):
    found = code(machine, encoded)
    assert [each.name for each in found.extensions] == ([name] if name else [])
    assert (found.words, found.unknown) == (words, 0)


def test_bytes_that_are_no_instruction_are_counted():
    found = code("x86_64", "c5f5fec2", "060606")
    assert (found.least, found.unknown, found.certain) == ("x86-64-v3", 3, False)


def test_a_number_between_the_instructions_of_32_bit_arm_is_none():
    """`ldr r0, [pc]`, `bx lr`, then the number; it would be `vadd.f32`, an instruction of NEON."""
    load, back, number = struct.pack("<I", 0xE59F0000), struct.pack("<I", 0xE12FFF1E), struct.pack("<I", 0xF2020D44)
    assert code("arm", number.hex()).words == "Armv7-A with NEON"
    assert code("arm", load.hex(), back.hex(), number.hex()).words == "Armv4T"


def test_code_beyond_the_limit_is_said_to_be_unseen(monkeypatch):
    monkeypatch.setattr(looked, "MOST_INSTRUCTIONS", 2)
    found = code("x86_64", "90", "90", "c5f5fec2")
    assert (found.least, found.unseen, found.certain) == ("x86-64", 4, False)


def test_whatis_says_it(capsys):
    assert main(["whatis", str(module("vnni-3.13.0"))]) == 0
    text = capsys.readouterr().out
    assert "needs CPU          x86-64-v4 with AVX512-VNNI\n" in text
    assert "AVX512-VNNI  x86-64-v4  12              vpdpwssd zmm14, zmm18, zmm19" in text
    assert main(["whatis", str(module("dotprod-3.13.0")), "--format", "json"]) == 0
    (needs,) = json.loads(capsys.readouterr().out)["cpu_needs"]
    assert (needs["words"], needs["machine"], needs["unknown"]) == ("Armv8.2-A with DotProd", "aarch64", 0)
    assert needs["extensions"][0]["instructions"] == 16
    assert main(["whatis", str(module("vmvx-3.13.0"))]) == 0
    assert "not known: no machine code" in capsys.readouterr().out
