"""The stages of IREE, from a model to outputs and to figures. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from matrix.artifacts.compiler.statistics import read_statistics
from matrix.core.records import Limits
from matrix.plan.backends.backend import EXPECTED, INPUT, OUTPUT, StageKind
from matrix.plan.backends.iree.compiles.phasing import PASSING, PHASING
from matrix.plan.backends.iree.cutting import CUTTING, INTERPRETING
from matrix.plan.backends.iree.environments import COMPILER, FLAGS, RUNTIME, TORCH, TOSA, TURBINE
from matrix.plan.backends.iree.firmware import ARCHIVING, FIRMWARE_LINKING, MEMORY_FILE, read_memory
from matrix.plan.backends.iree.front_ends.exporters import EXPORTS
from matrix.plan.backends.iree.measuring import BENCHMARKING, COUNTING, PROFILING, TIMING_DISPATCHES
from matrix.plan.backends.iree.names import (
    BUILD,
    COMPILE,
    EXPORT,
    FIRMWARE,
    FLOAT64,
    IMPORT,
    LINK,
    MLIR,
    ONNX,
    ONNX_EXPORT,
    PARAMETERS,
    RUN,
    STATISTICS,
    TFLITE,
    TFLITE_EXPORT,
    TOSA_IMPORT,
    TYPES,
    VMFB,
    compile_words,
    tool_words,
)
from matrix.plan.backends.iree.source_builds import BENCHMARKER, CALLER, HEADER_FILE, OBJECT, RUNNER, STEPS, UNSTRIPPED
from matrix.plan.backends.iree.values import DEVICE
from matrix.plan.backends.shared import PYTHON_AXIS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matrix.core.keys import Json
    from matrix.plan.backends.backend import Given

IMPORTER, TFLITE_IMPORTER, OTHER_INPUTS = "import_onnx.py", "import_tflite.py", "other_inputs.py"


def _import(given: Given) -> tuple[str, ...]:
    opset = given.parameters.get("opset_version", "")
    raised = ("--opset-version", opset) if opset else ()
    return ("python", IMPORTER, ONNX, *raised, *_reference(given))


def _import_tflite(given: Given) -> tuple[str, ...]:
    return ("python", TFLITE_IMPORTER, TFLITE, *_reference(given))


def _reference(given: Given) -> tuple[str, ...]:
    return () if given.named(EXPECTED) else ("--reference",)


def _link(given: Given) -> tuple[str, ...]:
    types = (("--then", "cp", name, name.replace("expected", "types")) for name in given.named(EXPECTED))
    return ("python", STEPS, *given.flags, *(word for words in types for word in words))


def _compile(given: Given) -> tuple[str, ...]:
    return ("iree-compile", *compile_words(given, VMFB))


def _run(given: Given) -> tuple[str, ...]:
    outputs = [f"--output=@{name.replace('expected', 'output')}" for name in given.named(EXPECTED)]
    return (*tool_words(RUNNER, given), *outputs, *given.flags)


def _statistics(outputs: Mapping[str, bytes]) -> Mapping[str, Json]:
    found = read_statistics(outputs.get(STATISTICS, b""))
    return asdict(found) if found else {}


STAGES = (
    StageKind(
        name=EXPORT,
        environment="exporter",
        inputs=(),
        outputs=(MLIR, "export.json", INPUT, EXPECTED, PARAMETERS, FLOAT64),
        needed=(MLIR, "export.json", EXPECTED),
        axes=(PYTHON_AXIS.name, TORCH, TURBINE),
        extended=True,
        command=lambda _: ("export.py",),
        script="export.py",
        record="export.json",
        limits=Limits(seconds=900, memory_bytes=16 << 30),
        typical_seconds=10.0,
        quiet="look for what ends the process in the model file and in what it imports: os._exit, C++ code",
    ),
    *EXPORTS,
    StageKind(
        name=IMPORT,
        environment="importer",
        inputs=(ONNX, INPUT),
        outputs=(MLIR, "import.json", INPUT, EXPECTED),
        needed=(MLIR, "import.json"),
        axes=(COMPILER,),
        command=_import,
        programs=(IMPORTER, OTHER_INPUTS),
        after=(ONNX_EXPORT,),
        record="import.json",
        comes_with=COMPILE,
        typical_seconds=2.0,
    ),
    StageKind(
        name=TOSA_IMPORT,
        environment="tosa-importer",
        inputs=(TFLITE, INPUT),
        outputs=(MLIR, "import.json", INPUT, EXPECTED),
        needed=(MLIR, "import.json"),
        axes=(TOSA,),
        command=_import_tflite,
        programs=(TFLITE_IMPORTER, OTHER_INPUTS),
        after=(TFLITE_EXPORT,),
        record="import.json",
        comes_with=COMPILE,
        typical_seconds=2.0,
    ),
    StageKind(
        name=COMPILE,
        environment=COMPILER,
        inputs=(MLIR,),
        outputs=(VMFB, OBJECT, HEADER_FILE, STATISTICS),
        needed=(VMFB,),
        axes=(COMPILER, FLAGS),
        flags=True,
        command=_compile,
        after=(EXPORT, IMPORT, TOSA_IMPORT),
        repeatable=True,
        read=_statistics,
        reads=(STATISTICS,),
        typical_seconds=1.0,
        typical_by_model={  # on one to two cores; the middle of 2.9 to 3.13
            "mobilenet_v2": 12,
            "mobilenet_v3_small": 13,
            "quartznet_5x5": 10,
            "yolox_nano": 45,
            "whisper_tiny_encoder": 10,
            "whisper_tiny_decoder": 4,
            "llama_2l": 3,
        },
    ),
    PHASING,
    PASSING,
    StageKind(
        name=LINK,
        environment="builder",
        inputs=(OBJECT, HEADER_FILE, EXPECTED),
        outputs=(RUNNER, TYPES),
        needed=(RUNNER,),
        axes=(RUNTIME,),
        flags=True,
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
        axes=(RUNTIME,),
        command=lambda given: ("python", STEPS, *given.flags),
        programs=(STEPS,),
        comes_with=RUN,
        unless=LINK,
        apart=True,
        limits=Limits(seconds=3600, memory_bytes=8 << 30),
        typical_seconds=60.0,
    ),
    ARCHIVING,
    FIRMWARE_LINKING,
    StageKind(
        name=RUN,
        environment=RUNTIME,
        inputs=(RUNNER, VMFB, INPUT, PARAMETERS, TYPES),
        outputs=(OUTPUT, MEMORY_FILE),
        needed=(OUTPUT,),
        axes=(RUNTIME, FLAGS),
        flags=True,
        command=_run,
        executable=(RUNNER,),
        after=(COMPILE, BUILD, LINK, FIRMWARE),
        compared=True,
        on_target=True,
        without_device=DEVICE,
        read=read_memory,
        reads=(MEMORY_FILE,),
        limits=Limits(seconds=300, memory_bytes=8 << 30),
        typical_seconds=0.03,
    ),
    CUTTING,
    INTERPRETING,
    COUNTING,
    PROFILING,
    TIMING_DISPATCHES,
    BENCHMARKING,
)
