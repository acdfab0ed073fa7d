"""Times each kernel of a library that TVM made, on one thread: `profile_tvm.py MODEL FILE`.

TVM's virtual machine tells an instrument of each call, before it and after it. The kernels are those that TVM made of
the model; what the machine does between them is left out. A figure holds a call from the machine to Python, some
microseconds. Takes `input_N.npy` of the job's own folder. Standard library, numpy and tvm only.
"""

from __future__ import annotations

import sys
import time
from typing import Any

sys.path.insert(0, "")  # the job's folder: this file is a link there, and Python looks beside what it leads to
from run_tvm import opened
from timed_operations import Samples

OF_THE_MACHINE = "vm."
WARM, SECONDS, GO_ON = 3, 1.0, 0


class Clock:
    """The seconds of each kernel of a call, and their arguments, in the order in which they run."""

    def __init__(self) -> None:
        self.kernels: list[tuple[str, float, tuple[object, ...]]] = []
        self.started: list[float] = []

    def __call__(self, _function: object, symbol: str, before: bool, _given: object, *arguments: object) -> int:
        now = time.perf_counter()
        if before:
            self.started.append(time.perf_counter())
        else:
            took = now - self.started.pop()
            if not symbol.startswith(OF_THE_MACHINE):
                self.kernels.append((symbol, took, arguments))
        return GO_ON


def main(model: str, left: str) -> None:
    machine, tensors = opened(model)
    call, clock, samples = machine["main"], Clock(), Samples(1)
    machine.set_instrument(clock)
    for _ in range(WARM):
        call(*tensors)
    while not samples.enough(SECONDS):
        clock.kernels.clear()
        samples.take(lambda: call(*tensors))
        for place, (symbol, took, arguments) in enumerate(clock.kernels):
            name = f"{symbol}#{place}"
            samples.operations.setdefault(name, []).append(took)
            samples.facts.setdefault(name, facts(symbol, place, arguments))
    samples.write(left)


def facts(symbol: str, place: int, arguments: tuple[object, ...]) -> dict[str, Any]:
    """What a kernel is: equal ones have a number behind their name, and the last argument is what it writes."""
    shape = getattr(arguments[-1], "shape", ()) if arguments else ()
    return {"kind": symbol.rstrip("0123456789_"), "index": place, "shape": [int(size) for size in shape]}


if __name__ == "__main__":
    main(*sys.argv[1:])
