"""Figures of a compile that `bisect --by` can follow: the compiler's own statistics, and CPU time of it or of a phase.

A statistic is a whole number that has no noise: any change of it is a turn. CPU time has noise: with ends that differ
by more than that, each value along the line is like the end that it is nearer to. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from matrix.answers.bisection import End
from matrix.artifacts.compiler.phases import PHASES_FILE
from matrix.artifacts.compiler.statistics import FIGURES, option_word
from matrix.plan.stages import kinds
from matrix.results.measured.compiles import PhaseTimes, SecondsSpread, beyond_noise, phase_times
from matrix.results.run import Cell, Run
from matrix.results.weights import statistics_of

PHASE_WORD, COMPILE_WORD = "phase:", "compile-cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """`stage` is the one that measures it, where that is not the compile. `shown` gives its words for a cell, empty
    where it has none; `compared` gives what is compared along a line."""

    name: str
    stage: str = ""
    shown: Callable[[Run, Cell], str]
    compared: Callable[[Mapping[str, tuple[Run, Cell]], Sequence[str]], dict[str, str]]
    differ: Callable[[tuple[Run, Cell], tuple[Run, Cell]], bool] = lambda _one, _other: True
    """Whether it differs by the rule for noisy figures, of two cells with other values of `compared`."""

    @property
    def noisy(self) -> bool:
        return bool(self.stage)


def figure_words() -> list[str]:
    return [*map(option_word, FIGURES.values()), COMPILE_WORD, f"{PHASE_WORD}NAME"]


def figure_of(word: str) -> Figure | None:
    """The figure that a word of the command line means."""
    if word == COMPILE_WORD:
        return _timed("CPU time of a compile", lambda times: times.whole)
    if word.startswith(PHASE_WORD) and word != PHASE_WORD:
        name = word.removeprefix(PHASE_WORD)
        return _timed(f"CPU time of the phase {name}", lambda times: times.phases.get(name))
    found = next((name for name, words in FIGURES.items() if option_word(words) == word), "")
    return _statistic(found) if found else None


def _statistic(name: str) -> Figure:
    def shown(run: Run, cell: Cell) -> str:
        found = statistics_of(run, cell).get(name)
        return "" if found is None else f"{FIGURES[name]} {found:,}"

    def compared(cells: Mapping[str, tuple[Run, Cell]], _order: Sequence[str]) -> dict[str, str]:
        return {label: shown(*both) or End.UNKNOWN for label, both in cells.items()}

    return Figure(name=FIGURES[name], shown=shown, compared=compared)


def _timed(name: str, of: Callable[[PhaseTimes], SecondsSpread | None]) -> Figure:
    def spread(run: Run, cell: Cell) -> tuple[SecondsSpread, PhaseTimes] | None:
        times = phase_times(run, cell)
        found = of(times) if times else None
        return (found, times) if found and times else None

    def shown(run: Run, cell: Cell) -> str:
        found = spread(run, cell)
        return f"{name} {found[0].text}" if found else ""

    def compared(cells: Mapping[str, tuple[Run, Cell]], order: Sequence[str]) -> dict[str, str]:
        known = {label: spread(*both) for label, both in cells.items()}
        first, last = (known.get(label) for label in (order[0], order[-1]))
        if not first or not last:
            return {label: name if found else End.UNKNOWN for label, found in known.items()}
        apart = differ(cells[order[0]], cells[order[-1]])
        ends = {order[0]: first[0].middle, order[-1]: last[0].middle} if apart else {name: 0.0}
        return {
            label: min(ends, key=lambda end: abs(_size(found[0].middle) - _size(ends[end]))) if found else End.UNKNOWN
            for label, found in known.items()
        }

    def differ(one: tuple[Run, Cell], other: tuple[Run, Cell]) -> bool:
        return _apart(spread(*one), spread(*other), one_run=one[0] is other[0])

    stage = next(kind.name for kind in kinds().values() if PHASES_FILE in kind.reads)
    return Figure(name=name, stage=stage, shown=shown, compared=compared, differ=differ)


def _apart(
    one: tuple[SecondsSpread, PhaseTimes] | None, other: tuple[SecondsSpread, PhaseTimes] | None, *, one_run: bool
) -> bool:
    """Of compiles on machines of one class."""
    if not one or not other or one[1].machine != other[1].machine:
        return False
    turns = one_run and one[1].turns and other[1].turns
    return beyond_noise(one[0], other[0], whole=max(one[1].whole.middle, other[1].whole.middle), in_turns=turns)


def _size(seconds: float) -> float:
    return math.log(max(seconds, 1e-3))
