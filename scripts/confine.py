"""Confines a job as far as Linux lets an ordinary process confine itself, without a daemon.

Landlock: it writes in its own folder alone, uses no TCP, and signals no process but its own. Namespaces, where the
machine allows them: its own /dev/shm, System V objects and no sockets of services. What a kernel lacks is left out.

A job whose programs talk to each other by TCP gets a network of its own with nothing but a loopback, where the machine
allows namespaces. Where not, it has no TCP either.

    python confine.py

prints as JSON what this machine has. Standard library only, CPython 3.9 to 3.14.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import socket
import struct
import sys
from collections.abc import Iterator

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""System calls. They have the same numbers on every architecture but Alpha."""
GET_VERSION, PATH_BENEATH = 1, 1
PR_SET_NO_NEW_PRIVS = 38

WRITE_FILE, REMOVE_DIR, REMOVE_FILE, MAKE_CHAR, MAKE_DIR, MAKE_REG = 1 << 1, 1 << 4, 1 << 5, 1 << 6, 1 << 7, 1 << 8
MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM, REFER, TRUNCATE = 1 << 9, 1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14
FILES = WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_SOCK | MAKE_FIFO | MAKE_SYM
DEVICES = MAKE_CHAR | MAKE_BLOCK
"""Allowed nowhere."""
TCP = 1 << 0 | 1 << 1
SCOPED = 1 << 0 | 1 << 1
"""Abstract sockets, and signals."""
REFER_SINCE, TRUNCATE_SINCE, TCP_SINCE, SCOPED_SINCE = 2, 3, 4, 6

WRITABLE_DEVICES = (
    *("null", "zero", "full", "random", "urandom", "tty"),
    *("nvidia0", "nvidiactl", "nvidia-uvm", "kfd", "dri"),
)
SHARED_MEMORY = "/dev/shm"
SERVICES = (
    *("/run/user", "/run/dbus", "/run/systemd", "/run/podman", "/run/containerd", "/run/docker", "/run/docker.sock"),
    *("/run/snapd.socket", "/run/containerd.sock", "/nix/var/nix/daemon-socket"),
)
"""Landlock does not cover sockets with a path. Behind these are services that do things for their clients."""

NEW_MOUNTS, NEW_IPC, NEW_USER, NEW_NETWORK = 0x00020000, 0x08000000, 0x10000000, 0x40000000
SET_FLAGS, UP = 0x8914, 1
"""Of a network interface."""
LOOPBACK = "lo"
NO_SUID, NO_DEVICES, READ_ONLY, BIND, RECURSIVE, PRIVATE = 2, 4, 1, 4096, 16384, 1 << 18

LIBC = ctypes.CDLL(None, use_errno=True)


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def landlock_version() -> int:
    """0 where the kernel has none, or where it is switched off."""
    return max(0, LIBC.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(GET_VERSION)))


def shut_in(*folders: str, memory_bytes: int, loopback: bool = False) -> None:
    """Confines this process and all that it starts: `folders` are where it may write. `loopback`: its programs talk to
    each other by TCP."""
    own = with_own_memory(memory_bytes)
    restrict(*folders, *([SHARED_MEMORY] if own else []), tcp=loopback and with_own_network())


def with_own_network() -> bool:
    """Gives this process a network with a loopback alone. False where the machine does not allow it, and there is
    another interface."""
    try:
        _check(LIBC.unshare(NEW_NETWORK))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_one:
            fcntl.ioctl(any_one, SET_FLAGS, struct.pack("16sh14x", LOOPBACK.encode(), UP))
    except OSError:
        pass
    return [name for _, name in socket.if_nameindex()] == [LOOPBACK]


def with_own_memory(memory_bytes: int) -> bool:
    """Gives this process a /dev/shm of at most so many bytes, which goes with its last child, and hides the sockets of
    services. False where the machine does not allow it."""
    user, group = os.geteuid(), os.getegid()
    try:
        if user == 0:
            _check(LIBC.unshare(NEW_MOUNTS | NEW_IPC))
        else:
            _check(LIBC.unshare(NEW_USER | NEW_MOUNTS | NEW_IPC))
            maps = {"setgroups": "deny", "uid_map": f"{user} {user} 1", "gid_map": f"{group} {group} 1"}
            for name, text in maps.items():
                with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                    file.write(text)
        _mount("none", "/", "", RECURSIVE | PRIVATE)
        options = f"size={memory_bytes},nr_inodes=100k,mode=1777"
        _mount("tmpfs", SHARED_MEMORY, "tmpfs", NO_SUID | NO_DEVICES, options)
    except OSError:
        return False
    for place in SERVICES:
        with contextlib.suppress(OSError):
            if os.path.isdir(place):
                _mount("tmpfs", place, "tmpfs", READ_ONLY, "size=4k,mode=0755")
            elif os.path.exists(place):
                _mount(os.devnull, place, "", BIND)
    return True


def shared_memory_bytes(pid: int) -> int:
    """What the files in the /dev/shm of a process hold: they count although no process may have mapped them."""
    try:
        seen, machine = os.stat(f"/proc/{pid}/root{SHARED_MEMORY}"), os.stat(SHARED_MEMORY)
        if seen.st_dev == machine.st_dev:
            return 0
        held = os.statvfs(f"/proc/{pid}/root{SHARED_MEMORY}")
    except OSError:
        return 0
    return (held.f_blocks - held.f_bfree) * held.f_frsize


def restrict(*folders: str, tcp: bool = False) -> None:
    """Puts Landlock on this process: it writes below these folders alone, and has TCP only if said. Does nothing where
    the kernel has none."""
    version = landlock_version()
    if not version:
        return
    allowed = FILES | (REFER if version >= REFER_SINCE else 0) | (TRUNCATE if version >= TRUNCATE_SINCE else 0)
    network = TCP if version >= TCP_SINCE and not tcp else 0
    rules = _Ruleset(allowed | DEVICES, network, SCOPED if version >= SCOPED_SINCE else 0)
    size = 8 if version < TCP_SINCE else 16 if version < SCOPED_SINCE else 24
    ruleset = _check(LIBC.syscall(CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), ctypes.c_uint32(0)))
    for folder in folders:
        _allow(ruleset, folder, allowed)
    for name in WRITABLE_DEVICES:
        with contextlib.suppress(OSError):
            _allow(ruleset, f"/dev/{name}", allowed & (WRITE_FILE | TRUNCATE))
    _check(LIBC.prctl(PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), 0, 0, 0))
    _check(LIBC.syscall(RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0)))
    os.close(ruleset)


def _allow(ruleset: int, folder: str, allowed: int) -> None:
    place = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    try:
        words = (ctypes.c_int(ruleset), ctypes.c_int(PATH_BENEATH), ctypes.byref(_Beneath(allowed, place)))
        _check(LIBC.syscall(ADD_RULE, *words, ctypes.c_uint32(0)))
    finally:
        os.close(place)


def _mount(what: str, place: str, kind: str, flags: int, options: str = "") -> None:
    words = [word.encode() for word in (what, place, kind, options)]
    _check(LIBC.mount(words[0], words[1], words[2] or None, ctypes.c_ulong(flags), words[3] or None))


def _check(returned: int) -> int:
    if returned < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return returned


def found() -> Iterator[tuple[str, object]]:
    """What this machine has, tried in this process."""
    yield "landlock", landlock_version()
    yield "own_memory", with_own_memory(1 << 20)


if __name__ == "__main__":
    json.dump(dict(found()), sys.stdout)
