"""Several calls of the program on one store at the same time: two runs, `clean`, `show`; some of them killed."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Iterator

from command_line import started
from family import Family, Trial
from invariants import broken_after, last_line
from workload import CALL_SECONDS, Bed, Call, Place, show_words

NO_STORE_YET = 7
MEANWHILE = 6
"""How many calls of `clean` and `show` are made while the runs go on."""


def trials(bed: Bed, chance: random.Random, count: int) -> Iterator[Trial]:
    untouched = bed.untouched()
    assert untouched
    for number in range(count):
        moment, killed = chance.uniform(0.2, 1.0) * untouched.seconds, number % 2 == 1
        with bed.place() as place:
            runs = [place.begin(), place.begin()]
            until = time.monotonic() + moment
            verbs = verbs_meanwhile(place, days="0" if killed else "1", environments=number % 4 > 1)
            others = list[Call]()
            while not all(call.over for call in runs) and time.monotonic() < until + CALL_SECONDS:
                if len(others) < MEANWHILE and all(call.over for call in others):
                    others.append(place.begin(*next(verbs)))
                if killed and time.monotonic() > until and not runs[0].killed_by:
                    runs[0].send(signal.SIGKILL)
                time.sleep(0.02)
            for call in (*runs, *others):
                place.finish(call)
            fault = "2 runs, `clean` and `show`" + (f", one killed after {moment:.2f} s" if killed else "")
            yield Trial(fault=fault, broken=(*said(place, killed=killed), *broken_after(bed, place)))


def verbs_meanwhile(place: Place, *, days: str, environments: bool) -> Iterator[tuple[str, ...]]:
    """What is called in turn. 0 `days`: results of runs that are not over are removed too, and so are done again.
    `environments`: all environments that no run uses are removed as well."""
    clean = ("clean", "--older-than", days, *(["--environments"] if environments else []), "--store", str(place.store))
    while True:
        yield clean
        yield show_words(place)


def said(place: Place, *, killed: bool) -> Iterator[str]:
    """What must hold beside the invariants: every call does its work, and the runs share theirs."""
    for ended in place.ended:
        if not ended.killed_by and ended.status not in (0, *([NO_STORE_YET] if ended.words[0] != "run" else [])):
            yield f"{ended.words[0]} ended with {ended.status}: {last_line(ended.err)}"
    twice = [key for key, times in Counter(started(place.starts)).items() if times > 1]
    if twice and not killed:
        yield f"{len(twice)} jobs were started by both runs"


TOGETHER = Family(
    name="concurrent",
    what="2 runs, `clean` (with and without environments) and `show` on one store; one run killed in half of them",
    full=16,
    short=1,
    trials=trials,
)
