"""The tasks that use the C toolchains for an ARM1176: programs, IREE's runtime, the linker's helpers.

Pure: what is run and where is decided elsewhere (`matrix.tasks`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from matrix.builds.linker import GCC, LIBRARIES
from matrix.builds.tasks import Task, Tree
from matrix.plan.source_builds import (
    HOST_TOOLS,
    RUNNER,
    UNSTRIPPED,
    CrossToolchain,
    build_environment,
    host_commands,
    runtime_commands,
)

CPU = "arm1176"
"""qemu's name of the Raspberry Pi Zero's CPU. Its default, `max`, runs what the board does not."""
EVERYTHING = "max"
MACHINE = "arm"
"""The toolchains of this machine are those for the board."""
QEMU = "{qemu}/usr/bin/qemu-arm-static"


BUILD_SECONDS = 1800.0
EMULATED_SECONDS = 7200.0
"""MobileNetV2 by VMVX takes minutes of CPU time under the emulator; a limit must not decide on a busy machine."""


def program_task(
    toolchain: CrossToolchain, source: Path, trees: Mapping[str, Tree], *, flags: tuple[str, ...] = ()
) -> Task:
    """Compile one C file with libm into `program`, stripped."""
    return Task(
        label=f"compile {source.stem} with {toolchain.name}",
        commands=((*toolchain.cc, *flags, *toolchain.link, "-O2", "-s", source.name, "-o", "program", "-lm"),),
        trees=trees,
        inputs={source.name: source},
        outputs=("program",),
        environment=toolchain.environment,
        seconds=BUILD_SECONDS,
    )


def look_task(program: Path, trees: Mapping[str, Tree]) -> Task:
    """What binutils says of a program: attributes of the code, headers, what it needs at run time."""
    return Task(
        label=f"read {program.name}",
        commands=((f"{GCC}readelf", "-h", "-A", "-d", "-l", "-W", "program"),),
        trees=trees,
        inputs={"program": program},
        environment=LIBRARIES,
    )


def emulated_task(
    label: str,
    program: Path,
    arguments: tuple[str, ...],
    toolchain: CrossToolchain,
    trees: Mapping[str, Tree],
    *,
    cpu: str,
    inputs: Mapping[str, Path] | None = None,
    outputs: tuple[str, ...] = (),
) -> Task:
    """Run a program under qemu on one CPU. The emulator is called by name: no binfmt, no root."""
    return Task(
        label=label,
        commands=((*board_runner(toolchain), "{here}/program", *arguments),),
        trees=trees,
        inputs={"program": program, **(inputs or {})},
        outputs=outputs,
        environment=(("QEMU_CPU", cpu),),
        seconds=EMULATED_SECONDS,
    )


MEASURE = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[2:]).returncode
open(sys.argv[1], "w").write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(status if status >= 0 else 128 - status)
"""
PEAK = "peak.txt"


def measured_task(task: Task) -> Task:
    """The same, and `peak.txt` says how many KiB of memory its last command had at most. `trees` holds `python`."""
    *before, last = task.commands
    return replace(
        task,
        commands=(*before, ("{python}", "-I", "-S", "-c", MEASURE, PEAK, *last)),
        outputs=(*task.outputs, PEAK),
    )


def host_tools_task(native: CrossToolchain, trees: Mapping[str, Tree]) -> Task:
    """The two tools that a cross build runs on the host, by the locked gcc: seconds, where zig took 15 minutes."""
    return Task(
        label="build IREE's host tools",
        commands=(*host_commands(native, "build"), ("cp", *(f"build/tools/{name}" for name in HOST_TOOLS), ".")),
        trees=trees,
        inputs={},
        outputs=HOST_TOOLS,
        environment=build_environment(native),
        seconds=BUILD_SECONDS,
    )


def runtime_task(toolchain: CrossToolchain, trees: Mapping[str, Tree]) -> Task:
    """IREE's runtime for the board, stripped, and as it was before. `trees` also holds `source`, IREE's own tree, and
    `host`, its host tools."""
    return Task(
        label=f"build IREE's runtime with {toolchain.name}",
        commands=runtime_commands(toolchain, "{host}"),
        trees=trees,
        inputs={},
        outputs=(RUNNER, UNSTRIPPED),
        environment=build_environment(toolchain),
        seconds=BUILD_SECONDS,
    )


def board_runner(toolchain: CrossToolchain) -> tuple[str, ...]:
    """The start of the command line that runs a toolchain's programs."""
    return (QEMU, "-L", toolchain.libraries) if toolchain.dynamic else (QEMU,)
