"""A clock that is wrong by a day, or leaps by a day while a run goes on, for all processes of the run (`clock.c`)."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from family import Family, Trial
from invariants import broken_after
from workload import Bed

DAY = 24 * 60 * 60


def built_library(bed: Bed) -> Path | None:
    """`clock.c`, compiled; None where there is no C compiler."""
    library, compiler = bed.folder / "clock.so", shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    source = Path(__file__).with_suffix(".c")
    argv = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    subprocess.run(argv, check=True, capture_output=True, timeout=60)
    return library


def trials(bed: Bed, chance: random.Random, count: int) -> Iterator[Trial]:
    library, untouched = built_library(bed), bed.untouched()
    assert untouched
    if library is None:
        bed.cannot("a clock that is wrong by a day", "there is no C compiler")
        return
    for number in range(count):
        seconds, leaps = (DAY, -DAY)[number % 2], number % 4 > 1
        moment = chance.uniform(0.2, 1.0) * untouched.seconds
        with bed.place() as place:
            clock = place.folder / "clock"
            clock.write_bytes(struct.pack("q", 0 if leaps else seconds))
            call = place.begin(LD_PRELOAD=str(library), FAULTS_CLOCK=str(clock))
            if leaps:
                time.sleep(moment)
                with clock.open("r+b") as file:
                    file.write(struct.pack("q", seconds))
            place.finish(call)
            fault = f"the clock leaps by {seconds} s after {moment:.2f} s" if leaps else f"a clock wrong by {seconds} s"
            dates = {str(result["finished_at"])[:10] for result in place.results().values()}
            said = () if dates - {time.strftime("%Y-%m-%d", time.gmtime())} or leaps else ("the clock was right",)
            yield Trial(fault=fault, broken=(*said, *broken_after(bed, place)))


CLOCK = Family(
    name="clock",
    what="a clock that is wrong by a day, or leaps by a day in mid-run",
    full=12,
    short=1,
    trials=trials,
)
