"""What modules are compiled for, and how they run here: the tables of `targets.toml`, and `[targets.NAME]` of a spec.

Both are the same records. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from matrix.core.toml_reader import Table
from matrix.plan.source_builds import CrossToolchain, read_own_toolchain
from matrix.plan.user_inputs import named

BACKEND = "--iree-hal-target-backends=llvm-cpu"
FLAGS = {
    "triple": "--iree-llvmcpu-target-triple",
    "cpu": "--iree-llvmcpu-target-cpu",
    "features": "--iree-llvmcpu-target-cpu-features",
    "abi": "--iree-llvmcpu-target-abi",
    "float_abi": "--iree-llvmcpu-target-float-abi",
}
"""Key of a target -> the flag of iree-compile that it stands for."""
KEYS = ("machine", *FLAGS, "compile", "run", "emulator", "sysroot", "packages", "toolchain")
DEVICE = ("--device=local-sync",)
SYSROOT = "{sysroot}"
EXAMPLE = 'emulator = ["qemu-riscv64", "-cpu", "rv64", "-L", "{sysroot}"]'
WORDS = ("host", "all")
"""What means something else on the axis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A target: literal flags by stage, and the `machine` (as `platform.machine()` says it) that runs its programs.

    Another machine runs them behind `emulator`, an argv in which `{sysroot}` is the folder with the target's C library:
    `sysroot`, relative to the spec's folder, or the locked packages where it is "". `machine` is "" where the
    target does not say it: every machine runs it.
    """

    name: str
    machine: str
    compile: tuple[str, ...]
    run: tuple[str, ...]
    emulator: tuple[str, ...] = ()
    sysroot: str = ""
    packages: str = ""
    """In the place of `sysroot`: SET/FOLDER, a folder in a locked set of `images/armv6`."""
    toolchain: CrossToolchain | None = None
    """What builds IREE's runtime for it: `toolchain` of a build is then the target's name."""


def read_targets(table: Table) -> dict[str, Target]:
    """All tables below `table`, by name; faults are left in it."""
    targets = {}
    for name in table.content:
        named(table, name)
        if name in WORDS:
            table.fault(name, f"{name!r} means something else on the axis, expected another name")
        targets[name] = _target(name, table.table(name))
    return targets


def _target(name: str, row: Table) -> Target:
    row.only(KEYS)
    triple, emulator, sysroot = row.text("triple"), row.texts("emulator"), row.text("sysroot")
    machine = row.text("machine") or triple.partition("-")[0]
    if emulator and not machine:
        row.fault("emulator", "is given without `machine` or `triple`, expected one of them: whose programs it runs")
    packages = row.text("packages")
    if sysroot and packages:
        row.fault("packages", "is given beside `sysroot`, expected one of them: where the C library is")
    if (sysroot or packages) and not any(SYSROOT in word for word in emulator):
        row.fault(
            "sysroot" if sysroot else "packages",
            f"no word of `emulator` names it, expected {SYSROOT} in one, as in {EXAMPLE}",
        )
    for index, word in enumerate(emulator):
        if "{" in word.replace(SYSROOT, ""):
            row.fault(f"emulator[{index}]", f"read {word!r}, expected no other place than {SYSROOT}")
    return Target(
        name=name,
        machine=machine,
        compile=_compile_flags(row),
        run=row.texts("run", DEVICE),
        emulator=emulator,
        sysroot=sysroot,
        packages=packages,
        toolchain=read_own_toolchain(name, row.table("toolchain"), machine) if "toolchain" in row.content else None,
    )


def _compile_flags(row: Table) -> tuple[str, ...]:
    """The flags that the keys stand for, then the literal ones, which take the place of those of the same name."""
    values: Mapping[str, str] = {key: ",".join(row.texts(key)) for key in FLAGS}
    meant = (BACKEND, *(f"{FLAGS[key]}={value}" for key, value in values.items() if value))
    literal = row.texts("compile")
    names = {flag.partition("=")[0] for flag in literal}
    return (*(flag for flag in meant if flag.partition("=")[0] not in names), *literal)
