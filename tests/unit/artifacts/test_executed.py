"""Blocks of a call, found in the code of real modules: by dispatch and by line, and never a number for another's."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from matrix.artifacts.contents.debug_lines import read_functions, read_lines
from matrix.artifacts.contents.executed import PAGE, CodeBlock, executed_code, read_blocks
from matrix.artifacts.contents.instructions import disassemble
from matrix.artifacts.vmfb import LoadedExecutable, read_container
from matrix.artifacts.vmfb_archive import open_container
from matrix.core.errors import FileFault

DATA = Path(__file__).parents[2] / "data" / "vmfb"
BASE = 0x7F0000 * PAGE
RUNTIME = CodeBlock(address=0x400123, executed=7, sizes=(1, 1), code=b"\x90\xc3")


def loaded(name: str) -> tuple[LoadedExecutable, ...]:
    with open_container(DATA / f"{name}.vmfb") as container:
        return read_container(container)[1]


def blocks_of(module: LoadedExecutable, *, times: int = 1, base: int = BASE) -> Iterator[CodeBlock]:
    """Each function of a module as one block."""
    assert module.elf
    text = module.elf.section(".text")
    assert text
    for function in read_functions(module.content, module.elf, "it"):
        start = text.offset + function.low - text.address
        code = module.content[start : start + function.high - function.low]
        found = [4] * (len(code) // 4)
        if module.elf.machine == "x86_64":
            found = [each.size for each in disassemble("x86_64", code, function.low)]
        yield CodeBlock(address=base + function.low, executed=times, sizes=tuple(found), code=code)


@pytest.mark.parametrize("name", ["plain-3.13.0", "aarch64-3.13.0", "armv6-3.13.0", "riscv64-3.13.0", "system-2.9.0"])
def test_the_code_of_each_machine_and_linker_is_found_with_its_lines(name):
    modules = loaded(name)
    blocks = [*blocks_of(modules[0], times=3), RUNTIME]
    found = executed_code(blocks, modules, name)
    assert found.instructions == found.kernel + 14
    assert found.unnamed == 0
    assert sum(each.instructions for each in found.dispatches) == found.kernel > 0
    (first, *_) = found.dispatches
    assert first.name.startswith("main_dispatch_")
    assert first.calls == 3
    assert sum(first.lines.values()) == first.instructions
    assert first.line and first.line[0] and first.line[1] > 1  # line 1 begins the module


def test_code_that_no_name_covers_is_stated_and_not_given_to_a_dispatch():
    (module,) = loaded("plain-3.13.0")
    (whole, *_) = blocks_of(module)
    assert module.elf
    functions = read_functions(module.content, module.elf, "it")
    text = module.elf.section(".text")
    assert text
    end = text.address + text.size
    behind = max(each.high for each in functions)
    spare = module.content[text.offset + text.size - (end - behind) : text.offset + text.size]
    blocks = [whole]
    if spare:
        blocks.append(CodeBlock(address=BASE + behind, executed=5, sizes=(1,) * len(spare), code=spare))
    found = executed_code(blocks, [module], "it")
    assert found.unnamed == 5 * len(spare)
    assert found.kernel == whole.instructions + found.unnamed


def test_the_place_is_found_among_blocks_that_could_be_the_entry():
    """Other code with the same bytes at the same place of a page, and code that is no module's where it would lie."""
    (module,) = loaded("plain-3.13.0")
    real = [*blocks_of(module)]
    head = real[0]
    cut = len(head.sizes) // 2
    small = sum(head.sizes[:cut])
    decoy = CodeBlock(
        address=BASE + 64 * PAGE + head.address % PAGE, executed=900, sizes=head.sizes[:cut], code=head.code[:small]
    )
    refuted = CodeBlock(address=decoy.address + 1, executed=1, sizes=(2,), code=b"\x00\x00")
    found = executed_code([decoy, refuted, *real], [module], "it")
    assert found.kernel == sum(block.instructions for block in real)


def test_the_blocks_of_another_module_are_no_number():
    (module,) = loaded("plain-3.13.0")
    (other,) = loaded("vnni-3.13.0")
    with pytest.raises(FileFault, match="read no block of this module's code, expected the blocks of a call of it"):
        executed_code([*blocks_of(other)], [module], "it")


@pytest.mark.parametrize(("name", "said"), [
    ("stripped-3.13.0", "read no debug information, expected the names of its dispatches"),
    ("vmvx-3.13.0", "read a module without machine code, expected executables with machine code"),
])  # fmt: skip
def test_a_module_without_names_or_code_is_refused(name, said):
    (plain,) = loaded("plain-3.13.0")
    with pytest.raises(FileFault, match=said) as caught:
        executed_code([*blocks_of(plain)], loaded(name), name)
    assert caught.value.tip


@pytest.mark.parametrize("content", [
    b"", b"{}", b'{"blocks": 3}', b'{"blocks": [[1, 2]]}', b'{"blocks": [[1, 2, "3", "00"]]}',
    b'{"blocks": [[1, 0, "1", "00"]]}', b'{"blocks": [[-1, 1, "1", "00"]]}', b'{"blocks": [["1", 1, "1", "00"]]}',
    b'{"blocks": [[1, 1, "g", "00"]]}', b'{"blocks": [[1, 1, "1", "zz"]]}', b'{"machine": "x86_64", "blocks": [[1, 1,',
    b'{"blocks": [[1, 1, "01", "00"]]}', b'{"blocks": [[1, true, "1", "00"]]}',
])  # fmt: skip
def test_a_torn_file_of_blocks_is_no_number(content):
    with pytest.raises(FileFault, match="read no blocks of the profiler"):
        read_blocks(content, "blocks.json")


def test_blocks_are_read_as_they_were_written():
    written = {"machine": "x86_64", "blocks": [[4096, 3, "13", "90aabbcc"]]}
    assert read_blocks(json.dumps(written).encode(), "b") == (
        CodeBlock(address=4096, executed=3, sizes=(1, 3), code=b"\x90\xaa\xbb\xcc"),
    )


@pytest.mark.parametrize("name", ["plain-3.13.0", "armv6-3.13.0"])
def test_damaged_debug_information_is_a_fault_and_nothing_else(name):
    (module,) = loaded(name)
    assert module.elf
    chance, places = random.Random(16), []
    for section in module.elf.sections:
        if section.name.startswith(".debug"):
            places += [section.offset + index for index in range(section.size)]
    ends = set()
    for _ in range(300):
        content = bytearray(module.content)
        for at in chance.sample(places, 3):
            content[at] = chance.randrange(256)
        for read in (read_functions, read_lines):
            try:
                read(bytes(content), module.elf, "damaged")
                ends.add("read")
            except FileFault as fault:
                assert str(fault).startswith("damaged: .debug")
                ends.add("refused")
    assert ends == {"read", "refused"}
