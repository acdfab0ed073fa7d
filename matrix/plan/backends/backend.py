"""A backend as a record: its chain of stages, each one row. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from matrix.core.keys import Json
from matrix.core.records import Limits, Stage

LIMITS = Limits(seconds=900, memory_bytes=8 << 30)
INPUT, EXPECTED, OUTPUT = "input_*.npy", "expected_*.npy", "output_*.npy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the command of a job is made from: the flags and parameters of its cell's values, and the artifacts (name ->
    sha256) of the stages before it."""

    flags: tuple[str, ...]
    parameters: Mapping[str, str]
    artifacts: Mapping[str, str]

    def named(self, pattern: str) -> list[str]:
        return matching(self.artifacts, pattern)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StageKind:
    """A stage as one row.

    The command line names files relative to the job's folder: locations in a module's debug information then do not
    depend on where the store lies, and neither does its digest.
    """

    name: Stage
    environment: str
    """The kind of environment that it runs in."""
    inputs: tuple[str, ...]
    """Patterns: what it takes of the artifacts before it."""
    outputs: tuple[str, ...]
    """Patterns: what it may leave."""
    needed: tuple[str, ...]
    """Without one of these it has not passed, whatever its exit code says."""
    command: Callable[[Given], tuple[str, ...]]
    """A tool of the environment and its arguments; of a `script`, the words that stand for it."""
    script: str = ""
    """A file of `scripts/` whose function runs in a fork of the warm worker, in place of the command."""
    programs: tuple[str, ...] = ()
    """Files of `scripts/` that the command needs: laid into the job's folder, and in its key by their content."""
    executable: tuple[str, ...] = ()
    """Those of its inputs that are programs."""
    after: tuple[Stage, ...] = ()
    """The stages whose artifacts it takes, as far as its cell goes through them."""
    comes_with: Stage = ""
    """Nobody asks for it: it comes with this stage where a value needs it. "": a spec asks for it."""
    unless: Stage = ""
    """A cell that goes through this stage does without it."""
    apart: bool = False
    """It takes nothing of the model."""
    judged: bool = True
    """It decides a cell's outcome. Else it measures what passed."""
    compared: bool = False
    """What it leaves is compared with the expected outputs. Nobody knows how many outputs there are where none are
    expected: it then leaves none."""
    on_target: bool = False
    """It runs programs of the target, which another machine cannot."""
    alone: bool = False
    """Nothing else may run on the machine beside it."""
    rounds: bool = False
    """It is repeated in rounds, each beside the same round of other cells, as [benchmark] says."""
    repeatable: bool = False
    """[repeat] may ask for it more than once."""
    limits: Limits = LIMITS
    typical_seconds: float = 1.0
    """Of a small model, where a store has no results yet to tell."""
    typical_by_model: Mapping[str, float] = field(default_factory=dict)
    """Of the shipped models that are far from that."""
    strip: Callable[[bytes], bytes] | None = None
    """Takes host names and paths out of an output before it is stored."""
    read: Callable[[Mapping[str, bytes]], Mapping[str, Json]] | None = None
    """From its outputs (name -> content) to its measurements: what results keep of it. Empty: it measured nothing."""
    quiet: str = ""
    """The next step where it ended without a word; "": to read its log."""

    def leaves(self, artifacts: Mapping[str, str]) -> tuple[str, ...]:
        """The patterns of what it leaves, given the artifacts before it."""
        return self.outputs if not self.compared or matching(artifacts, EXPECTED) else ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Backend:
    """A family of tools: `stages` in the order in which a cell goes through them. Names of stages are its alone."""

    name: str
    stages: tuple[StageKind, ...]


def matching(names: Mapping[str, str], pattern: str) -> list[str]:
    """The names that fit, `input_2` before `input_10`."""
    return sorted((name for name in names if fnmatchcase(name, pattern)), key=lambda name: (len(name), name))
