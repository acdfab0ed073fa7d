"""IREE's linker repaired for 32-bit Arm: the objects that it lacks, and the folder with the wrappers that add them.

The C sources in `images/armv6/link/` say what each object is for; `results/armv6/README.md` has the defects.
"""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

from matrix.core import processes
from matrix.core.errors import StoreUnusable
from matrix.core.keys import Json, sha256
from matrix.images.debian.unpacked import Tree
from matrix.plan.backends.iree.source_builds import tool_libraries

GCC = "{armel}/usr/bin/arm-linux-gnueabi-"
LINKER_LIBRARIES = (("LD_LIBRARY_PATH", tool_libraries("armel")),)
LIBGCC = "usr/lib/gcc-cross/arm-linux-gnueabi/12/libgcc.a"
LINKER = "iree-lld"
LINK_SCRIPTS = (LINKER, "system-ld")
HELPER_SECONDS = 120.0
HELPER_FLAGS = ["-Os", "-fPIC", "-fvisibility=hidden", "-ffreestanding", "-fno-builtin", "-ffp-contract=off", "-g0"]
"""Hidden: with default visibility the linker makes PLT relocations, which IREE's loader does not know (a segfault). No
contraction: the sum in fmaf must be rounded as it is written."""
HELPER_FLAGS += ["-fno-tree-loop-distribute-patterns", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables"]
ALWAYS = ("fmaf", "unwind")
"""Linked into every module; the others only if they are needed."""
ON_DEMAND = ("division", "minmax", "rounding", "memory")


def helper_commands() -> tuple[tuple[str, ...], ...]:
    """The commands that make the objects for the linker wrapper, for both float ABIs, and copy the compiler's own
    libgcc."""
    commands: list[tuple[str, ...]] = []
    for abi in ("softfp", "hard"):
        cpu = ("-mcpu=arm1176jzf-s", "-marm", "-mfpu=vfp", f"-mfloat-abi={abi}")
        for name in (*ALWAYS, *ON_DEMAND):
            commands.append((f"{GCC}gcc", *cpu, *HELPER_FLAGS, "-c", f"{name}.c", "-o", f"{abi}-{name}.o"))
        members = tuple(f"{abi}-{name}.o" for name in ON_DEMAND)
        commands.append((f"{GCC}ar", "rcD", f"{abi}-libhelpers.a", *members))
        commands.append(("rm", *members))
    commands.append(("cp", f"{{armel}}/{LIBGCC}", "libgcc.a"))
    return tuple(commands)


def link_identity(sources: Path) -> Json:
    """All inputs of the folder, except the compiler's own linker."""
    return {path.name: sha256(path) for path in sorted(sources.iterdir())}


def link_folder(folder: Path, iree_lld: Path, *, sources: Path, armel: Tree) -> None:
    """Fills the folder of the linker wrapper: scripts, objects, and `settings` with the paths of the programs.

    `sources` is `images/armv6/link`, `iree_lld` the linker of a compiler release. Raises StoreUnusable if the objects
    cannot be made.
    """
    for name in (*ALWAYS, *ON_DEMAND):
        shutil.copy(sources / f"{name}.c", folder)

    def filled(word: str) -> str:
        return word.replace("{armel}", str(armel.path))

    variables = {name: filled(value) for name, value in LINKER_LIBRARIES}
    for command in helper_commands():
        words = [filled(word) for word in command]
        done = processes.run(words, timeout=HELPER_SECONDS, env={"PATH": os.defpath, **variables}, cwd=folder)
        if not done.ok:
            raise StoreUnusable(
                f"the linker's helpers do not compile: {done.command}\n{done.tail}", tip="report it with this text"
            )
    for name in (*ALWAYS, *ON_DEMAND):
        (folder / f"{name}.c").unlink()
    for name in LINK_SCRIPTS:
        shutil.copy(sources / name, folder / name)
        (folder / name).chmod(0o755)
    prefix = filled(GCC)
    settings = {
        "IREE_LLD": iree_lld,
        "OBJCOPY": f"{prefix}objcopy",
        "READELF": f"{prefix}readelf",
        "CC": f"{prefix}gcc",
        "SYSROOT": armel.path,
        "TOOL_LIBRARIES": variables["LD_LIBRARY_PATH"],
    }
    lines = [f"{name}={shlex.quote(str(value))}\n" for name, value in settings.items()]
    (folder / "settings").write_text("".join(lines), encoding="utf-8")
