"""Puts the outputs of jobs into the store, on threads: a file of gigabytes must not hold up a run.

The files are what a stranger's program left. One that cannot be taken concerns its job alone.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from matrix.core.disk import NO_SPACE, disk_errors, disk_full
from matrix.core.errors import FileFault, NotRunnable
from matrix.core.records import Artifact, JobEnd
from matrix.plan.stages import kinds
from matrix.run.executor import Work
from matrix.run.store import Store

MOST_OUTPUTS = 10_000
NOT_MEASURED = "not measured: "
"""Before the reason in the log of a job that ended well and says nothing: `matrix/data/signatures.toml` has it."""
STRIPPED_BYTES = 64 << 20
"""Of an output that is read whole, because something private is stripped from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """A job's end as it counts, and its outputs in the store."""

    end: JobEnd
    outputs: tuple[Artifact, ...] = ()
    fault: BaseException | None = None


class Collector:
    """Takes the outputs of one job after the other, on threads that do not keep this process from ending."""

    def __init__(self, store: Store, announce: Callable[[Collected], None]) -> None:
        self._store, self._announce = store, announce
        self._one = threading.Lock()

    def take(self, work: Work, end: JobEnd, files: Mapping[str, Path]) -> None:
        """Announces what was taken of the files (name -> path) of a job that ended well."""
        threading.Thread(target=self._take, args=(work, end, files), name="collects", daemon=True).start()

    def _take(self, work: Work, end: JobEnd, files: Mapping[str, Path]) -> None:
        with self._one:
            try:
                found = self._taken(work, end, files)
            except BaseException as error:  # noqa: BLE001 - carried to the main thread, which raises it
                found = Collected(end=end, fault=error)
        self._announce(found)

    def _taken(self, work: Work, end: JobEnd, files: Mapping[str, Path]) -> Collected:
        if too_much := _beyond_limits(work, files):
            return Collected(end=replace(end, end="over_limit", error=too_much))
        strip, keep = kinds()[work.job.stage].strip, kinds()[work.job.stage].keep
        if strip:
            end = replace(end, log=strip(end.log.encode()).decode())
        if unreadable := _make_readable(files):
            return Collected(end=replace(end, error=unreadable))
        for name, path in files.items():
            try:
                kept = keep(name, path.read_bytes()) if keep else strip(path.read_bytes()) if strip else None
            except FileFault as fault:
                return Collected(end=replace(end, end="lost", error=str(fault)))
            except NotRunnable as reason:
                return Collected(end=replace(end, exit_code=1, log=f"{end.log}\n{NOT_MEASURED}{reason}\n"))
            if kept is not None:
                with disk_errors(path.parent):
                    path.unlink()
                    path.write_bytes(kept)
        return Collected(end=end, outputs=tuple(self._store.put(path, name) for name, path in sorted(files.items())))


def _beyond_limits(work: Work, files: Mapping[str, Path]) -> str:
    """How the files exceed the limits of the job; empty: they do not."""
    if len(files) > MOST_OUTPUTS:
        return f"it left {len(files):,} outputs, of at most {MOST_OUTPUTS:,}"
    held, limit = sum(path.lstat().st_size for path in files.values()), work.job.limits.output_bytes
    if held > limit:
        return f"its outputs hold {held:,} bytes, of at most {limit:,}: `output_mib` of [limits] is the limit"
    largest = max((path.lstat().st_size for path in files.values()), default=0)
    if kinds()[work.job.stage].strip and largest > STRIPPED_BYTES:
        return f"an output of its stage holds {largest:,} bytes, of at most {STRIPPED_BYTES:,}"
    return ""


def _make_readable(files: Mapping[str, Path]) -> str:
    """Makes the files readable, and their own: one with a second name is a file of somebody else, or would change with
    it. Returns what cannot be read."""
    faults = []
    for name, path in sorted(files.items()):
        try:
            if path.stat().st_nlink == 1:
                path.chmod(0o600)
                continue
            copy = path.with_name(f".{path.name}.copy")
            shutil.copyfile(path, copy)
            copy.replace(path)
        except OSError as error:
            if error.errno in NO_SPACE:
                raise disk_full(path.parent) from None
            faults.append(f"the output {name} cannot be read: {error.strerror}")
    return "; ".join(faults)
