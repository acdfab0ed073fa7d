"""What a board says of itself when a connection begins, and whether it can run a target's programs. Pure."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass

from matrix.core.keys import Json, digest
from matrix.core.machine import CPU_FLAGS, numeric_flags

OVER = "over"
_VERSION = re.compile(r"[0-9.]*")
"""The part of a kernel's name that is not its builder's own."""
OLDEST_KERNEL = (3, 2)
"""What the C libraries that IREE's runtimes are linked with ask for (their ABI tag)."""
SMALLEST_KIB = 16 << 10
"""Less free space than this holds no runtime with a model and its outputs."""
ALIKE = {"arm": ("arm", "aarch64"), "i686": ("i686", "i586", "x86_64"), "riscv32": ("riscv32", "riscv64")}
"""The machines, as `uname -m` begins, that may run the programs of a target's machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardFacts:
    """A board. `temperature` is in degrees Celsius and `clock` in MHz, when the connection began; None: it does not
    tell. `lacks` are the programs that it would need."""

    machine: str
    kernel: str
    cpu: str = ""
    model: str = ""
    cores: int = 1
    features: str = ""
    c_library: str = ""
    memory_kib: int = 0
    free_kib: int = 0
    temperature: float | None = None
    clock: float | None = None
    lacks: tuple[str, ...] = ()
    folder: str = ""
    """Its folder for this connection."""

    @property
    def hardware(self) -> str:
        """The class of the board, as `core.machine.machine_class` has it for this machine, without its kernel."""
        cores = f"{self.cores} core{'s' if self.cores > 1 else ''}"
        return ", ".join(part for part in (self.machine, self.cpu, self.model, cores) if part)

    @property
    def machine_class(self) -> str:
        told = f"{CPU_FLAGS} {' '.join(numeric_flags(self.features))}".strip()
        return ", ".join((self.hardware, f"Linux {self.kernel}", told))

    @property
    def identity(self) -> str:
        """What results of this board depend on. Another one with the same hardware answers for it."""
        return digest([self.hardware, sorted(self.features.split()), self.c_library])

    @property
    def evidence(self) -> dict[str, Json]:
        told: dict[str, Json] = {"class": self.machine_class, "kernel": self.kernel, "memory_kib": self.memory_kib}
        states = {"temperature_celsius": self.temperature, "clock_mhz": self.clock}
        return told | {name: value for name, value in states.items() if value is not None}

    def kept(self) -> dict[str, Json]:
        """What a later lookup needs without a connection."""
        return {name: value for name, value in asdict(self).items() if name not in ("folder", "lacks")}

    def fault(self, machine: str) -> tuple[str, str]:
        """(why it cannot run programs of a machine, what to do); two empty texts: it can."""
        if self.lacks:
            return f"it lacks {', '.join(self.lacks)}", "install coreutils or a newer busybox there"
        if _numbers(self.kernel) < OLDEST_KERNEL:
            oldest = ".".join(map(str, OLDEST_KERNEL))
            return f"its kernel is {self.kernel or 'unknown'}, expected {oldest} or newer", "update its system"
        if not self.machine.startswith(ALIKE.get(machine, (machine,))):
            return (
                f"it is {self.machine}, and the target's programs are for {machine}",
                "correct `ssh`, or `machine` and `triple` of the target",
            )
        if self.free_kib < SMALLEST_KIB:
            return (
                f"{self.free_kib} KiB are free in {self.folder.rpartition('/')[0]} there, expected {SMALLEST_KIB}",
                "free space there",
            )
        return "", ""


def read_facts(lines: list[str]) -> BoardFacts:
    """The lines between the connection and `over`. A line that nobody knows is left out."""
    said: dict[str, str] = {}
    cpu: dict[str, list[str]] = {}
    lacks = []
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "lacks":
            lacks.append(rest)
        elif word == "cpuinfo":
            name, _, value = rest.partition(":")
            cpu.setdefault(name, []).append(value.strip())
        else:
            said[word] = rest.strip()
    first = {name: values[0] for name, values in cpu.items()}
    temperature, clock = _number(said.get("temp", "")), _number(said.get("scaling_cur_freq", ""))
    return BoardFacts(
        machine=said.get("machine", ""),
        kernel=_version(said.get("kernel", "")),
        cpu=first.get("model name", "") or (f"CPU part {first['CPU part']}" if "CPU part" in first else ""),
        model=first.get("Model", "") or first.get("Hardware", ""),
        cores=max(1, len(cpu.get("processor", ()))),
        features=first.get("Features", ""),
        c_library=said.get("libc", ""),
        memory_kib=int(_number(said.get("memory", "")) or 0),
        free_kib=int(_number(said.get("free", "")) or 0),
        temperature=None if temperature is None else temperature / 1000,
        clock=None if clock is None else clock / 1000,
        lacks=tuple(lacks),
        folder=said.get("folder", ""),
    )


def _number(text: str) -> float | None:
    found = re.match(r"-?\d{1,15}", text)
    return float(found[0]) if found else None


def _numbers(kernel: str) -> tuple[int, ...]:
    return tuple(int(part) for part in kernel.split(".") if part)


def _version(kernel: str) -> str:
    found = _VERSION.match(kernel)
    return found[0] if found else ""
