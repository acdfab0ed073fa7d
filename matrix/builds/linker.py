"""IREE's linker repaired for 32-bit Arm: the objects that it lacks, and the folder with the wrappers that add them.

What each of them is for stands in its C source, `images/armv6/link/`; the defects in `results/armv6/README.md`.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

from matrix.builds.tasks import Task
from matrix.core.keys import Json, sha256
from matrix.images.debian.unpacked import Tree
from matrix.plan.source_builds import tool_libraries

GCC = "{armel}/usr/bin/arm-linux-gnueabi-"
LIBRARIES = (("LD_LIBRARY_PATH", tool_libraries("armel")),)
SCRIPTS = ("iree-lld", "system-ld")
HELPER_FLAGS = ["-Os", "-fPIC", "-fvisibility=hidden", "-ffreestanding", "-fno-builtin", "-ffp-contract=off", "-g0"]
"""Hidden: with default visibility the linker makes PLT relocations, which IREE's loader does not know (a segfault).
No contraction: fmaf's sum must be rounded as it is written."""
HELPER_FLAGS += ["-fno-tree-loop-distribute-patterns", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables"]
ALWAYS = ("fmaf", "unwind")
"""Linked into every module; the others only if something asks for them."""
ON_DEMAND = ("division", "minmax", "rounding", "memory")


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


def link_identity(sources: Path) -> Json:
    """All that decides what is in the folder, the compiler's own linker apart."""
    return {path.name: sha256(path) for path in sorted(sources.iterdir())}


def link_folder(folder: Path, helpers: Path, iree_lld: Path, *, sources: Path, armel: Tree) -> None:
    """Lay out the linker wrapper: scripts, objects, and `settings` with the places of the programs they call."""
    for path in sorted(helpers.iterdir()):
        if path.suffix in (".o", ".a"):
            shutil.copy(path, folder / path.name)
    for name in SCRIPTS:
        shutil.copy(sources / name, folder / name)
        (folder / name).chmod(0o755)
    prefix = armel.path / "usr" / "bin" / "arm-linux-gnueabi-"
    settings = {
        "IREE_LLD": iree_lld,
        "OBJCOPY": f"{prefix}objcopy",
        "READELF": f"{prefix}readelf",
        "CC": f"{prefix}gcc",
        "SYSROOT": armel.path,
        "TOOL_LIBRARIES": armel.path / "usr" / "lib" / "x86_64-linux-gnu",
    }
    lines = [f"{name}={shlex.quote(str(value))}\n" for name, value in settings.items()]
    (folder / "settings").write_text("".join(lines), encoding="utf-8")
