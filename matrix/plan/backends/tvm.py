"""The backend TVM: one release compiles a model to a shared library, another one loads and runs that. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from matrix.core.records import AxisValue
from matrix.plan.backends.backend import Axis, Backend, EnvironmentCost, EnvironmentKind
from matrix.plan.backends.converting import ConvertedChain
from matrix.plan.backends.iree.values import release_values
from matrix.plan.backends.shared import MODEL_AXIS, PYTHON_AXIS, TARGET_AXIS, TORCH_AXIS

if TYPE_CHECKING:
    from matrix.plan.catalogue import Catalogue
    from matrix.plan.spec import Spec

_COMPILER, _RELEASE = "tvm_compiler", "tvm"
"""The axes of the compiler and of the runtime: releases of one package."""
_PACKAGE, _PRODUCT = "apache-tvm", "TVM"
_CONVERT, _RUN, _BENCHMARK, _PROFILE = "to-so", "so-run", "so-benchmark", "so-profile"
_COMPILER_ENVIRONMENT, _RUNTIME_ENVIRONMENT = "tvm-compiler", "tvm-runtime"

_CHAIN = ConvertedChain(
    stages=(_CONVERT, _RUN, _BENCHMARK),
    environments=(_COMPILER_ENVIRONMENT, _RUNTIME_ENVIRONMENT),
    axes=(_COMPILER, _RELEASE),
    scripts=("convert_tvm.py", "run_tvm.py"),
    made=("converted.so",),
    given="model.so",
    profiled=(_PROFILE, "profile_tvm.py"),
    beside=("run_tvm.py", "timed_calls.py"),
)

_ENVIRONMENTS = (
    EnvironmentKind(
        name=_COMPILER_ENVIRONMENT,
        axes=(_COMPILER,),
        cost=EnvironmentCost(download_bytes=3_200_000_000, disk_bytes=6_200_000_000, seconds=40.0),
        large=TORCH_AXIS.package,
        same_large=EnvironmentCost(download_bytes=210_000_000, disk_bytes=700_000_000, seconds=6.0),
        warm=(TORCH_AXIS.package,),
        versions_of=(_PACKAGE, TORCH_AXIS.package, "ziglang"),
    ),
    EnvironmentKind(
        name=_RUNTIME_ENVIRONMENT,
        axes=(_RELEASE,),
        cost=EnvironmentCost(download_bytes=120_000_000, disk_bytes=390_000_000, seconds=2.0),
    ),
)


def _compiler(label: str, spec: Spec, catalogue: Catalogue) -> AxisValue:
    """It compiles for the CPU that it finds."""
    value = release_values(_COMPILER, _CONVERT)(label, spec, catalogue)
    return replace(value, parts={stage: replace(part, machine_bound=True) for stage, part in value.parts.items()})


_AXES = (
    MODEL_AXIS,
    PYTHON_AXIS,
    Axis(
        name=_COMPILER,
        plural="releases of TVM's compiler",
        package=_PACKAGE,
        product=_PRODUCT,
        released=True,
        value=_compiler,
        help="0.27.0.post1, '>=0.25', latest-minors: the compiler of TVM",
    ),
    Axis(
        name=_RELEASE,
        plural="releases of TVM",
        package=_PACKAGE,
        notes="https://github.com/apache/tvm/releases/tag/v{version}",
        product=_PRODUCT,
        released=True,
        value=release_values(_RELEASE, _RUN, _BENCHMARK, _PROFILE),
        help="0.27.0.post1, '>=0.25', latest-minors",
    ),
    TARGET_AXIS,
)

TVM = Backend(
    name="tvm",
    axes=_AXES,
    stages=_CHAIN.kinds(),
    environments=_ENVIRONMENTS,
    forms=_CHAIN.forms("so"),
    model=_CHAIN.sources,
    square=(_COMPILER, _RELEASE),
    made="models",
    signatures="signatures_tvm.toml",
)
