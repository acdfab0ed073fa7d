"""Routes from a model to the board, what became of each, and what follows from it. Pure.

A route is how IREE's code reaches the CPU; a runner is IREE's runtime as one C toolchain builds it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matrix.builds.tasks import Task, Tree
from matrix.builds.toolchain_tasks import CPU, emulated_task
from matrix.core.records import Outcome
from matrix.plan.source_builds import CrossToolchain

COMPILE_SECONDS = 600.0
CPU_FLAGS = (
    "--iree-hal-target-backends=llvm-cpu",
    "--iree-llvmcpu-target-cpu=generic",
    "--iree-llvmcpu-target-cpu-features=+v6,+vfp2",
)
"""`target-cpu=arm1176jzf-s` sets no features ("not implemented on this target architecture"), so they are named."""
ABIS: Mapping[str, tuple[str, ...]] = {
    "softfp": ("--iree-llvmcpu-target-triple=armv6-linux-gnueabi", "--iree-llvmcpu-target-float-abi=soft"),
    "hard": ("--iree-llvmcpu-target-triple=armv6-linux-gnueabihf", "--iree-llvmcpu-target-float-abi=hard"),
}
TARGET = (*CPU_FLAGS, *ABIS["softfp"])
VMVX = "vmvx"
ROUTES: Mapping[str, tuple[str, ...]] = {
    VMVX: ("--iree-hal-target-backends=vmvx",),
    "embedded": TARGET,
    "embedded-repaired": (*TARGET, "--iree-llvmcpu-embedded-linker-path={link}/iree-lld"),
    "system": (*TARGET, "--iree-llvmcpu-link-embedded=false", "--iree-llvmcpu-system-linker-path={link}/system-ld"),
}
"""The routes on which IREE's runtime loads a module."""
STATIC_LIBRARY = "static-library"
"""The module's machine code, linked into a C program that calls it: no runtime, no VM."""
EVERY_ROUTE = (*ROUTES, STATIC_LIBRARY)
STATIC_FLAGS = (
    "--iree-llvmcpu-link-embedded=false",
    "--iree-llvmcpu-link-static",
    "--iree-llvmcpu-static-library-output-path=module.o",
    "--iree-llvmcpu-disable-distribution",
)
"""Undistributed, the whole dispatch is one workgroup: how many there are otherwise stands in the VM's code only."""
NO_TRACES = ("--iree-llvmcpu-debug-symbols=false", "--iree-vm-bytecode-module-strip-source-map=true")
"""No names of files in the module."""
QUERY = re.compile(r"(?<![\w$])([\w$]+_library_query)\(")
NATIVE = ("embedded", "embedded-repaired", "system")
"""Routes that run machine code; VMVX interprets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One model by one route with one toolchain. `detail` is the error, the signature or the signal; sizes in bytes:
    of the `.vmfb`, or of the whole program where there is no other (`static-library`)."""

    model: str
    route: str
    runner: str
    outcome: Outcome
    detail: str
    module_bytes: int = 0

    @property
    def cell(self) -> str:
        return f"{self.model} {self.route} {self.runner}"

    @property
    def verdict(self) -> str:
        """`passed`, `failed: elf-imports`: what is expected of a cell. Wrong numbers may be other ones."""
        failed = self.outcome in (Outcome.FAILED, Outcome.CRASHED)
        return f"{self.outcome.value}: {self.detail}" if failed else self.outcome.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """What a toolchain makes for the board: IREE's runtime, or (`static-library`) programs with a model in them.

    `needs` is what the board must have beside it, `size` is in bytes (of programs: the largest).
    """

    name: str
    float_abi: str
    dynamic: bool
    size: int
    needs: tuple[str, ...]
    routes: tuple[str, ...] = tuple(ROUTES)


def compile_task(model: str, mlir: Path, route: str, trees: Mapping[str, Tree], *, flags: tuple[str, ...] = ()) -> Task:
    """Compile a model by one route. `trees` holds `compiler` and `link`."""
    return Task(
        label=f"compile {model} by {route}",
        commands=(("{compiler}/iree-compile", "module.mlir", *ROUTES[route], *flags, "-o", "module.vmfb"),),
        trees=trees,
        inputs={"module.mlir": mlir},
        outputs=("module.vmfb",),
        seconds=COMPILE_SECONDS,
    )


def static_compile_task(model: str, mlir: Path, float_abi: str, trees: Mapping[str, Tree]) -> Task:
    """Compile a model to an object file and its header. The `.vmfb` beside them holds what is left out here: the VM's
    code."""
    flags = (*CPU_FLAGS, *ABIS[float_abi], *STATIC_FLAGS)
    return Task(
        label=f"compile {model} by {STATIC_LIBRARY}, {float_abi}",
        commands=(("{compiler}/iree-compile", "module.mlir", *flags, "-o", "module.vmfb"),),
        trees=trees,
        inputs={"module.mlir": mlir},
        outputs=("module.o", "module.h"),
        seconds=COMPILE_SECONDS,
    )


def library_query(header: str) -> str:
    """The function that a static library exports, of its generated header. Empty where there is none."""
    found = QUERY.search(header)
    return found[1] if found else ""


def static_link_task(
    model: str,
    library: Path,
    header: str,
    *,
    support: Sequence[Path],
    toolchain: CrossToolchain,
    trees: Mapping[str, Tree],
) -> Task:
    """Link a module's object into the C program that calls it. `header` is the text of its generated header; `support`
    are the program and libgcc, whose functions for integers zig's own does not all have. `trees` holds `source`, for
    IREE's one header."""
    words = (*toolchain.cc, *toolchain.link, "-O2", "-s", "-I{source}/runtime/src")
    main, libgcc = support
    return Task(
        label=f"link {model} into a program with {toolchain.name}",
        commands=(
            (
                *words,
                f"-DLIBRARY_QUERY={library_query(header)}",
                *(main.name, "module.o", "-o", "program", "-lm", libgcc.name),
            ),
        ),
        trees=trees,
        inputs={main.name: main, libgcc.name: libgcc, "module.o": library},
        outputs=("program",),
        environment=toolchain.environment,
        seconds=COMPILE_SECONDS,
    )


def static_run_task(
    label: str,
    program: Path,
    inputs: Sequence[Path],
    templates: Sequence[Path],
    *,
    toolchain: CrossToolchain,
    trees: Mapping[str, Tree],
) -> Task:
    """Run such a program on the emulated board. `templates` are arrays of the outputs' types and shapes."""
    outputs = output_names(len(templates))
    files = {f"input_{index}.npy": path for index, path in enumerate(inputs)}
    files |= dict(zip(outputs, templates, strict=True))
    return emulated_task(label, program, tuple(files), toolchain, trees, cpu=CPU, inputs=files, outputs=outputs)


def run_task(
    label: str,
    runner: Path,
    module: Path,
    inputs: Sequence[Path],
    *,
    toolchain: CrossToolchain,
    trees: Mapping[str, Tree],
    function: str = "main",
    results: int = 1,
) -> Task:
    """Run a module on the emulated board; its results are left in `output_0.npy` …"""
    names = [f"input_{index}.npy" for index in range(len(inputs))]
    outputs = output_names(results)
    arguments = (
        "--module=module.vmfb",
        "--device=local-sync",
        f"--function={function}",
        *(f"--input=@{name}" for name in names),
        *(f"--output=@{name}" for name in outputs),
    )
    files = {"module.vmfb": module, **dict(zip(names, inputs, strict=True))}
    return emulated_task(label, runner, arguments, toolchain, trees, cpu=CPU, inputs=files, outputs=outputs)


def output_names(results: int) -> tuple[str, ...]:
    """What the results of a model are called in the folder of a run."""
    return tuple(f"output_{index}.npy" for index in range(results))


def differences(rows: Iterable[Row], expected: Mapping[str, str]) -> list[str]:
    """What is not as it was expected, a line each: `exp embedded zig-static: expected failed: …, is passed`."""
    found = {row.cell: row for row in rows}
    lines = []
    for cell in sorted(found.keys() | expected.keys()):
        was = expected.get(cell, "nothing")
        now = found[cell].verdict if cell in found else "not measured"
        if was != now:
            detail = found[cell].detail if cell in found else ""
            beside = f" ({detail})" if detail and detail not in now else ""
            lines.append(f"{cell}: expected {was}, is {now}{beside}")
    return lines


def linkage_table(rows: Sequence[Row], runners: Sequence[Runner]) -> list[list[str]]:
    """Route x runner: link, float ABI, how many models load and are right, size, what the board must have."""
    table = []
    for route, runner in ((route, runner) for route in EVERY_ROUTE for runner in runners if route in runner.routes):
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
    runners = [runner for runner in runners if runner.routes != (STATIC_LIBRARY,)]
    whole = {
        (route, runner.name)
        for route in ROUTES
        for runner in runners
        if {row.outcome for row in rows if (row.route, row.runner) == (route, runner.name)} == {Outcome.PASSED}
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
