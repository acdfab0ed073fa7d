"""A folder for a real board: IREE's runtime, one model with its arrays, and a script that says pass or fail.

It is made of what the emulated board has just run right, and looked through for what it gives away.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy

from matrix.armv6.audit import ProgramAudit, audit_program, names_in
from matrix.armv6.models import TOLERANCE, SmokeModel
from matrix.armv6.program import ProgramFacts
from matrix.building import RUNNER
from matrix.errors import BundleRefused
from matrix.judge import Comparison
from matrix.vmfbaudit import audit

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
    """Raises BundleRefused."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BundleRefused(f"{folder} is not empty", tip="name a folder that is yours to fill")


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
