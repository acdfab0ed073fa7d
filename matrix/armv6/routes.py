"""Routes from a model to the board, what became of each, and what follows from it. Pure.

A route is how IREE's code reaches the CPU; a runner is IREE's runtime as one C toolchain builds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matrix.armv6.crosstools import CPU, CrossToolchain, emulated_task
from matrix.armv6.tasks import Task, Tree
from matrix.records import Outcome

COMPILE_SECONDS = 600.0
TARGET = (
    "--iree-hal-target-backends=llvm-cpu",
    "--iree-llvmcpu-target-triple=armv6-linux-gnueabi",
    "--iree-llvmcpu-target-cpu=generic",
    "--iree-llvmcpu-target-cpu-features=+v6,+vfp2",
    "--iree-llvmcpu-target-float-abi=soft",
)
"""`target-cpu=arm1176jzf-s` sets no features ("not implemented on this target architecture"), so they are named."""
ROUTES: Mapping[str, tuple[str, ...]] = {
    "vmvx": ("--iree-hal-target-backends=vmvx",),
    "embedded": TARGET,
    "embedded-repaired": (*TARGET, "--iree-llvmcpu-embedded-linker-path={link}/iree-lld"),
    "system": (*TARGET, "--iree-llvmcpu-link-embedded=false", "--iree-llvmcpu-system-linker-path={link}/system-ld"),
}
NATIVE = ("embedded", "embedded-repaired", "system")
"""Routes that run machine code; VMVX interprets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One model by one route on one runner. `detail` is the error, the signature or the signal; sizes in bytes."""

    model: str
    route: str
    runner: str
    outcome: Outcome
    detail: str
    module_bytes: int = 0

    @property
    def cell(self) -> str:
        return f"{self.model} {self.route} {self.runner}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """IREE's runtime for the board; `needs` is what the board must have beside it."""

    name: str
    float_abi: str
    dynamic: bool
    size: int
    needs: tuple[str, ...]


def compile_task(model: str, mlir: Path, route: str, trees: Mapping[str, Tree]) -> Task:
    """Compile a model by one route. `trees` holds `compiler` and `link`."""
    return Task(
        label=f"compile {model} by {route}",
        commands=(("{compiler}/iree-compile", "module.mlir", *ROUTES[route], "-o", "module.vmfb"),),
        trees=trees,
        inputs={"module.mlir": mlir},
        outputs=("module.vmfb",),
        seconds=COMPILE_SECONDS,
    )


def run_task(
    label: str,
    runner: Path,
    module: Path,
    inputs: Sequence[Path],
    *,
    toolchain: CrossToolchain,
    trees: Mapping[str, Tree],
    function: str = "main",
) -> Task:
    """Run a module on the emulated board; the first result is left in `output.npy`."""
    names = [f"{index}.npy" for index in range(len(inputs))]
    arguments = (
        "--module=module.vmfb",
        "--device=local-sync",
        f"--function={function}",
        *(f"--input=@{name}" for name in names),
        "--output=@output.npy",
    )
    files = {"module.vmfb": module, **dict(zip(names, inputs, strict=True))}
    return emulated_task(label, runner, arguments, toolchain, trees, cpu=CPU, inputs=files, outputs=("output.npy",))


def differences(rows: Iterable[Row], expected: Mapping[str, str]) -> list[str]:
    """What is not as it was expected, a line each: `exp embedded zig-static: expected failed, is passed`."""
    found = {row.cell: row for row in rows}
    lines = []
    for cell in sorted(found.keys() | expected.keys()):
        was = expected.get(cell, "nothing")
        now = found[cell].outcome.value if cell in found else "not measured"
        if was != now:
            detail = f" ({found[cell].detail})" if cell in found and found[cell].detail else ""
            lines.append(f"{cell}: expected {was}, is {now}{detail}")
    return lines


def linkage_table(rows: Sequence[Row], runners: Sequence[Runner]) -> list[list[str]]:
    """Route x runner: link, float ABI, how many models load and are right, size, what the board must have."""
    table = []
    for route in ROUTES:
        for runner in runners:
            mine = [row for row in rows if (row.route, row.runner) == (route, runner.name)]
            loads = sum(row.outcome in (Outcome.PASSED, Outcome.WRONG_OUTPUT) for row in mine)
            right = sum(row.outcome is Outcome.PASSED for row in mine)
            table.append(
                [
                    route,
                    "dynamic" if runner.dynamic else "static",
                    runner.float_abi,
                    runner.name,
                    f"{loads}/{len(mine)}",
                    f"{right}/{len(mine)}",
                    f"{runner.size:,}",
                    ", ".join(runner.needs) or "nothing",
                    "; ".join(dict.fromkeys(row.detail for row in mine if row.outcome is not Outcome.PASSED)),
                ]
            )
    return table


TABLE_HEADERS = ("route", "link", "float ABI", "runner", "loads", "right", "bytes", "the board must have", "why not")


def advice(rows: Sequence[Row], runners: Sequence[Runner]) -> tuple[str, str]:
    """Two sentences: what to put on the board, and what works without the repaired linker."""
    models = {row.model for row in rows}
    whole = {
        (route, runner.name)
        for route in ROUTES
        for runner in runners
        if {row.model for row in rows if (row.route, row.runner, row.outcome) == (route, runner.name, Outcome.PASSED)}
        == models
    }
    by_size = sorted(runners, key=lambda runner: (runner.dynamic, runner.size))
    return _best(by_size, whole), _as_shipped(by_size, whole)


def _best(runners: Sequence[Runner], whole: set[tuple[str, str]]) -> str:
    for runner in runners:
        for route in reversed(NATIVE[:2]):
            if (route, runner.name) in whole:
                needs = "needs nothing else" if not runner.needs else f"needs {', '.join(runner.needs)}"
                link = "dynamic" if runner.dynamic else "static"
                return (
                    f"Link {'dynamically' if runner.dynamic else 'statically'}: the {link} runner {runner.name} "
                    f"({runner.size / 1e6:.1f} MB, {runner.float_abi} float ABI) {needs} and runs every model tried as "
                    f"machine code by the route {route}."
                )
    return "No runner runs every model tried as machine code by an embedded route."


def _as_shipped(runners: Sequence[Runner], whole: set[tuple[str, str]]) -> str:
    """Without the repaired linker: by which routes every runner is whole."""
    shipped = {
        runner.name: [route for route in ROUTES if route != "embedded-repaired" and (route, runner.name) in whole]
        for runner in runners
    }
    parts = [f"{name} has {', '.join(routes) or 'no route'}" for name, routes in shipped.items()]
    needing = [f"{runner.name} needs {', '.join(runner.needs)}" for runner in runners if runner.needs]
    return "With IREE's own linker " + ", ".join(parts) + "".join(f" ({need} on the board)" for need in needing) + "."
