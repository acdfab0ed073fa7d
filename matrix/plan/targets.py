"""Targets of modules, and how their programs run here: the tables of `targets.toml`, and `[targets.NAME]` of a spec.

Both are the same records. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from matrix.core.records import Stage
from matrix.core.toml_reader import Table
from matrix.plan.backends.iree.counting import COUNTER
from matrix.plan.backends.iree.source_builds import CrossToolchain, read_own_toolchain
from matrix.plan.stages import ARGUMENTS_PLACE, PROGRAM_PLACE, backends
from matrix.plan.user_inputs import named

DEVICES = ("cuda", "rocm", "vulkan")
"""Devices that a machine has or has not, with the driver that is installed there. No locked driver has such a name."""
TARGET_KEYS = ("device", "driver", "ssh", "ssh_config", "emulator", "counter", "sysroot", "packages", "toolchain")
SYSROOT = "{sysroot}"
EXAMPLE = 'emulator = ["qemu-riscv64", "-cpu", "rv64", "-L", "{sysroot}"]'
COUNTER_EXAMPLE = 'counter = ["qemu-x86_64", "-cpu", "max", "-plugin", "{counter}", "-L", "{sysroot}"]'
DESTINATION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:/%\[\]+-]*\Z")
WORDS = ("host", "all")
"""Words with another meaning on the axis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A target: literal flags by stage, and the `machine` (its `platform.machine()`) that runs its programs.

    Another machine runs them with `emulator`, an argv in which `{sysroot}` is the folder with the target's C library:
    `sysroot`, relative to the spec's folder, or the locked packages if it is "". `machine` is "" if the target does not
    name it: every machine runs it.
    """

    name: str
    machine: str
    flags: Mapping[Stage, tuple[str, ...]]
    emulator: tuple[str, ...] = ()
    sysroot: str = ""
    packages: str = ""
    """Instead of `sysroot`: SET/FOLDER, a folder in a locked set of `images/armv6`."""
    counter: tuple[str, ...] = ()
    """The argv of a locked emulator in which `{counter}` is the plugin that counts its programs' instructions."""
    device: str = ""
    """What its programs need of the machine: "cuda", "rocm", or "" for nothing."""
    driver: str = ""
    """The locked set of `images/drivers` with the driver of its device, for its machine."""
    ssh: str = ""
    """OpenSSH's destination of a board that runs its programs."""
    ssh_config: str = ""
    """A file of OpenSSH's configuration in the place of the user's."""
    toolchain: CrossToolchain | None = None
    """The toolchain that builds IREE's runtime for it: then the `toolchain` of a build is the target's name."""


def read_targets(table: Table) -> dict[str, Target]:
    """All tables below `table`, by name. Faults go into it."""
    targets = {}
    for name in table.content:
        named(table, name)
        if name in WORDS:
            table.fault(name, f"{name!r} means something else on the axis, expected another name")
        targets[name] = _target(name, table.table(name))
    return targets


def _target(name: str, row: Table) -> Target:
    row.only(("machine", *(key for backend in backends() for key in backend.target_keys), *TARGET_KEYS))
    triple, emulator, sysroot = row.text("triple"), row.texts("emulator"), row.text("sysroot")
    machine = row.text("machine") or triple.partition("-")[0]
    if emulator and not machine:
        row.fault(
            "emulator",
            f"read {list(emulator)} without `machine` or `triple`, expected one of them: whose programs it runs",
        )
    packages = row.text("packages")
    if sysroot and packages:
        row.fault("packages", f"read {packages!r} beside `sysroot`, expected one of them: where the C library is")
    if (sysroot or packages) and not any(SYSROOT in word for word in emulator):
        row.fault(
            "sysroot" if sysroot else "packages",
            f"read {sysroot or packages!r}, which no word of `emulator` names, expected {SYSROOT} in one, as in "
            f"{EXAMPLE}",
        )
    for index, word in enumerate(emulator):
        if "{" in word.replace(SYSROOT, "") and word not in (PROGRAM_PLACE, ARGUMENTS_PLACE):
            row.fault(f"emulator[{index}]", f"read {word!r}, expected no other place than {SYSROOT}")
    if (PROGRAM_PLACE in emulator) != (ARGUMENTS_PLACE in emulator):
        row.fault(
            "emulator",
            f"read {list(emulator)}, expected {PROGRAM_PLACE} and {ARGUMENTS_PLACE} both as words, or neither",
        )
    counter = _counter(row, machine)
    ssh, config = _ssh(row, machine)
    return Target(
        name=name,
        machine=machine,
        flags={stage: flags for backend in backends() for stage, flags in backend.target_flags(row).items()},
        emulator=emulator,
        sysroot=sysroot,
        packages=packages,
        counter=counter,
        device=_device(row),
        driver=_driver(row, machine),
        ssh=ssh,
        ssh_config=config,
        toolchain=read_own_toolchain(name, row.table("toolchain"), machine) if "toolchain" in row.content else None,
    )


def _ssh(row: Table, machine: str) -> tuple[str, str]:
    """The board of a target, and the file of SSH's configuration. Faults go into `row`."""
    ssh, config = row.text("ssh"), row.text("ssh_config")
    if ssh and not DESTINATION.match(ssh):
        row.fault("ssh", f"read {ssh!r}, expected OpenSSH's destination: NAME, USER@HOST or ssh://USER@HOST:PORT")
    if ssh and not machine:
        row.fault("ssh", f"read {ssh!r} without `machine` or `triple`, expected one of them: whose programs it runs")
    if ssh and row.texts("emulator"):
        row.fault("emulator", f"read {list(row.texts('emulator'))} beside `ssh`, expected one of them")
    if config and not ssh:
        row.fault("ssh_config", f"read {config!r} without `ssh`, expected both: which board it is")
    return ssh, config


def _device(row: Table) -> str:
    """The device that a target's programs need. Faults go into `row`."""
    device = row.text("device")
    if device and device not in DEVICES:
        row.fault("device", f"read {device!r}, expected one of {', '.join(DEVICES)}")
    if device and (row.text("ssh") or row.texts("emulator")):
        row.fault("device", f"read {device!r} beside `ssh` or `emulator`, expected one of them: it is looked for here")
    return device


def _driver(row: Table, machine: str) -> str:
    """The driver of a target's device. Faults go into `row`."""
    driver = row.text("driver")
    beside = next((key for key in ("ssh", "emulator") if key in row.content), "")
    if driver and beside:
        row.fault("driver", f"read {driver!r} beside `{beside}`, expected one of them: it is for this machine")
    if driver and not machine:
        row.fault("driver", f"read {driver!r} without `machine` or `triple`, expected one of them")
    return driver


def _counter(row: Table, machine: str) -> tuple[str, ...]:
    """The argv that counts. Faults go into `row`."""
    words = row.texts("counter")
    if words and not machine:
        row.fault("counter", f"read {list(words)} without `machine` or `triple`, expected one of them")
    if words and ("/" in words[0] or COUNTER not in words):
        row.fault("counter", f"read {list(words)}, expected a locked emulator, as in {COUNTER_EXAMPLE}")
    return words
