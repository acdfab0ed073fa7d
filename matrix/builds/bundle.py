"""A folder for a real board: IREE's runtime, one model with its arrays, and a script that says pass or fail.

It is made from a cell that has just passed on the emulated board, and is searched for private data.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy

from matrix.artifacts.program_audit import ProgramAudit, audit_program, names_in
from matrix.artifacts.vmfb_audit import audit
from matrix.builds.board_programs import EMULATED_SECONDS, BoardTools, ProgramFacts
from matrix.core import processes
from matrix.core.errors import BundleRefused, UsageError
from matrix.plan.backends.iree.boards import ShippedBoard
from matrix.plan.backends.iree.source_builds import RUNNER
from matrix.results.judge import Comparison

MODULE = "model.vmfb"
LOG = "log.txt"

SCRIPT = """#!/bin/sh
# Runs the model once and compares what it computes with what PyTorch computed. Exit status 0: pass, 1: fail.
# On another machine: EMULATOR="{emulator}" ./run.sh
cd "$(dirname "$0")" || exit 1
export TMPDIR="${{TMPDIR:-.}}" # where the runtime writes a system ELF before it loads it; not every board has /tmp
now() {{ read -r up _ </proc/uptime && echo "${{up%.*}}${{up#*.}}"; }} # hundredths of a second
begun=$(now)
$EMULATOR ./{runner} --module={module} --device=local-sync --function={function} \\
{arguments} \\
  --expected_f32_threshold={threshold:.3g} >{log} 2>&1
status=$?
spent=$(($(now) - begun))
if [ "$status" -eq 0 ]; then verdict=pass; else verdict=fail; cat {log} >&2; fi
printf '%s in %d.%02d s\\n' "$verdict" $((spent / 100)) $((spent % 100))
[ "$status" -eq 0 ]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledModel:
    """`inputs` and `expected` are .npy files, one for each argument and result; `function` is the entry point.
    `tolerance` is the largest |output - expected| / max |expected|."""

    name: str
    function: str
    inputs: tuple[Path, ...]
    expected: tuple[Path, ...]
    tolerance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleFacts:
    """The facts for the README of a bundle. Sizes are in bytes."""

    board: ShippedBoard
    model: str
    compiler: str
    runtime: str
    toolchain: str
    route: str
    qemu: str
    """The emulator's words before a program."""
    facts: ProgramFacts
    runner: ProgramAudit
    unstripped: int
    module_bytes: int
    idle_bytes: int
    compared: Comparison


def write_bundle(
    folder: Path,
    model: BundledModel,
    *,
    runner: Path,
    module: Path,
    facts: BundleFacts,
    words: Sequence[str],
    peak: Callable[[Path], int],
) -> None:
    """Fills `folder`, which must not exist or be empty; it appears complete. `words` are names of this machine; `peak`
    starts the `run.sh` of a folder and returns the bytes of memory that it needed.

    Raises BundleRefused if a file of it contains one of the words, a path or an address, or if the board is too small.
    """
    with whole_folder(folder) as partial:
        for name, source in _files(model, runner, module).items():
            shutil.copyfile(source, partial / name)
        (partial / "run.sh").write_text(script(model, facts.qemu), encoding="utf-8")
        for name in (RUNNER, "run.sh"):
            (partial / name).chmod(0o755)
        needed = peak(partial)
        (partial / LOG).unlink(missing_ok=True)
        refuse_too_large(model.name, needed - facts.idle_bytes, facts.board)
        (partial / "README.md").write_text(readme(facts, needed), encoding="utf-8")
        _refuse_leaks(partial, words)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` to fill, which takes its name at the end; after an error nothing of it is left. `folder`
    must not exist or be empty. Raises UsageError."""
    refuse_filled(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield partial
        partial.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def refuse_filled(folder: Path) -> None:
    """Raises UsageError."""
    found = next(folder.iterdir(), None) if folder.is_dir() else folder if folder.exists() else None
    if found is not None:
        raise UsageError(
            f"{folder} is not empty: read {found.name!r} there, expected an empty folder or none",
            tip="name a folder that is yours to fill",
        )


def _files(model: BundledModel, runner: Path, module: Path) -> Mapping[str, Path]:
    files = {RUNNER: runner, MODULE: module}
    files |= {f"input_{index}.npy": path for index, path in enumerate(model.inputs)}
    return files | {f"expected_{index}.npy": path for index, path in enumerate(model.expected)}


def script(model: BundledModel, emulator: str) -> str:
    """The text of `run.sh`; `emulator` are the words before a program on another machine. The tool's threshold is
    absolute; ours is relative to the scale of the outputs."""
    arguments = [f"  --input=@input_{index}.npy" for index in range(len(model.inputs))]
    arguments += [f"  --expected_output=@expected_{index}.npy" for index in range(len(model.expected))]
    scale = max((scale_of(path) for path in model.expected), default=1.0)
    return SCRIPT.format(
        emulator=emulator,
        runner=RUNNER,
        module=MODULE,
        log=LOG,
        function=model.function,
        arguments=" \\\n".join(arguments),
        threshold=model.tolerance * scale,
    )


def scale_of(path: Path) -> float:
    """The largest magnitude in an array; 1 for one of zeros."""
    array = numpy.load(path)
    return float(numpy.abs(array.astype(numpy.float64)).max(initial=0.0)) or 1.0


def readme(facts: BundleFacts, peak: int) -> str:
    """The content of the bundle, its requirements, and its result on the emulated board, with `peak` bytes of
    memory."""
    program = facts.facts
    needs = ", ".join(program.needs)
    beside = f"the C library beside it on the board ({needs})" if needs else "nothing beside it on the board"
    sections = "\n".join(f"| `{name}` | {size:,} |" for name, size in facts.runner.sections[:6])
    return f"""# {facts.model} for {facts.board.name}

Copy this folder to the board and start `./run.sh`. It runs the model once, compares the result with PyTorch's, and
prints `pass` or `fail` and the time, the start of the program included.

| | |
|---|---|
| model | {facts.model}, compiled by iree-base-compiler {facts.compiler}, route `{facts.route}` |
| runtime | IREE {facts.runtime} from source, toolchain `{facts.toolchain}` |
| `{RUNNER}` | {facts.runner.size:,} bytes ({facts.unstripped:,} with debug symbols); {program.architecture}, \
{program.floating_point}, {program.float_abi} float ABI; needs {beside} |
| `{MODULE}` | {facts.module_bytes:,} bytes |
| memory | at most {peak / 2**20:.0f} MiB under the emulator, where a program that does next to nothing \
has {facts.idle_bytes / 2**20:.0f} MiB |
| seen | {facts.qemu}: right, {facts.compared.text} |

A time under an emulator says nothing of the board's, so none is given here.

| section of `{RUNNER}` | bytes |
|---|---|
{sections}
"""


def _refuse_leaks(folder: Path, words: Sequence[str]) -> None:
    """Constants and arrays are numbers: they are only searched for this machine's own names."""
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
            "the bundle reveals the machine that made it\n" + "\n".join(f"  {line}" for line in found[:10]),
            tip="nothing was written; report it with this text",
        )


def refuse_too_large(model: str, needed: int, board: ShippedBoard) -> None:
    """`needed` bytes are for the model and the runtime, without the emulator. Raises BundleRefused."""
    if needed > board.memory_mib << 20:
        raise BundleRefused(
            f"{model} needs {needed >> 20} MiB of memory, and {board.board} has {board.memory_mib} MiB in all",
            tip="bundle a smaller model, or one with smaller inputs; nothing was written",
        )


MEASURE = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:], stdout=sys.stderr).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status if status >= 0 else 128 - status)
"""


def measured_peak(words: Sequence[str], tools: BoardTools, folder: Path) -> int:
    """The peak memory of the processes of a command, where `$EMULATOR` is the emulated board. Raises BundleRefused if
    it fails."""
    board = {
        "EMULATOR": f"{tools.qemu.name} -cpu {tools.cpu}",
        "PATH": f"{tools.qemu.parent}:{os.defpath}",
        "QEMU_LD_PREFIX": tools.placed(tools.toolchain.libraries),
    }
    line = (sys.executable, "-I", "-S", "-c", MEASURE, *words)
    with tempfile.TemporaryDirectory() as scratch:
        done = processes.run(line, timeout=EMULATED_SECONDS, env={**board, "TMPDIR": scratch}, cwd=folder)
    if not done.ok:
        raise BundleRefused(
            f"{words[0]} fails on the emulated board\n{done.tail}",
            tip="another --route or --toolchain may do: `armv6-smoke` shows which",
        )
    return int(done.stdout) << 10
