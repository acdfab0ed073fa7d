"""Power failures: the disk of a store ends at a random moment of a run, and what was not written yet is lost.

The kernel does it (FS_IOC_SHUTDOWN without a flush of the journal). Then the disk is mounted again, its journal is
replayed, and the same command is given. Environments of compilers stand elsewhere; those of runtimes are made during
the run, so that their files are on the way to the disk too.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator

from disks import NoDisk, small_disk
from family import Family, Trial
from invariants import broken_after
from signals import below, send
from workload import Bed

DISK_BYTES = 8 << 30
"""Sparse: what is used of it is 0.2 GB. A run wants room to spare."""
KINDS = ("ext4", "xfs")
OPTIONS = {"ext4": "commit=1,noauto_da_alloc", "xfs": "nouuid"}
"""The journal is written each second, the data of a file long after its name: the worst order that ext4 allows."""


def trials(bed: Bed, chance: random.Random, count: int) -> Iterator[Trial]:
    bed.cannot("power failures by replaying writes (dm-log-writes)", "this kernel has no device mapper; see `power`")
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        try:
            yield one_failure(bed, kind, chance.uniform(0.1, 1.5))
        except NoDisk as reason:
            bed.cannot(f"power failures of {kind}", str(reason))


def one_failure(bed: Bed, kind: str, share: float) -> Trial:
    untouched = bed.untouched()
    assert untouched
    moment = share * untouched.seconds
    with bed.free_place() as place, small_disk(place.store, size=DISK_BYTES, kind=kind, options=OPTIONS[kind]) as disk:
        place.link_environments(untouched.store, "compiler-")
        os.sync()
        call = place.begin(UV_LINK_MODE="copy")
        until = time.monotonic() + moment
        while not call.over and time.monotonic() < until:
            time.sleep(0.01)
        disk.cut_power()
        send(call, [call.pid, *below(call.pid)], signal.SIGKILL)
        place.finish(call)
        disk.mount_again()
        fault = f"{kind}: the power fails after {moment:.2f} s"
        return Trial(fault=fault, broken=broken_after(bed, place, torn_results=True))


POWER = Family(
    name="power",
    what="the disk of the store ends at a random moment of a run; what was not written is lost",
    full=30,
    short=0,
    trials=trials,
)
