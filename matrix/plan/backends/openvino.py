"""The backend OpenVINO: one release converts a model to its IR, another one loads and runs that. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrix.core.records import Part, Stage
from matrix.plan.backends.backend import Axis, Backend, EnvironmentCost, EnvironmentKind
from matrix.plan.backends.converting import ConvertedChain
from matrix.plan.backends.iree.values import release_values, source_parts
from matrix.plan.backends.shared import MODEL_AXIS, PYTHON_AXIS, TARGET_AXIS, TORCH_AXIS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matrix.plan.catalogue import Model

_CONVERTER, _RELEASE = "ovc", "openvino"
"""The axes of the converter and of the runtime: releases of one package."""
_PACKAGE, _PRODUCT = "openvino", "OpenVINO"
_CONVERT, _RUN, _BENCHMARK, _PROFILE = "to-ir", "openvino-run", "openvino-benchmark", "openvino-profile"
_CONVERTER_ENVIRONMENT, _RUNTIME_ENVIRONMENT = "openvino-converter", "openvino-runtime"


_CHAIN = ConvertedChain(
    stages=(_CONVERT, _RUN, _BENCHMARK),
    environments=(_CONVERTER_ENVIRONMENT, _RUNTIME_ENVIRONMENT),
    axes=(_CONVERTER, _RELEASE),
    scripts=("convert_openvino.py", "run_openvino.py"),
    made=("converted.xml", "converted.bin"),
    given="model.onnx",
    profiled=(_PROFILE, "profile_openvino.py"),
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
        value=release_values(_RELEASE, _RUN, _BENCHMARK, _PROFILE),
        help="2026.4.1, '>=2025', latest-minors",
    ),
    TARGET_AXIS,
)


def _model(model: Model) -> Mapping[Stage, Part]:
    if model.form == "file":
        return {_CONVERT: source_parts(model)}
    weights = Part(parameters=tuple(("weights", name) for name in model.weights))
    return {_RUN: weights, _BENCHMARK: weights, _PROFILE: weights}


OPENVINO = Backend(
    name="openvino",
    axes=_AXES,
    stages=_CHAIN.kinds(),
    environments=_ENVIRONMENTS,
    forms=_CHAIN.forms("onnx"),
    model=_model,
    square=(_CONVERTER, _RELEASE),
    made="models",
    signatures="signatures_openvino.toml",
)
