"""The backend torch: one release exports a model to a .pt2, or compiles it to one by inductor; another one runs that.
Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrix.core.records import AxisValue, Part
from matrix.plan.backends.backend import Axis, Backend, EnvironmentCost, EnvironmentKind
from matrix.plan.backends.converting import ConvertedChain
from matrix.plan.backends.iree.values import release_values
from matrix.plan.backends.shared import MODEL_AXIS, PYTHON_AXIS, TARGET_AXIS, TORCH_AXIS

if TYPE_CHECKING:
    from matrix.plan.catalogue import Catalogue
    from matrix.plan.spec import Spec

_MODE, _RELEASE = "torch_mode", "torch_runtime"
"""The axes of how a model is run, and of the release that runs it: it is one of the package of the axis torch."""
_EAGER, _INDUCTOR = "eager", "inductor"
_CONVERT, _RUN, _BENCHMARK = "to-pt2", "pt2-run", "pt2-benchmark"
_ENVIRONMENT = "pytorch"
"""Of both: 5.4 GB, and a C++ compiler for inductor."""

_CHAIN = ConvertedChain(
    stages=(_CONVERT, _RUN, _BENCHMARK),
    environments=(_ENVIRONMENT, _ENVIRONMENT),
    axes=(TORCH_AXIS.name, _RELEASE),
    scripts=("convert_torch.py", "run_torch.py"),
    made=("converted.pt2",),
    given="model.pt2",
    chosen=(_MODE,),
)

_ENVIRONMENTS = (
    EnvironmentKind(
        name=_ENVIRONMENT,
        axes=(TORCH_AXIS.name, _RELEASE),
        cost=EnvironmentCost(download_bytes=3_100_000_000, disk_bytes=5_800_000_000, seconds=40.0),
        large=TORCH_AXIS.package,
        same_large=EnvironmentCost(download_bytes=100_000_000, disk_bytes=350_000_000, seconds=5.0),
        other_python=EnvironmentCost(download_bytes=1_000_000_000, disk_bytes=3_200_000_000, seconds=18.0),
        warm=(TORCH_AXIS.package,),
        versions_of=(TORCH_AXIS.package, "ziglang"),
    ),
)


def _mode(label: str, _spec: Spec, _catalogue: Catalogue) -> AxisValue:
    """Inductor compiles for the CPU that it finds."""
    part = Part(parameters=(("mode", label),), machine_bound=True)
    return AxisValue(axis=_MODE, label=label, parts={_CONVERT: part if label == _INDUCTOR else Part()})


_AXES = (
    MODEL_AXIS,
    PYTHON_AXIS,
    TORCH_AXIS,
    Axis(
        name=_MODE,
        plural="ways of torch to run a model",
        known=lambda _spec, _catalogue: (_EAGER, _INDUCTOR),
        value=_mode,
        help="eager: operation by operation; inductor: compiled by AOTInductor, as torch.compile does",
        default=(_EAGER,),
    ),
    Axis(
        name=_RELEASE,
        plural="releases of torch that run models",
        package=TORCH_AXIS.package,
        product="torch",
        released=True,
        value=release_values(_RELEASE, _RUN, _BENCHMARK),
        help="2.9.1, '>=2.6', latest-minors: what loads and runs a .pt2",
    ),
    TARGET_AXIS,
)

PYTORCH = Backend(
    name="torch",
    axes=_AXES,
    stages=_CHAIN.kinds(),
    environments=_ENVIRONMENTS,
    forms=_CHAIN.forms("pt2"),
    model=_CHAIN.sources,
    square=(TORCH_AXIS.name, _RELEASE),
    made="models",
    signatures="signatures_torch.toml",
)
