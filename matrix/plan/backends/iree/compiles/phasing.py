"""The stages that measure a compile itself: the CPU time of each phase, the time of each pass. Pure.

They compile the module once more and throw it away: the stage `compile`, its key and its module stay as they are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from matrix.artifacts.compiler.phases import PASSES_FILE, PHASES_FILE, pass_measurements, phase_measurements
from matrix.core.records import Limits
from matrix.plan.backends.backend import TOOL_PLACE, StageKind
from matrix.plan.backends.iree.environments import COMPILER, FLAGS
from matrix.plan.backends.iree.names import COMPILE, EXPORT, IMPORT, MLIR, PASSES, PHASES, compile_words

if TYPE_CHECKING:
    from matrix.plan.backends.backend import Given

WATCHER, PHASED = "phases.py", "phased.vmfb"
COMPILES_IN_TURN = 5
"""How often it is compiled for figures that say how far they vary: one compile a job, so that the jobs of two releases
take turns."""


def _words(what: str, given: Given) -> tuple[str, ...]:
    return ("python", WATCHER, what, "1", TOOL_PLACE % "iree-compile", *compile_words(given, PHASED))


PHASING = StageKind(
    name=PHASES,
    environment=COMPILER,
    inputs=(MLIR,),
    outputs=(PHASES_FILE,),
    needed=(PHASES_FILE,),
    axes=(COMPILER, FLAGS),
    command=lambda given: _words("phases", given),
    programs=(WATCHER,),
    after=(EXPORT, IMPORT),
    judged=False,
    like=COMPILE,
    alone=True,
    turns=COMPILES_IN_TURN,
    limits=Limits(seconds=3600, memory_bytes=8 << 30),
    typical_seconds=3.0,
    read=lambda outputs: phase_measurements(outputs.get(PHASES_FILE, b"")),
    reads=(PHASES_FILE,),
)
PASSING = replace(
    PHASING,
    name=PASSES,
    outputs=(PASSES_FILE,),
    needed=(PASSES_FILE,),
    command=lambda given: _words("passes", given),
    read=lambda outputs: pass_measurements(outputs.get(PASSES_FILE, b"")),
    reads=(PASSES_FILE,),
)
