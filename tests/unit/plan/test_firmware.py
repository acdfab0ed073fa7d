"""Programs without an operating system: what is built, linked and started, and what their logs say."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest

from matrix.builds.tools import toolchains
from matrix.plan.backends.backend import JOB_LOG, Given
from matrix.plan.backends.iree.firmware import (
    FIRMWARE_LINKING,
    LIBRARY,
    MEMORY_FILE,
    archive_commands,
    firmware_commands,
    read_memory,
    read_usage,
)
from matrix.plan.stages import launched

LINKED = b"""Memory region         Used Size  Region Size  %age Used
           FLASH:      259360 B         4 MB      6.18%
             RAM:        4 KB         4 MB      0.13%
"""


def test_the_linkers_table_says_bytes_whatever_its_units():
    assert read_usage({JOB_LOG: LINKED}) == {"flash_bytes": 259_360, "static_bytes": 4096}


@pytest.mark.parametrize("log", [b"", b"FLASH: much B", b"\xff\xfe"])
def test_a_log_without_the_table_has_no_figures(log):
    assert read_usage({JOB_LOG: log}) == {}


def test_a_program_says_what_its_call_needed():
    said = b'{"heap_bytes": 31112, "stack_bytes": 20056, "ticks": 779}'
    assert read_memory({MEMORY_FILE: said}) == {"heap_bytes": 31_112, "stack_bytes": 20_056, "ticks": 779}


@pytest.mark.parametrize(
    "said", [b"", b"{", b"[]", b'{"heap_bytes": 1}', b'{"heap_bytes": -1, "stack_bytes": 1, "ticks": 1}']
)
def test_a_program_that_says_something_else_has_no_figures(said):
    assert read_memory({MEMORY_FILE: said}) == {}
    assert read_memory({}) == {}


def test_the_library_stands_behind_the_object_of_a_module():
    given = Given(flags=("cc", "run.c", "module.o"), parameters={}, artifacts={})
    assert FIRMWARE_LINKING.command(given) == ("python", "link_firmware.py", "cc", "run.c", "module.o", LIBRARY, "-lm")


def test_a_toolchain_without_an_operating_system_builds_an_archive_and_starts_no_file_of_a_system():
    toolchain = toolchains()["cortex-m4"]
    assert toolchain.bare
    words = [word for command in archive_commands(toolchain, "host") for word in command]
    assert "-DCMAKE_SYSTEM_NAME=Generic" in words and not any("CMAKE_SYSTEM_NAME=Linux" in word for word in words)
    assert "-nostartfiles" in firmware_commands(toolchain)[0]


def test_an_emulator_of_boards_takes_the_programs_words_as_one():
    launcher = ("qemu-system-arm", "-kernel", "{program}", "-append", "{arguments}")
    assert launched(launcher, ("./p", "--input=@a", "--output=@b")) == (
        *("qemu-system-arm", "-kernel", "./p", "-append", "--input=@a --output=@b"),
    )
    assert launched(("qemu-arm",), ("./p", "word")) == ("qemu-arm", "./p", "word")


def elf(size: int) -> bytes:
    """An object with one section of code of so many bytes, and one that is not loaded."""
    header = bytearray(52)
    struct.pack_into("<I", header, 32, 52)
    struct.pack_into("<HH", header, 46, 40, 2)
    code = struct.pack("<10I", 0, 1, 2, 0, 0, size, 0, 0, 0, 0)
    return bytes(header) + code + struct.pack("<10I", 0, 1, 0, 0, 0, 10**6, 0, 0, 0, 0)


SCRIPT = Path(__file__).parents[3] / "scripts" / "firmware" / "link_firmware.py"


@pytest.fixture
def link(monkeypatch, tmp_path):
    """Calls the script's function in a folder, with the steps that it would take afterwards."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    monkeypatch.syspath_prepend(str(SCRIPT.parent.parent))
    monkeypatch.chdir(tmp_path)
    import link_firmware

    monkeypatch.setattr(link_firmware.steps, "main", lambda words: 0)
    yield lambda flash, ram: link_firmware.main(
        ["--", "cc", f"-Wl,--defsym,flash_bytes={flash}", f"-Wl,--defsym,ram_bytes={ram}"]
    )
    sys.modules.pop("link_firmware")


def test_a_model_that_is_too_large_is_refused_before_the_link_with_both_figures(link, tmp_path, capsys):
    (tmp_path / "module.vmfb").write_bytes(bytes(1000))
    (tmp_path / "module.o").write_bytes(elf(500))
    (tmp_path / "input_0.npy").write_bytes(bytes(128))
    (tmp_path / "statistics.csv").write_text('; x\n"Constants","Transient Size"\n0,4096\n')
    assert link(1500, 4224) == 0
    assert link(1499, 4224) == 3
    assert "needs at least 1,500 bytes of flash, and the board has 1,499 bytes" in capsys.readouterr().out
    assert link(1500, 4223) == 3
    assert "needs at least 4,224 bytes of RAM, and the board has 4,223 bytes" in capsys.readouterr().out


def test_the_one_function_of_a_modules_object_is_named_for_the_program(link, tmp_path):
    (tmp_path / "module.h").write_text("const void**\nmain$async_dispatch_0_library_query(int a, const void* b);\n")
    assert link(10, 10) == 0
    assert (tmp_path / "query.h").read_text() == "#define LIBRARY_QUERY main$async_dispatch_0_library_query\n"
