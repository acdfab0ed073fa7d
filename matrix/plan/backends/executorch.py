"""The backend ExecuTorch: one release lowers a model to a .pte for XNNPACK, another one loads and runs that. Pure."""

from __future__ import annotations

from matrix.plan.backends.backend import Axis, Backend, EnvironmentCost, EnvironmentKind
from matrix.plan.backends.converting import ConvertedChain
from matrix.plan.backends.iree.values import release_values
from matrix.plan.backends.shared import MODEL_AXIS, PYTHON_AXIS, TARGET_AXIS, TORCH_AXIS

_CONVERTER, _RELEASE = "exir", "executorch"
"""The axes of the converter and of the runtime: releases of one package."""
_PRODUCT = "ExecuTorch"
_CONVERT, _RUN, _BENCHMARK = "to-pte", "executorch-run", "executorch-benchmark"
_ENVIRONMENT = "executorch"
"""Of both: a wheel has the converter and the runtime, and each release wants a torch of its own, 5.4 GB."""

_CHAIN = ConvertedChain(
    stages=(_CONVERT, _RUN, _BENCHMARK),
    environments=(_ENVIRONMENT, _ENVIRONMENT),
    axes=(_CONVERTER, _RELEASE),
    scripts=("convert_executorch.py", "run_executorch.py"),
    made=("converted.pte",),
    given="model.pte",
)

_ENVIRONMENTS = (
    EnvironmentKind(
        name=_ENVIRONMENT,
        axes=(_CONVERTER, _RELEASE),
        cost=EnvironmentCost(download_bytes=3_200_000_000, disk_bytes=6_200_000_000, seconds=45.0),
        large=TORCH_AXIS.package,
        same_large=EnvironmentCost(download_bytes=200_000_000, disk_bytes=700_000_000, seconds=10.0),
        warm=(TORCH_AXIS.package,),
        versions_of=(_RELEASE, TORCH_AXIS.package),
    ),
)

_AXES = (
    MODEL_AXIS,
    PYTHON_AXIS,
    Axis(
        name=_CONVERTER,
        plural="releases of ExecuTorch's converter",
        package=_RELEASE,
        product=_PRODUCT,
        released=True,
        value=release_values(_CONVERTER, _CONVERT),
        help="1.5.1, '>=1.0', latest-minors: the converter of ExecuTorch",
    ),
    Axis(
        name=_RELEASE,
        plural="releases of ExecuTorch",
        package=_RELEASE,
        notes="https://github.com/pytorch/executorch/releases/tag/v{version}",
        product=_PRODUCT,
        released=True,
        value=release_values(_RELEASE, _RUN, _BENCHMARK),
        help="1.5.1, '>=1.0', latest-minors",
    ),
    TARGET_AXIS,
)

EXECUTORCH = Backend(
    name="executorch",
    axes=_AXES,
    stages=_CHAIN.kinds(),
    environments=_ENVIRONMENTS,
    forms=_CHAIN.forms("pte"),
    model=_CHAIN.sources,
    square=(_CONVERTER, _RELEASE),
    made="models",
    signatures="signatures_executorch.toml",
)
