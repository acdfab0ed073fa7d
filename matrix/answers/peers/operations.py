"""What each operation of a model takes on a system's own runtime, as its profiler says. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from matrix.artifacts.runtimes.operation_times import OperationTimes, Spread, TimedOperation
from matrix.core.keys import Json
from matrix.core.text import counted, plain_rows
from matrix.plan.axes import NONE
from matrix.plan.backends.shared import BACKEND_AXIS, MODEL_AXIS

OPERATIONS_SHOWN = 10
BUSY_CALL = 1.25
"""A call that takes so many times its CPU time shared the processor with other programs."""
HOW_TIMED = "by each runtime's own profiler, one thread; median, quartiles and least of the samples"
PEER_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemTimes:
    """The operations of a model with one system; `axes` are those of its cell."""

    axes: Mapping[str, str]
    times: OperationTimes

    @property
    def system(self) -> str:
        return self.axes[BACKEND_AXIS.name]

    def share(self, operation: TimedOperation) -> float:
        """Of the time in operations."""
        return operation.took.seconds / self.times.seconds if self.times.seconds else 0.0

    def by_kind(self) -> dict[str, tuple[int, float]]:
        """The number of operations of each kind and their seconds, those with most seconds first."""
        found: dict[str, tuple[int, float]] = {}
        for each in self.times.operations:
            number, seconds = found.get(each.kind, (0, 0.0))
            found[each.kind] = (number + 1, seconds + each.took.seconds)
        return dict(sorted(found.items(), key=lambda pair: -pair[1][1]))


def system_lines(found: SystemTimes) -> list[str]:
    """What a call takes, by kind of operation, and the operations that take most."""
    dearest = sorted(found.times.operations, key=lambda each: -each.took.seconds)
    rows = [
        [
            microseconds(each.took.seconds),
            quartiles(each.took),
            microseconds(each.took.least),
            percent_of(found.share(each)),
            each.kind,
            "x".join(map(str, each.shape)),
            each.name,
        ]
        for each in dearest[:OPERATIONS_SHOWN]
    ]
    headers = ("us", "quartiles", "least", "share", "kind", "result", "operation")
    rest = dearest[OPERATIONS_SHOWN:]
    beyond = sum(each.took.seconds for each in rest)
    after = [f"{counted(len(rest), 'further operation')}: {microseconds(beyond)} us"] if rest else []
    return [
        _title(found),
        _whole(found),
        *busy_lines(found),
        _kinds(found),
        "",
        *plain_rows(rows, headers=headers).splitlines(),
        *after,
    ]


def _title(found: SystemTimes) -> str:
    besides = {axis: label for axis, label in found.axes.items() if axis not in (MODEL_AXIS.name, BACKEND_AXIS.name)}
    said = (f"{axis} {label}" for axis, label in besides.items() if label != NONE)
    return ", ".join([f"{found.axes[MODEL_AXIS.name]} with {found.system}", *said])


def _whole(found: SystemTimes) -> str:
    times = found.times
    return (
        f"{microseconds(times.call.seconds)} us a call while it is profiled ({quartiles(times.call)}, "
        f"{_sampled(times)}), {microseconds(times.seconds)} us of it in {counted(len(times.operations), 'operation')}"
    )


def _sampled(times: OperationTimes) -> str:
    many = f" of {times.calls_in_each} calls" if times.calls_in_each > 1 else " of a call"
    return counted(times.samples, "sample") + many


def busy_lines(found: SystemTimes) -> list[str]:
    """A warning, where a call waited for the processor. One thread computes: its CPU time is then what a call takes."""
    times = found.times
    if times.call.seconds <= BUSY_CALL * times.cpu:
        return []
    waited = f"a call has {microseconds(times.cpu)} us of CPU time: other programs had the processor meanwhile"
    return [f"{waited}, look at the least of each operation"]


def _kinds(found: SystemTimes) -> str:
    whole = found.times.seconds or 1.0
    said = [f"{number} {kind} {percent_of(seconds / whole)}" for kind, (number, seconds) in found.by_kind().items()]
    return "by kind: " + ", ".join(said[:OPERATIONS_SHOWN])


def microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:,.{0 if seconds >= 1e-5 else 1}f}"


def quartiles(took: Spread) -> str:
    return f"{microseconds(took.low)} to {microseconds(took.high)}"


def percent_of(share: float) -> str:
    return f"{100 * share:.1f} %"


def systems_document(every: Iterable[SystemTimes]) -> dict[str, Json]:
    return {"format": PEER_FORMAT, "systems": [_system_fields(each) for each in every]}


def _system_fields(found: SystemTimes) -> Json:
    return {
        "axes": {**found.axes},
        "samples": found.times.samples,
        "calls_in_each": found.times.calls_in_each,
        "call": {**spread_fields(found.times.call), "cpu": found.times.cpu},
        "in_operations": found.times.seconds,
        "operations": [
            {
                "name": each.name,
                "kind": each.kind,
                "shape": [*each.shape],
                "of": [*each.origins],
                **spread_fields(each.took),
                "share": found.share(each),
            }
            for each in found.times.operations
        ],
    }


def spread_fields(took: Spread) -> dict[str, Json]:
    return {"seconds": took.seconds, "low": took.low, "high": took.high, "least": took.least}
