"""The kinds of environment of the backend IREE, and the axes and packages that they pin. Pure."""

from __future__ import annotations

from matrix.plan.backends.backend import EnvironmentCost, EnvironmentKind
from matrix.plan.backends.litert import TFLITE_CONVERTER
from matrix.plan.backends.onnxruntime import ONNX_CONVERTER

TORCH, TURBINE, COMPILER, RUNTIME, FLAGS = "torch", "turbine", "compiler", "runtime", "flags"
TOSA = "tosa"
"""The axis of the importer of a .tflite."""

COMPILER_PACKAGE, RUNTIME_PACKAGE, TURBINE_PACKAGE = "iree-base-compiler", "iree-base-runtime", "iree-turbine"
TOSA_PACKAGE = "tosa-converter-for-tflite"

ENVIRONMENTS = (
    EnvironmentKind(
        name="exporter",
        axes=(TORCH, TURBINE),
        beside=(COMPILER_PACKAGE, RUNTIME_PACKAGE),
        variants=("cuda", "cpu"),
        cost=EnvironmentCost(download_bytes=3_000_000_000, disk_bytes=7_700_000_000, seconds=35.0),
        large=TORCH,
        # beside another with the same torch it adds IREE and turbine; on another Python also torch, but no CUDA wheels
        same_large=EnvironmentCost(download_bytes=100_000_000, disk_bytes=700_000_000, seconds=3.0),
        other_python=EnvironmentCost(download_bytes=1_000_000_000, disk_bytes=3_000_000_000, seconds=15.0),
        # turbine 2.3 and 2.4 have `aot` under its older name. torch imports networkx during its first export;
        # 0.9 s against 0.4 s for a fork
        warm=(TORCH, "iree.turbine.aot|shark_turbine.aot", "networkx"),
        versions_of=(TORCH, TURBINE_PACKAGE, COMPILER_PACKAGE, RUNTIME_PACKAGE),
    ),
    EnvironmentKind(
        name="importer",
        axes=(COMPILER,),
        follows=COMPILER,
        extra="[onnx]",
        cost=EnvironmentCost(download_bytes=130_000_000, disk_bytes=640_000_000, seconds=2.5),
    ),
    TFLITE_CONVERTER,
    ONNX_CONVERTER,
    EnvironmentKind(
        name="tosa-importer",
        axes=(TOSA,),
        cost=EnvironmentCost(download_bytes=100_000_000, disk_bytes=350_000_000, seconds=2.5),
    ),
    EnvironmentKind(
        name=COMPILER,
        axes=(COMPILER,),
        cost=EnvironmentCost(download_bytes=85_000_000, disk_bytes=500_000_000, seconds=1.5),
    ),
    EnvironmentKind(
        name="builder",
        cost=EnvironmentCost(download_bytes=290_000_000, disk_bytes=1_100_000_000, seconds=30.0),
    ),
    EnvironmentKind(
        name=RUNTIME,
        axes=(RUNTIME,),
        cost=EnvironmentCost(download_bytes=15_000_000, disk_bytes=110_000_000, seconds=0.5),
    ),
)
"""Costs were measured on 2026-11-21 with the CUDA build of torch 2.9."""
