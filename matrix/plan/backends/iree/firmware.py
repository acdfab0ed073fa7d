"""Programs without an operating system: IREE's runtime as an archive, and a model linked with it for a board. Pure.

The stage `archive-runtime` builds the runtime once for a toolchain; `firmware` links a compiled module, the archive and
a small program to one file of a board, which the emulator starts. The C sources are in `scripts/firmware`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from matrix.artifacts.json_reader import JsonFault, read_json
from matrix.core.records import Limits
from matrix.plan.backends.backend import EXPECTED, INPUT, JOB_LOG, StageKind
from matrix.plan.backends.iree.environments import RUNTIME
from matrix.plan.backends.iree.names import ARCHIVE_RUNTIME, COMPILE, FIRMWARE, RUN, STATISTICS, VMFB
from matrix.plan.backends.iree.source_builds import (
    ALL_OFF,
    HEADER_FILE,
    OBJECT,
    RUNNER,
    STEPS,
    Command,
    CrossToolchain,
    compiler_options,
    places_in,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matrix.core.keys import Json
    from matrix.plan.backends.backend import Given

LIBRARY = "libmodel.a"
"""IREE's runtime and the functions of `model.h`."""
MEMORY_FILE = "memory.json"
"""What a program needed, by its own count."""
FIRMWARE_SOURCES = "scripts/firmware"
LINK_PROGRAM, ARCHIVE_PROGRAM = "firmware/link_firmware.py", "firmware/archive.py"
COMPILED = ("model", "platform", "loader_static", "loader_embedded", "loader_vmvx")
"""The sources of the archive besides IREE's."""
MODEL_HEADERS = ("firmware/config.h", "firmware/model.h", "firmware/model_module.h")
BOARD_FILES = ("firmware/module.c", "firmware/board.c", "firmware/board.h", "firmware/run.c", "firmware/board.ld")
BARE_OPTIONS = (
    "-DCMAKE_SYSTEM_NAME=Generic",
    "-DCMAKE_SYSTEM_PROCESSOR=arm",
    "-DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY",
    "-DCMAKE_BUILD_TYPE=MinSizeRel",
    *(f"-D{name}=OFF" for name in ALL_OFF),
    "-DIREE_HAL_DRIVER_LOCAL_SYNC=ON",
    "-DIREE_ENABLE_THREADING=OFF",
    "-DIREE_ENABLE_POSIX=OFF",
    "-DIREE_SYNCHRONIZATION_DISABLE_UNSAFE=ON",
    "-DIREE_HAL_EXECUTABLE_LOADER_DEFAULTS=OFF",
    "-DIREE_HAL_EXECUTABLE_LOADER_EMBEDDED_ELF=ON",
    "-DIREE_HAL_EXECUTABLE_LOADER_VMVX_MODULE=ON",
    "-DIREE_HAL_EXECUTABLE_PLUGIN_DEFAULTS=OFF",
    "-DIREE_ENABLE_POSITION_INDEPENDENT_CODE=OFF",
)
"""Of cmake, for a machine without an operating system."""
BARE_TARGETS = (
    "iree_hal_drivers_local_sync_sync_driver",
    "iree_hal_local_loaders_static_library_loader",
    "iree_hal_local_loaders_embedded_elf_loader",
    "iree_hal_local_loaders_vmvx_module_loader",
    "iree_modules_hal_hal",
    "iree_modules_vmvx_vmvx",
    "iree_vm_bytecode_module",
    "iree_vm_impl",
)
SECTIONS = ("-Os", "-DNDEBUG", "-ffunction-sections", "-fdata-sections")
"""Each function in a section of its own: what a program does not call is not linked."""
QUERY_NAME = re.compile(r"([A-Za-z0-9_$]+_library_query)\(")
USAGE = re.compile(r"^\s*(FLASH|RAM):\s+(\d+) ([KMG]?)B\s", re.MULTILINE)
"""A line of the linker's `--print-memory-usage`."""
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
STATIC_FIGURES = {"FLASH": "flash_bytes", "RAM": "static_bytes"}
MEASURED_FIGURES = ("heap_bytes", "stack_bytes", "ticks")
FIRMWARE_FIGURES = (*STATIC_FIGURES.values(), *MEASURED_FIGURES)
"""The measurements of a program without an operating system, in the order of tables."""


def archive_commands(toolchain: CrossToolchain, host: str, options: tuple[str, ...] = ()) -> tuple[Command, ...]:
    """Builds LIBRARY in the folder of the build. `host` is the folder of the host's tools, `options` are further ones
    of cmake, which win."""
    mapped = ("source", *places_in((toolchain.cc, toolchain.runtime_flags)), "here")
    flags = (*toolchain.runtime_flags, "-ffunction-sections", "-fdata-sections", "-include", "{here}/config.h")
    flags += tuple(f"-ffile-prefix-map={{{name}}}={name}" for name in mapped)
    configure = (
        *("{bin}/cmake", "-G", "Ninja", "-S", "{source}", "-B", "build"),
        f"-DIREE_HOST_BIN_DIR={host}",
        *compiler_options(toolchain),
        f"-DCMAKE_C_FLAGS={' '.join(flags)}",
        f"-DCMAKE_CXX_FLAGS={' '.join(flags)}",
        *BARE_OPTIONS,
        *toolchain.runtime_options,
        *options,
    )
    headers = ("-I{source}/runtime/src", "-I{here}/build/runtime/src", "-I{source}/third_party/flatcc/include", "-I.")
    own = (*toolchain.cc, *flags, "-Os", "-DNDEBUG", "-DIREE_ALLOCATOR_SYSTEM_CTL=iree_allocator_libc_ctl", *headers)
    return (
        configure,
        ("{bin}/cmake", "--build", "build", "--target", *BARE_TARGETS),
        *((*own, "-w", "-c", f"{name}.c", "-o", f"build/{name}.obj") for name in COMPILED),
        ("python", ARCHIVE_PROGRAM.rpartition("/")[2], f"{toolchain.binutils}ar", LIBRARY, "build"),
    )


def firmware_commands(
    toolchain: CrossToolchain, programs: tuple[str, ...] = ("module.c", "board.c", "run.c")
) -> tuple[Command, ...]:
    """Links a module, or other `programs`, as RUNNER, up to the words of target and route: where memory lies, and how
    code is loaded."""
    link = ("-nostartfiles", "-Wl,--gc-sections", "-Wl,--print-memory-usage", "-Wl,--build-id=none", "-s")
    sources = (*programs, "-T", "board.ld", "-o", RUNNER)
    warnings = ("-Wall", "-Wextra", "-Wl,--no-warn-rwx-segments", "-Wl,-z,noexecstack")
    return ((*toolchain.cc, *toolchain.runtime_flags, *SECTIONS, *warnings, *link, "-I.", *sources),)


def query_header(header: str) -> str:
    """A header with the name of the one function that OBJECT exports, from HEADER_FILE."""
    found = QUERY_NAME.search(header)
    return f"#define LIBRARY_QUERY {found[1]}\n" if found else ""


def _firmware(given: Given) -> tuple[str, ...]:
    """The libraries come last, behind the object of a module."""
    return ("python", LINK_PROGRAM.rpartition("/")[2], *given.flags, LIBRARY, "-lm")


def read_usage(outputs: Mapping[str, bytes]) -> Mapping[str, Json]:
    """Bytes of flash and of RAM from the linker's log, data with initial values in both; none if it does not say."""
    found = USAGE.findall(outputs.get(JOB_LOG, b"").decode(errors="replace"))
    return {STATIC_FIGURES[name]: int(number) * UNITS[unit] for name, number, unit in found}


def read_memory(outputs: Mapping[str, bytes]) -> Mapping[str, Json]:
    """The figures of MEMORY_FILE: whole numbers, never negative. None where there is no such file."""
    try:
        found = read_json(outputs[MEMORY_FILE])
        figures = {name: found[name] for name in MEASURED_FIGURES}
    except (JsonFault, KeyError, TypeError):
        return {}
    return figures if all(type(each) is int and each >= 0 for each in figures.values()) else {}


ARCHIVING = StageKind(
    name=ARCHIVE_RUNTIME,
    environment="builder",
    inputs=(),
    outputs=(LIBRARY,),
    needed=(LIBRARY,),
    axes=(RUNTIME,),
    command=lambda given: ("python", STEPS, *given.flags),
    programs=(STEPS, ARCHIVE_PROGRAM, *MODEL_HEADERS, *(f"firmware/{name}.c" for name in COMPILED)),
    comes_with=RUN,
    apart=True,
    limits=Limits(seconds=3600, memory_bytes=8 << 30),
    typical_seconds=60.0,
)
FIRMWARE_LINKING = StageKind(
    name=FIRMWARE,
    environment="builder",
    inputs=(LIBRARY, VMFB, OBJECT, HEADER_FILE, STATISTICS, INPUT, EXPECTED),
    outputs=(RUNNER,),
    needed=(RUNNER,),
    axes=(RUNTIME,),
    flags=True,
    command=_firmware,
    programs=(STEPS, LINK_PROGRAM, *MODEL_HEADERS, *BOARD_FILES),
    after=(COMPILE, ARCHIVE_RUNTIME),
    comes_with=RUN,
    limits=Limits(seconds=900, memory_bytes=8 << 30),
    read=read_usage,
)
