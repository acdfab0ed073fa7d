"""The backend IREE: torch and iree-turbine export a model as MLIR, `iree-compile` compiles it to a `.vmfb`, and IREE's
runtime runs that. Pure."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from matrix.artifacts.benchmark import read_benchmark, strip_private_data
from matrix.artifacts.compiler.statistics import read_statistics
from matrix.core.records import Limits, Part, Stage
from matrix.plan.backends import counting
from matrix.plan.backends import iree_values as values
from matrix.plan.backends.backend import (
    EXPECTED,
    INPUT,
    JOB_LOG,
    OUTPUT,
    Axis,
    Backend,
    Given,
    ModelForm,
    StageKind,
)
from matrix.plan.backends.iree_environments import (
    COMPILER,
    COMPILER_PACKAGE,
    ENVIRONMENTS,
    FLAGS,
    RUNTIME,
    RUNTIME_PACKAGE,
    TORCH,
    TURBINE,
    TURBINE_PACKAGE,
)
from matrix.plan.backends.shared import MODEL_AXIS, PYTHON_AXIS, TARGET_AXIS, TORCH_AXIS
from matrix.plan.backends.source_builds import BENCHMARKER, CALLER, HEADER_FILE, OBJECT, RUNNER, STEPS, UNSTRIPPED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matrix.core.keys import Json
    from matrix.core.toml_reader import Table
    from matrix.plan.catalogue import Model

OLDER_COMPILER_PACKAGE, OLDER_RUNTIME_PACKAGE = "iree-compiler", "iree-runtime"
"""The packages' names until 20241104.1068; the next release was 2.9.0 under the names of today."""

EXPORT, IMPORT, COMPILE, BUILD, LINK = "export", "import", "compile", "build", "link"
RUN, COUNT, PROFILE, BENCHMARK = "run", "count", "profile", "benchmark"

MLIR, VMFB, ONNX, PARAMETERS = "module.mlir", "module.vmfb", "model.onnx", "parameters.irpa"
FLOAT64 = "float64.json"
"""An export leaves it where inputs or outputs are float64."""
KEEP_FLOAT64 = "--iree-input-demote-f64-to-f32"
"""Compilers make float64 float32 unless this flag is false, in inputs and outputs too."""
STATISTICS = "statistics.csv"
DUMP_STATISTICS = "--iree-scheduling-dump-statistics"
"""Every compile writes them: that leaves the module's bytes as they are, in all releases."""
TIMES = "benchmark.json"
TYPES = "types_*.npy"
"""For a program with a linked module: arrays like its outputs, for their types and shapes."""
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
    """A tool of the runtime with a module and its inputs. A tool that was built is in the job's folder."""
    tool = f"./{name}" if name in given.artifacts else name
    parameters = [f"--parameters=model={PARAMETERS}"] if PARAMETERS in given.artifacts else []
    inputs = [f"--input=@{name}" for name in given.named(INPUT)]
    return (tool, f"--module={VMFB}", *parameters, f"--function={given.parameters['function']}", *inputs)


def _compile(given: Given) -> tuple[str, ...]:
    def chosen(name: str) -> bool:
        return any(flag.startswith(name) for flag in given.flags)

    kept = (f"{KEEP_FLOAT64}=false",) if FLOAT64 in given.artifacts and not chosen(KEEP_FLOAT64) else ()
    told = () if chosen(DUMP_STATISTICS) else (f"{DUMP_STATISTICS}-format=csv", f"{DUMP_STATISTICS}-file={STATISTICS}")
    return ("iree-compile", MLIR, "-o", VMFB, *kept, *told, *given.flags)


def _run(given: Given) -> tuple[str, ...]:
    outputs = [f"--output=@{name.replace('expected', 'output')}" for name in given.named(EXPECTED)]
    return (*_tool(RUNNER, given), *outputs, *given.flags)


def _benchmark(given: Given) -> tuple[str, ...]:
    """One round: five samples of at least 0.2 s each after a warm-up. The JSON goes to a file, because its context
    names the host, and a log is stored as it is."""
    how = ("--benchmark_repetitions=5", "--benchmark_min_time=0.2s", "--benchmark_min_warmup_time=0.1")
    out = (f"--benchmark_out={TIMES}", "--benchmark_out_format=json", "--print_statistics")
    return (*_tool(BENCHMARKER, given), *how, *out, *given.flags)


def _statistics(outputs: Mapping[str, bytes]) -> Mapping[str, Json]:
    found = read_statistics(outputs.get(STATISTICS, b""))
    return asdict(found) if found else {}


COUNTING = StageKind(
    name=COUNT,
    environment=RUNTIME,
    inputs=(BENCHMARKER, VMFB, INPUT, PARAMETERS),
    outputs=(counting.COUNTS_FILE,),
    needed=(counting.COUNTS_FILE,),
    axes=(RUNTIME, FLAGS),
    command=lambda given: (*_tool(BENCHMARKER, given), *counting.count_words(), *given.flags),
    executable=(BENCHMARKER,),
    after=(COMPILE, BUILD, RUN),
    judged=False,
    on_target=True,
    like=RUN,
    counted=counting.COUNTER,
    limits=Limits(seconds=1800, memory_bytes=8 << 30),
    typical_seconds=3.0,
    strip=counting.strip_log,
    read=counting.read_counts,
    reads=(counting.COUNTS_FILE,),
)
PROFILING = replace(
    COUNTING,
    name=PROFILE,
    outputs=(counting.COUNTS_FILE, counting.BLOCKS_FILE),
    needed=(counting.COUNTS_FILE, counting.BLOCKS_FILE),
    counted=counting.PROFILER,
    read=counting.read_profiled,
)
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
    StageKind(
        name=IMPORT,
        environment="importer",
        inputs=(ONNX, INPUT),
        outputs=(MLIR, "import.json", INPUT, EXPECTED),
        needed=(MLIR, "import.json"),
        axes=(COMPILER,),
        command=_import,
        programs=(IMPORTER,),
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
        after=(EXPORT, IMPORT),
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
    StageKind(
        name=RUN,
        environment=RUNTIME,
        inputs=(RUNNER, VMFB, INPUT, PARAMETERS, TYPES),
        outputs=(OUTPUT,),
        needed=(OUTPUT,),
        axes=(RUNTIME, FLAGS),
        flags=True,
        command=_run,
        executable=(RUNNER,),
        after=(COMPILE, BUILD, LINK),
        compared=True,
        on_target=True,
        limits=Limits(seconds=300, memory_bytes=8 << 30),
        typical_seconds=0.03,
    ),
    COUNTING,
    PROFILING,
    StageKind(
        name=BENCHMARK,
        environment=RUNTIME,
        inputs=(BENCHMARKER, VMFB, INPUT, PARAMETERS),
        outputs=(TIMES,),
        needed=(TIMES,),
        axes=(RUNTIME, FLAGS),
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
        read=lambda outputs: read_benchmark(outputs[TIMES], outputs[JOB_LOG]),
        reads=(TIMES,),
    ),
)

AXES = (
    MODEL_AXIS,
    PYTHON_AXIS,
    TORCH_AXIS,
    Axis(
        name=TURBINE,
        package=TURBINE_PACKAGE,
        notes="https://github.com/iree-org/iree-turbine/releases/tag/v{version}",
        released=True,
        value=values.release_values(TURBINE, EXPORT),
        help="3.9.0, '>=3.5', all",
    ),
    Axis(
        name=COMPILER,
        package=COMPILER_PACKAGE,
        older_package=OLDER_COMPILER_PACKAGE,
        notes="https://github.com/iree-org/iree/releases/tag/v{version}",
        older_notes="https://github.com/iree-org/iree/releases/tag/candidate-{version}",
        product="IREE",
        released=True,
        tool="iree-compile",
        tools_beside=("iree-lld",),
        value=values.release_values(COMPILER, IMPORT, COMPILE, tools_in=COMPILE, renamed=values.COMPILER_RENAMED),
        help="3.8.0, '>=3.6', latest-minors",
    ),
    Axis(
        name=RUNTIME,
        package=RUNTIME_PACKAGE,
        older_package=OLDER_RUNTIME_PACKAGE,
        product="IREE",
        released=True,
        tool=RUNNER,
        tools_beside=(BENCHMARKER, "iree-profile"),
        built=True,
        value=values.release_values(
            RUNTIME, RUN, tools_in=RUN, built_in=BUILD, linked_in=LINK, renamed=values.RUNTIME_RENAMED
        ),
        help="3.8.0, '>=3.6', latest-minors",
    ),
    TARGET_AXIS,
    Axis(
        name=FLAGS,
        known=lambda _, catalogue: catalogue.flags,
        value=values.flag_set(FLAGS),
        literal=COMPILE,
        help="a table of flags.toml, or literal flags of iree-compile: '--iree-opt-level=O3'",
        default=("default",),
    ),
)

FORMS = (
    ModelForm(name="file", suffixes=(".py",), around=frozenset({IMPORT})),
    ModelForm(name="mlir", suffixes=(".mlir", ".mlirbc"), artifact=MLIR, around=frozenset({EXPORT, IMPORT})),
    ModelForm(name="onnx", suffixes=(".onnx",), artifact=ONNX, around=frozenset({EXPORT})),
    ModelForm(name="vmfb", suffixes=(".vmfb",), artifact=VMFB, around=frozenset({EXPORT, IMPORT, COMPILE})),
)


def _model(model: Model) -> Mapping[Stage, Part]:
    return values.model_parts(model, export=EXPORT, importing=IMPORT, compiling=COMPILE, run=RUN)


def _target(row: Table) -> Mapping[Stage, tuple[str, ...]]:
    return values.target_flags(row, compile_in=COMPILE, run_in=RUN)


IREE = Backend(
    name="iree",
    axes=AXES,
    stages=STAGES,
    environments=ENVIRONMENTS,
    forms=FORMS,
    model=_model,
    square=(COMPILER, RUNTIME),
    made="modules",
    exchanged=MLIR,
    module=VMFB,
    signatures="signatures.toml",
    target_keys=(*values.TARGET_FLAGS, COMPILE, RUN),
    target_flags=_target,
)
