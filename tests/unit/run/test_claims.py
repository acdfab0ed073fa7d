"""On which disks a store can stand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from matrix.core.errors import StoreUnusable
from matrix.run import claims
from matrix.run.claims import NEXT, TURN, MachineTurn, mounted_at, refuse_shared_disk
from matrix.run.store import Store

HERE = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
31 22 0:27 / /tmp rw,nosuid - tmpfs tmpfs rw,size=10g
40 22 0:45 / /net rw,relatime shared:20 - nfs4 server:/net rw,vers=4.2,addr=10.0.0.1
41 40 0:46 / /net/me/local\\040disk rw - xfs /dev/vdb rw
42 22 0:47 / /mnt/share rw - cifs //server/share rw
43 22 0:48 / /mnt/share rw - ext4 /dev/vdc rw
44 22 0:49 / /mnt/ssh rw - fuse.sshfs me@server: rw
45 22 0:50 / /c rw - 9p C: rw
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/var/cache", "ext4"),
        ("/tmp/x", "tmpfs"),
        ("/tmpx", "ext4"),
        ("/net/me/.cache/iree-matrix", "nfs4"),
        ("/net/me/local disk/store", "xfs"),
        ("/mnt/share/store", "ext4"),
        ("/mnt/ssh", "fuse.sshfs"),
        ("/c/store", "9p"),
    ],
)
def test_the_last_mount_of_the_longest_path_is_that_of_a_folder(folder, kind):
    assert mounted_at(Path(folder), HERE)[0] == kind


def test_a_text_of_another_form_says_nothing():
    assert mounted_at(Path("/a"), "") == mounted_at(Path("/a"), "x y z\n1 2 3 4 / rw\n") == ("", "")


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p", "lustre"])
def test_a_network_disk_is_refused_before_anything_is_made(tmp_path, monkeypatch, kind):
    mounts = tmp_path / "mounts"
    mounts.write_text(HERE + f"46 22 0:51 / {tmp_path.resolve()}/far rw - {kind} server:/net rw\n")
    monkeypatch.setattr(claims.refuse_shared_disk, "__defaults__", (mounts,))
    with pytest.raises(StoreUnusable, match=rf"read the file system {kind} of .*/far, expected one of this") as caught:
        Store(tmp_path / "far" / "store")
    assert "--store" in caught.value.tip
    assert not (tmp_path / "far").exists()


def test_this_disk_is_none():
    assert mounted_at(Path.cwd(), claims.MOUNTS.read_text())[1]
    refuse_shared_disk(Path.cwd())


def test_a_link_to_a_network_disk_is_one(tmp_path):
    (tmp_path / "mounts").write_text(HERE)
    (tmp_path / "store").symlink_to("/net/me/store")
    with pytest.raises(StoreUnusable, match="nfs4 of /net"):
        refuse_shared_disk(tmp_path / "store", tmp_path / "mounts")


def test_where_nothing_is_known_nothing_is_refused(tmp_path):
    refuse_shared_disk(tmp_path, tmp_path / "no mounts")


# -- the machine


def test_who_waits_is_the_next_one(tmp_path):
    first, second, third = (MachineTurn([tmp_path]) for _ in range(3))
    assert first.take() and not first.take()
    assert not second.take()
    first.release()
    assert not first.take() and not third.take(), "the second one was there before"
    assert second.take()
    assert not third.take()
    second.release()
    assert not first.take() and third.take()


def test_one_place_in_common_is_enough(tmp_path):
    first = MachineTurn([tmp_path / "none", tmp_path])
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    second = MachineTurn([tmp_path / "a", tmp_path])
    apart = MachineTurn([tmp_path / "b"])
    assert first.take() and not second.take() and apart.take()
    first.release()
    assert second.take()


def test_any_user_may_open_its_files(tmp_path):
    before = os.umask(0o077)
    try:
        assert MachineTurn([tmp_path]).take()
    finally:
        os.umask(before)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {TURN: 0o644, NEXT: 0o644}


def test_what_is_no_file_there_is_left_alone(tmp_path):
    other = tmp_path / "other"
    other.write_text("somebody's")
    (tmp_path / TURN).symlink_to(other)
    os.mkfifo(tmp_path / NEXT)
    assert MachineTurn([tmp_path]).take()
    assert other.read_text() == "somebody's"


def test_a_file_that_was_removed_meanwhile_is_no_lock(tmp_path):
    first, second = MachineTurn([tmp_path]), MachineTurn([tmp_path])
    assert first.take()
    (tmp_path / TURN).unlink()
    assert second.take(), "nothing holds the new file"
    first.release()
    third = MachineTurn([tmp_path])
    assert not third.take()
