"""The names of IREE's stages and of the files that they hand on, and how a tool of the runtime is called. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrix.plan.backends.backend import INPUT

if TYPE_CHECKING:
    from matrix.plan.backends.backend import Given

EXPORT, IMPORT, COMPILE, BUILD, LINK = "export", "import", "compile", "build", "link"
TOSA_IMPORT = "tosa-import"
"""Of a .tflite."""
ONNX_EXPORT, TFLITE_EXPORT = "onnx-export", "save-tflite"
"""A Python model as a file that is imported."""
ARCHIVE_RUNTIME, FIRMWARE = "archive-runtime", "firmware"
"""Of a runtime without an operating system."""
RUN, COUNT, PROFILE, DISPATCH_TIMES, BENCHMARK = "run", "count", "profile", "dispatch_times", "benchmark"
CUT, INTERPRET = "cut", "interpret"
PHASES, PASSES = "phases", "pass-times"

MLIR, VMFB, ONNX, PARAMETERS = "module.mlir", "module.vmfb", "model.onnx", "parameters.irpa"
TFLITE = "model.tflite"
FLOAT64 = "float64.json"
"""An export leaves it where inputs or outputs are float64."""
KEEP_FLOAT64 = "--iree-input-demote-f64-to-f32"
"""Compilers make float64 float32 unless this flag is false, in inputs and outputs too."""
STATISTICS = "statistics.csv"
DUMP_STATISTICS = "--iree-scheduling-dump-statistics"
"""Every compile writes them: that leaves the module's bytes as they are, in all releases."""
TYPES = "types_*.npy"
"""For a program with a linked module: arrays like its outputs, for their types and shapes."""


def kept_float64(given: Given) -> tuple[str, ...]:
    """The flag of a compiler for a model with float64, unless a value of the cell says it."""
    chosen = any(flag.startswith(KEEP_FLOAT64) for flag in given.flags)
    return (f"{KEEP_FLOAT64}=false",) if FLOAT64 in given.artifacts and not chosen else ()


def compile_words(given: Given, output: str) -> tuple[str, ...]:
    """The arguments of `iree-compile` that compile a model to a file."""
    chosen = any(flag.startswith(DUMP_STATISTICS) for flag in given.flags)
    told = () if chosen else (f"{DUMP_STATISTICS}-format=csv", f"{DUMP_STATISTICS}-file={STATISTICS}")
    return (MLIR, "-o", output, *kept_float64(given), *told, *given.flags)


def tool_words(name: str, given: Given, *, module: str = VMFB) -> tuple[str, ...]:
    """A tool of the runtime with a module and its inputs. A tool that was built is in the job's folder."""
    tool = f"./{name}" if name in given.artifacts else name
    parameters = [f"--parameters=model={PARAMETERS}"] if PARAMETERS in given.artifacts else []
    inputs = [f"--input=@{name}" for name in given.named(INPUT)]
    return (tool, f"--module={module}", *parameters, f"--function={given.parameters['function']}", *inputs)
