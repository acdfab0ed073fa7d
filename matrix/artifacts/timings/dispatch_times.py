"""How long each dispatch of a module took, in each of several calls: one record, whichever tool took it down.

What is kept of a tool's file is JSON with nothing but names and nanoseconds: the files themselves hold paths, the
user's name and the host's. Pure.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from matrix.artifacts.json_reader import JsonFault, read_json
from matrix.artifacts.timings.tracy_zones import Zone, read_tracy
from matrix.core.errors import FileFault, NotRunnable
from matrix.core.keys import Json

TIMES_FORMAT = 1
FEWEST_CALLS = 2
CALL_ZONE = "BenchmarkIteration"
"""The zone of `iree-benchmark-module` around one call of the module,"""
DISPATCH_ZONE = "iree_hal_local_executable_issue_dispatch_inline"
"""and that of the runtime around one dispatch on the thread of the call, which has a zone for each workgroup."""
BY_TRACY, BY_RUNTIME = "tracy", "iree-profile"
TIME_AGAIN = "run again: it is timed once more"


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """A dispatch at one place of a call: nanoseconds in all its workgroups, in each call. `least` is the sum of the
    shortest of each workgroup over the calls, where the tool tells them apart, else the shortest of the calls."""

    name: str
    nanoseconds: tuple[int, ...]
    least: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchTime:
    """A dispatch, with all its invocations of a call together, in nanoseconds.

    `least` is what is always needed, by workgroup if the tool tells them apart; `shortest` the same by invocation, as
    each tool has it. `quartiles` are those of the calls' sums: with all that interrupted them.
    """

    name: str
    invocations: int
    least: int
    shortest: int
    quartiles: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class DispatchTimes:
    """`method` is the tool, with its version; `invocations` are those of one call, in their order."""

    method: str
    calls: int
    invocations: tuple[Invocation, ...]

    @cached_property
    def dispatches(self) -> tuple[DispatchTime, ...]:
        """Those that took longest first."""
        by_name: dict[str, list[Invocation]] = {}
        for each in self.invocations:
            by_name.setdefault(each.name, []).append(each)
        made = (_dispatch_time(name, rows) for name, rows in by_name.items())
        return tuple(sorted(made, key=lambda each: (-each.least, each.name)))

    @property
    def least(self) -> int:
        """Of all dispatches of a call, in nanoseconds."""
        return sum(each.least for each in self.dispatches)

    @property
    def quartiles(self) -> tuple[float, float, float]:
        """Of the calls, all dispatches of each together."""
        return _quartiles([each.nanoseconds for each in self.invocations])


def _quartiles(rows: Sequence[Sequence[int]]) -> tuple[float, float, float]:
    """Of the calls' sums; a row has the nanoseconds of one invocation in each call."""
    low, middle, high = statistics.quantiles([sum(call) for call in zip(*rows, strict=True)], n=4, method="inclusive")
    return low, middle, high


def _dispatch_time(name: str, invocations: Sequence[Invocation]) -> DispatchTime:
    rows = [each.nanoseconds for each in invocations]
    return DispatchTime(
        name=name,
        invocations=len(rows),
        least=sum(each.least for each in invocations),
        shortest=sum(map(min, rows)),
        quartiles=_quartiles(rows),
    )


Called = tuple[str, tuple[int, ...]]
"""A dispatch of a call: its name, and the nanoseconds of each of its workgroups, or of all together."""


def times_of_calls(method: str, calls: Sequence[Sequence[Called]], place: str) -> DispatchTimes:
    """From the dispatches of each call. Raises FileFault where a call has others."""
    if len(calls) < FEWEST_CALLS:
        raise _fault(place, f"{len(calls)} calls of the module", f"{FEWEST_CALLS} or more")
    form = [(name, len(spent)) for name, spent in calls[0]]
    for number, call in enumerate(calls):
        if [(name, len(spent)) for name, spent in call] != form:
            raise _fault(place, f"other dispatches in call {number} than in the first one", "the same in each call")
    made = [
        Invocation(
            name=name,
            nanoseconds=tuple(sum(call[index][1]) for call in calls),
            least=sum(map(min, zip(*(call[index][1] for call in calls), strict=True))),
        )
        for index, (name, _) in enumerate(form)
    ]
    return DispatchTimes(method=method, calls=len(calls), invocations=tuple(made))


# -- a capture of Tracy


def times_of_capture(content: bytes, place: str, calls: int) -> DispatchTimes:
    """Raises FileFault for a file that is no whole capture, NotRunnable where no dispatch ran on the calls' thread."""
    capture = read_tracy(content, place)
    found = [zone for thread in capture.threads for zone in _zones(thread, CALL_ZONE)]
    if len(found) != calls:
        raise _fault(place, f"{len(found)} calls of the module", f"{calls}, as many as there were")
    dispatches = [[_dispatch(zone, place) for zone in _zones(call.children, DISPATCH_ZONE)] for call in found]
    if not any(dispatches):
        raise NotRunnable("no dispatch ran on the thread that called the module: a CPU, with one thread, is timed")
    return times_of_calls(f"{BY_TRACY} {capture.version}", dispatches, place)


def _zones(zones: Iterable[Zone], name: str) -> Iterator[Zone]:
    """The outermost zones of a name, in the order of time."""
    left = [iter(zones)]
    while left:
        zone = next(left[-1], None)
        if zone is None:
            left.pop()
        elif zone.name == name:
            yield zone
        else:
            left.append(iter(zone.children))


def _dispatch(zone: Zone, place: str) -> Called:
    names = {each.name for each in zone.children}
    if len(names) != 1:
        told = ", ".join(sorted(names)[:3]) or "none"
        raise _fault(place, f"a dispatch with workgroups of {told}", "workgroups of one name")
    return names.pop(), tuple(each.nanoseconds for each in zone.children)


# -- rows of `iree-profile export --format=ireeperf-jsonl`


ROWS_SCHEMA = 15
EVENT, DISPATCH_OPERATION = "host_execution_event", "dispatch"


def times_of_rows(content: bytes, place: str, calls: int) -> DispatchTimes:
    """Raises FileFault for rows that are not whole, NotRunnable where none is a dispatch."""
    events: list[Called] = []
    lines = content.split(b"\n")
    if lines.pop():
        raise _fault(f"{place}: line {len(lines) + 1}", "no end of the line", "one: it was cut off")
    for number, line in enumerate(lines, start=1):
        row = _row(line, f"{place}: line {number}", first=number == 1)
        if row.get("record_type") == EVENT and row.get("op") == DISPATCH_OPERATION:
            events.append(_event(row, f"{place}: line {number}"))
    if not events:
        raise NotRunnable("the runtime's own profile has no dispatch of this device")
    each, rest = divmod(len(events), calls)
    if rest:
        raise _fault(place, f"{len(events)} dispatches in {calls} calls", "as many in each call")
    per_call = [events[number * each : (number + 1) * each] for number in range(calls)]
    return times_of_calls(BY_RUNTIME, per_call, place)


def _row(line: bytes, place: str, *, first: bool) -> Mapping[str, Json]:
    try:
        row = read_json(line)
    except JsonFault as error:
        raise FileFault(f"{place}: {error}", tip=TIME_AGAIN) from None
    if not isinstance(row, dict):
        raise _fault(place, f"{type(row).__name__}", "a table of JSON")
    if first and row.get("record_type") != "schema":
        raise _fault(place, f"{str(row.get('record_type'))[:40]!r}", "the schema of iree-profile's rows")
    if row.get("schema_version") != ROWS_SCHEMA:
        raise _fault(place, f"schema version {str(row.get('schema_version'))[:40]}", f"{ROWS_SCHEMA}")
    return row


def _event(row: Mapping[str, Json], place: str) -> Called:
    key, spent, valid = row.get("key"), row.get("tile_duration_sum_ns"), row.get("valid")
    if not isinstance(key, str) or not key or type(spent) is not int or spent < 0 or valid is not True:
        raise _fault(place, "a dispatch without a name or a time", "key, tile_duration_sum_ns and valid")
    return key, (spent,)


# -- what is kept


def times_bytes(times: DispatchTimes) -> bytes:
    rows = [{"name": each.name, "least": each.least, "nanoseconds": [*each.nanoseconds]} for each in times.invocations]
    document = {"format": TIMES_FORMAT, "method": times.method, "calls": times.calls, "invocations": rows}
    return json.dumps(document, separators=(",", ":")).encode()


def read_kept_times(content: bytes, place: str) -> DispatchTimes:
    """Raises FileFault."""
    try:
        document = read_json(content)
        if document["format"] != TIMES_FORMAT:
            raise _fault(place, f"format {str(document['format'])[:40]}", f"{TIMES_FORMAT}")
        made = tuple(_invocation(row, document["calls"]) for row in document["invocations"])
        method, calls = document["method"], document["calls"]
    except (JsonFault, KeyError, TypeError, ValueError) as error:
        raise _fault(place, f"no times of dispatches ({error})", "those that this program keeps") from None
    if not isinstance(method, str) or calls < FEWEST_CALLS or not made:
        raise _fault(place, "times of no dispatch", "those that this program keeps")
    return DispatchTimes(method=method, calls=calls, invocations=made)


def _invocation(row: Mapping[str, Json], calls: object) -> Invocation:
    name, least, spent = row["name"], row["least"], row["nanoseconds"]
    if not isinstance(name, str) or not isinstance(spent, list) or len(spent) != calls:
        raise ValueError("an invocation of other fields")
    whole = tuple(each for each in spent if type(each) is int and each >= 0)
    if len(whole) != len(spent):
        raise ValueError("a time that is no whole number of nanoseconds")
    if type(least) is not int or not 0 <= least <= min(whole):
        raise ValueError("a least time that is longer than one of a call")
    return Invocation(name=name, nanoseconds=whole, least=least)


def _fault(place: str, read: str, expected: str) -> FileFault:
    return FileFault(f"{place}: read {read}, expected {expected}", tip=TIME_AGAIN)
