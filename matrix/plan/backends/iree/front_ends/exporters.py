"""What writes a Python model for IREE: turbine as MLIR, or an exporter of another system as a file that IREE imports.
Their axis, and their stages. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrix.core.records import AxisValue, Limits, Part, Stage
from matrix.plan.backends.backend import EXPECTED, INPUT, Axis, StageKind
from matrix.plan.backends.iree.environments import TORCH
from matrix.plan.backends.iree.names import (
    COMPILE,
    EXPORT,
    IMPORT,
    ONNX,
    ONNX_EXPORT,
    TFLITE,
    TFLITE_EXPORT,
    TOSA_IMPORT,
)
from matrix.plan.backends.litert import CONVERTER_AXIS, TFLITE_CONVERTER
from matrix.plan.backends.onnxruntime import ONNX_CONVERTER
from matrix.plan.backends.shared import PYTHON_AXIS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matrix.plan.catalogue import Catalogue
    from matrix.plan.spec import Spec

FRONT_END = "front_end"
_TURBINE = "turbine"
_CHAINS: Mapping[str, frozenset[Stage]] = {
    _TURBINE: frozenset({EXPORT}),
    "onnx-dynamo": frozenset({ONNX_EXPORT, IMPORT}),
    "onnx-torchscript": frozenset({ONNX_EXPORT, IMPORT}),
    "litert": frozenset({TFLITE_EXPORT, TOSA_IMPORT}),
}
"""The stages of each until there is MLIR."""
_PARTS: Mapping[str, Mapping[Stage, Part]] = {
    "onnx-dynamo": {ONNX_EXPORT: Part(parameters=(("dynamo", "true"),))},
    "onnx-torchscript": {ONNX_EXPORT: Part(parameters=(("dynamo", "false"),))},
}
BEFORE_MLIR = frozenset[Stage]().union(*_CHAINS.values())
BY_OTHERS = BEFORE_MLIR - _CHAINS[_TURBINE]
"""The stages that a Python model skips where nothing is said of front ends."""


def _front_end(label: str, _spec: Spec, _catalogue: Catalogue) -> AxisValue:
    """A cell of one front end skips the stages of the others."""
    return AxisValue(axis=FRONT_END, label=label, parts=_PARTS.get(label, {}), without=BEFORE_MLIR - _CHAINS[label])


FRONT_END_AXIS = Axis(
    name=FRONT_END,
    plural="front ends",
    known=lambda _spec, _catalogue: _CHAINS,
    value=_front_end,
    help="turbine, onnx-dynamo or onnx-torchscript (torch.onnx), litert (litert-torch): what exports a Python model",
    default=(_TURBINE,),
    optional=True,
)


def _export(name: Stage, environment: str, made: str, axes: tuple[str, ...], script: str) -> StageKind:
    return StageKind(
        name=name,
        environment=environment,
        inputs=(),
        outputs=(made, "convert.json", INPUT, EXPECTED),
        needed=(made, "convert.json", EXPECTED),
        axes=(PYTHON_AXIS.name, *axes, FRONT_END),
        extended=True,
        command=lambda _: (script,),
        script=script,
        record="convert.json",
        comes_with=COMPILE,
        limits=Limits(seconds=900, memory_bytes=16 << 30),
        typical_seconds=20.0,
        quiet="look for what ends the process in the model file and in what it imports: os._exit, C++ code",
    )


EXPORTS = (
    _export(ONNX_EXPORT, ONNX_CONVERTER.name, ONNX, (TORCH,), "export_onnx.py"),
    _export(TFLITE_EXPORT, TFLITE_CONVERTER.name, TFLITE, (CONVERTER_AXIS.name,), "export_tflite.py"),
)
