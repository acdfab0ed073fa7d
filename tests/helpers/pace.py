"""How fast this machine is at the moment beside the one for which limits of time were written.

Machines of a kind differ by a factor of two, and what runs on the other core costs as much again: a limit in bare
seconds would judge the machine and not the program.
"""

from __future__ import annotations

import time

REFERENCE = 0.05
"""CPU seconds that `_work` takes on an otherwise idle core of the machine of the limits (AMD EPYC, CPython 3.11)."""


def allowed(seconds: float) -> float:
    """A limit of so many seconds, longer by as much as this machine is slower; never shorter."""
    return seconds * max(1.0, min(_work() for _ in range(5)) / REFERENCE)


def _work() -> float:
    """CPU seconds for what planning and rendering are made of: tuples, texts, a table, a sort."""
    begun = time.process_time()
    table = {(number % 977, str(number)): [number] for number in range(60_000)}
    assert sum(len(table[key]) for key in sorted(table)) == 60_000
    return time.process_time() - begun
