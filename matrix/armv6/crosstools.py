"""The C toolchains for an ARM1176 as records, and the tasks that use them.

Pure: what is run and where is decided elsewhere (`matrix.armv6.tasks`).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from matrix.armv6.tasks import Task, Tree
from matrix.errors import LockFault
from matrix.toml_reader import Table

CPU = "arm1176"
"""qemu's name of the Raspberry Pi Zero's CPU. Its default, `max`, runs what the board does not."""
EVERYTHING = "max"
QEMU = "{qemu}/usr/bin/qemu-arm-static"
GCC = "{armel}/usr/bin/arm-linux-gnueabi-"
ARCHIVERS = (f"-DCMAKE_AR={GCC}ar", f"-DCMAKE_RANLIB={GCC}ranlib")
"""binutils' take the objects of both compilers, and of both machines."""
LIBRARIES = (("LD_LIBRARY_PATH", "{armel}/usr/lib/x86_64-linux-gnu"),)
"""Where the unpacked compiler and binutils find their own libraries."""
ZIG_CACHES = (("ZIG_GLOBAL_CACHE_DIR", "{zig-cache}"), ("ZIG_LOCAL_CACHE_DIR", "{zig-cache}"))
"""zig compiles its C library once for each target, minutes on a busy machine: kept between tasks."""
NATIVE_FLAGS = ("--sysroot={native}", "-B{native}/usr/bin")
"""The locked gcc for the machine itself: its own headers and libraries, and the assembler and linker beside it."""
BUILD_SECONDS = 1800.0
EMULATED_SECONDS = 1800.0
"""MobileNetV2 by VMVX takes minutes under the emulator; a limit must not decide on a busy machine."""
RUNNER = "iree-run-module"
UNSTRIPPED = "iree-run-module.debug"
MAPPED = ("source", "armel", "zig", "zig-cache", "here")
"""Trees whose places must not stand in a binary: assertions and debug information name files."""
ALL_OFF = (
    "IREE_BUILD_COMPILER",
    "IREE_BUILD_TESTS",
    "IREE_BUILD_BENCHMARKS",
    "IREE_BUILD_SAMPLES",
    "IREE_BUILD_PYTHON_BINDINGS",
    "IREE_BUILD_BINDINGS_TFLITE",
    "IREE_ENABLE_CPUINFO",
    "IREE_ENABLE_LIBBACKTRACE",
    "IREE_ENABLE_WERROR_FLAG",  # 3.13 shifts by more than 31 bits where size_t has 32
    "IREE_HAL_DRIVER_DEFAULTS",
)
RUNTIME_OPTIONS = ("-DCMAKE_BUILD_TYPE=MinSizeRel", *(f"-D{name}=OFF" for name in ALL_OFF))
RUNTIME_OPTIONS += ("-DIREE_HAL_DRIVER_LOCAL_SYNC=ON", "-DCMAKE_LINK_DEPENDS_USE_LINKER=OFF")
HELPER_FLAGS = ["-Os", "-fPIC", "-fvisibility=hidden", "-ffreestanding", "-fno-builtin", "-ffp-contract=off", "-g0"]
"""Hidden: with default visibility the linker makes PLT relocations, which IREE's loader does not know (a segfault).
No contraction: fmaf's sum must be rounded as it is written."""
HELPER_FLAGS += ["-fno-tree-loop-distribute-patterns", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables"]
ALWAYS = ("fmaf", "unwind")
"""Linked into every module; the others only if something asks for them."""
ON_DEMAND = ("division", "minmax", "rounding", "memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossToolchain:
    """A row of `images/armv6/toolchains.toml`. `libraries` is where a dynamic program finds its C library."""

    name: str
    cc: tuple[str, ...]
    cxx: tuple[str, ...]
    link: tuple[str, ...]
    float_abi: str
    runtime_flags: tuple[str, ...]
    runtime_link: tuple[str, ...]
    libraries: str

    @property
    def dynamic(self) -> bool:
        return bool(self.libraries)

    @property
    def runner(self) -> tuple[str, ...]:
        """The start of the command line that runs this toolchain's programs."""
        return (QEMU, "-L", self.libraries) if self.dynamic else (QEMU,)

    @property
    def environment(self) -> tuple[tuple[str, str], ...]:
        return (*LIBRARIES, *ZIG_CACHES)


def read_toolchains(path: Path) -> Mapping[str, CrossToolchain]:
    """Raises LockFault with all faults of the file."""
    try:
        top = Table(tomllib.loads(path.read_text(encoding="utf-8")), "", [])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise LockFault(f"{path.name} cannot be read: {error}", tip="restore it from the repository") from error
    found = {}
    for name in top.content:
        row = top.table(name)
        row.only(("cc", "cxx", "link", "float_abi", "runtime_flags", "runtime_link", "libraries"))
        found[name] = CrossToolchain(
            name=name,
            cc=row.texts("cc"),
            cxx=row.texts("cxx"),
            link=row.texts("link"),
            float_abi=row.choice("float_abi", ("softfp", "hard"), "softfp"),
            runtime_flags=row.texts("runtime_flags"),
            runtime_link=row.texts("runtime_link"),
            libraries=row.text("libraries"),
        )
    if top.faults:
        raise LockFault(f"{path.name}:\n" + "\n".join(f"  {fault}" for fault in top.faults), tip="correct the file")
    return found


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
        commands=((*toolchain.runner, "{here}/program", *arguments),),
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


def helpers_task(link: Path, trees: Mapping[str, Tree]) -> Task:
    """The objects that the linker wrapper adds, for both float ABIs, and the compiler's own libgcc."""
    commands: list[tuple[str, ...]] = []
    outputs = ["libgcc.a"]
    for abi in ("softfp", "hard"):
        cpu = ("-mcpu=arm1176jzf-s", "-marm", "-mfpu=vfp", f"-mfloat-abi={abi}")
        for name in (*ALWAYS, *ON_DEMAND):
            commands.append((f"{GCC}gcc", *cpu, *HELPER_FLAGS, "-c", f"{name}.c", "-o", f"{abi}-{name}.o"))
        members = tuple(f"{abi}-{name}.o" for name in ON_DEMAND)
        commands.append((f"{GCC}ar", "rcD", f"{abi}-libhelpers.a", *members))
        outputs += [f"{abi}-libhelpers.a", *(f"{abi}-{name}.o" for name in ALWAYS)]
    commands.append(("cp", "{armel}/usr/lib/gcc-cross/arm-linux-gnueabi/12/libgcc.a", "libgcc.a"))
    sources = {f"{name}.c": link / f"{name}.c" for name in (*ALWAYS, *ON_DEMAND)}
    return Task(
        label="compile the linker's helpers",
        commands=tuple(commands),
        trees=trees,
        inputs=sources,
        outputs=tuple(outputs),
        environment=LIBRARIES,
    )


def host_tools_task(trees: Mapping[str, Tree]) -> Task:
    """The two tools that a cross build runs on the host, by the locked gcc: seconds, where zig took 15 minutes."""
    tools = ("iree-flatcc-cli", "iree-c-embed-data")
    return Task(
        label="build IREE's host tools",
        commands=(
            (
                *_cmake(),
                f"-DCMAKE_C_COMPILER={';'.join(('{native}/usr/bin/gcc', *NATIVE_FLAGS))}",
                f"-DCMAKE_CXX_COMPILER={';'.join(('{native}/usr/bin/g++', *NATIVE_FLAGS))}",
                "-DCMAKE_AR={native}/usr/bin/ar",
                "-DCMAKE_RANLIB={native}/usr/bin/ranlib",
                "-DCMAKE_EXE_LINKER_FLAGS=-static -s",
                *RUNTIME_OPTIONS,
            ),
            ("{bin}/cmake", "--build", "build", "--target", *tools),
            ("cp", "build/tools/iree-flatcc-cli", "build/tools/iree-c-embed-data", "."),
        ),
        trees=trees,
        inputs={},
        outputs=tools,
        environment=(("LD_LIBRARY_PATH", "{native}/usr/lib/x86_64-linux-gnu"), ("PATH", "{bin}:/usr/bin:/bin")),
        seconds=BUILD_SECONDS,
    )


def runtime_task(toolchain: CrossToolchain, trees: Mapping[str, Tree]) -> Task:
    """IREE's runtime for the board, stripped, and as it was before. `trees` also holds `source`, IREE's own tree, and
    `host`, its host tools. The same bytes wherever the trees lie."""
    flags = " ".join((*toolchain.runtime_flags, "-g", *(f"-ffile-prefix-map={{{tree}}}={tree}" for tree in MAPPED)))
    link = " ".join((*toolchain.link, *toolchain.runtime_link, "-Wl,--build-id=none"))
    return Task(
        label=f"build IREE's runtime with {toolchain.name}",
        commands=(
            (
                *_cmake(),
                "-DCMAKE_SYSTEM_NAME=Linux",
                "-DCMAKE_SYSTEM_PROCESSOR=arm",
                "-DIREE_HOST_BIN_DIR={host}",
                "-DCMAKE_C_COMPILER=" + ";".join(toolchain.cc),
                "-DCMAKE_CXX_COMPILER=" + ";".join(toolchain.cxx),
                f"-DCMAKE_C_FLAGS={flags}",
                f"-DCMAKE_CXX_FLAGS={flags}",
                f"-DCMAKE_EXE_LINKER_FLAGS={link}",
                *ARCHIVERS,
                *RUNTIME_OPTIONS,
            ),
            ("{bin}/cmake", "--build", "build", "--target", RUNNER),
            ("cp", f"build/tools/{RUNNER}", UNSTRIPPED),
            (f"{GCC}strip", "-o", RUNNER, UNSTRIPPED),
        ),
        trees=trees,
        inputs={},
        outputs=(RUNNER, UNSTRIPPED),
        environment=(*toolchain.environment, ("PATH", "{bin}:/usr/bin:/bin")),
        seconds=BUILD_SECONDS,
    )


def _cmake() -> tuple[str, ...]:
    return ("{bin}/cmake", "-G", "Ninja", "-S", "{source}", "-B", "build")
