"""The backend LiteRT: a release of litert-torch converts a model to .tflite, one of ai-edge-litert runs it. Pure."""

from __future__ import annotations

from matrix.plan.backends.backend import Axis, Backend, EnvironmentCost, EnvironmentKind
from matrix.plan.backends.converting import ConvertedChain
from matrix.plan.backends.iree.values import release_values
from matrix.plan.backends.shared import MODEL_AXIS, PYTHON_AXIS, TARGET_AXIS, TORCH_AXIS, pinned_values

_CONVERTER, _RELEASE = "litert_torch", "litert"
"""The axes of the converter and of the runtime."""
_CONVERTER_PACKAGE, _RUNTIME_PACKAGE = "litert-torch", "ai-edge-litert"
_CONVERT, _RUN, _BENCHMARK = "to-tflite", "litert-run", "litert-benchmark"
_CONVERTER_ENVIRONMENT, _RUNTIME_ENVIRONMENT = "litert-converter", "litert-runtime"


_CHAIN = ConvertedChain(
    stages=(_CONVERT, _RUN, _BENCHMARK),
    environments=(_CONVERTER_ENVIRONMENT, _RUNTIME_ENVIRONMENT),
    axes=(_CONVERTER, _RELEASE),
    scripts=("convert_litert.py", "run_litert.py"),
    made=("converted.tflite",),
    given="model.tflite",
)

TFLITE_CONVERTER = EnvironmentKind(
    name=_CONVERTER_ENVIRONMENT,
    axes=(_CONVERTER,),
    cost=EnvironmentCost(download_bytes=3_500_000_000, disk_bytes=7_700_000_000, seconds=60.0),
    large=TORCH_AXIS.package,
    same_large=EnvironmentCost(download_bytes=300_000_000, disk_bytes=1_500_000_000, seconds=20.0),
    # the import of litert_torch starts threads of JAX, which no fork survives: each conversion imports it itself
    warm=(TORCH_AXIS.package,),
    versions_of=(_CONVERTER_PACKAGE, TORCH_AXIS.package, "litert-converter"),
)
_ENVIRONMENTS = (
    TFLITE_CONVERTER,
    EnvironmentKind(
        name=_RUNTIME_ENVIRONMENT,
        axes=(_RELEASE,),
        cost=EnvironmentCost(download_bytes=40_000_000, disk_bytes=120_000_000, seconds=1.0),
    ),
)

CONVERTER_AXIS = Axis(
    name=_CONVERTER,
    plural="releases of litert-torch",
    package=_CONVERTER_PACKAGE,
    notes="https://github.com/google-ai-edge/litert-torch/releases/tag/v{version}",
    product=_CONVERTER_PACKAGE,
    released=True,
    value=pinned_values(_CONVERTER, _CONVERTER_PACKAGE),
    help="0.10.0, '>=0.9', latest-minors: the converter",
    optional=True,  # IREE has it too, for a .tflite that it imports
)
_AXES = (
    MODEL_AXIS,
    PYTHON_AXIS,
    CONVERTER_AXIS,
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

LITERT = Backend(
    name="litert",
    axes=_AXES,
    stages=_CHAIN.kinds(),
    environments=_ENVIRONMENTS,
    forms=_CHAIN.forms("tflite"),
    model=_CHAIN.sources,
    square=(_CONVERTER, _RELEASE),
    made="models",
    signatures="signatures_litert.toml",
)
