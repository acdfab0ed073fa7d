"""The backend ONNX Runtime: a release of torch converts a model to .onnx, a release of the runtime runs it. Pure."""

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

_RELEASE = "onnxruntime"
"""The axis, and the package."""
_CONVERT, _RUN, _BENCHMARK = "to-onnx", "onnx-run", "onnx-benchmark"
_CONVERTED, _GIVEN_ONNX, _RECORD, _TIMES = "converted.onnx", "model.onnx", "convert.json", "benchmark.json"
_RUNNER = "run_onnx.py"
_PROGRAMS = (_RUNNER, "model_inputs.py", "timed_calls.py")


def _runs(given: Given) -> tuple[str, ...]:
    return ("python", _RUNNER, _CONVERTED if _CONVERTED in given.artifacts else _GIVEN_ONNX)


def _times(outputs: Mapping[str, bytes]) -> Mapping[str, Json]:
    timing = read_timing(outputs[_TIMES])
    return asdict(timing) if timing else {}


_STAGES = (
    StageKind(
        name=_CONVERT,
        environment="onnx-converter",
        inputs=(),
        outputs=(_CONVERTED, _RECORD, INPUT, EXPECTED),
        needed=(_CONVERTED, _RECORD, EXPECTED),
        axes=(PYTHON_AXIS.name, TORCH_AXIS.name),
        extended=True,
        command=lambda _: ("convert_onnx.py",),
        script="convert_onnx.py",
        record=_RECORD,
        limits=Limits(seconds=900, memory_bytes=16 << 30),
        typical_seconds=20.0,
        quiet="look for what ends the process in the model file and in what it imports: os._exit, C++ code",
    ),
    StageKind(
        name=_RUN,
        environment="onnx-runtime",
        inputs=(_CONVERTED, _GIVEN_ONNX, INPUT),
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
        environment="onnx-runtime",
        inputs=(_CONVERTED, _GIVEN_ONNX, INPUT),
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
        name="onnx-converter",
        axes=(TORCH_AXIS.name,),
        cost=EnvironmentCost(download_bytes=3_000_000_000, disk_bytes=5_500_000_000, seconds=35.0),
        large=TORCH_AXIS.package,
        same_large=EnvironmentCost(download_bytes=30_000_000, disk_bytes=150_000_000, seconds=3.0),
        other_python=EnvironmentCost(download_bytes=1_000_000_000, disk_bytes=3_000_000_000, seconds=15.0),
        warm=(TORCH_AXIS.package, "onnx"),
        versions_of=(TORCH_AXIS.package, "onnx", "onnxscript"),
    ),
    EnvironmentKind(
        name="onnx-runtime",
        axes=(_RELEASE,),
        cost=EnvironmentCost(download_bytes=40_000_000, disk_bytes=150_000_000, seconds=1.0),
    ),
)

_AXES = (
    MODEL_AXIS,
    PYTHON_AXIS,
    TORCH_AXIS,
    Axis(
        name=_RELEASE,
        plural="releases of ONNX Runtime",
        package=_RELEASE,
        notes="https://github.com/microsoft/onnxruntime/releases/tag/v{version}",
        product="ONNX Runtime",
        released=True,
        value=release_values(_RELEASE, _RUN, _BENCHMARK),
        help="1.20.1, '>=1.18', latest-minors",
    ),
    TARGET_AXIS,
)

_FORMS = (
    ModelForm(name="file", suffixes=(".py",)),
    ModelForm(name="onnx", suffixes=(".onnx",), artifact=_GIVEN_ONNX, around=frozenset({_CONVERT})),
)


def _model(model: Model) -> Mapping[Stage, Part]:
    if model.form == "file":
        return {_CONVERT: source_parts(model)}
    weights = Part(parameters=tuple(("weights", name) for name in model.weights))
    return {_RUN: weights, _BENCHMARK: weights}


ONNXRUNTIME = Backend(
    name="onnxruntime",
    axes=_AXES,
    stages=_STAGES,
    environments=_ENVIRONMENTS,
    forms=_FORMS,
    model=_model,
    square=(TORCH_AXIS.name, _RELEASE),
    made="models",
    signatures="signatures_onnxruntime.toml",
)
