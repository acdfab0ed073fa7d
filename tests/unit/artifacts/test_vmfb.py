"""Reading real `.vmfb` files, of releases, targets and flags whose differences are known."""

from __future__ import annotations

import struct

import pytest
from modules import FILES, module

from matrix.artifacts.elf import read_elf
from matrix.artifacts.vmfb import PARTS, feature_names, read_vmfb
from matrix.artifacts.vmfb_audit import audit
from matrix.core.errors import FileFault


@pytest.mark.parametrize(
    ("release", "bytecode", "features", "hal", "abi"),
    [
        ("2.9.0", "15.0", (), 5, 5),
        ("3.4.0", "15.0", (), 6, 5),
        ("3.8.0", "15.0", (), 6, 6),
        ("3.10.0", "16.0", (), 6, 6),
        ("3.11.0", "17.0", ("bit 2", "bit 3"), 6, 6),
        ("3.12.0", "17.0", ("bit 2", "bit 3"), 7, 6),
    ],
)
def test_the_versions_that_gates_look_at(release, bytecode, features, hal, abi):
    found = read_vmfb(module(f"linear-{release}"))
    assert (found.bytecode, found.feature_names, found.modules) == (bytecode, features, (("hal", hal),))
    assert [each.library_abi for each in found.executables] == [abi]


def test_imports_and_exports_have_signatures():
    found = read_vmfb(module("linear-3.12.0"))
    imports = {each.name: each.signature for each in found.imports}
    assert imports["hal.command_buffer.dispatch"] == "0rrIiiiICiDCiirIID_v"
    assert len(imports) == len(found.imports) == 22
    assert not any(each.optional for each in found.imports)
    assert [(each.name, each.signature) for each in found.exports] == [
        ("main$async", "0rrr_r"),
        ("main", "0r_r"),
        ("__init", "0v_v"),
    ]


@pytest.mark.parametrize(
    ("name", "named", "machine", "float_abi", "abi"),
    [
        ("linear-2.9.0", ("embedded-elf", "embedded", "x86_64"), "x86_64", "", 5),
        ("system-2.9.0", ("system-elf", "system", "x86_64"), "x86_64", "", 5),
        ("aarch64-3.13.0", ("embedded-elf", "embedded", "aarch64"), "aarch64", "", 6),
        ("arm-3.5.0", ("embedded-elf", "embedded", "arm"), "arm", "hard", 5),
        ("riscv64-3.13.0", ("embedded-elf", "embedded", "riscv64"), "riscv64", "double", 6),
        ("bare-3.13.0", ("embedded-elf", "embedded", "x86_64"), "x86_64", "", 6),
        ("vmvx-3.13.0", ("vmvx-bytecode-fb", "", ""), "", "", None),
    ],
)
def test_executables(name, named, machine, float_abi, abi):
    (found,) = read_vmfb(module(name)).executables
    assert (found.format, found.linkage, found.architecture) == named
    assert (found.machine, found.float_abi, found.library_abi) == (machine, float_abi, abi)


@pytest.mark.parametrize("path", [*FILES, *map(module, ("linear-2.9.0", "linear-3.12.0"))], ids=lambda path: path.stem)
def test_the_parts_sum_up_to_the_file(path):
    found = read_vmfb(path)
    assert found.size == path.stat().st_size
    assert tuple(name for name, _ in found.parts) == PARTS
    assert sum(size for _, size in found.parts) == found.size
    assert all(size >= 0 for _, size in found.parts)
    assert dict(found.parts)["constants"] == (8192 if path.stem.startswith("linear") else 0)
    # The zip's own bytes, and the padding of the segments to 64.
    assert dict(found.parts)["rest"] < 700


def test_a_bare_module_says_the_same_as_a_zipped_one():
    zipped, bare = read_vmfb(module("plain-3.13.0")), read_vmfb(module("bare-3.13.0"))
    assert (zipped.zipped, bare.zipped) == (True, False)
    assert (zipped.imports, zipped.exports, zipped.bytecode) == (bare.imports, bare.exports, bare.bytecode)
    assert dict(zipped.parts)["code"] == dict(bare.parts)["code"] == 481
    assert zipped.cpus == bare.cpus == ("x86-64-v3",)


def test_the_debug_database_is_as_big_as_what_stripping_it_saves():
    plain, stripped = read_vmfb(module("plain-3.13.0")), read_vmfb(module("stripped-3.13.0"))
    assert (plain.debug_database, stripped.debug_database) == (True, False)
    names = ("VM bytecode", "VM data", "VM debug", "VM tables")
    saved = sum(dict(plain.parts)[name] - dict(stripped.parts)[name] for name in names)
    assert abs(dict(plain.parts)["VM debug"] - saved) < 100
    assert dict(plain.parts)["executable debug"] > 3 * dict(stripped.parts)["executable debug"]


def test_the_audit_finds_what_a_module_gives_away():
    found = {leak.kind: leak for leak in audit(module("absolute-3.13.0")).leaks}
    assert found["absolute path"].examples == ("/build/model/linear.mlir",)
    assert found["absolute path"].places == (".rodata", "VM debug")
    assert "main_dispatch_0_matmul_4x4x8_f32" in found["dispatch name"].examples
    assert found["producer"].examples == ("IREE",)
    for leak in found.values():
        content = module("absolute-3.13.0").read_bytes()
        assert all(text.encode() in content for text in leak.examples)


def test_the_input_file_leaks_by_its_name():
    plain = audit(module("plain-3.13.0"))
    assert plain.count("absolute path") == 0
    assert {leak.examples for leak in plain.leaks if leak.kind == "file name"} == {("linear.mlir",)}
    library = [leak for leak in audit(module("system-2.9.0")).leaks if leak.kind == "library name"]
    assert library[0].examples == ("linear_linked",)


def test_stripping_removes_paths_and_not_the_names_of_dispatches():
    stripped = audit(module("stripped-3.13.0"))
    assert [stripped.count(kind) for kind in ("absolute path", "file name", "function name")] == [0, 0, 0]
    assert stripped.count("dispatch name") > 0
    assert b"linear" not in module("stripped-3.13.0").read_bytes()


def test_functions_inside_of_the_module_are_named():
    (leak,) = [leak for leak in audit(module("linear-2.9.0")).leaks if leak.kind == "function name"]
    assert leak.examples == ("__main$async_memoize_apply",)


def test_features_beyond_the_known_ones_are_numbered():
    assert feature_names(0b1011) == ("EXT_F32", "EXT_F64", "bit 3")
    assert feature_names(0) == ()


def test_an_elf_of_the_other_byte_order_is_read():
    head = b"\x7fELF\x01\x02\x01" + bytes(9)
    content = head + struct.pack(">HHIIIIIHHHHHH", 3, 40, 1, 0, 0, 0, 0x5000400, 52, 0, 0, 40, 0, 0)
    found = read_elf(content, "x")
    assert (found.machine, found.bits, found.float_abi, found.sections) == ("arm", 32, "hard", ())
    with pytest.raises(FileFault, match="x: read 9 sections of 40 bytes at 0"):
        read_elf(content[:48] + struct.pack(">HH", 9, 0), "x")
