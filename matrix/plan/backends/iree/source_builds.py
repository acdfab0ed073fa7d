"""Builds IREE's runtime from source: C toolchains as records, and the commands of a build. Pure.

`{name}` in a command is the folder of a locked set of packages (`armel`, `native`, `zig`, `bin`), of IREE's sources
(`source`), of a user's own compilers (`toolchain`), or of the build itself (`here`). The result does not depend on
these paths.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from matrix.core.errors import LockFault
from matrix.core.records import Build
from matrix.core.toml_reader import Table

RUNNER = "iree-run-module"

UNSTRIPPED = "iree-run-module.debug"

BENCHMARKER = "iree-benchmark-module"

BENCHMARK_LIBRARY = "third_party/benchmark"
"""Google's benchmark in IREE's sources, which BENCHMARKER needs. The latest crates do not have it."""

HOST_PROGRAMS = ("iree-flatcc-cli", "iree-c-embed-data")
"""The tools that a cross build runs on this machine."""

NATIVE = "native"
"""The set of packages with the compiler for this machine."""

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

LINK_FOLDER = "link"
"""The folder of a compiler's environment with the repaired linker, `{link}` in a flag."""

RUNTIME_KEYS = ("runtime_flags", "runtime_link", "runtime_options")

OBJECT, HEADER_FILE, CALLER = "module.o", "module.h", "static_library.c"
"""The files for a module that is linked into a C program: its machine code, the header for it, and the program."""

QUERY = r"s/^\(.*[^A-Za-z0-9_$]\)\{0,1\}\([A-Za-z0-9_$]*_library_query\)(.*/#define LIBRARY_QUERY \2/w query.h"
"""A `sed` script that prints, from HEADER, the name of the one function that OBJECT exports."""

COMPILER_KEYS = ("cc", "cxx", "link", "float_abi", "binutils", "libraries", "module_link")

TOOLCHAIN_KEYS = ("machine", "bare", *COMPILER_KEYS, *RUNTIME_KEYS)

ZIG_CACHES = (("ZIG_GLOBAL_CACHE_DIR", "{zig-cache}"), ("ZIG_LOCAL_CACHE_DIR", "{zig-cache}"))
"""zig compiles its C library once for each target, which takes minutes on a busy machine: it is kept between builds."""

TREES = "trees"
"""The folder of a builder's environment with a link to each tree: `scripts/steps.py` finds `{name}` there."""

CACHES = ("zig-cache",)
"""The trees that are written to, but whose content does not affect the result."""

MACHINES = ("arm", "aarch64", "riscv64", "x86_64", "armv7-m", "armv7e-m", "armv8.1-m.main")
"""The machines of the shipped toolchains; the names are also those of CMAKE_SYSTEM_PROCESSOR, but for those without an
operating system."""

OWN = "toolchain"

OWN_KEYS = ("path", "cc", "cxx", "link", "binutils", "runtime_flags", "runtime_link", "tool_libraries")

SYSTEM_PATH = "/usr/bin:/bin"
"""The PATH of a build."""

PLACE = re.compile(r"\{([a-z-]+)\}")

COPY = "{here}/source"

Command = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossToolchain:
    """A row of `images/armv6/toolchains.toml`, or the `toolchain` of a user's own target.

    `machine` runs the result, `binutils` is the prefix of `ar` and `strip`, `libraries` is where a dynamic program
    finds its C library here, `module_link` are further libraries of a program with a module in it, `path` is
    `{toolchain}` (relative to the spec's folder), and `tool_libraries` is the folder in it with the compiler's own
    libraries, if it was unpacked and not installed.
    """

    name: str
    machine: str
    cc: tuple[str, ...]
    cxx: tuple[str, ...]
    link: tuple[str, ...]
    float_abi: str
    binutils: str
    runtime_flags: tuple[str, ...] = ()
    runtime_link: tuple[str, ...] = ()
    runtime_options: tuple[str, ...] = ()
    libraries: str = ""
    module_link: tuple[str, ...] = ()
    path: str = ""
    tool_libraries: str = ""
    bare: bool = False
    """Its programs run without an operating system."""

    @property
    def dynamic(self) -> bool:
        return bool(self.libraries)

    @property
    def has_cxx_library(self) -> bool:
        """BENCHMARKER needs one, RUNNER does not."""
        return "-nostdlib++" not in self.runtime_link

    @property
    def environment(self) -> tuple[tuple[str, str], ...]:
        """The library path of the unpacked compiler and binutils, and the cache of zig."""
        libraries = [tool_libraries(name) for name in PLACE.findall(self.binutils) if name != OWN]
        libraries += [f"{{{OWN}}}/{self.tool_libraries}"] if self.tool_libraries else []
        caches = ZIG_CACHES if "zig" in places_in((self.cc,)) else ()
        return (*(("LD_LIBRARY_PATH", folder) for folder in libraries), *caches)

    @property
    def programs(self) -> tuple[str, ...]:
        """The programs that a build needs."""
        return tuple(dict.fromkeys((*self.cc[:1], *self.cxx[:1], f"{self.binutils}ar", f"{self.binutils}strip")))


def tool_libraries(tree: str) -> str:
    """The folder of the shared libraries that a set's programs load."""
    return f"{{{tree}}}/usr/lib/x86_64-linux-gnu"


def places_in(commands: Iterable[Command]) -> tuple[str, ...]:
    """The names of the folders in commands, each once."""
    return tuple(dict.fromkeys(name for command in commands for word in command for name in PLACE.findall(word)))


def read_cross_toolchains(path: Path) -> Mapping[str, CrossToolchain]:
    """Raises LockFault with all faults of the file."""
    try:
        top = Table(tomllib.loads(path.read_text(encoding="utf-8")), "", [])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise LockFault(f"{path.name} cannot be read: {error}", tip="restore it from the repository") from error
    found = {}
    for name in top.content:
        row = top.table(name)
        row.only(TOOLCHAIN_KEYS)
        found[name] = CrossToolchain(
            name=name,
            machine=row.choice("machine", MACHINES, "arm"),
            bare=row.flag("bare"),
            cc=row.texts("cc"),
            cxx=row.texts("cxx"),
            link=row.texts("link"),
            float_abi=row.choice("float_abi", ("softfp", "hard"), "hard"),
            binutils=row.text("binutils", required=True),
            runtime_flags=row.texts("runtime_flags"),
            runtime_link=row.texts("runtime_link"),
            runtime_options=row.texts("runtime_options"),
            libraries=row.text("libraries"),
            module_link=row.texts("module_link"),
        )
    if top.faults:
        raise LockFault(f"{path.name}:\n" + "\n".join(f"  {fault}" for fault in top.faults), tip="correct the file")
    return found


def read_own_toolchain(name: str, row: Table, machine: str) -> CrossToolchain:
    """The `toolchain` of a user's own target. Faults go into `row`."""
    row.only(OWN_KEYS)
    for key in ("cc", "cxx"):
        if not row.texts(key):
            row.fault(key, f"is missing, expected the command line of a compiler for {machine or 'the target'}")
    path, words = row.text("path"), (*row.texts("cc"), *row.texts("cxx"), row.text("binutils"))
    if set(places_in((words,))) != ({OWN} if path else set()):
        row.fault("path", f"expected the folder that {{{OWN}}} in cc, cxx and binutils means, and no other place there")
    for key, program in (("cc", row.texts("cc")[:1]), ("cxx", row.texts("cxx")[:1]), ("binutils", words[-1:])):
        if any("/" in word and not word.startswith(f"{{{OWN}}}/") for word in program):
            row.fault(key, f"read {program[0]!r}, expected a name, or {{{OWN}}}/… with `path`: no folder of a machine")
    return CrossToolchain(
        name=name,
        machine=machine,
        cc=row.texts("cc"),
        cxx=row.texts("cxx"),
        link=row.texts("link"),
        float_abi="",
        binutils=row.text("binutils", required=True),
        runtime_flags=row.texts("runtime_flags"),
        runtime_link=row.texts("runtime_link"),
        path=path,
        tool_libraries=row.text("tool_libraries"),
    )


def host_commands(native: CrossToolchain, folder: str) -> tuple[Command, ...]:
    """Builds the host's tools below `folder`; they are in `folder`/tools."""
    return (
        (*_cmake(folder), *compiler_options(native), "-DCMAKE_EXE_LINKER_FLAGS=-static -s", *RUNTIME_OPTIONS),
        ("{bin}/cmake", "--build", folder, "--target", *HOST_PROGRAMS),
    )


def runtime_commands(
    toolchain: CrossToolchain, host: str, options: tuple[str, ...] = (), *, benchmark: bool = False
) -> tuple[Command, ...]:
    """Builds IREE's runtime in the folder of the build: stripped (RUNNER) and unstripped (UNSTRIPPED).

    `host` is the folder of the host's tools, `options` are further ones of cmake, which win. With `benchmark`,
    BENCHMARKER is built too, from a copy of the sources with the library of `{benchmark}` if they do not have it;
    RUNNER is the same.
    """
    source = COPY if benchmark else "{source}"
    named = ("source", *places_in((toolchain.cc, toolchain.runtime_flags)), *_caches(toolchain), "here")
    mapped = [*((f"{{{name}}}", name) for name in named), *([(COPY, "source")] if benchmark else [])]
    flags = " ".join((*toolchain.runtime_flags, "-g", *(f"-ffile-prefix-map={place}={name}" for place, name in mapped)))
    link = " ".join((*toolchain.link, *toolchain.runtime_link, "-Wl,--build-id=none"))
    configure = (
        *_cmake("build", source),
        "-DCMAKE_SYSTEM_NAME=Linux",
        f"-DCMAKE_SYSTEM_PROCESSOR={toolchain.machine}",
        f"-DIREE_HOST_BIN_DIR={host}",
        *compiler_options(toolchain),
        f"-DCMAKE_C_FLAGS={flags}",
        f"-DCMAKE_CXX_FLAGS={flags}",
        f"-DCMAKE_EXE_LINKER_FLAGS={link}",
        *RUNTIME_OPTIONS,
        *(("-DIREE_BUILD_BENCHMARKS=ON",) if benchmark else ()),
        *toolchain.runtime_options,
        *options,
    )
    targets, strip = (RUNNER, BENCHMARKER) if benchmark else (RUNNER,), f"{toolchain.binutils}strip"
    return (
        *(_copy_commands() if benchmark else ()),
        configure,
        ("{bin}/cmake", "--build", "build", "--target", *targets),
        ("cp", f"build/tools/{RUNNER}", UNSTRIPPED),
        (strip, "-o", RUNNER, UNSTRIPPED),
        *(((strip, "-o", BENCHMARKER, f"build/tools/{BENCHMARKER}"),) if benchmark else ()),
    )


def link_commands(toolchain: CrossToolchain) -> tuple[Command, ...]:
    """Links the machine code of a module into CALLER, as RUNNER. It uses one header of IREE's sources."""
    files = (CALLER, OBJECT, "-o", RUNNER, "-lm", *toolchain.module_link)
    return (
        ("sed", "-n", QUERY, HEADER_FILE),
        (*toolchain.cc, *toolchain.link, "-I{source}/runtime/src", "-I.", *files),
    )


def _copy_commands() -> tuple[Command, ...]:
    """A tree of links to the sources and the library. It is the same if the sources have the library."""
    return (
        ("cp", "-rs", "{source}", COPY),
        ("mkdir", "-p", f"{COPY}/{BENCHMARK_LIBRARY}"),
        ("cp", "-rsf", "{benchmark}/.", f"{COPY}/{BENCHMARK_LIBRARY}"),
    )


def build_variables(toolchain: CrossToolchain) -> tuple[tuple[str, str], ...]:
    """The variables of a build's commands."""
    return (*toolchain.environment, ("PATH", f"{{bin}}:{SYSTEM_PATH}"))


def _caches(toolchain: CrossToolchain) -> tuple[str, ...]:
    return tuple(name for name in CACHES if any(f"{{{name}}}" in value for _, value in toolchain.environment))


def _cmake(folder: str, source: str = "{source}") -> Command:
    return ("{bin}/cmake", "-G", "Ninja", "-S", source, "-B", folder)


def compiler_options(toolchain: CrossToolchain) -> Command:
    """The archivers of binutils accept the objects of all compilers."""
    return (
        "-DCMAKE_C_COMPILER=" + ";".join(toolchain.cc),
        "-DCMAKE_CXX_COMPILER=" + ";".join(toolchain.cxx),
        f"-DCMAKE_AR={toolchain.binutils}ar",
        f"-DCMAKE_RANLIB={toolchain.binutils}ranlib",
    )


STEPS = "steps.py"
"""The program of `scripts/` that runs the commands of a build."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedBuild:
    """A build and the words of its job: the arguments of `steps.py`. `link` are the commands that link a module into a
    program with the same toolchain. What is `bare` has no operating system, and each module is linked."""

    build: Build
    words: Command
    link: Command = ()
    bare: bool = False
