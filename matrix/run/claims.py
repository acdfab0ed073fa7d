"""The claims of processes: on jobs of a store, on the store, on a scratch folder, and on the machine, to measure times.
The kernel releases them when a process ends, in whatever way."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Iterator
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
MACHINE_PLACES = (Path("/run/lock"), Path("/tmp"))
"""Where the files are whose locks mean the whole machine: all users and all stores see them, and containers that have
one of these folders mounted."""
TURN, NEXT = "iree-matrix-alone", "iree-matrix-alone-next"


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
        self.machine = MachineTurn((*MACHINE_PLACES, folder))

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
        """Claims a job as `take` does. One that must run alone also waits for such jobs of other runs on this machine,
        whatever their stores are."""
        if not self.take(job.key):
            return False
        if job.alone and not self.machine.take():
            self.release(job.key)
            return False
        return True

    def release_job(self, job: Job) -> None:
        """Releases what `take_job` took."""
        self.release(job.key)
        if job.alone:
            self.machine.release()

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
        self.machine.stand_back()
        self.machine.release()
        if self._scratch:
            remove_tree(self._scratch)
        for descriptor in self._descriptors:
            os.close(descriptor)


class MachineTurn:
    """Whose turn it is to have this machine alone: locks on files that all processes of the machine see.

    Who waits for it is the next one, and the others wait for being the next. So a run that measures one job after
    another lets those of others in between.
    """

    def __init__(self, places: Iterable[Path]) -> None:
        """`places`: folders for the files. Those that can have none count as if they were not there."""
        self._places = tuple(places)
        self._turn: list[int] | None = None
        self._next: list[int] | None = None

    def take(self) -> bool:
        """Takes the turn, or stands in line for it. True if this process has it now and did not have it before."""
        if self._turn is not None:
            return False
        if self._next is None:
            self._next = self._locked(NEXT)
        if self._next is not None:
            self._turn = self._locked(TURN)
        if self._turn is not None:
            self.stand_back()
        return self._turn is not None

    def stand_back(self) -> None:
        """Lets others go first: this process cannot use its turn now."""
        _close_all(self._next or ())
        self._next = None

    def release(self) -> None:
        _close_all(self._turn or ())
        self._turn = None

    def _locked(self, name: str) -> list[int] | None:
        """Locks the files of a name, in all places; None where another process has one of them."""
        held: list[int] = []
        for place in self._places:
            path = place / name
            try:
                held.append(_opened_by_all(path))
                fcntl.flock(held[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not os.path.samestat(os.fstat(held[-1]), path.stat()):  # it was removed, and made again
                    raise BlockingIOError
            except BlockingIOError:
                _close_all(held)
                return None
            except OSError:  # no such folder, or one for others: another place will do
                continue
        return held


def _opened_by_all(path: Path) -> int:
    """A file that any user may open, and so lock: it is made with its mode at once. Raises OSError."""
    with contextlib.suppress(FileExistsError):
        if not path.exists():
            made, beside = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}-")
            try:
                os.fchmod(made, 0o644)
                os.link(beside, path)
            finally:
                os.close(made)
                Path(beside).unlink()
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise FileNotFoundError(path)
    return file


def _close_all(files: Iterable[int]) -> None:
    for file in files:
        os.close(file)


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
