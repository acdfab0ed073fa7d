"""Times of dispatches for people and as JSON: of one release, or of two compared by operation. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from matrix.answers.profiled.changes import NO_LINE, same_model
from matrix.answers.profiled.words import (
    MOST_DISPATCHES,
    profiles_document,
    total_lines,
    where_words,
)
from matrix.answers.timing.joined import (
    OperationTime,
    TimedDispatch,
    TimedProfile,
    TimesOfCall,
    apart,
    operation_times,
)
from matrix.artifacts.timings.dispatch_times import DispatchTime
from matrix.core.keys import Json
from matrix.core.text import counted, plain_rows
from matrix.plan.backends.shared import MODEL_AXIS
from matrix.results.measured.profiled_code import short_name
from matrix.results.times import duration

HOW_TIMED_HERE = (
    "a time is the sum of the shortest of each workgroup over the calls; the quartiles are those of the calls, with "
    "all that interrupted them; instructions are counted, and say nothing of time"
)
TWO_HOURS = "the sides were timed one after the other: small changes are chance, repeat both before you rely on one"
SLOW_ONE = "it may be memory-bound, or its instructions take long"
TIMED_HEADERS = ("time", "share", "quartiles of calls", "instructions", "share", "a ns", "dispatch", "operation")
TIMED_CHANGE_HEADERS = ("before", "after", "change", "", "operation", "dispatches")


def timed_lines(timed: TimedProfile) -> list[str]:
    """The totals, the dispatches that take longest, and those that time and instructions place otherwise."""
    listed, more = timed.dispatches[:MOST_DISPATCHES], timed.dispatches[MOST_DISPATCHES:]
    table = plain_rows([_cells(timed, each) for each in listed], headers=TIMED_HEADERS).splitlines()
    rest = sum(each.time.least for each in more if each.time)
    after = [f"{_dispatches(len(more), 'further ')}: {_time(rest)}"] if more else []
    return [
        _axes_words(timed.profile.axes),
        *total_lines(timed.profile)[:1],
        *time_lines(timed),
        HOW_TIMED_HERE,
        "",
        *table,
        *after,
        "",
        *top_lines(timed),
    ]


def time_lines(timed: TimedProfile) -> Iterator[str]:
    """What a call takes in all, and how both tools agree."""
    times, found = timed.traced, timed.agreement
    yield (
        f"{_time(timed.nanoseconds)} a call in {_dispatches(len(times.dispatches))}, by {times.method}, "
        f"{times.calls} calls; {timed.rate:.3g} instructions a nanosecond"
    )
    if found and timed.times.profiled:
        low, middle, high = found.quartiles
        spread = f", half of them {low:.3f} to {high:.3f}, all {found.ends[0]:.3f} to {found.ends[1]:.3f}"
        yield (
            f"{timed.times.profiled.method}, {timed.times.profiled.calls} calls more: {found.whole:.3f} of it in all, "
            f"by the shortest of each invocation; by dispatch {middle:.3f}{spread if found.dispatches > 1 else ''}"
        )


def _cells(timed: TimedProfile, row: TimedDispatch) -> list[str]:
    main = timed.profile.main_operation(row.counted) if row.counted else None
    return [
        _time(row.time.least) if row.time else "not timed",
        _part(row.time.least, timed.nanoseconds) if row.time else "",
        _quartiles(row.time),
        f"{row.counted.instructions:,}" if row.counted else "not counted",
        _part(row.counted.instructions, timed.in_dispatches) if row.counted else "",
        rate_text(row),
        short_name(row.name),
        where_words(main, timed.profile.source),
    ]


def _quartiles(time: DispatchTime | None) -> str:
    return f"{_time(time.quartiles[0])} to {_time(time.quartiles[2])}" if time else ""


def top_lines(timed: TimedProfile) -> Iterator[str]:
    """The dispatches that time and instructions place otherwise."""
    by_time, by_count = timed.top_by_time, timed.top_by_count
    by_time_alone, by_count_alone = apart(by_time, by_count), apart(by_count, by_time)
    size = min(len(by_time), len(by_count))
    same = len(by_time) - len(by_time_alone)
    ranked = f"; rank correlation over all {timed.correlation:.2f}" if timed.correlation is not None else ""
    yield f"of the first {size} by time and by instructions {same} are the same{ranked}"
    for each in by_time_alone:
        slow = each.rate is not None and each.rate < timed.rate
        yield f"by time alone: {short_name(each.name)}{_rate_words(each)}{f': {SLOW_ONE}' if slow else ''}"
    for each in by_count_alone:
        yield f"by instructions alone: {short_name(each.name)}{_rate_words(each)}"


def rate_text(row: TimedDispatch) -> str:
    return f"{row.rate:.3g}" if row.rate is not None else ""


def _rate_words(row: TimedDispatch) -> str:
    return f", {row.rate:.3g} instructions a nanosecond" if row.rate is not None else ""


def timed_comparison(before: TimedProfile, after: TimedProfile) -> list[str]:
    """The operations whose times changed most."""
    changes = [each for each in operation_times(before, after) if each.change]
    listed, more = changes[:MOST_DISPATCHES], changes[MOST_DISPATCHES:]
    table = plain_rows(
        [_change_cells(each, after.profile.source) for each in listed], headers=TIMED_CHANGE_HEADERS
    ).splitlines()
    differ = [axis for axis, label in before.profile.axes.items() if after.profile.axes.get(axis) != label]
    shared = {axis: label for axis, label in after.profile.axes.items() if axis not in differ}
    lines = [_axes_words(shared)]
    for name, side in (("before", before), ("after", after)):
        lines.append(f"{name}: {', '.join(f'{axis} {side.profile.axes[axis]}' for axis in differ)}")
        lines += [*total_lines(side.profile)[:1], *time_lines(side)]
    if not same_model(before.profile, after.profile):
        lines.append("both read different MLIR: operations with the same text are one")
    rest = sum(each.change for each in more)
    tail = [f"{counted(len(more), 'further operation')}: {_signed(rest)}"] if more else []
    return [*lines, HOW_TIMED_HERE, TWO_HOURS, "", *(table if listed else ["no operation changed"]), *tail]


def _change_cells(each: OperationTime, source: str) -> list[str]:
    cut = [_few(names) for names in (each.before_in, each.after_in)]
    return [
        _time(each.before) if each.before_in else "none",
        _time(each.after) if each.after_in else "none",
        _signed(each.change),
        f"{100 * (each.after / each.before - 1):+.3g} %" if each.before and each.after else "",
        where_words(each.operation, source),
        cut[0] if cut[0] == cut[1] else f"{cut[0] or 'none'} -> {cut[1] or 'none'}",
    ]


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(map(short_name, names[:2]))
    return shown + (f" and {len(names) - 2} more" if len(names) > 2 else "")


def _signed(nanoseconds: float) -> str:
    return f"{'-' if nanoseconds < 0 else '+'}{_time(abs(nanoseconds))}"


def _time(nanoseconds: float) -> str:
    return duration(nanoseconds / 1e9)


def _axes_words(axes: Mapping[str, str]) -> str:
    model = axes.get(MODEL_AXIS.name, "")
    return ", ".join([model, *(f"{axis} {label}" for axis, label in axes.items() if axis != MODEL_AXIS.name)])


def _dispatches(number: int, which: str = "") -> str:
    return f"{number} {which}dispatch{'' if number == 1 else 'es'}"


def _part(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "0.0 %"


# -- as JSON


def timed_document(timed: Sequence[TimedProfile]) -> dict[str, Json]:
    """That of the profiles, and all times beside: `times` in the order of `profiles`; of two the changes by
    operation in `operation_times`."""
    document = profiles_document(each.profile for each in timed)
    document["times"] = [_fields(each) for each in timed]
    if len(timed) == 2:
        document["operation_times"] = [_change_fields(each) for each in operation_times(*timed)]
    return document


def _fields(timed: TimedProfile) -> Json:
    found = timed.agreement
    return {
        "nanoseconds": timed.nanoseconds,
        "instructions_in_dispatches": timed.in_dispatches,
        "rank_correlation": timed.correlation,
        "top_by_time": [each.name for each in timed.top_by_time],
        "top_by_instructions": [each.name for each in timed.top_by_count],
        "methods": [_method_fields(each) for each in (timed.times.traced, timed.times.profiled) if each],
        "agreement": {
            "dispatches": found.dispatches,
            "whole": found.whole,
            "quartiles": [*found.quartiles],
            "ends": [*found.ends],
        }
        if found
        else None,
        "dispatches": [
            {
                "name": each.name,
                "nanoseconds": each.time.least if each.time else None,
                "share": each.time.least / timed.nanoseconds if each.time and timed.nanoseconds else None,
                "quartiles": [*each.time.quartiles] if each.time else None,
                "invocations": each.time.invocations if each.time else None,
                "instructions": each.counted.instructions if each.counted else None,
                "instructions_a_nanosecond": each.rate,
            }
            for each in timed.dispatches
        ],
    }


def _method_fields(times: TimesOfCall) -> Json:
    return {
        "method": times.method,
        "calls": times.calls,
        "nanoseconds": times.least,
        "dispatches": [
            {"name": each.name, "nanoseconds": each.least, "quartiles": [*each.quartiles]} for each in times.dispatches
        ],
    }


def _change_fields(each: OperationTime) -> Json:
    return {
        "line": each.operation.line if each.operation else None,
        "operation": each.operation.name if each.operation else NO_LINE,
        "before": each.before,
        "after": each.after,
        "change": each.change,
        "before_in": [*each.before_in],
        "after_in": [*each.after_in],
    }
