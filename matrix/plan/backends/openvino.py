"""The backend OpenVINO: one release converts a model to its IR, another one loads and runs that. Pure."""

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

_CONVERTER, _RELEASE = "ovc", "openvino"
"""The axes of the converter and of the runtime: releases of one package."""
_PACKAGE, _PRODUCT = "openvino", "OpenVINO"
_CONVERT, _RUN, _BENCHMARK = "to-ir", "openvino-run", "openvino-benchmark"
_CONVERTED, _WEIGHTS, _GIVEN_ONNX = "converted.xml", "converted.bin", "model.onnx"
_RECORD, _TIMES = "convert.json", "benchmark.json"
_CONVERTER_SCRIPT, _RUNNER = "convert_openvino.py", "run_openvino.py"
_PROGRAMS = (_RUNNER, "model_inputs.py", "timed_calls.py")
_CONVERTER_ENVIRONMENT, _RUNTIME_ENVIRONMENT = "openvino-converter", "openvino-runtime"


def _runs(given: Given) -> tuple[str, ...]:
    return ("python", _RUNNER, _CONVERTED if _CONVERTED in given.artifacts else _GIVEN_ONNX)


def _times(outputs: Mapping[str, bytes]) -> Mapping[str, Json]:
    timing = read_timing(outputs[_TIMES])
    return asdict(timing) if timing else {}


_STAGES = (
    StageKind(
        name=_CONVERT,
        environment=_CONVERTER_ENVIRONMENT,
        inputs=(),
        outputs=(_CONVERTED, _WEIGHTS, _RECORD, INPUT, EXPECTED),
        needed=(_CONVERTED, _WEIGHTS, _RECORD, EXPECTED),
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
        inputs=(_CONVERTED, _WEIGHTS, _GIVEN_ONNX, INPUT),
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
        inputs=(_CONVERTED, _WEIGHTS, _GIVEN_ONNX, INPUT),
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
        cost=EnvironmentCost(download_bytes=3_000_000_000, disk_bytes=5_700_000_000, seconds=35.0),
        large=TORCH_AXIS.package,
        same_large=EnvironmentCost(download_bytes=60_000_000, disk_bytes=250_000_000, seconds=3.0),
        warm=(TORCH_AXIS.package,),
        versions_of=(_PACKAGE, TORCH_AXIS.package),
    ),
    EnvironmentKind(
        name=_RUNTIME_ENVIRONMENT,
        axes=(_RELEASE,),
        cost=EnvironmentCost(download_bytes=60_000_000, disk_bytes=230_000_000, seconds=1.0),
    ),
)

_AXES = (
    MODEL_AXIS,
    PYTHON_AXIS,
    Axis(
        name=_CONVERTER,
        plural="releases of OpenVINO's converter",
        package=_PACKAGE,
        product=_PRODUCT,
        released=True,
        value=release_values(_CONVERTER, _CONVERT),
        help="2026.4.1, '>=2025', latest-minors: the converter of OpenVINO",
    ),
    Axis(
        name=_RELEASE,
        plural="releases of OpenVINO",
        package=_PACKAGE,
        notes="https://github.com/openvinotoolkit/openvino/releases/tag/{version}",
        product=_PRODUCT,
        released=True,
        value=release_values(_RELEASE, _RUN, _BENCHMARK),
        help="2026.4.1, '>=2025', latest-minors",
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


OPENVINO = Backend(
    name="openvino",
    axes=_AXES,
    stages=_STAGES,
    environments=_ENVIRONMENTS,
    forms=_FORMS,
    model=_model,
    square=(_CONVERTER, _RELEASE),
    made="models",
    signatures="signatures_openvino.toml",
)
