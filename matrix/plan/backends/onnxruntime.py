"""The backend ONNX Runtime: a release of torch converts a model to .onnx, a release of the runtime runs it. Pure."""

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

_RELEASE = "onnxruntime"
"""The axis, and the package."""
_CONVERT, _RUN, _BENCHMARK, _PROFILE = "to-onnx", "onnx-run", "onnx-benchmark", "onnx-profile"


_CONVERTER_ENVIRONMENT, _RUNTIME_ENVIRONMENT = "onnx-converter", "onnx-runtime"

_CHAIN = ConvertedChain(
    stages=(_CONVERT, _RUN, _BENCHMARK),
    environments=(_CONVERTER_ENVIRONMENT, _RUNTIME_ENVIRONMENT),
    axes=(TORCH_AXIS.name, _RELEASE),
    scripts=("convert_onnx.py", "run_onnx.py"),
    made=("converted.onnx",),
    given="model.onnx",
    profiled=(_PROFILE, "profile_onnx.py"),
)

ONNX_CONVERTER = EnvironmentKind(
    name=_CONVERTER_ENVIRONMENT,
    axes=(TORCH_AXIS.name,),
    cost=EnvironmentCost(download_bytes=3_000_000_000, disk_bytes=5_500_000_000, seconds=35.0),
    large=TORCH_AXIS.package,
    same_large=EnvironmentCost(download_bytes=30_000_000, disk_bytes=150_000_000, seconds=3.0),
    other_python=EnvironmentCost(download_bytes=1_000_000_000, disk_bytes=3_000_000_000, seconds=15.0),
    warm=(TORCH_AXIS.package, "onnx"),
    versions_of=(TORCH_AXIS.package, "onnx", "onnxscript"),
)
_ENVIRONMENTS = (
    ONNX_CONVERTER,
    EnvironmentKind(
        name=_RUNTIME_ENVIRONMENT,
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
        value=release_values(_RELEASE, _RUN, _BENCHMARK, _PROFILE),
        help="1.20.1, '>=1.18', latest-minors",
    ),
    TARGET_AXIS,
)


def _model(model: Model) -> Mapping[Stage, Part]:
    if model.form == "file":
        return {_CONVERT: source_parts(model)}
    weights = Part(parameters=tuple(("weights", name) for name in model.weights))
    return {_RUN: weights, _BENCHMARK: weights, _PROFILE: weights}


ONNXRUNTIME = Backend(
    name="onnxruntime",
    axes=_AXES,
    stages=_CHAIN.kinds(),
    environments=_ENVIRONMENTS,
    forms=_CHAIN.forms("onnx"),
    model=_model,
    square=(TORCH_AXIS.name, _RELEASE),
    made="models",
    signatures="signatures_onnxruntime.toml",
)
