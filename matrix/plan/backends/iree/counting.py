"""What the stage `count` leaves: instructions, loads, stores and misses of a cache of a call, as an emulator's
plugin saw them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matrix.artifacts.benchmark import strip_private_data
from matrix.artifacts.json_reader import JsonFault, read_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matrix.core.keys import Json

COUNTER, PROFILER = "{counter}", "{profiler}"
"""Words of an emulator's argv: the plugin that counts, and the one that also says which code is executed."""
COUNTS_FILE = "counts.json"
BLOCKS_FILE = "blocks.json"
"""The code that the last call executed, as `matrix/artifacts/contents/executed.py` reads it."""
COUNTED_CALLS = 4
"""How often the module is called, also in the plugin; the last call counts. The first one does what later ones need not
do, and the allocator settles: in a model of 0.09 M instructions, a later call may differ from the fourth by 0.7 %."""
PROFILED = "profiled_instructions"
CALL_FIGURES = ("instructions", "loads", "stores")
MISSES = "d1_misses"
"""Of the model in `images/counter/cache.c`: a first-level data cache of 32 KiB, 8 ways, lines of 64 bytes."""
COUNT_FIGURES = (*CALL_FIGURES, MISSES)


def count_words() -> tuple[str, ...]:
    """The options of `iree-benchmark-module`: the module is called COUNTED_CALLS times, and no clock decides."""
    return (f"--benchmark_min_time={COUNTED_CALLS}x",)


def strip_log(content: bytes) -> bytes:
    """The benchmark's log without paths of the machine; the counts as they are, they have none."""
    return content if content.startswith(b'{"machine"') else strip_private_data(content)


def read_counts(outputs: Mapping[str, bytes]) -> Mapping[str, Json]:
    """The figures of the last call: whole numbers, never negative. None where the file does not hold as many calls.

    The last pair of marks has no call in it: what the clock itself needs is taken off. The misses are those of the last
    call with its clock, and absent where the plugin counts none.
    """
    try:
        content = read_json(outputs[COUNTS_FILE])
        calls = content["calls"]
        clock, last = calls[-1], calls[COUNTED_CALLS - 1]
        figures = [here - own for here, own in zip(last, clock, strict=True)] + content.get(MISSES, [])
        names = (*CALL_FIGURES, *([MISSES] if MISSES in content else []))
    except (JsonFault, AttributeError, KeyError, IndexError, TypeError, ValueError):
        return {}
    whole = all(type(each) is int and each >= 0 for each in figures)
    if len(calls) != COUNTED_CALLS + 1 or len(figures) != len(names) or not whole:
        return {}
    return dict(zip(names, figures, strict=True))


def read_profiled(outputs: Mapping[str, bytes]) -> Mapping[str, Json]:
    """All instructions of the last call, of the module and of the runtime, as the stage `count` counts them."""
    counts = read_counts(outputs)
    return {PROFILED: counts["instructions"]} if counts else {}
