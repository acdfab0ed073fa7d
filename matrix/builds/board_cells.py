"""Measures cells: a model by a route with a toolchain, from `iree-compile` to outputs on the emulated board.

What fails on the way is an outcome of the cell. Every step is a task of the store, so that cells share them: a model
is compiled once by a route, whichever runner loads it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy

from matrix.builds.board_models import TOLERANCE, SmokeModel
from matrix.builds.routes import (
    ROUTES,
    STATIC_LIBRARY,
    VMVX,
    Row,
    compile_task,
    output_names,
    run_task,
    static_compile_task,
    static_link_task,
    static_run_task,
)
from matrix.builds.tasks import TaskEnd, Tasks, Tree
from matrix.core import processes
from matrix.core.records import Outcome
from matrix.plan.source_builds import CrossToolchain
from matrix.results.judge import compare
from matrix.results.signatures import UNRECOGNISED, recognise


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """What cells are measured with: `trees` holds `compiler` and `link`, `binaries` a runner by its toolchain's name,
    `support` are the C program of static libraries and libgcc, `scratch` is a folder for what only tasks read."""

    tasks: Tasks
    trees: Mapping[str, Tree]
    toolchains: Mapping[str, CrossToolchain]
    binaries: Mapping[str, Path]
    support: tuple[Path, Path]
    scratch: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A row, and the program of its own that a cell by `static-library` has."""

    row: Row
    program: Path | None = None


def planned(board: Board, models: Sequence[SmokeModel]) -> list[tuple[SmokeModel, str, str]]:
    """Every model by every route with every toolchain. A whole model is interpreted (VMVX) on one runner only, the
    smallest static one: that takes minutes under an emulator, and all runners interpret the small ones."""

    def rank(name: str) -> tuple[bool, int]:
        return board.toolchains[name].dynamic, board.binaries[name].stat().st_size

    smallest = min(board.binaries, key=rank, default="")
    cells = [
        (model, route, name)
        for model in models
        for route in ROUTES
        for name in board.binaries
        if not (model.whole and route == VMVX and name != smallest)
    ]
    return cells + [(model, STATIC_LIBRARY, name) for model in models for name in board.toolchains]


def measure(board: Board, models: Sequence[SmokeModel]) -> Iterator[Measured]:
    """The rows of `planned`, in order; as many at a time as there are cores."""
    cells = planned(board, models)
    for model in models:
        for path, template in zip(model.expected, _templates(board, model), strict=True):
            numpy.save(template, numpy.zeros_like(numpy.load(path)))
    with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="cells") as pool:
        try:
            yield from pool.map(lambda cell: _cell(board, *cell), cells)
        except BaseException:
            board.tasks.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            processes.kill_all()
            raise


def _cell(board: Board, model: SmokeModel, route: str, name: str) -> Measured:
    toolchain = board.toolchains[name]
    if route == STATIC_LIBRARY:
        return _static(board, model, toolchain)
    made = board.tasks.run(compile_task(model.name, model.mlir, route, board.trees))
    if not made.passed:
        return Measured(row=_row(model, route, name, made.outcome, f"compile: {reason(made)}"))
    vmfb = made.output("module.vmfb")
    ran = board.tasks.run(
        run_task(
            f"run {model.name} by {route} on {name}",
            board.binaries[name],
            vmfb,
            model.inputs,
            toolchain=toolchain,
            trees=board.trees,
            function=model.function,
            results=len(model.expected),
        )
    )
    return Measured(row=_judged(model, route, name, ran, vmfb.stat().st_size))


def _static(board: Board, model: SmokeModel, toolchain: CrossToolchain) -> Measured:
    name = toolchain.name
    made = board.tasks.run(static_compile_task(model.name, model.mlir, toolchain.float_abi, board.trees))
    if not made.passed:
        return Measured(row=_row(model, STATIC_LIBRARY, name, made.outcome, f"compile: {reason(made)}"))
    header = made.output("module.h").read_text(encoding="utf-8")
    linked = board.tasks.run(
        static_link_task(
            model.name,
            made.output("module.o"),
            header,
            support=board.support,
            toolchain=toolchain,
            trees=board.trees,
        )
    )
    if not linked.passed:
        return Measured(row=_row(model, STATIC_LIBRARY, name, linked.outcome, f"link: {reason(linked)}"))
    program = linked.output("program")
    ran = board.tasks.run(
        static_run_task(
            f"run {model.name} by {STATIC_LIBRARY} with {name}",
            program,
            model.inputs,
            _templates(board, model),
            toolchain=toolchain,
            trees=board.trees,
        )
    )
    return Measured(row=_judged(model, STATIC_LIBRARY, name, ran, program.stat().st_size), program=program)


def _templates(board: Board, model: SmokeModel) -> list[Path]:
    """Arrays of zeros like the expected ones: what a program without a VM learns types and shapes from."""
    return [board.scratch / f"{model.name}.{name}" for name in output_names(len(model.expected))]


def _judged(model: SmokeModel, route: str, name: str, ran: TaskEnd, size: int) -> Row:
    if not ran.passed:
        return _row(model, route, name, ran.outcome, reason(ran), module_bytes=size)
    outputs = [ran.output(name).read_bytes() for name in output_names(len(model.expected))]
    compared = compare(outputs, [path.read_bytes() for path in model.expected], TOLERANCE)
    if compared.equal:
        return _row(model, route, name, Outcome.PASSED, "", module_bytes=size)
    return _row(model, route, name, Outcome.WRONG_OUTPUT, compared.text, module_bytes=size)


def _row(model: SmokeModel, route: str, name: str, outcome: Outcome, detail: str, *, module_bytes: int = 0) -> Row:
    return Row(model=model.name, route=route, runner=name, outcome=outcome, detail=detail, module_bytes=module_bytes)


def reason(end: TaskEnd) -> str:
    """The signature of a log, or how the task ended and its last words."""
    if end.outcome is Outcome.CRASHED:
        return end.ending
    signature = recognise(end.log)
    return f"{end.ending}: {signature.message[:120]}" if signature.name == UNRECOGNISED else signature.name
