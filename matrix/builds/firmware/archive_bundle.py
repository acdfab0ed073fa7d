"""A folder with a model for a microcontroller: header, archive and example, to be linked into one's own firmware.

It is made from a cell that has just passed on the emulated board. The example is linked with the archive alone, and
runs on that board too, before the folder appears.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from matrix.artifacts.program_audit import names_in
from matrix.builds.board_programs import BoardTools
from matrix.builds.bundle import BundledModel, scale_of, whole_folder
from matrix.builds.counter import COUNTER_LIBRARIES, COUNTER_LOADER
from matrix.core import processes
from matrix.core.data import data_root
from matrix.core.errors import BundleRefused
from matrix.core.keys import Json
from matrix.plan.backends.iree.boards import Microcontroller, microcontrollers
from matrix.plan.backends.iree.firmware import FIRMWARE_SOURCES, LIBRARY, SECTIONS, firmware_commands, query_header
from matrix.plan.backends.iree.source_builds import HEADER_FILE, RUNNER
from matrix.plan.stages import launched

BUNDLED_SOURCES = ("model.h", "main.c", "board.c", "board.h", "board.ld")
BUILT_IN = ("model_module.h", "module.c")
ARCHIVE_SECONDS = 900.0
ARRAYS = "arrays.h"
TYPES_OF_C = {
    "|b1": ("unsigned char", "MODEL_BOOL8"),
    "|i1": ("signed char", "MODEL_INT8"),
    "|u1": ("unsigned char", "MODEL_UINT8"),
    "<i2": ("short", "MODEL_INT16"),
    "<i4": ("int", "MODEL_INT32"),
    "<i8": ("long long", "MODEL_INT64"),
    "<f4": ("float", "MODEL_FLOAT32"),
}
"""numpy's name of a type -> that of C, and that of `model.h`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmwareFacts:
    """What the README of a folder says. `figures` are those of the cell, in bytes; `words` are the compiler's."""

    compiler: str
    runtime: str
    toolchain: str
    route: str
    figures: Mapping[str, Json]
    compared: str
    words: tuple[str, ...]

    @property
    def flash_bytes(self) -> int:
        return int(str(self.figures["flash_bytes"]))

    @property
    def ram_bytes(self) -> int:
        """Static data, and the peaks of heap and stack."""
        return sum(int(str(self.figures[name])) for name in ("static_bytes", "heap_bytes", "stack_bytes"))


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmwareParts:
    """The files of a cell (name -> path), the words of target and route behind the compiler's, the emulator's argv, and
    the tools of both."""

    files: Mapping[str, Path]
    memory: tuple[str, ...]
    route: tuple[str, ...]
    emulator: tuple[str, ...]
    tools: BoardTools


def verdict_on(board: Microcontroller, facts: FirmwareFacts) -> str:
    """Whether a board has the memory, with both figures if not."""
    if board.why:
        return f"no: {board.why}"
    pairs = (("flash", facts.flash_bytes, board.flash_kib), ("RAM", facts.ram_bytes, board.ram_kib))
    short = [f"{kind} {_kib(needed)} of {has} KiB" for kind, needed, has in pairs if needed > has << 10]
    return f"no: {' and '.join(short)}" if short else "yes"


def _kib(size: int) -> str:
    return f"{size / 1024:.0f} KiB"


def write_firmware(
    folder: Path, model: BundledModel, parts: FirmwareParts, facts: FirmwareFacts, words: Sequence[str]
) -> None:
    """Fills `folder`, which must not exist or be empty; it appears complete. `words` are names of this machine.

    Raises BundleRefused if the example does not run right on the emulated board, or a file has one of the words.
    """
    with whole_folder(folder) as partial:
        sources = data_root() / FIRMWARE_SOURCES
        for name in BUNDLED_SOURCES:
            shutil.copyfile(sources / name, partial / name)
        (partial / ARRAYS).write_text(arrays_header(model), encoding="utf-8")
        with tempfile.TemporaryDirectory() as scratch:
            _make_archive(Path(scratch), parts, sources)
            shutil.copyfile(Path(scratch) / LIBRARY, partial / LIBRARY)
            _try_example(Path(scratch), partial, parts)
        (partial / "README.md").write_text(firmware_readme(model.name, facts), encoding="utf-8")
        for path in sorted(partial.iterdir()):
            if found := list(names_in(path.read_bytes(), words)):
                raise BundleRefused(
                    f"the bundle reveals the machine that made it: {path.name}: {found[0]}",
                    tip="nothing was written; report it with this text",
                )


def _make_archive(scratch: Path, parts: FirmwareParts, sources: Path) -> None:
    """The archive of the runtime with the module, and its code, in it."""
    for name in BUILT_IN:
        shutil.copyfile(sources / name, scratch / name)
    for name, path in parts.files.items():
        shutil.copyfile(path, scratch / name)
    (scratch / LIBRARY).chmod(0o644)
    toolchain, defines = parts.tools.toolchain, [word for word in parts.route if word.startswith("-D")]
    objects = [word for word in parts.route if word.endswith(".o")]
    if HEADER_FILE in parts.files:
        (scratch / "query.h").write_text(query_header(parts.files[HEADER_FILE].read_text(encoding="utf-8")))
    compile_it = (*toolchain.cc, *toolchain.runtime_flags, *SECTIONS, *defines, "-c", "module.c", "-o", "bytes.o")
    _run(compile_it, scratch, parts)
    _run((f"{toolchain.binutils}ar", "qsD", LIBRARY, "bytes.o", *objects), scratch, parts)


def _try_example(scratch: Path, folder: Path, parts: FirmwareParts) -> None:
    for path in folder.iterdir():
        shutil.copyfile(path, scratch / path.name)
    (command,) = firmware_commands(parts.tools.toolchain, ("main.c", "board.c"))
    _run((*command, *parts.memory, LIBRARY, "-lm"), scratch, parts)
    _, *words = launched(parts.emulator, (f"./{RUNNER}", "example"))
    tree = parts.tools.qemu.parents[2]
    loader = (str(tree / COUNTER_LOADER), "--library-path", str(tree / COUNTER_LIBRARIES), str(parts.tools.qemu))
    _done(processes.run((*loader, *words), timeout=ARCHIVE_SECONDS, cwd=scratch), "main.c on the emulated board")


def _run(command: Sequence[str], folder: Path, parts: FirmwareParts) -> None:
    tools = parts.tools
    variables = {name: tools.placed(value) for name, value in tools.toolchain.environment}
    words = [tools.placed(word) for word in command]
    done = processes.run(words, timeout=ARCHIVE_SECONDS, cwd=folder, env={"PATH": os.defpath, **variables})
    _done(done, Path(words[0]).name)


def _done(done: processes.Completed, what: str) -> None:
    if not done.ok:
        raise BundleRefused(
            f"{what} fails: exit code {done.exit_code}\n{done.tail}",
            tip="nothing was written; another --route or --toolchain may do",
        )


def arrays_header(model: BundledModel) -> str:
    """The arrays of a model as constants of C, and how far an output may lie from what is expected."""
    scale = max((scale_of(path) for path in model.expected), default=1.0)
    lines = ["// The inputs of one call and the outputs that PyTorch computed.", '#include "model.h"', ""]
    lines += [f'#define ARRAYS_FUNCTION "{model.function}"', f"#define ARRAYS_THRESHOLD {model.tolerance * scale:.6g}f"]
    for name, paths in (("input", model.inputs), ("expected", model.expected)):
        macro = "INPUT_COUNT" if name == "input" else "OUTPUT_COUNT"
        arrays = [numpy.load(path) for path in paths]
        lines.append(f"#define {macro} {len(paths)}")
        lines += [_constants(f"{name}_{index}", array) for index, array in enumerate(arrays)]
        rows = ", ".join(_described(f"{name}_{index}", array) for index, array in enumerate(arrays))
        lines.append(f"static const model_array_t {'inputs' if name == 'input' else name}[] = {{{rows}}};")
    return "\n".join(lines) + "\n"


def _constants(name: str, array: NDArray[Any]) -> str:
    """Floats by nine digits are the same floats again."""
    kind = TYPES_OF_C[array.dtype.str][0]
    values = [f"{value:.9g}" if array.dtype.kind == "f" else str(int(value)) for value in array.ravel()]
    return f"static const {kind} {name}[] = {{{', '.join(values)}}};"


def _described(name: str, array: NDArray[Any]) -> str:
    shape = ", ".join(map(str, array.shape))
    kind = TYPES_OF_C[array.dtype.str][1]
    return f"{{{kind}, {array.ndim}, {{{shape}}}, {name}, sizeof {name}}}"


def firmware_readme(name: str, facts: FirmwareFacts) -> str:
    """What is in the folder, what it needs, how it is linked, and which boards have the memory."""
    rows = "\n".join(
        f"| {board.name} | {board.chip} | {board.flash_kib:,} | {board.ram_kib:,} | {verdict_on(board, facts)} |"
        for board in microcontrollers()
    )
    figures = facts.figures
    return f"""# {name} for a Cortex-M4 with FPU, without an operating system

`{LIBRARY}` has IREE's runtime and the model, `model.h` says how it is called, `main.c` is an example that checks
itself. Link them into your own firmware:

```
arm-none-eabi-gcc {" ".join(facts.words)} -ffunction-sections -Wl,--gc-sections \\
  YOUR_FILES main.c {LIBRARY} -lm -o firmware.elf
```

`board.c` and `board.ld` are the start and the memory of QEMU's board; leave them out beside those of your own board.

| | |
|---|---|
| model | {name}, compiled by iree-base-compiler {facts.compiler}, route `{facts.route}` |
| runtime | IREE {facts.runtime} from source, toolchain `{facts.toolchain}` |
| flash | {facts.flash_bytes:,} bytes, in a program that reads its arrays from files |
| RAM | {facts.ram_bytes:,} bytes: {figures["static_bytes"]:,} static, heap of {figures["heap_bytes"]:,}, \
stack of {figures["stack_bytes"]:,} |
| seen | on the emulated board: right, {facts.compared}; `main.c` says pass there |

A time under an emulator says nothing of the board's, so none is given here. Nothing of this was run on a board.

| board | chip | flash, KiB | RAM, KiB | has the memory |
|---|---|---|---|---|
{rows}
"""
