"""The stages of IREE that take a module apart: cut into its dispatches, and those interpreted by VMVX. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrix.core.records import Limits
from matrix.plan.backends.backend import INPUT, StageKind
from matrix.plan.backends.iree.environments import COMPILER, FLAGS, RUNTIME
from matrix.plan.backends.iree.names import (
    BUILD,
    COMPILE,
    CUT,
    INTERPRET,
    MLIR,
    PARAMETERS,
    RUN,
    kept_float64,
    tool_words,
)
from matrix.plan.backends.iree.source_builds import RUNNER

if TYPE_CHECKING:
    from matrix.plan.backends.backend import Given

CUTTER, READER = "cut_dispatches.py", "flow_text.py"
DISPATCHES_FILE = "dispatches.json"
REFERENCE_MODULE, REFERENCE_FLAGS = "reference.vmfb", "reference.flags"
ALONE, INTERPRETED, VALUES = "dispatch_*.mlir", "interpreted_*.mlir", "value_*.npy"
"""Each different dispatch as a module, for the target and for VMVX, and what dispatches take and make, as VMVX computes
it."""
LOCALLY = "--device=local-sync"
"""Where VMVX runs."""
FROM_FLOW = "--compile-from=flow"
"""The flag with which a compiler takes a dispatch that is cut."""


def _cut(given: Given) -> tuple[str, ...]:
    return ("python", CUTTER, MLIR, given.parameters["function"], *kept_float64(given), *given.flags)


def _interpret(given: Given) -> tuple[str, ...]:
    """On the runtime of the cell: its flags may name another device, and VMVX runs on the CPU."""
    return (*tool_words(RUNNER, given, module=REFERENCE_MODULE), LOCALLY, f"--flagfile={REFERENCE_FLAGS}")


CUTTING = StageKind(
    name=CUT,
    environment=COMPILER,
    inputs=(MLIR,),
    outputs=(DISPATCHES_FILE, REFERENCE_MODULE, REFERENCE_FLAGS, ALONE, INTERPRETED),
    needed=(DISPATCHES_FILE, REFERENCE_MODULE, REFERENCE_FLAGS),
    axes=(COMPILER, FLAGS),
    command=_cut,
    programs=(CUTTER, READER),
    after=(COMPILE,),
    judged=False,
    like=COMPILE,
    limits=Limits(seconds=1800, memory_bytes=8 << 30),
    typical_seconds=3.0,
)
INTERPRETING = StageKind(
    name=INTERPRET,
    environment=RUNTIME,
    inputs=(RUNNER, REFERENCE_MODULE, REFERENCE_FLAGS, INPUT, PARAMETERS),
    outputs=(VALUES,),
    needed=(VALUES,),
    axes=(RUNTIME,),
    command=_interpret,
    executable=(RUNNER,),
    after=(CUT, BUILD),
    judged=False,
    on_target=True,
    like=RUN,
    limits=Limits(seconds=7200, memory_bytes=8 << 30),
    typical_seconds=1.0,
)

CUT_STAGES = (CUT, INTERPRET)
"""They take a cell's module apart."""
ALONE_STAGES = (COMPILE, RUN)
"""What one dispatch goes through, with the values of the cell,"""
ALONE_FLAGS = {COMPILE: (FROM_FLOW,)}
"""and with these flags."""
