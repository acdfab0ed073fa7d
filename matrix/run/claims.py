"""The claims of processes on one store: on jobs, on the store, on a scratch folder. The kernel releases them when a
process ends, in whatever way."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from matrix.core.disk import DEAD_SUFFIX, remove_tree
from matrix.core.errors import StoreUnusable
from matrix.core.records import Job

SHARED_DISKS = frozenset(
    """9p afs beegfs ceph cifs davfs fuse.cephfs fuse.davfs fuse.gcsfuse fuse.glusterfs fuse.juicefs fuse.rclone
    fuse.s3fs fuse.sshfs gpfs lustre ncpfs nfs nfs4 orangefs smb3 smbfs""".split()  # noqa: SIM905 - read as a list
)
"""File systems of other machines. SQLite's WAL needs memory that all its processes share, so it does not work there
(https://sqlite.org/wal.html), and locks may hold on one machine only, or not at all."""
MOUNTS = Path("/proc/self/mountinfo")
ALONE = "a job that must be alone on the machine"


def mounted_at(folder: Path, mounts: str) -> tuple[str, str]:
    """The file system of an absolute path and where it is mounted, from the text of /proc/PID/mountinfo (proc(5)): the
    last mount of the longest path. Empty if the text has none."""
    found = ("", "")
    for line in mounts.splitlines():
        place, _, kind = line.partition(" - ")
        words = place.split(" ")
        if len(words) < 5 or not kind:
            continue
        root = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), words[4])
        if folder.is_relative_to(root) and len(root) >= len(found[1]):
            found = (kind.split(" ")[0], root)
    return found


def refuse_shared_disk(folder: Path, mounts: Path = MOUNTS) -> None:
    """Raises StoreUnusable where the folder is on a disk of another machine."""
    try:
        kind, root = mounted_at(folder.resolve(), mounts.read_text(encoding="utf-8", errors="surrogateescape"))
    except (OSError, RuntimeError):  # no Linux, no /proc, or a link to itself: nothing is known
        return
    if kind in SHARED_DISKS:
        raise StoreUnusable(
            f"{folder}: read the file system {kind} of {root}, expected one of this machine: on a network disk neither "
            "the database nor the locks that keep two runs apart can be trusted",
            tip="give a folder on a local disk with --store; a store that is there can be copied: `cp -a`",
        )


class Claims:
    """The claims of this process on the store in a folder. The claim on a job is a byte-range lock."""

    def __init__(self, folder: Path) -> None:
        self._held: set[str] = set()
        self._descriptors: list[int] = []
        self._jobs, self._in_use = (self._open(folder / name) for name in ("claims", "in-use"))
        self._scratch: Path | None = None

    def _open(self, path: Path, flags: int = os.O_RDWR | os.O_CREAT) -> int:
        self._descriptors.append(os.open(path, flags | os.O_CLOEXEC, 0o644))
        return self._descriptors[-1]

    def take(self, key: str) -> bool:
        """Claims a job. True if this process did not have the claim before and has it now."""
        if key in self._held:
            return False
        try:
            fcntl.lockf(self._jobs, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _offset(key))
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return False
            raise
        self._held.add(key)
        return True

    def release(self, key: str) -> None:
        """Releases a job for other processes."""
        if key in self._held:
            self._held.discard(key)
            fcntl.lockf(self._jobs, fcntl.LOCK_UN, 1, _offset(key))

    def take_job(self, job: Job) -> bool:
        """Claims a job as `take` does. One that must run alone also waits for such a job of another run on this
        store."""
        if job.alone and not self.take(ALONE):
            return False
        if self.take(job.key):
            return True
        if job.alone:
            self.release(ALONE)
        return False

    def release_job(self, job: Job) -> None:
        """Releases what `take_job` took."""
        self.release(job.key)
        if job.alone:
            self.release(ALONE)

    def take_store(self, *, alone: bool) -> bool:
        """Marks the store as in use (shared), or claims it exclusively for cleaning. False if claims of others prevent
        it."""
        try:
            fcntl.flock(self._in_use, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    @contextlib.contextmanager
    def gate(self, name: str) -> Iterator[None]:
        """Lets one process at a time through."""
        fcntl.lockf(self._jobs, fcntl.LOCK_EX, 1, _offset(name))
        try:
            yield
        finally:
            fcntl.lockf(self._jobs, fcntl.LOCK_UN, 1, _offset(name))

    def scratch(self, folder: Path) -> Path:
        """A scratch folder of this process below `folder`. Removes those of ended processes."""
        with self.gate("scratch"):  # no process removes a folder between another's mkdtemp and its flock
            for left in folder.iterdir():
                with contextlib.suppress(OSError):
                    _remove_dead(left)
            self._scratch = Path(tempfile.mkdtemp(prefix="run-", dir=folder))
            fcntl.flock(self._open(self._scratch, os.O_RDONLY | os.O_DIRECTORY), fcntl.LOCK_SH | fcntl.LOCK_NB)
        return self._scratch

    def close(self) -> None:
        """Releases all claims and removes the scratch folder."""
        if self._scratch:
            remove_tree(self._scratch)
        for descriptor in self._descriptors:
            os.close(descriptor)


def _remove_dead(folder: Path) -> None:
    """Raises OSError while its process is alive."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        dead = folder if folder.suffix == DEAD_SUFFIX else folder.rename(folder.with_name(folder.name + DEAD_SUFFIX))
        remove_tree(dead)
    finally:
        os.close(descriptor)


def _offset(key: str) -> int:
    """A byte of the claims file for each key: 62 bits of its digest."""
    return int(hashlib.sha256(key.encode()).hexdigest()[:16], 16) >> 2
