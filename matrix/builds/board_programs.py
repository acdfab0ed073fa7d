"""C programs for the emulated board: compiled by a locked toolchain, inspected, run."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from matrix.core import processes
from matrix.plan.backends.iree.source_builds import PLACE, CrossToolchain

CPU = "arm1176"
"""qemu's name for the Raspberry Pi Zero's CPU. The default, `max`, runs code that the board does not."""
EVERYTHING = "max"
COMPILE_SECONDS = 1800.0
"""zig first compiles its C library for a target: minutes on a busy machine."""
EMULATED_SECONDS = 7200.0
"""MobileNetV2 by VMVX takes minutes of CPU time in the emulator; a busy machine must not exceed the limit."""
ATTRIBUTE = re.compile(r"^\s+Tag_(CPU_arch|THUMB_ISA_use|FP_arch|ABI_VFP_args|CPU_name): (.+)$", re.M)
RISCV = re.compile(r'^\s+Tag_RISCV_arch: "(.+?)"', re.M)
RISCV_VERSION = re.compile(r"\d+p\d+$")
HARD_FLOATS = re.compile(r"\b(?:hard|single|double)-float ABI")
NEEDED = re.compile(r"\(NEEDED\).*\[(.+?)\]")
LOADER = re.compile(r"program interpreter: (.+?)\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended: `ending` is `passed`, `exit code 1`, `SIGILL` or `timed out`."""

    ending: str
    log: str

    @property
    def passed(self) -> bool:
        return self.ending == "passed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramFacts:
    """`architecture` is such as v6KZ or rv64imafdc, `float_abi` hard or softfp, `needs` are the loader and the
    libraries, by name."""

    architecture: str
    floating_point: str
    float_abi: str
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardTools:
    """A toolchain for the board. `trees` is the folder with a link to each tree in its commands, `qemu` is the
    emulator, `cpu` is its name for the board's CPU."""

    toolchain: CrossToolchain
    trees: Path
    qemu: Path
    cpu: str = CPU

    def compile(self, source: Path, program: Path, flags: Iterable[str] = ()) -> Ended:
        """Compiles one C file with libm, stripped. `flags` come after the toolchain's own."""
        words = (*self.toolchain.cc, *flags, *self.toolchain.link, "-O2", "-s", str(source), "-o", str(program), "-lm")
        return self.run(words, self.toolchain.environment, seconds=COMPILE_SECONDS)

    def facts(self, program: Path) -> ProgramFacts:
        """What binutils reports of a program."""
        words = (f"{self.toolchain.binutils}readelf", "-h", "-A", "-d", "-l", "-W", str(program))
        return program_facts(self.run(words, self.toolchain.environment).log)

    def emulate(self, program: Path, *words: str, cpu: str = "") -> Ended:
        """Runs a program on one CPU, the board's by default. The emulator is started by name: no binfmt, no root."""
        libraries = (("QEMU_LD_PREFIX", self.toolchain.libraries),)
        return self.run(
            (str(self.qemu), "-cpu", cpu or self.cpu, str(program), *words), libraries, seconds=EMULATED_SECONDS
        )

    def run(self, words: Iterable[str], variables: Iterable[tuple[str, str]] = (), *, seconds: float = 120.0) -> Ended:
        """Runs a command, in which `{name}` is a tree."""
        env = {name: self.placed(value) for name, value in variables}
        done = processes.run(list(map(self.placed, words)), timeout=seconds, env={"PATH": os.defpath, **env})
        return Ended(ending=_ending(done), log=done.output)

    def placed(self, word: str) -> str:
        return PLACE.sub(lambda match: str((self.trees / match[1]).resolve()), word)


def _ending(done: processes.Completed) -> str:
    if done.timed_out or done.ok:
        return "timed out" if done.timed_out else "passed"
    return signal.Signals(-done.exit_code).name if done.exit_code < 0 else f"exit code {done.exit_code}"


def program_facts(readelf: str) -> ProgramFacts:
    """From the output of `readelf -h -A -d -l -W`, for Arm or RISC-V."""
    attributes = dict(ATTRIBUTE.findall(readelf))
    loader = LOADER.findall(readelf)
    hard = "VFP registers" in attributes.get("ABI_VFP_args", "") or bool(HARD_FLOATS.search(readelf))
    if riscv := RISCV.search(readelf):
        base, *extensions = (RISCV_VERSION.sub("", word) for word in riscv[1].split("_"))
        architecture = base + "".join(each for each in extensions if len(each) == 1)
        floating = "double precision" if "d" in extensions else "single precision" if "f" in extensions else "none"
    else:
        architecture, floating = attributes.get("CPU_arch", "unknown"), attributes.get("FP_arch", "none")
    return ProgramFacts(
        architecture=architecture,
        floating_point=floating,
        float_abi="hard" if hard else "softfp",
        needs=tuple(dict.fromkeys([*(path.rpartition("/")[2] for path in loader), *NEEDED.findall(readelf)])),
    )
