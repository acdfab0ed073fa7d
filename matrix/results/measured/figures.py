"""The figures of a run beside its cells: times, the sizes of modules, what was compiled again, the disk. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """The verdict on a release's times, compared with the baseline; see `speed`."""

    FASTER = "faster"
    SLOWER = "slower"
    SAME = "no difference"
    SAME_BYTES = "the same bytes"
    UNDECIDED = "undecided"
    UNSETTLED = "unsettled"
    TOO_FEW = "too few rounds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """The times of a cell, in seconds: the median over its rounds, the quartiles, `ratio` to the baseline (the median
    of the rounds'), one verdict for each pass. None if there is nothing; `reason` says why. `compile_seconds` is that
    of the quickest compile that passed, both peaks are the maximum over all rounds, `command` is the first round's."""

    axes: Mapping[str, str]
    baseline: bool = False
    reason: str = ""
    command: tuple[str, ...] = ()
    median_seconds: float | None = None
    quartile_1_seconds: float | None = None
    quartile_3_seconds: float | None = None
    ratio: float | None = None
    verdicts: tuple[str, ...] = ()
    compile_seconds: float | None = None
    compile_cpu_seconds: float | None = None
    vmfb_bytes: int | None = None
    mlir_bytes: int | None = None
    peak_bytes: int | None = None
    device_peak_bytes: int | None = None
    seconds_by_round: Mapping[str, float] = field(default_factory=dict)
    cpu_seconds_by_round: Mapping[str, float] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """The common verdict of all passes; empty if there is none."""
        if Verdict.TOO_FEW in self.verdicts:  # an unfinished pass contradicts nothing
            return Verdict.TOO_FEW
        return Verdict.UNSETTLED if len(set(self.verdicts)) > 1 else next(iter(self.verdicts), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Cells that are compared with one baseline. `shared` are their common labels, `axes` those that distinguish rows.
    `noise_floor` is a ratio above 1 (1.01 is 1 %; None without a twin of the baseline), `waited_for_a_core` is the part
    of the time in which calls needed a core and had none, `highest_load` is that of the machine.
    """

    shared: Mapping[str, str]
    axes: tuple[str, ...] = ()
    noise_floor: float | None = None
    waited_for_a_core: float = 0.0
    highest_load: float | None = None
    passes: int = 1
    rows: tuple[Timed, ...] = ()
    twin_seconds_by_round: Mapping[str, float] = field(default_factory=dict)

    @property
    def base(self) -> Timed | None:
        return next((row for row in self.rows if row.baseline), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A `.vmfb`: bytes by part, and the number of its strings of each kind that reveal its origin."""

    axes: Mapping[str, str]
    bytes: int
    parts: Mapping[str, int] = field(default_factory=dict)
    strings: Mapping[str, int] = field(default_factory=dict)
    unscanned_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recompiled:
    """Modules that were compiled again: the `unequal`, those with other outcomes, and class of bytes -> `differing`."""

    compiler: str
    modules: int
    unequal: int
    ends: int
    differing: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskUse:
    """How the run used the disk; `measured` says which part of it."""

    measured: str
    peak_bytes: int
    budget_bytes: int | None = None
    environments_made: int
    environments_dropped: int
    made_again: tuple[str, ...] = ()
