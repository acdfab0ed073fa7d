"""Small disks of a trial's own: a file, with a file system in it, mounted. Needs root and loop devices."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from debian_programs import installed

PACKAGES = {"ext4": "e2fsprogs", "xfs": "xfsprogs", "btrfs": "btrfs-progs"}
"""What Debian calls the programs of a file system."""
FS_IOC_SHUTDOWN = 0x8004587D
"""_IOR('X', 125, __u32): the file system ends at once."""
WITHOUT_LOG = 2
"""…and writes nothing any more, neither data nor journal: what a power failure does (godown -f of xfstests)."""

BALLAST = "ballast"


class NoDisk(Exception):
    """This machine gives no such disk; the text says why."""


class SmallDisk:
    """A file system of `size` bytes in the file `image`, mounted at `folder`."""

    def __init__(self, folder: Path, *, size: int, kind: str = "ext4", options: str = "") -> None:
        self.folder, self.kind = folder, kind
        self.image = folder.with_name(folder.name + ".image")
        self._options = ",".join(filter(None, ("loop", options)))
        if not installed(f"mkfs.{kind}", PACKAGES[kind]):
            raise NoDisk(f"there is no mkfs.{kind}")
        folder.mkdir(parents=True, exist_ok=True)
        with self.image.open("wb") as file:
            file.truncate(size)
        checked(f"mkfs.{kind}", "-q", *(("-m", "0") if kind == "ext4" else ()), str(self.image))
        self.mount()
        if kind == "btrfs":
            checked("btrfs", "quota", "enable", str(folder))

    def mount(self) -> None:
        checked("mount", "-t", self.kind, "-o", self._options, str(self.image), str(self.folder))

    def unmount(self) -> None:
        """Tries again: a process that was just killed may still have a file open. The kernel is asked itself: `umount`
        reads the list of mounts, and that has gaps while others mount."""
        library = ctypes.CDLL(None, use_errno=True)
        for _ in range(100):
            if library.umount2(os.fsencode(self.folder), 0) == 0 or ctypes.get_errno() == errno.EINVAL:
                return
            time.sleep(0.1)
        raise NoDisk(f"{self.folder} is in use for too long")

    def mount_again(self) -> None:
        """As after a power failure, from a copy: another process's namespace may still hold the disk that ended, and
        then to mount it means to see the dead one."""
        self.unmount()
        copy = self.image.with_suffix(".copy")
        checked("cp", "--sparse=always", str(self.image), str(copy))
        copy.replace(self.image)
        self.mount()

    def cut_power(self) -> None:
        """What was not written to the disk before this moment is lost. Then the disk must be mounted again."""
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, FS_IOC_SHUTDOWN, struct.pack("I", WITHOUT_LOG))
        finally:
            os.close(handle)

    @property
    def refusal(self) -> str:
        """How a write ends once the disk is full: by a quota on btrfs (no other file system has one in most kernels of
        small machines; root is bound by it too), else by the end of the room."""
        return "EDQUOT" if self.kind == "btrfs" else "ENOSPC"

    def fill(self, room: int) -> None:
        """From now on there is room for `room` bytes."""
        usage = shutil.disk_usage(self.folder)
        if self.kind == "btrfs":
            checked("btrfs", "qgroup", "limit", str(usage.used + room), str(self.folder))
            return
        with (self.folder / BALLAST).open("wb") as file, contextlib.suppress(OSError):
            while (more := shutil.disk_usage(self.folder).free - room) > 4096:
                os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), more)

    def empty(self) -> None:
        """There is all room again."""
        if self.kind == "btrfs":
            checked("btrfs", "qgroup", "limit", "none", str(self.folder))
        (self.folder / BALLAST).unlink(missing_ok=True)


@contextlib.contextmanager
def small_disk(folder: Path, *, size: int, kind: str = "ext4", options: str = "") -> Iterator[SmallDisk]:
    """A disk at `folder` that is gone afterwards. Raises NoDisk."""
    disk = None
    try:
        disk = SmallDisk(folder, size=size, kind=kind, options=options)
        yield disk
    finally:
        if disk:
            disk.unmount()
        folder.with_name(folder.name + ".image").unlink(missing_ok=True)


def checked(*argv: str) -> None:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    except OSError as error:
        raise NoDisk(f"{argv[0]}: {error.strerror}") from None
    if done.returncode:
        raise NoDisk(f"{argv[0]}: {(done.stderr or done.stdout).strip()}")
