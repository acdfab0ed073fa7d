"""What each operation of a model took on a runtime, as `scripts/timed_operations.py` writes it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from matrix.artifacts.json_reader import JsonFault, read_json
from matrix.core.errors import FileFault

OPERATIONS_FORMAT = 1
MEASURE_AGAIN = "the file is damaged, or of another version: run again with an empty --store"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Seconds of a call over samples: the median, the quartiles beside it, and the least."""

    seconds: float
    low: float
    high: float
    least: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedOperation:
    """An operation that a runtime carries out: its name there, its kind, the shape of its first result (empty where
    none is known), and the names of the model's operations that it comes from, where the runtime says so."""

    name: str
    kind: str
    took: Spread
    shape: tuple[int, ...] = ()
    origins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationTimes:
    """Calls of a model while it was profiled: a whole call, its CPU seconds `cpu`, and its operations in the order in
    which they run. A sample is the mean of some calls."""

    samples: int
    calls_in_each: int
    call: Spread
    cpu: float
    operations: tuple[TimedOperation, ...]

    @property
    def seconds(self) -> float:
        """Of all operations. The rest of a call is the runtime's, and the profiler's."""
        return sum(each.took.seconds for each in self.operations)


def read_operation_times(content: bytes, place: str) -> OperationTimes:
    """The times in a file. Raises FileFault."""
    try:
        document = read_json(content)
        if document["format"] != OPERATIONS_FORMAT:
            raise ValueError(f"format {document['format']}")
        return OperationTimes(
            samples=_whole(document["samples"]),
            calls_in_each=_whole(document["calls_in_each"]),
            call=_spread(document["call"]),
            cpu=float(document["call"]["cpu"]),
            operations=tuple(map(_operation, document["operations"])),
        )
    except (JsonFault, KeyError, TypeError, ValueError) as error:
        said = f"{place}: read no times of operations ({error}), expected format {OPERATIONS_FORMAT}"
        raise FileFault(said, tip=MEASURE_AGAIN) from None


def _operation(row: dict[str, Any]) -> TimedOperation:
    return TimedOperation(
        name=_text(row["name"]),
        kind=_text(row["kind"]),
        took=_spread(row),
        shape=tuple(map(_whole, row.get("shape", ()))),
        origins=tuple(map(_text, row.get("of", ()))),
    )


def _spread(row: dict[str, Any]) -> Spread:
    seconds, low, high, least = (float(row[name]) for name in ("seconds", "low", "high", "least"))
    if not 0 <= least <= low <= seconds <= high:
        raise ValueError(f"quartiles {low} and {high} around {seconds}, least {least}")
    return Spread(seconds=seconds, low=low, high=high, least=least)


def _whole(value: object) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(f"{value!r} is no whole number")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
