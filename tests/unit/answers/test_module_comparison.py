"""Modules compared byte by byte: every byte has one class, and a planted change is found where it was planted."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest
from modules import FILES, linear_modules, module, mutated, with_checksums

from matrix.answers.modules.comparison import ADDRESSES_ONLY, MOVED, ComparedModules, compare_modules
from matrix.artifacts.contents.regions import CLASSES, Region, read_regions
from matrix.artifacts.vmfb_archive import open_container
from matrix.cli.main import main
from matrix.core.errors import FileFault, UsageError

EVERY = (*FILES, *sorted(linear_modules().glob("*.vmfb")))
SEED = 15


def regions_of(path: Path) -> tuple[Region, ...]:
    with open_container(path) as container:
        return read_regions(container)[1]


def unequal(found: ComparedModules) -> dict[str, int]:
    """Class -> bytes of the second module that differ."""
    counts = {name: sum(each.differing[1] for each in found.of_class(name)) for name in CLASSES}
    return {name: count for name, count in counts.items() if count}


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.stem)
def test_every_byte_of_a_module_is_in_one_region(path):
    at = 0
    for region in regions_of(path):
        assert region.offset == at and region.size > 0 and region.part in CLASSES
        at += region.size
    assert at == path.stat().st_size


def test_dispatches_have_their_names_and_their_code():
    found = [(each.name, each.size) for each in regions_of(module("linear-2.9.0")) if each.part == "dispatches"]
    assert found == [
        ("main$async_dispatch_0_pack_f32", 112),
        ("main$async_dispatch_1_mmt4d_1x8x64x4x4x1_f32", 176),
        ("main$async_dispatch_2_unpack_elementwise_4x32_f32", 209),
    ]
    for name in ("arm-3.5.0", "aarch64-3.13.0", "riscv64-3.13.0", "stripped-3.13.0"):
        (only,) = [each for each in regions_of(module(name)) if each.part == "dispatches"]
        assert only.name == "main_dispatch_0_matmul_4x4x8_f32"


def test_the_bytecode_is_cut_into_functions_and_the_tables_into_what_they_are():
    found = [each for each in regions_of(module("linear-3.12.0")) if not each.owner]
    functions = {each.name: each.size for each in found if each.part == "VM bytecode" and each.name != "padding"}
    assert functions == {"function 0": 276, "main$async": 360, "main": 100, "__init": 1674}
    assert sum(each.size for each in found if each.part == "VM bytecode") == 2424
    assert {each.name for each in found if each.part == "VM tables"} == {
        *("root", "offsets of tables", "types", "required modules", "imported functions", "entry points"),
        *("signatures", "data segments", "functions", "end"),
    }


def test_another_path_of_the_input_changes_no_imported_function():
    found = compare_modules(module("plain-3.13.0"), module("absolute-3.13.0"))
    assert {each.name for each in found.of_class("VM tables") if not each.equal} == {"root", "data segments", "end"}


def test_a_module_of_the_vm_inside_of_a_module_is_cut_too():
    inside = {each.part for each in regions_of(module("vmvx-3.13.0")) if each.owner.startswith("main_dispatch_0_vmvx")}
    assert inside == {"container", "VM tables", "VM bytecode", "VM debug", "constants"}


def test_what_a_compiler_that_is_not_deterministic_changes(capsys):
    """iree-compile 3.10.0, twice on the same file with the same flags."""
    before, after = module("again-3.10.0-1"), module("again-3.10.0-2")
    found = compare_modules(before, after)
    pairs = zip(before.read_bytes(), after.read_bytes(), strict=True)
    assert found.differing == (12, 12) and sum(a != b for a, b in pairs) == 12
    assert unequal(found) == {"container": 8, "VM bytecode": 4}
    assert [(each.name, each.note) for each in found.of_class("VM bytecode") if not each.equal] == [("__init", MOVED)]
    assert found.facts == ()
    assert main(["diff", str(before), str(after)]) == 1
    text = capsys.readouterr().out
    assert f"__init, 4 of 1275 bytes: {MOVED}" in text
    assert "12 bytes before and 12 after differ, in container, VM bytecode; equal: VM tables" in text


def test_as_json_each_byte_is_counted_in_one_class(capsys):
    before, after = module("again-3.10.0-1"), module("again-3.10.0-2")
    assert main(["diff", str(before), str(after), "--format", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["format"], found["before"], found["equal"]) == (1, str(before), False)
    assert found["sizes"] == [sum(each["sizes"][side] for each in found["classes"]) for side in (0, 1)]
    assert found["sizes"] == [path.stat().st_size for path in (before, after)]
    differing = {each["class"]: each["differing"] for each in found["classes"] if any(each["differing"])}
    assert differing == {"container": [8, 8], "VM bytecode": [4, 4]}
    parts = [part for each in found["classes"] for part in each["parts"]]
    assert sum(part["differing"][0] for part in parts) == found["differing"][0] == 12
    assert {
        "name": "__init",
        "other_name": "__init",
        "sizes": [1275, 1275],
        "differing": [4, 4],
        "note": MOVED,
    } in parts


def test_equal_modules_as_json(capsys):
    paths = [str(module(f"linear-{release}")) for release in ("3.12.0", "3.13.0")]
    assert main(["diff", *paths, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["equal"] and found["differing"] == [0, 0] and found["facts"] == []


def test_releases_have_no_json_and_it_says_where_there_is(capsys):
    assert main(["diff", "compiler", "3.8.0", "3.9.0", "--format", "json"]) == UsageError.exit_code
    said = capsys.readouterr().err
    assert "--format: read 'json' with compiler 3.8.0 3.9.0, expected it with two modules" in said
    assert "api/v1/releases/" in said


def test_equal_modules(capsys):
    """Two releases whose compilers write the same bytes."""
    paths = [str(module(f"linear-{release}")) for release in ("3.12.0", "3.13.0")]
    assert main(["diff", *paths]) == 0
    assert "equal: every byte" in capsys.readouterr().out


def test_the_path_of_the_input_is_in_strings_and_only_moves_the_code():
    found = compare_modules(module("plain-3.13.0"), module("absolute-3.13.0"))
    (path,) = [each for each in found.of_class("strings") if not each.equal]
    assert path.note == "'linear.mlir' -> '/build/model/linear.mlir'"
    (code,) = found.of_class("dispatches")
    assert (code.differing, code.note) == ((10, 10), ADDRESSES_ONLY)
    assert all(each.equal for each in found.of_class("VM bytecode"))


def test_two_releases_whose_code_and_interface_differ():
    found = compare_modules(module("linear-3.8.0"), module("linear-3.12.0"))
    (code,) = found.of_class("dispatches")
    assert code.sizes == (273, 881) and code.note == "66 instructions -> 143"
    assert all(each.equal for each in found.of_class("constants"))
    assert "VM bytecode: 15.0 -> 17.0" in found.facts
    assert "imported function hal.command_buffer.dispatch: 0rriiiiICiDCiirIID_v -> 0rrIiiiICiDCiirIID_v" in found.facts
    assert "imported function hal.executable.lookup.function: only after" in found.facts
    assert found.sizes == tuple(module(f"linear-{each}").stat().st_size for each in ("3.8.0", "3.12.0"))
    for side in (0, 1):
        assert sum(each.sizes[side] for each in found.parts) == found.sizes[side]


def test_a_zipped_module_and_a_bare_one():
    found = compare_modules(module("plain-3.13.0"), module("bare-3.13.0"))
    assert "wrapping: zip -> bare FlatBuffer" in found.facts
    equal = ("VM bytecode", "strings", "dispatches", "constants")
    assert all(each.equal for name in equal for each in found.of_class(name))


@pytest.mark.parametrize("name", ["plain-3.13.0", "system-2.9.0", "linear-3.12.0", "aarch64-3.13.0"])
@pytest.mark.parametrize(
    "part", ["VM bytecode", "VM debug", "constants", "dispatches", "executable debug", "strings", "executable tables"]
)
def test_a_byte_that_was_changed_is_found_in_its_class(name, part, tmp_path):
    """At the end of a region, so that the file stays readable; a checksum of the zip changes with it."""
    original = module(name).read_bytes()
    region = max((each for each in regions_of(module(name)) if each.part == part), key=lambda each: each.size)
    at = region.offset + region.size - {"strings": 2, "VM debug": region.size // 2}.get(part, 1)
    damaged = bytearray(original)
    damaged[at] ^= 1
    path = tmp_path / "changed.vmfb"
    path.write_bytes(with_checksums(bytes(damaged), original))
    found = unequal(compare_modules(module(name), path))
    assert found.pop(part) == 1
    assert set(found) <= {"container"}


def test_damaged_modules_are_compared_or_refused(tmp_path):
    random, path, whole = Random(SEED), tmp_path / "damaged.vmfb", 0
    for _ in range(300):
        original = random.choice(EVERY)
        path.write_bytes(mutated(original.read_bytes(), random))
        try:
            found = compare_modules(original, path)
        except FileFault:
            continue
        whole += 1
        assert [sum(each.sizes[side] for each in found.parts) for side in (0, 1)] == list(found.sizes)
        pairs = list(zip(original.read_bytes(), path.read_bytes(), strict=False))
        assert any(a != b for a, b in pairs) == (found.differing != (0, 0)) or found.sizes[0] != found.sizes[1]
    assert whole > 30, f"seed {SEED}"


def test_a_module_beside_something_else(tmp_path, capsys):
    other = tmp_path / "a.vmfb"
    other.write_bytes(b"PK\x03\x04" + bytes(100))
    assert main(["diff", str(module("plain-3.13.0")), str(other)]) == FileFault.exit_code
    assert "a zip without a readable directory" in capsys.readouterr().err
