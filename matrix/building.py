"""How IREE's runtime is built from source: C toolchains as records, and the commands of a build. Pure.

`{name}` in a command stands for the folder of a locked set of packages (`armel`, `native`, `zig`, `bin`), of IREE's
sources (`source`), of the build itself (`here`). The same bytes come out wherever these lie.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from matrix.errors import LockFault
from matrix.toml_reader import Table

RUNNER = "iree-run-module"
UNSTRIPPED = "iree-run-module.debug"
HOST_TOOLS = ("iree-flatcc-cli", "iree-c-embed-data")
"""The tools that a cross build runs on the machine itself."""
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
KEYS = ("machine", "cc", "cxx", "link", "float_abi", "binutils", "runtime_flags", "runtime_link", "libraries")
ZIG_CACHES = (("ZIG_GLOBAL_CACHE_DIR", "{zig-cache}"), ("ZIG_LOCAL_CACHE_DIR", "{zig-cache}"))
"""zig compiles its C library once for each target, minutes on a busy machine: kept between builds."""
CACHES = ("zig-cache",)
"""Folders that are written to, and whose content decides nothing."""
PROCESSORS = {"arm": "arm", "aarch64": "aarch64", "x86_64": "x86_64"}
"""Machine of a toolchain -> CMAKE_SYSTEM_PROCESSOR."""
PLACE = re.compile(r"\{([a-z-]+)\}")

Command = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossToolchain:
    """A row of `images/armv6/toolchains.toml`.

    `machine` runs what it makes, `binutils` is what stands before `ar` and `strip`, `libraries` is where a dynamic
    program finds its C library here.
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
    libraries: str = ""

    @property
    def dynamic(self) -> bool:
        return bool(self.libraries)

    @property
    def environment(self) -> tuple[tuple[str, str], ...]:
        """Where the unpacked compiler and binutils find their own libraries, and zig its cache."""
        (tree,) = PLACE.findall(self.binutils)
        caches = ZIG_CACHES if "zig" in places_in((self.cc,)) else ()
        return (("LD_LIBRARY_PATH", tool_libraries(tree)), *caches)


def tool_libraries(tree: str) -> str:
    """The folder of the shared libraries that a set's programs load."""
    return f"{{{tree}}}/usr/lib/x86_64-linux-gnu"


def places_in(commands: Iterable[Command]) -> tuple[str, ...]:
    """The names of the folders that commands speak of, each once."""
    return tuple(dict.fromkeys(name for command in commands for word in command for name in PLACE.findall(word)))


def read_toolchains(path: Path) -> Mapping[str, CrossToolchain]:
    """Raises LockFault with all faults of the file."""
    try:
        top = Table(tomllib.loads(path.read_text(encoding="utf-8")), "", [])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise LockFault(f"{path.name} cannot be read: {error}", tip="restore it from the repository") from error
    found = {}
    for name in top.content:
        row = top.table(name)
        row.only(KEYS)
        found[name] = CrossToolchain(
            name=name,
            machine=row.choice("machine", tuple(PROCESSORS), "arm"),
            cc=row.texts("cc"),
            cxx=row.texts("cxx"),
            link=row.texts("link"),
            float_abi=row.choice("float_abi", ("softfp", "hard"), "hard"),
            binutils=row.text("binutils", required=True),
            runtime_flags=row.texts("runtime_flags"),
            runtime_link=row.texts("runtime_link"),
            libraries=row.text("libraries"),
        )
    if top.faults:
        raise LockFault(f"{path.name}:\n" + "\n".join(f"  {fault}" for fault in top.faults), tip="correct the file")
    return found


def host_commands(native: CrossToolchain, folder: str) -> tuple[Command, ...]:
    """Build the host's tools below `folder`; they lie in `folder`/tools."""
    return (
        (*_cmake(folder), *_compilers(native), "-DCMAKE_EXE_LINKER_FLAGS=-static -s", *RUNTIME_OPTIONS),
        ("{bin}/cmake", "--build", folder, "--target", *HOST_TOOLS),
    )


def runtime_commands(toolchain: CrossToolchain, host: str, options: tuple[str, ...] = ()) -> tuple[Command, ...]:
    """Build IREE's runtime and leave it in the folder of the build, stripped (RUNNER) and as it was (UNSTRIPPED).

    `host` is the folder of the host's tools, `options` are further ones of cmake, which win.
    """
    mapped = ("source", *places_in((toolchain.cc, toolchain.runtime_flags)), *_caches(toolchain), "here")
    flags = " ".join((*toolchain.runtime_flags, "-g", *(f"-ffile-prefix-map={{{name}}}={name}" for name in mapped)))
    link = " ".join((*toolchain.link, *toolchain.runtime_link, "-Wl,--build-id=none"))
    configure = (
        *_cmake("build"),
        "-DCMAKE_SYSTEM_NAME=Linux",
        f"-DCMAKE_SYSTEM_PROCESSOR={PROCESSORS[toolchain.machine]}",
        f"-DIREE_HOST_BIN_DIR={host}",
        *_compilers(toolchain),
        f"-DCMAKE_C_FLAGS={flags}",
        f"-DCMAKE_CXX_FLAGS={flags}",
        f"-DCMAKE_EXE_LINKER_FLAGS={link}",
        *RUNTIME_OPTIONS,
        *options,
    )
    return (
        configure,
        ("{bin}/cmake", "--build", "build", "--target", RUNNER),
        ("cp", f"build/tools/{RUNNER}", UNSTRIPPED),
        (f"{toolchain.binutils}strip", "-o", RUNNER, UNSTRIPPED),
    )


def build_environment(toolchain: CrossToolchain) -> tuple[tuple[str, str], ...]:
    """The variables of a build's commands."""
    return (*toolchain.environment, ("PATH", "{bin}:/usr/bin:/bin"))


def _caches(toolchain: CrossToolchain) -> tuple[str, ...]:
    return tuple(name for name in CACHES if any(f"{{{name}}}" in value for _, value in toolchain.environment))


def _cmake(folder: str) -> Command:
    return ("{bin}/cmake", "-G", "Ninja", "-S", "{source}", "-B", folder)


def _compilers(toolchain: CrossToolchain) -> Command:
    """binutils' archivers take the objects of all compilers."""
    return (
        "-DCMAKE_C_COMPILER=" + ";".join(toolchain.cc),
        "-DCMAKE_CXX_COMPILER=" + ";".join(toolchain.cxx),
        f"-DCMAKE_AR={toolchain.binutils}ar",
        f"-DCMAKE_RANLIB={toolchain.binutils}ranlib",
    )
