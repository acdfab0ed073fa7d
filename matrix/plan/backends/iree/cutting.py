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
    DUMP_STATISTICS,
    INTERPRET,
    MLIR,
    PARAMETERS,
    RUN,
    VMFB,
    kept_float64,
    tool_words,
)
from matrix.plan.backends.iree.source_builds import RUNNER

if TYPE_CHECKING:
    from matrix.plan.backends.backend import Given

CUTTER, READER = "cut_dispatches.py", "flow_text.py"
DISPATCHES_FILE = "dispatches.json"
REFERENCE_MODULE, REFERENCE_FLAGS = "reference.vmfb", "reference.flags"
DISPATCH_FILES, INTERPRETED_FILES, VALUE_FILES = "dispatch_*.mlir", "interpreted_*.mlir", "value_*.npy"
"""Each different dispatch as a module, for the target and for VMVX, and what dispatches take and make, as VMVX computes
it."""
ON_CPU = "--device=local-sync"
"""Where VMVX runs."""
FROM_FLOW = "--compile-from=flow"
"""The flag with which a compiler takes a dispatch that is cut."""


def _cut(given: Given) -> tuple[str, ...]:
    return ("python", CUTTER, MLIR, given.parameters["function"], *kept_float64(given), *given.flags)


def _interpret(given: Given) -> tuple[str, ...]:
    """On the runtime of the cell: its flags may name another device, and VMVX runs on the CPU."""
    return (*tool_words(RUNNER, given, module=REFERENCE_MODULE), ON_CPU, f"--flagfile={REFERENCE_FLAGS}")


CUTTING = StageKind(
    name=CUT,
    environment=COMPILER,
    inputs=(MLIR,),
    outputs=(DISPATCHES_FILE, REFERENCE_MODULE, REFERENCE_FLAGS, DISPATCH_FILES, INTERPRETED_FILES),
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
    outputs=(VALUE_FILES,),
    needed=(VALUE_FILES,),
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


ON_TARGET, BY_VMVX = "dispatch", "interpreted"
"""The files of a reproducer: a dispatch for the target, and for VMVX."""


def words_by_hand(command: tuple[str, ...], name: str) -> list[str]:
    """The command line of a dispatch's job, for the file of that name in a reproducer. VMVX writes what is expected,
    and the target's output is compared with it."""
    words = [word for word in command if not word.startswith(DUMP_STATISTICS)]
    words = [word.replace(MLIR, f"{name}.mlir").replace(VMFB, f"{name}.vmfb") for word in words]
    if name == ON_TARGET:
        return [word.replace("--output=@output_", "--expected_output=@expected_") for word in words]
    words = [ON_CPU if word.startswith("--device=") else word for word in words]
    return [word.replace("--output=@output_", "--output=@expected_") for word in words]
