"""Operations of each system in one form: of IREE its dispatches by their main operation. Pure."""

from __future__ import annotations

from dataclasses import replace

from matrix.answers.peers.joining import Worked
from matrix.answers.peers.operations import SystemTimes
from matrix.answers.timing.joined import TimedProfile
from matrix.artifacts.timings.dispatch_times import DispatchTimes
from matrix.results.measured.profiled_code import short_name
from matrix.results.measured.profiles import OTHER_KIND, operation_kind

NANO = 1e-9


def worked_by_system(found: SystemTimes) -> tuple[Worked, ...]:
    """In the order in which they run."""
    return tuple(
        Worked(name=each.name, kind=operation_kind(f"onnx.{each.kind}"), shape=each.shape, seconds=each.took.least)
        for each in found.times.operations
    )


def worked_by_dispatches(timed: TimedProfile) -> tuple[Worked, ...]:
    """In the order of a call. An invocation counts to the operation that has most of its dispatch's instructions, with
    all that is fused with it. Operations with the same code are one dispatch with several invocations, each of which is
    an operation; different dispatches in a row with the same one are it together."""
    counted = {each.name: each for each in timed.profile.code.dispatches}
    found: list[Worked] = []
    before, lines = "", ""
    for each in timed.traced.invocations if isinstance(timed.traced, DispatchTimes) else ():
        seconds = each.least * NANO
        line = counted[each.name].main_line if each.name in counted else ""
        main = timed.profile.operations.get(line)
        if main and line == lines and each.name != before:
            found[-1] = replace(found[-1], seconds=found[-1].seconds + seconds)
        elif main:
            name = f"{timed.profile.source}:{line} {main.name}"
            kind, shape = operation_kind(main.name), shape_of(main.result)
            found.append(Worked(name=name, kind=kind, shape=shape, seconds=seconds))
        else:
            found.append(Worked(name=short_name(each.name), kind=OTHER_KIND, shape=(), seconds=seconds))
        before, lines = each.name, line
    return tuple(found)


def shape_of(result: str) -> tuple[int, ...]:
    """`1x32x112xf32` -> 1, 32, 112; empty where a size is open."""
    sizes = result.split("x")[:-1]
    return tuple(map(int, sizes)) if all(size.isdigit() for size in sizes) else ()
