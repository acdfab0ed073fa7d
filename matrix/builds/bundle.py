"""A folder for a real board: IREE's runtime, one model with its arrays, and a script that says pass or fail.

It is made of what the emulated board has just run right, and looked through for what it gives away.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy

from matrix.artifacts.program_audit import ProgramAudit, audit_program, names_in, names_of_this_machine
from matrix.artifacts.vmfb_audit import audit
from matrix.builds import tools
from matrix.builds.board_models import TOLERANCE, SmokeModel
from matrix.builds.linker import helpers_task
from matrix.builds.program import ProgramFacts, program_facts
from matrix.builds.routes import NO_TRACES, ROUTES, compile_task, output_names, run_task
from matrix.builds.sources import source_version
from matrix.builds.tasks import Task, TaskEnd, Tasks, Tree
from matrix.builds.toolchain_tasks import (
    CPU,
    PEAK,
    emulated_task,
    host_tools_task,
    look_task,
    measured_task,
    program_task,
    runtime_task,
)
from matrix.core.errors import BundleRefused, UsageError
from matrix.core.versions import nearest
from matrix.plan.source_builds import NATIVE, RUNNER, UNSTRIPPED, CrossToolchain
from matrix.results.judge import Comparison, compare

MODULE = "model.vmfb"

SCRIPT = """#!/bin/sh
# Runs the model once and compares what it computes with what PyTorch computed. Exit status 0: pass, 1: fail.
# On a machine that is no ARM: EMULATOR="qemu-arm-static -cpu arm1176" ./run.sh
cd "$(dirname "$0")" || exit 1
export TMPDIR="${{TMPDIR:-.}}" # where the runtime writes a system ELF before it loads it; not every board has /tmp
now() {{ read -r up _ </proc/uptime && echo "${{up%.*}}${{up#*.}}"; }} # hundredths of a second
begun=$(now)
$EMULATOR ./{runner} --module={module} --device=local-sync --function={function} \\
{arguments} \\
  --expected_f32_threshold={threshold:.3g} >log.txt 2>&1
status=$?
spent=$(($(now) - begun))
if [ "$status" -eq 0 ]; then verdict=pass; else verdict=fail; cat log.txt >&2; fi
printf '%s in %d.%02d s\\n' "$verdict" $((spent / 100)) $((spent % 100))
[ "$status" -eq 0 ]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleFacts:
    """What the README of a bundle says. Sizes in bytes."""

    model: str
    compiler: str
    runtime: str
    toolchain: str
    route: str
    qemu: str
    facts: ProgramFacts
    runner: ProgramAudit
    unstripped: int
    module_bytes: int
    peak_bytes: int
    idle_bytes: int
    compared: Comparison


def write_bundle(
    folder: Path, model: SmokeModel, *, runner: Path, module: Path, facts: BundleFacts, words: Sequence[str]
) -> None:
    """Fills `folder`, which must not be there or be empty; it appears whole. `words` are this machine's names.

    Raises BundleRefused where a file of it leaks one of them, a path or an address.
    """
    refuse_filled(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for name, source in _files(model, runner, module).items():
            shutil.copyfile(source, partial / name)
        (partial / "run.sh").write_text(script(model), encoding="utf-8")
        (partial / "README.md").write_text(readme(facts), encoding="utf-8")
        for name in (RUNNER, "run.sh"):
            (partial / name).chmod(0o755)
        _refuse_leaks(partial, words)
        partial.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def refuse_filled(folder: Path) -> None:
    """Raises UsageError."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not empty", tip="name a folder that is yours to fill")


def _files(model: SmokeModel, runner: Path, module: Path) -> Mapping[str, Path]:
    files = {RUNNER: runner, MODULE: module}
    files |= {f"input_{index}.npy": path for index, path in enumerate(model.inputs)}
    return files | {f"expected_{index}.npy": path for index, path in enumerate(model.expected)}


def script(model: SmokeModel) -> str:
    """`run.sh`. The tool's threshold is absolute; ours is relative to the scale of the outputs."""
    arguments = [f"  --input=@input_{index}.npy" for index in range(len(model.inputs))]
    arguments += [f"  --expected_output=@expected_{index}.npy" for index in range(len(model.expected))]
    scale = max((_scale(path) for path in model.expected), default=1.0)
    return SCRIPT.format(
        runner=RUNNER,
        module=MODULE,
        function=model.function,
        arguments=" \\\n".join(arguments),
        threshold=TOLERANCE["float32"] * scale,
    )


def _scale(path: Path) -> float:
    array = numpy.load(path)
    return float(numpy.abs(array.astype(numpy.float64)).max(initial=0.0)) or 1.0


def readme(facts: BundleFacts) -> str:
    """What is in the bundle, what it needs, and what it did on the emulated board."""
    program = facts.facts
    needs = ", ".join(program.needs)
    beside = f"the C library beside it on the board ({needs})" if needs else "nothing beside it on the board"
    sections = "\n".join(f"| `{name}` | {size:,} |" for name, size in facts.runner.sections[:6])
    return f"""# {facts.model} for an ARM1176 (ARMv6, Raspberry Pi Zero)

Copy this folder to the board and start `./run.sh`. It runs the model once, compares the result with PyTorch's, and
prints `pass` or `fail` and the time, the start of the program included.

| | |
|---|---|
| model | {facts.model}, compiled by iree-base-compiler {facts.compiler}, route `{facts.route}` |
| runtime | IREE {facts.runtime} from source, toolchain `{facts.toolchain}` |
| `{RUNNER}` | {facts.runner.size:,} bytes ({facts.unstripped:,} with debug symbols); {program.architecture}, \
{program.floating_point}, {program.float_abi} float ABI; needs {beside} |
| `{MODULE}` | {facts.module_bytes:,} bytes |
| memory | at most {facts.peak_bytes / 2**20:.0f} MiB under the emulator, where a program that does next to nothing \
has {facts.idle_bytes / 2**20:.0f} MiB |
| seen | {facts.qemu}: right, {facts.compared.text} |

A time under an emulator says nothing of the board's, so none is given here.

| section of `{RUNNER}` | bytes |
|---|---|
{sections}
"""


def _refuse_leaks(folder: Path, words: Sequence[str]) -> None:
    """Constants and arrays are numbers: in them only this machine's own names are looked for."""
    found = []
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        if path.name == RUNNER:
            leaks = list(audit_program(content, path.name, words=words).leaks)
        elif path.name == MODULE:
            told = (leak for leak in audit(path).leaks if leak.kind in ("absolute path", "file name"))
            leaks = [f"{leak.kind}: {', '.join(leak.examples)}" for leak in told] + list(names_in(content, words))
        else:
            leaks = list(names_in(content, words))
        found += [f"{path.name}: {leak}" for leak in leaks]
    if found:
        raise BundleRefused(
            "the bundle tells of the machine that made it\n" + "\n".join(f"  {line}" for line in found[:10]),
            tip="nothing was written; report it with this text",
        )


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
    tasks, trees = Tasks(store), tools.tool_trees(store)
    trees["source"] = tools.source_tree(order.source)
    trees["python"] = Tree(path=Path(sys.executable), digest="any")
    trees["host"] = _done(tasks, host_tools_task(tools.toolchains()[NATIVE], trees), say).tree
    built = _done(tasks, runtime_task(toolchain, trees), say)
    compiler = tools.compiler_environment(order.compiler, store)
    helpers = _done(tasks, helpers_task(tools.images() / "link", trees), say)
    trees = tools.with_compiler(trees, compiler, tools.link_tree(tasks, helpers.folder, compiler, trees["armel"]))
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
    known = tools.board_toolchains()
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
    hello = _done(tasks, program_task(toolchain, tools.images() / "smoke" / "hello.c", trees), say)
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
