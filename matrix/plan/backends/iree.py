"""The backend IREE: torch and iree-turbine export a model as MLIR, `iree-compile` makes a `.vmfb` of it, IREE's runtime
runs that. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from matrix.artifacts.benchmark import read_timing, strip_private_data
from matrix.core.records import Limits
from matrix.plan.backends.backend import EXPECTED, INPUT, OUTPUT, Backend, Given, StageKind
from matrix.plan.source_builds import BENCHMARKER, CALLER, HEADER, OBJECT, RUNNER, STEPS, UNSTRIPPED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matrix.core.keys import Json

EXPORT, IMPORT, COMPILE, BUILD, LINK = "export", "import", "compile", "build", "link"
RUN, BENCHMARK = "run", "benchmark"

MLIR, VMFB, ONNX, PARAMETERS = "module.mlir", "module.vmfb", "model.onnx", "parameters.irpa"
TIMES = "benchmark.json"
TYPES = "types_*.npy"
"""Of a program that a module is linked into: arrays like its outputs, which it learns types and shapes from."""
IMPORTER = "import_onnx.py"


def _import(given: Given) -> tuple[str, ...]:
    opset = given.parameters.get("opset_version", "")
    raised = ("--opset-version", opset) if opset else ()
    reference = () if given.named(EXPECTED) else ("--reference",)
    return ("python", IMPORTER, ONNX, *raised, *reference)


def _link(given: Given) -> tuple[str, ...]:
    types = (("--then", "cp", name, name.replace("expected", "types")) for name in given.named(EXPECTED))
    return ("python", STEPS, *given.flags, *(word for words in types for word in words))


def _tool(name: str, given: Given) -> tuple[str, ...]:
    """A tool of the runtime with a module and its inputs; one that was built lies in the job's folder."""
    tool = f"./{name}" if name in given.artifacts else name
    parameters = [f"--parameters=model={PARAMETERS}"] if PARAMETERS in given.artifacts else []
    inputs = [f"--input=@{name}" for name in given.named(INPUT)]
    return (tool, f"--module={VMFB}", *parameters, f"--function={given.parameters['function']}", *inputs)


def _run(given: Given) -> tuple[str, ...]:
    outputs = [f"--output=@{name.replace('expected', 'output')}" for name in given.named(EXPECTED)]
    return (*_tool(RUNNER, given), *outputs, *given.flags)


def _benchmark(given: Given) -> tuple[str, ...]:
    """One round: five samples of at least 0.2 s each after a warm-up. The JSON goes to a file, as its context names
    the host, and a log is kept as it is."""
    how = ("--benchmark_repetitions=5", "--benchmark_min_time=0.2s", "--benchmark_min_warmup_time=0.1")
    out = (f"--benchmark_out={TIMES}", "--benchmark_out_format=json", "--print_statistics")
    return (*_tool(BENCHMARKER, given), *how, *out, *given.flags)


def _times(outputs: Mapping[str, bytes]) -> Mapping[str, Json]:
    timing = read_timing(outputs[TIMES])
    return asdict(timing) if timing else {}


STAGES = (
    StageKind(
        name=EXPORT,
        environment="exporter",
        inputs=(),
        outputs=(MLIR, "export.json", INPUT, EXPECTED, PARAMETERS),
        needed=(MLIR, "export.json", EXPECTED),
        command=lambda _: ("export.py",),
        script="export.py",
        limits=Limits(seconds=900, memory_bytes=16 << 30),
        typical_seconds=10.0,
        quiet="look for what ends the process in the model file and in what it imports: os._exit, C++ code",
    ),
    StageKind(
        name=IMPORT,
        environment="importer",
        inputs=(ONNX, INPUT),
        outputs=(MLIR, "import.json", INPUT, EXPECTED),
        needed=(MLIR, "import.json"),
        command=_import,
        programs=(IMPORTER,),
        comes_with=COMPILE,
        typical_seconds=2.0,
    ),
    StageKind(
        name=COMPILE,
        environment="compiler",
        inputs=(MLIR,),
        outputs=(VMFB, OBJECT, HEADER),
        needed=(VMFB,),
        command=lambda given: ("iree-compile", MLIR, "-o", VMFB, *given.flags),
        after=(EXPORT, IMPORT),
        repeatable=True,
        typical_seconds=1.0,
        typical_by_model={  # on one to two cores; the middle of what 2.9 to 3.13 took
            "mobilenet_v2": 12,
            "mobilenet_v3_small": 13,
            "quartznet_5x5": 10,
            "yolox_nano": 45,
            "whisper_tiny_encoder": 10,
            "whisper_tiny_decoder": 4,
            "llama_2l": 3,
        },
    ),
    StageKind(
        name=LINK,
        environment="builder",
        inputs=(OBJECT, HEADER, EXPECTED),
        outputs=(RUNNER, TYPES),
        needed=(RUNNER,),
        command=_link,
        programs=(STEPS, CALLER),
        after=(COMPILE,),
        comes_with=RUN,
        limits=Limits(seconds=900, memory_bytes=8 << 30),
    ),
    StageKind(
        name=BUILD,
        environment="builder",
        inputs=(),
        outputs=(RUNNER, UNSTRIPPED, BENCHMARKER),
        needed=(RUNNER, UNSTRIPPED),
        command=lambda given: ("python", STEPS, *given.flags),
        programs=(STEPS,),
        comes_with=RUN,
        unless=LINK,
        apart=True,
        limits=Limits(seconds=3600, memory_bytes=8 << 30),
        typical_seconds=60.0,
    ),
    StageKind(
        name=RUN,
        environment="runtime",
        inputs=(RUNNER, VMFB, INPUT, PARAMETERS, TYPES),
        outputs=(OUTPUT,),
        needed=(OUTPUT,),
        command=_run,
        executable=(RUNNER,),
        after=(COMPILE, BUILD, LINK),
        compared=True,
        on_target=True,
        limits=Limits(seconds=300, memory_bytes=8 << 30),
        typical_seconds=0.03,
    ),
    StageKind(
        name=BENCHMARK,
        environment="runtime",
        inputs=(BENCHMARKER, VMFB, INPUT, PARAMETERS),
        outputs=(TIMES,),
        needed=(TIMES,),
        command=_benchmark,
        executable=(BENCHMARKER,),
        after=(RUN,),
        judged=False,
        on_target=True,
        alone=True,
        rounds=True,
        limits=Limits(seconds=300, memory_bytes=8 << 30),
        typical_seconds=2.0,
        strip=strip_private_data,
        read=_times,
    ),
)

IREE = Backend(name="iree", stages=STAGES)
