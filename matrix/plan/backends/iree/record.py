"""The backend IREE: torch and iree-turbine export a model as MLIR, `iree-compile` compiles it to a `.vmfb`, and IREE's
runtime runs that. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrix.core.records import Part, Stage
from matrix.plan.backends.backend import Axis, Backend, ModelForm
from matrix.plan.backends.iree import values
from matrix.plan.backends.iree.environments import (
    COMPILER,
    COMPILER_PACKAGE,
    ENVIRONMENTS,
    FLAGS,
    RUNTIME,
    RUNTIME_PACKAGE,
    TOSA,
    TOSA_PACKAGE,
    TURBINE,
    TURBINE_PACKAGE,
)
from matrix.plan.backends.iree.front_ends.exporters import BEFORE_MLIR, BY_OTHERS, EXPORTS, FRONT_END, FRONT_END_AXIS
from matrix.plan.backends.iree.names import (
    ARCHIVE_RUNTIME,
    BUILD,
    COMPILE,
    CUT,
    EXPORT,
    FIRMWARE,
    IMPORT,
    INTERPRET,
    LINK,
    MLIR,
    ONNX,
    PASSES,
    PHASES,
    RUN,
    TFLITE,
    TOSA_IMPORT,
    VMFB,
)
from matrix.plan.backends.iree.source_builds import BENCHMARKER, RUNNER
from matrix.plan.backends.iree.stages import STAGES
from matrix.plan.backends.litert import CONVERTER_AXIS
from matrix.plan.backends.shared import MODEL_AXIS, PYTHON_AXIS, TARGET_AXIS, TORCH_AXIS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matrix.core.toml_reader import Table
    from matrix.plan.catalogue import Model

OLDER_COMPILER_PACKAGE, OLDER_RUNTIME_PACKAGE = "iree-compiler", "iree-runtime"
"""The packages' names until 20241104.1068; the next release was 2.9.0 under the names of today."""

AXES = (
    MODEL_AXIS,
    PYTHON_AXIS,
    TORCH_AXIS,
    FRONT_END_AXIS,
    CONVERTER_AXIS,
    Axis(
        name=TURBINE,
        package=TURBINE_PACKAGE,
        notes="https://github.com/iree-org/iree-turbine/releases/tag/v{version}",
        released=True,
        value=values.release_values(TURBINE, EXPORT),
        help="3.9.0, '>=3.5', all",
    ),
    Axis(
        name=TOSA,
        plural="releases of tosa-converter-for-tflite",
        package=TOSA_PACKAGE,
        released=True,
        value=values.release_values(TOSA, TOSA_IMPORT),
        help="2026.2.0, all: the importer of a .tflite",
        optional=True,
    ),
    Axis(
        name=COMPILER,
        package=COMPILER_PACKAGE,
        older_package=OLDER_COMPILER_PACKAGE,
        notes="https://github.com/iree-org/iree/releases/tag/v{version}",
        older_notes="https://github.com/iree-org/iree/releases/tag/candidate-{version}",
        product="IREE",
        released=True,
        tool="iree-compile",
        tools_beside=("iree-lld",),
        value=values.release_values(COMPILER, IMPORT, COMPILE, tools_in=COMPILE, renamed=values.COMPILER_RENAMED),
        help="3.8.0, '>=3.6', latest-minors",
    ),
    Axis(
        name=RUNTIME,
        package=RUNTIME_PACKAGE,
        older_package=OLDER_RUNTIME_PACKAGE,
        product="IREE",
        released=True,
        tool=RUNNER,
        tools_beside=(BENCHMARKER, "iree-profile"),
        built=True,
        value=values.release_values(
            RUNTIME,
            RUN,
            tools_in=RUN,
            built_in=BUILD,
            linked_in=LINK,
            bare_in=(ARCHIVE_RUNTIME, FIRMWARE),
            renamed=values.RUNTIME_RENAMED,
        ),
        help="3.8.0, '>=3.6', latest-minors",
    ),
    TARGET_AXIS,
    Axis(
        name=FLAGS,
        known=lambda _, catalogue: catalogue.flags,
        value=values.flag_set(FLAGS),
        literal=COMPILE,
        help="a table of flags.toml, or literal flags of iree-compile: '--iree-opt-level=O3'",
        default=("default",),
    ),
)

FORMS = (
    ModelForm(name="file", suffixes=(".py",), around=BY_OTHERS, chosen_by=FRONT_END),
    ModelForm(name="mlir", suffixes=(".mlir", ".mlirbc"), artifact=MLIR, around=BEFORE_MLIR),
    ModelForm(name="onnx", suffixes=(".onnx",), artifact=ONNX, around=BEFORE_MLIR - {IMPORT}),
    ModelForm(name="tflite", suffixes=(".tflite",), artifact=TFLITE, around=BEFORE_MLIR - {TOSA_IMPORT}),
    ModelForm(
        name="vmfb",
        suffixes=(".vmfb",),
        artifact=VMFB,
        around=BEFORE_MLIR | {COMPILE, CUT, INTERPRET, PHASES, PASSES},
    ),
)


def _model(model: Model) -> Mapping[Stage, Part]:
    parts = values.model_parts(model, export=EXPORT, importing=IMPORT, compiling=COMPILE, cut=CUT, run=RUN)
    source = values.source_parts(model)
    return {**dict.fromkeys((kind.name for kind in EXPORTS), source), **parts} if model.form == "file" else parts


def _target(row: Table) -> Mapping[Stage, tuple[str, ...]]:
    return values.target_flags(row, compile_in=COMPILE, run_in=RUN, firmware_in=FIRMWARE)


IREE = Backend(
    name="iree",
    axes=AXES,
    stages=STAGES,
    environments=ENVIRONMENTS,
    forms=FORMS,
    model=_model,
    square=(COMPILER, RUNTIME),
    made="modules",
    exchanged=MLIR,
    module=VMFB,
    signatures="signatures.toml",
    target_keys=(*values.TARGET_FLAGS, COMPILE, RUN, FIRMWARE),
    target_flags=_target,
)
