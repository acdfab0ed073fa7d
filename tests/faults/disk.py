"""Full disks and quotas: ENOSPC and EDQUOT at each kind of write that a run does.

How much room is left decides at which write it ends: of an environment's files, a job's output or log, a blob, the
database, its log, a scratch folder. So the room is drawn anew each time, over the whole range.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from disks import NoDisk, small_disk
from family import Family, Trial
from invariants import broken_after, last_line
from workload import Bed

DISK_BYTES = 8 << 30
"""Sparse. A run wants room to spare before it makes environments, so the disk becomes full later."""
ROOM_BYTES, ROOM_TO_INSTALL_BYTES = 600 << 10, 90 << 20
"""What a run writes whose environments stand elsewhere, and one that makes those of runtimes."""


def trials(bed: Bed, chance: random.Random, count: int) -> Iterator[Trial]:
    for number in range(count):
        kind = "btrfs" if number % 3 == 2 else "ext4"
        cold, shares = number % 2 == 1, (chance.random(), chance.random())
        try:
            yield one_full_disk(bed, kind, shares, cold=cold, everything=number % 4 == 3)
        except NoDisk as reason:
            bed.cannot("EDQUOT (a quota of btrfs)" if kind == "btrfs" else "ENOSPC", str(reason))


def one_full_disk(bed: Bed, kind: str, shares: tuple[float, float], *, cold: bool, everything: bool) -> Trial:
    """`shares`: of the time until the disk is full, and of the room that is left then. `everything`: temporary files
    and the cache of wheels are on that disk too."""
    untouched = bed.untouched()
    assert untouched
    moment, room = shares[0] * untouched.seconds, int(shares[1] * (ROOM_TO_INSTALL_BYTES if cold else ROOM_BYTES))
    with bed.free_place() as place:
        folder = place.folder / "disk"
        with small_disk(folder, size=DISK_BYTES, kind=kind) as disk:
            place.store_folder = folder / "store"
            place.link_environments(untouched.store, "compiler-" if cold else "")
            (folder / "tmp").mkdir()
            more = {"TMPDIR": str(folder / "tmp"), "UV_CACHE_DIR": str(folder / "uv")} if everything else {}
            call = place.begin(UV_LINK_MODE="copy", **more)
            time.sleep(moment)
            disk.fill(room)
            ran = place.finish(call)
            disk.empty()
            fault = f"{disk.refusal} after {moment:.2f} s with {room >> 10} KiB left, status {ran.status}"
            said = () if ran.status in (0, 7, 8) else (f"status {ran.status} for a full disk: {last_line(ran.err)}",)
            return Trial(fault=fault, broken=(*said, *broken_after(bed, place)))


DISK = Family(
    name="disk",
    what="no space left (ext4), or a quota reached (btrfs), at each kind of write",
    full=40,
    short=1,
    trials=trials,
)
