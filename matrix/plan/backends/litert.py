"""The backend LiteRT: a release of litert-torch converts a model to .tflite, one of ai-edge-litert runs it. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from matrix.artifacts.benchmark import read_timing, strip_private_data
from matrix.core.records import Limits, Part, Stage
from matrix.plan.backends.backend import (
    EXPECTED,
    INPUT,
    OUTPUT,
    Axis,
    Backend,
    EnvironmentCost,
    EnvironmentKind,
    Given,
    ModelForm,
    StageKind,
)
from matrix.plan.backends.iree_values import release_values, source_parts
from matrix.plan.backends.shared import MODEL_AXIS, PYTHON_AXIS, TARGET_AXIS, TORCH_AXIS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matrix.core.keys import Json
    from matrix.plan.catalogue import Model

_CONVERTER, _RELEASE = "litert_torch", "litert"
"""The axes of the converter and of the runtime."""
_CONVERTER_PACKAGE, _RUNTIME_PACKAGE = "litert-torch", "ai-edge-litert"
_CONVERT, _RUN, _BENCHMARK = "to-tflite", "litert-run", "litert-benchmark"
_CONVERTED, _GIVEN_TFLITE, _RECORD, _TIMES = "converted.tflite", "model.tflite", "convert.json", "benchmark.json"
_CONVERTER_SCRIPT, _RUNNER = "convert_litert.py", "run_litert.py"
_PROGRAMS = (_RUNNER, "model_inputs.py", "timed_calls.py")
_CONVERTER_ENVIRONMENT, _RUNTIME_ENVIRONMENT = "litert-converter", "litert-runtime"


def _runs(given: Given) -> tuple[str, ...]:
    return ("python", _RUNNER, _CONVERTED if _CONVERTED in given.artifacts else _GIVEN_TFLITE)


def _times(outputs: Mapping[str, bytes]) -> Mapping[str, Json]:
    timing = read_timing(outputs[_TIMES])
    return asdict(timing) if timing else {}


_STAGES = (
    StageKind(
        name=_CONVERT,
        environment=_CONVERTER_ENVIRONMENT,
        inputs=(),
        outputs=(_CONVERTED, _RECORD, INPUT, EXPECTED),
        needed=(_CONVERTED, _RECORD, EXPECTED),
        axes=(PYTHON_AXIS.name, _CONVERTER),
        extended=True,
        command=lambda _: (_CONVERTER_SCRIPT,),
        script=_CONVERTER_SCRIPT,
        record=_RECORD,
        limits=Limits(seconds=900, memory_bytes=16 << 30),
        typical_seconds=20.0,
        quiet="look for what ends the process in the model file and in what it imports: os._exit, C++ code",
    ),
    StageKind(
        name=_RUN,
        environment=_RUNTIME_ENVIRONMENT,
        inputs=(_CONVERTED, _GIVEN_TFLITE, INPUT),
        outputs=(OUTPUT,),
        needed=(OUTPUT,),
        axes=(_RELEASE,),
        command=_runs,
        programs=_PROGRAMS,
        after=(_CONVERT,),
        compared=True,
        on_target=True,
        limits=Limits(seconds=300, memory_bytes=8 << 30),
        typical_seconds=0.5,
    ),
    StageKind(
        name=_BENCHMARK,
        environment=_RUNTIME_ENVIRONMENT,
        inputs=(_CONVERTED, _GIVEN_TFLITE, INPUT),
        outputs=(_TIMES,),
        needed=(_TIMES,),
        axes=(_RELEASE,),
        command=lambda given: (*_runs(given), "--times", _TIMES),
        programs=_PROGRAMS,
        after=(_CONVERT, _RUN),
        judged=False,
        on_target=True,
        alone=True,
        rounds=True,
        limits=Limits(seconds=300, memory_bytes=8 << 30),
        typical_seconds=2.5,
        strip=strip_private_data,
        read=_times,
        reads=(_TIMES,),
    ),
)

_ENVIRONMENTS = (
    EnvironmentKind(
        name=_CONVERTER_ENVIRONMENT,
        axes=(_CONVERTER,),
        cost=EnvironmentCost(download_bytes=3_500_000_000, disk_bytes=7_700_000_000, seconds=60.0),
        large=TORCH_AXIS.package,
        same_large=EnvironmentCost(download_bytes=300_000_000, disk_bytes=1_500_000_000, seconds=20.0),
        # the import of litert_torch starts threads of JAX, which no fork survives: each conversion imports it itself
        warm=(TORCH_AXIS.package,),
        versions_of=(_CONVERTER_PACKAGE, TORCH_AXIS.package, "litert-converter"),
    ),
    EnvironmentKind(
        name=_RUNTIME_ENVIRONMENT,
        axes=(_RELEASE,),
        cost=EnvironmentCost(download_bytes=40_000_000, disk_bytes=120_000_000, seconds=1.0),
    ),
)

_AXES = (
    MODEL_AXIS,
    PYTHON_AXIS,
    Axis(
        name=_CONVERTER,
        plural="releases of litert-torch",
        package=_CONVERTER_PACKAGE,
        notes="https://github.com/google-ai-edge/litert-torch/releases/tag/v{version}",
        product=_CONVERTER_PACKAGE,
        released=True,
        value=release_values(_CONVERTER, _CONVERT),
        help="0.10.0, '>=0.9', latest-minors: the converter",
    ),
    Axis(
        name=_RELEASE,
        plural="releases of LiteRT",
        package=_RUNTIME_PACKAGE,
        notes="https://github.com/google-ai-edge/LiteRT/releases/tag/v{version}",
        product="LiteRT",
        released=True,
        value=release_values(_RELEASE, _RUN, _BENCHMARK),
        help="2.3.0, '>=1.2', latest-minors",
    ),
    TARGET_AXIS,
)

_FORMS = (
    ModelForm(name="file", suffixes=(".py",)),
    ModelForm(name="tflite", suffixes=(".tflite",), artifact=_GIVEN_TFLITE, around=frozenset({_CONVERT})),
)


def _model(model: Model) -> Mapping[Stage, Part]:
    return {_CONVERT: source_parts(model)} if model.form == "file" else {}


LITERT = Backend(
    name="litert",
    axes=_AXES,
    stages=_STAGES,
    environments=_ENVIRONMENTS,
    forms=_FORMS,
    model=_model,
    square=(_CONVERTER, _RELEASE),
    made="models",
    signatures="signatures_litert.toml",
)
