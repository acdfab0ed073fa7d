"""How long each dispatch of a call takes, as a run has it: the least, and the median of the calls with its quartiles.

Times are those of one machine and one hour. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from matrix.artifacts.timings.dispatch_times import FEWEST_CALLS, DispatchTime
from matrix.plan.axes import NONE
from matrix.plan.backends.iree.timing import PROFILED_FILE, TIMED, TRACED_FILE
from matrix.plan.backends.shared import MODEL_AXIS
from matrix.results.measured.profiled_code import short_name
from matrix.results.run import Cell, Run, kept_with_run
from matrix.results.sections import Block, Column, Section, Words, by_axes, differing, grid
from matrix.results.times import duration

HOW_TIMED_BRIEFLY = (
    "the least is the sum of the shortest of each workgroup over the calls, the median is that of the calls, with the "
    "quartiles: they hold what interrupted a call"
)
INTERRUPTED = 2
"""A median of so many times the least says that a call was interrupted all the time."""
NAMED_DISPATCHES = 3
"""Dispatches that a table names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTimes:
    """What the dispatches of a call took by one tool, in nanoseconds; those that take longest first."""

    method: str
    calls: int
    quartiles: tuple[float, float, float]
    dispatches: tuple[DispatchTime, ...]

    @property
    def least(self) -> int:
        return sum(each.least for each in self.dispatches)

    def with_owners(self, owner: Mapping[str, str]) -> CallTimes:
        """With the times of some dispatches at others, the `owner` of their code: the quartiles are then sums."""
        found: dict[str, DispatchTime] = {}
        for each in self.dispatches:
            name = owner.get(each.name, each.name)
            found[name] = _together(found[name], each) if name in found else replace(each, name=name)
        return replace(self, dispatches=tuple(sorted(found.values(), key=lambda each: (-each.least, each.name))))


def _together(one: DispatchTime, other: DispatchTime) -> DispatchTime:
    low, middle, high = (sum(pair) for pair in zip(one.quartiles, other.quartiles, strict=True))
    return replace(
        one,
        invocations=one.invocations + other.invocations,
        least=one.least + other.least,
        shortest=one.shortest + other.shortest,
        quartiles=(low, middle, high),
    )


def interrupted_words(times: Iterable[CallTimes]) -> str:
    """That other programs had the processor, of calls whose medians are far above the least; empty if none is."""
    found = [each.quartiles[1] / each.least for each in times if each.least]
    many = sum(each > INTERRUPTED for each in found)
    if not many:
        return ""
    told = f"{many} of {len(found)} medians are" if len(found) > 1 else "the median is"
    return (
        f"{told} more than {INTERRUPTED} times the least, up to {max(found):.0f} times: other programs had the "
        "processor, so only the least compares"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedCell:
    """The times of a cell: by Tracy, and by the runtime itself where its release can."""

    axes: Mapping[str, str]
    traced: CallTimes
    profiled: CallTimes | None = None


@kept_with_run
def timed_cells(run: Run) -> Mapping[str, TimedCell]:
    """The times of each cell that has some, by the name of the cell."""
    found = {}
    for cell in run.cells:
        if traced := _of_tool(run, cell, TRACED_FILE):
            found[cell.name] = TimedCell(axes=cell.axes, traced=traced, profiled=_of_tool(run, cell, PROFILED_FILE))
    return found


def _of_tool(run: Run, cell: Cell, tool: str) -> CallTimes | None:
    """None where the run has none, or what are no times."""
    name = TIMED[tool]
    found = next(
        (run.jobs[key].measurements[name] for key in cell.evidence if name in run.jobs[key].measurements), None
    )
    try:
        return None if found is None else _call_times(found)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _call_times(found: Mapping[str, object]) -> CallTimes:
    """Raises AttributeError, KeyError, TypeError or ValueError for another form."""
    rows = dict(found["dispatches"].items())  # type: ignore[attr-defined]  # of a file: anything
    calls = int(str(found["calls"]))
    made = tuple(_dispatch(str(name), [*row]) for name, row in rows.items())
    if not made or calls < FEWEST_CALLS:
        raise ValueError("no dispatches")
    low, middle, high = _numbers(found["quartiles"])
    return CallTimes(method=str(found["method"]), calls=calls, quartiles=(low, middle, high), dispatches=made)


def _dispatch(name: str, row: list[object]) -> DispatchTime:
    invocations, least, shortest, low, middle, high = _numbers(row)
    return DispatchTime(
        name=name,
        invocations=int(invocations),
        least=int(least),
        shortest=int(shortest),
        quartiles=(low, middle, high),
    )


def _numbers(row: object) -> list[float]:
    found = [float(str(each)) for each in row]  # type: ignore[attr-defined]
    if any(not 0 <= each < 1e15 for each in found):
        raise ValueError(f"{found}")
    return found


# -- the table of a report


def span_words(quartiles: tuple[float, float, float]) -> str:
    """`31.4 ms (31.2 ms to 32.0 ms)`: the median and the other quartiles."""
    low, middle, high = (duration(each / 1e9) for each in quartiles)
    return f"{middle} ({low} to {high})"


def _longest(cell: TimedCell) -> str:
    whole = cell.traced.least or 1
    return ", ".join(
        f"{short_name(each.name)} {100 * each.least / whole:.0f} %"
        for each in cell.traced.dispatches[:NAMED_DISPATCHES]
    )


COLUMNS_OF_TIMES = (
    Column(title="dispatches", value=lambda row: len(row.traced.dispatches)),
    Column(key="dispatch_seconds", title="least", value=lambda row: row.traced.least / 1e9, text=duration),
    Column(key="dispatch_median_seconds", value=lambda row: row.traced.quartiles[1] / 1e9),
    Column(title="median of calls", value=lambda row: span_words(row.traced.quartiles), align="right"),
    Column(
        title="by iree-profile",
        value=lambda row: span_words(row.profiled.quartiles) if row.profiled else None,
        align="right",
    ),
    Column(title="longest", value=_longest, align="left"),
)


def _blocks(run: Run) -> Iterator[Block]:
    """A table for each model."""
    timed = list(timed_cells(run).values())
    if timed:
        methods = ", ".join(dict.fromkeys(each.traced.method for each in timed))
        calls = max(each.traced.calls for each in timed)
        yield Words(text=f"What the dispatches of a call take, by {methods}, {calls} calls: {HOW_TIMED_BRIEFLY}.")
    if busy := interrupted_words(each.traced for each in timed):
        yield Words(text=f"{busy[0].upper()}{busy[1:]}.")
    for model in dict.fromkeys(each.axes.get(MODEL_AXIS.name, NONE) for each in timed):
        rows = [each for each in timed if each.axes.get(MODEL_AXIS.name, NONE) == model]
        axes = [name for name in differing(run.names, [each.axes for each in rows], always="") if name]
        yield Words(text=model)
        yield grid([*by_axes(axes, lambda row: row.axes), *COLUMNS_OF_TIMES], rows)


DISPATCH_TIMES_SECTION = Section(name="dispatch times", blocks=_blocks, columns=COLUMNS_OF_TIMES, rows=timed_cells)
