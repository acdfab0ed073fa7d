"""The way to a bundle: build the runtime, compile the model, run it on the emulated board, write the folder."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from matrix.armv6 import places
from matrix.armv6.audit import audit_program, names_of_this_machine
from matrix.armv6.bundle import BundleFacts, write_bundle
from matrix.armv6.crosstools import (
    CPU,
    PEAK,
    emulated_task,
    host_tools_task,
    look_task,
    measured_task,
    program_task,
    runtime_task,
)
from matrix.armv6.models import TOLERANCE, SmokeModel
from matrix.armv6.program import program_facts
from matrix.armv6.routes import NO_TRACES, ROUTES, compile_task, output_names, run_task
from matrix.building import NATIVE, RUNNER, UNSTRIPPED, CrossToolchain
from matrix.errors import BundleRefused, UsageError
from matrix.judge import compare
from matrix.linking import helpers_task
from matrix.sources import source_version
from matrix.tasks import Task, TaskEnd, Tasks, Tree
from matrix.versions import nearest

BOARD_BYTES = 512 << 20
"""The memory of a Raspberry Pi Zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleOrder:
    """What goes into a bundle: a toolchain and a route by name, a release; `source` is an IREE tree of one's own."""

    toolchain: str
    route: str
    compiler: str
    source: Path | None


def make_bundle(
    store: Path, model: SmokeModel, folder: Path, order: BundleOrder, *, say: Callable[[str], None]
) -> None:
    """Raises BundleRefused where a step fails or the outputs are wrong, and what fetching raises."""
    toolchain = toolchain_and_route(order)
    tasks, trees = Tasks(store), places.tool_trees(store)
    trees["source"] = places.source_tree(order.source)
    trees["python"] = Tree(path=Path(sys.executable), digest="any")
    trees["host"] = _done(tasks, host_tools_task(places.toolchains()[NATIVE], trees), say).tree
    built = _done(tasks, runtime_task(toolchain, trees), say)
    compiler = places.compiler_environment(order.compiler, store)
    helpers = _done(tasks, helpers_task(places.images() / "link", trees), say)
    trees = places.with_compiler(trees, compiler, places.link_tree(tasks, helpers.folder, compiler, trees["armel"]))
    module = _done(tasks, compile_task(model.name, model.mlir, order.route, trees, flags=NO_TRACES), say)
    vmfb, runner = module.output("module.vmfb"), built.output(RUNNER)
    ran = _done(tasks, measured_task(_run(model, runner, vmfb, toolchain, trees)), say)
    outputs = [ran.output(name).read_bytes() for name in output_names(len(model.expected))]
    idle_bytes = _idle_peak(tasks, toolchain, trees, say)
    refuse_too_large(model.name, _peak(ran) - idle_bytes)
    compared = compare(outputs, [path.read_bytes() for path in model.expected], TOLERANCE)
    if not compared.equal:
        raise BundleRefused(
            f"{model.name} by {order.route} computes something else on the emulated board: {compared.text}",
            tip="choose another route: embedded-repaired and vmvx run on every runner",
        )
    facts = BundleFacts(
        model=model.name,
        compiler=order.compiler,
        runtime=source_version(trees["source"]),
        toolchain=order.toolchain,
        route=order.route,
        qemu=f"qemu-user, QEMU_CPU={CPU}",
        facts=program_facts(tasks.run(look_task(runner, trees)).log),
        runner=audit_program(runner.read_bytes(), RUNNER),
        unstripped=built.output(UNSTRIPPED).stat().st_size,
        module_bytes=vmfb.stat().st_size,
        peak_bytes=_peak(ran),
        idle_bytes=idle_bytes,
        compared=compared,
    )
    write_bundle(folder, model, runner=runner, module=vmfb, facts=facts, words=names_of_this_machine(store))


def refuse_too_large(model: str, needed: int) -> None:
    """`needed` bytes are the model's and the runtime's, without the emulator's. Raises BundleRefused."""
    if needed > BOARD_BYTES:
        raise BundleRefused(
            f"{model} needs {needed >> 20} MiB of memory, and a Raspberry Pi Zero has {BOARD_BYTES >> 20} MiB in all",
            tip="bundle a smaller model, or one with smaller inputs; nothing was written",
        )


def toolchain_and_route(order: BundleOrder) -> CrossToolchain:
    """Raises UsageError with the known ones."""
    known = places.board_toolchains()
    for option, name, names in (("--toolchain", order.toolchain, known), ("--route", order.route, ROUTES)):
        if name not in names:
            raise UsageError(
                f"{option}: read {name!r}, expected one of {', '.join(names)}{nearest(name, names)}",
                tip="`armv6-smoke` shows which of them go together",
            )
    return known[order.toolchain]


def _run(model: SmokeModel, runner: Path, module: Path, toolchain: CrossToolchain, trees: Mapping[str, Tree]) -> Task:
    label = f"run {model.name} on the emulated board"
    results = len(model.expected)
    return run_task(
        label, runner, module, model.inputs, toolchain=toolchain, trees=trees, function=model.function, results=results
    )


def _idle_peak(tasks: Tasks, toolchain: CrossToolchain, trees: Mapping[str, Tree], say: Callable[[str], None]) -> int:
    """What the emulator itself takes: that of a program that computes two numbers."""
    hello = _done(tasks, program_task(toolchain, places.images() / "smoke" / "hello.c", trees), say)
    alone = emulated_task("run next to nothing", hello.output("program"), ("2",), toolchain, trees, cpu=CPU)
    return _peak(_done(tasks, measured_task(alone), say))


def _peak(end: TaskEnd) -> int:
    return int(end.output(PEAK).read_text()) << 10


def _done(tasks: Tasks, task: Task, say: Callable[[str], None]) -> TaskEnd:
    end = tasks.run(task)
    say(f"{end.label}: {end.ending} ({'from the store' if end.cached else f'{end.seconds:.1f} s'})")
    if not end.passed:
        last = "\n".join(f"  | {line[:200]}" for line in end.log.splitlines()[-12:])
        raise BundleRefused(
            f"{end.label}: {end.ending}\n  {end.failed_command[:300]}\n{last}",
            tip="another --route or --toolchain may do: `armv6-smoke` shows which",
        )
    return end
