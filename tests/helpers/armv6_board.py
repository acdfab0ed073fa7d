"""An ARMv6 userland behind an SSH server, all real but the metal: Debian armel's busybox in a root of its own, its
shell run by the locked qemu as an ARM1176. No Python, no coreutils, and nothing of this machine is in it.

A job begins with no variable, so qemu runs it on its own choice of a CPU: what an ARM1176 lacks is tested elsewhere."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from sshd_here import as_board_user

from matrix.core.data import data_root
from matrix.images.debian import mirror
from matrix.images.debian.archive import fetch_deb, package_closure, suite_index, suite_release
from matrix.images.debian.lock import MachineBase
from matrix.images.debian.unpacked import TOOLS_MACHINE, ToolLock, read_set, unpack_debs

APPLETS = "cat chmod dd df env ln ls mkdir mv printf ps rm sed sh sleep tail timeout true uname wc"
MAGIC = r"\x7fELF\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x28\x00"
MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
ENTER = """#!/bin/sh
# In a user namespace of its own (Linux 6.7 or newer) the kernel gives Arm programs to qemu.
exec unshare --user --map-root-user --mount sh -c '
  mount -t binfmt_misc none /proc/sys/fs/binfmt_misc &&
  printf "%s" ":arm:M::{magic}:{mask}:{qemu}:FP" >/proc/sys/fs/binfmt_misc/register &&
  mount --rbind /proc {root}/proc && mount --rbind /dev {root}/dev && mount -t tmpfs -o size={size} tmpfs {root}/tmp &&
  exec env -i QEMU_CPU=arm1176 PATH=/bin {chroot} {root} /bin/sh -c "$1"' sh "${{1:-$SSH_ORIGINAL_COMMAND}}"
"""


def armv6_command(folder: Path, store: Path, *, size: str = "256m") -> Path:
    """The command that an SSH server forces in the place of its own shell. `folder` is open to its user, `store` is
    where the locked qemu is unpacked; `size` is that of the board's disk."""
    source, files, root = mirror.find_sources(), folder / "files", folder / "root"
    files.mkdir()
    with tempfile.TemporaryDirectory() as scratch:
        release = suite_release("bookworm", source, Path(scratch))
        debs = package_closure(suite_index(release, "armel", Path(scratch)), ("busybox-static",), ())
    machine = MachineBase(machine=TOOLS_MACHINE, layer="", debs=debs)
    lock = ToolLock(name="board", suite="bookworm", released=release.released, machines=(machine,))
    for deb in debs:
        subprocess.run(["dpkg-deb", "-x", fetch_deb(deb, files, lock=lock, source=source), root], check=True)
    for name in APPLETS.split():
        (root / "bin" / name).symlink_to("busybox")
    for name in ("dev", "proc", "tmp"):
        (root / name).mkdir(exist_ok=True)
    tree = unpack_debs(read_set(data_root() / "images" / "armv6", "qemu"), TOOLS_MACHINE, store, source=lambda: source)
    qemu = folder / "qemu"
    qemu.write_bytes((tree.path / "usr" / "bin" / "qemu-arm-static").read_bytes())
    command = folder / "enter"
    chroot = shutil.which("chroot")
    command.write_text(ENTER.format(magic=MAGIC, mask=MASK, qemu=qemu, root=root, size=size, chroot=chroot))
    for program in (qemu, command):
        program.chmod(0o755)
    tried = subprocess.run([*as_board_user(), command, "uname -m"], capture_output=True, text=True, check=False)
    if tried.stdout != "armv6l\n":
        pytest.skip(f"NOT TESTED: this kernel gives no programs to qemu in a user namespace: {tried.stderr.strip()}")
    return command
