"""The verb `mcu-smoke`: from a C compiler to a model on an emulated microcontroller."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from matrix.artifacts.json_reader import read_json
from matrix.builds.board_programs import BoardTools
from matrix.builds.counter import COUNTER_LIBRARIES, COUNTER_LOADER
from matrix.cli.boards.parts import board_tools, tell_step
from matrix.core import processes
from matrix.core.data import data_root
from matrix.core.disk import atomic_write
from matrix.core.errors import EXIT_INTERRUPTED, EXIT_NO, EXIT_OK, LockFault
from matrix.core.text import plain_rows
from matrix.plan.backends.iree.environments import COMPILER, RUNTIME
from matrix.plan.backends.iree.firmware import FIRMWARE_SOURCES, firmware_commands
from matrix.plan.backends.iree.names import FIRMWARE
from matrix.plan.backends.iree.source_builds import RUNNER
from matrix.plan.question import Question
from matrix.plan.stages import launched
from matrix.plan.targets import Target
from matrix.results.measured.memory import MEMORY_COLUMNS, MEMORY_HEADING, board_needs
from matrix.results.run import Run
from matrix.results.sections import by_axes, grid
from matrix.run.carry_out import carry_out, report_gaps, resolved
from matrix.run.evidence import judged_cells
from matrix.run.planning import load_catalogue, load_spec, plan_for
from matrix.run.store import Store

MCU_PRESET = "cortex-m"
SMOKE_MODELS = ("linear", "conv2d")
SMOKE_RUNTIME, SMOKE_TOOLCHAIN, SMALLER = "m4_3.13", "cortex-m4", ("mps2-an386", "mps2-an385")
"""The boards of the oracle: one with the CPU that code is compiled for, and one whose CPU has no FPU."""
MCU_HELLO = "1.41421356 2.718282"
BOARD_SECONDS = 600.0
FAULT = "firmware: fault"
HELLO_FILES = ("hello.c", "board.c", "board.h", "board.ld")
ACCEPT_TIP = "restore it from the repository, or write it again: mcu-smoke --accept"


@dataclass(frozen=True, slots=True, kw_only=True)
class McuBoard:
    """How programs are made for the target and started: its row, the tools, a folder for both."""

    target: Target
    tools: BoardTools
    folder: Path

    def build(self, program: str) -> str:
        """Links one C file with the board's start, as RUNNER. "" or how the compiler failed."""
        for name in HELLO_FILES:
            shutil.copyfile(data_root() / FIRMWARE_SOURCES / name, self.folder / name)
        (command,) = firmware_commands(self.tools.toolchain, (program, "board.c"))
        words = [self.tools.placed(word) for word in (*command, *self.target.flags.get(FIRMWARE, ()), "-lm")]
        variables = {name: self.tools.placed(value) for name, value in self.tools.toolchain.environment}
        done = processes.run(words, timeout=BOARD_SECONDS, cwd=self.folder, env={"PATH": os.defpath, **variables})
        return "" if done.ok else f"not compiled: {done.tail}"

    def start(self, board: str) -> str:
        """What the program says on a board."""
        given = self.target.emulator
        launcher = tuple(board if before == "-M" else word for before, word in zip(("", *given), given, strict=False))
        _, *words = launched(launcher, (str(self.folder / RUNNER), "hello"))
        tree = self.tools.qemu.parents[2]
        loader = (str(tree / COUNTER_LOADER), "--library-path", str(tree / COUNTER_LIBRARIES))
        done = processes.run((*loader, str(self.tools.qemu), *words), timeout=BOARD_SECONDS, cwd=self.folder)
        return "no end" if done.timed_out else done.output


def mcu_expected_path() -> Path:
    return data_root() / "results" / "cortex-m" / "expected.json"


def do_mcu_smoke(options: Namespace) -> int:
    """From a C compiler to models on the emulated board; exit status 1 if an outcome is not the committed one."""
    spec = load_spec(MCU_PRESET)
    compiler = options.compiler or spec.axes[COMPILER][-1]
    only = (f"{RUNTIME}={SMOKE_RUNTIME}",)
    question = Question(preset=MCU_PRESET, axes={COMPILER: (compiler,)}, only=only, models=SMOKE_MODELS)
    plan = resolved(lambda: plan_for(spec, question, options.store))
    target = load_catalogue(spec).targets[MCU_PRESET]
    with Store(options.store) as store, tempfile.TemporaryDirectory() as scratch:
        tell_step(f"== a C program on {SMALLER[0]}, and the oracle: the same on {SMALLER[1]}, which has no FPU")
        tools = board_tools(plan, store, emulator=target.emulator[0], cpu="")[SMOKE_RUNTIME]
        checks = check_mcu(McuBoard(target=target, tools=tools, folder=Path(scratch)))
        tell_step(f"== IREE's runtime as an archive, and {', '.join(SMOKE_MODELS)} by every route")
        summary = carry_out(plan, store, options, words=["mcu-smoke", compiler])
        if summary.interrupted:
            return EXIT_INTERRUPTED
        report_gaps(summary)
        run = judged_cells(plan, summary.states, store)
    return tell_mcu(checks, run, options)


def check_mcu(board: McuBoard) -> dict[str, str]:
    """What must hold before a model is tried: the program is right, and the emulator refuses what a CPU has not."""
    failed = board.build("hello.c")
    checks = {}
    for name in SMALLER:
        said = failed or board.start(name)
        found = "right" if MCU_HELLO in said else "fault" if FAULT in said else said.strip()[-200:] or "nothing"
        checks[f"hello {SMOKE_TOOLCHAIN} on {name}"] = found
        tell_step(f"   {name}: {found}")
    return checks


def tell_mcu(checks: Mapping[str, str], run: Run, options: Namespace) -> int:
    """Prints cells and memory, and the differences from what is committed; accepts these instead if asked to."""
    ends = {f"{cell.axes['model']} {cell.axes['route']}": _verdict(run, cell.name) for cell in run.cells}
    for name, end in ends.items():
        tell_step(f"   {name}: {end}")
    needs = [row for row in board_needs(run).values() if row.ram_bytes is not None]
    table = grid([*by_axes(("model", "route"), lambda row: row.axes), *MEMORY_COLUMNS], needs)
    print(f"\n{MEMORY_HEADING}\n\n{plain_rows(table.rows, headers=table.headings)}")
    found = {"checks": dict(checks), "cells": ends}
    path = mcu_expected_path()
    if options.accept:
        with atomic_write(path, what=f"results/cortex-m/{path.name}") as file:
            file.write((json.dumps({"format": 1, **found}, indent=1) + "\n").encode())
        return EXIT_OK
    lines = [
        f"{name}: expected {before.get(name, 'nothing')}, is {after.get(name, 'not measured')}"
        for part, after in found.items()
        for before in [_committed(path)[part]]
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
    if lines:
        print(f"\n{len(lines)} not as expected:\n" + "\n".join(f"  {line}" for line in lines))
        return EXIT_NO
    print(f"\nas expected: {len(checks)} checks and {len(ends)} cells")
    return EXIT_OK


def _verdict(run: Run, name: str) -> str:
    cell = next(each for each in run.cells if each.name == name)
    signature = f": {cell.signature}" if cell.signature else ""
    return f"{cell.outcome.value}{signature}"


def _committed(path: Path) -> dict[str, dict[str, str]]:
    try:
        read = read_json(path.read_bytes())
        return {"checks": dict(read["checks"]), "cells": dict(read["cells"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LockFault(f"results/cortex-m/{path.name} cannot be read: {error}", tip=ACCEPT_TIP) from error
