"""Removal of what a job may leave."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from matrix.cli.main import main
from matrix.core.disk import claimed, disk_errors, remove_tree
from matrix.core.errors import EXIT_DEFECT, EXIT_STORE, StoreUnusable
from matrix.run.claims import Claims


def nest(folder: Path, depth: int) -> None:
    """Folders in folders, with a file in each: far deeper than a path can name."""
    here = os.open(folder, os.O_DIRECTORY)
    for _ in range(depth):
        os.close(os.open("file", os.O_CREAT, dir_fd=here))
        os.mkdir("below", dir_fd=here)
        below = os.open("below", os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def shut_folders(folder: Path) -> None:
    inner = folder / "shut" / "inner"
    inner.mkdir(parents=True)
    (inner / "file").touch()
    for each in (inner, inner.parent, folder):
        each.chmod(0)


def odd_files(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to(".")
    (folder / "unreadable").touch(mode=0)
    (folder / os.fsdecode(b"\xff\n")).touch()


def many_files(folder: Path) -> None:
    for number in range(2_000):
        os.close(os.open(folder / str(number), os.O_CREAT))
    for number in range(200):
        (folder / f"folder {number}" / "below").mkdir(parents=True)


@pytest.mark.parametrize(
    "leave",
    [lambda folder: nest(folder, 1500), shut_folders, odd_files, many_files],
    ids=["deep", "shut", "odd", "many"],
)
def test_whatever_a_job_leaves_is_removed(tmp_path, leave):
    place = tmp_path / "left"
    place.mkdir()
    leave(place)
    assert remove_tree(place)
    assert list(tmp_path.iterdir()) == []


def test_what_links_lead_to_stays(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch(mode=0o444)
    (tmp_path / "left").mkdir()
    (tmp_path / "left" / "link").symlink_to(kept)
    (tmp_path / "another").symlink_to(kept)
    assert remove_tree(tmp_path / "left")
    assert not remove_tree(tmp_path / "another")
    assert remove_tree(tmp_path / "was never there")
    assert (kept / "file").stat().st_mode & 0o777 == 0o444


def test_deep_folders_of_a_dead_run_do_not_hurt_the_next(tmp_path):
    left = tmp_path / "scratch" / "run-dead"
    left.mkdir(parents=True)
    nest(left, 1500)
    claims = Claims(tmp_path)
    claims.scratch(tmp_path / "scratch")
    assert len(list((tmp_path / "scratch").iterdir())) == 1
    claims.close()
    assert list((tmp_path / "scratch").iterdir()) == []


def unlockable(path: Path) -> None:
    path.mkdir()


def looped(path: Path) -> None:
    path.symlink_to(path)


def of_another_user(path: Path) -> None:
    """Its rights are no obstacle for root: then it cannot be opened at all."""
    path.touch()
    path.chmod(0o000)
    if os.geteuid() == 0:
        path.unlink()
        path.parent.joinpath("a file").touch()
        path.symlink_to("a file/nothing")


@pytest.mark.parametrize("spoil", [unlockable, looped, of_another_user])
def test_a_lock_that_cannot_be_taken_is_no_defect(tmp_path, spoil):
    path = tmp_path / "environment.lock"
    spoil(path)
    with pytest.raises(StoreUnusable, match=r"environment\.lock: cannot be written") as caught, claimed(path):
        pass
    assert "--store" in caught.value.tip


def test_a_lock_that_may_only_be_read_is_enough(tmp_path):
    path = tmp_path / "environment.lock"
    path.touch(mode=0o444)
    with claimed(path), pytest.raises(KeyError):
        raise KeyError("what happens inside is not the lock's")
    assert path.stat().st_mode & 0o777 == 0o444


def test_a_disk_without_locks_is_named(tmp_path):
    with pytest.raises(StoreUnusable, match="has no locks"), disk_errors(tmp_path):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


@pytest.mark.parametrize("number", [errno.EIO, errno.ENODEV, errno.ESTALE])
def test_a_disk_that_fails_is_no_defect(tmp_path, number):
    with pytest.raises(StoreUnusable, match="its disk failed"), disk_errors(tmp_path):
        raise OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [
        (errno.EIO, EXIT_STORE, "its disk failed: Input/output error"),
        (errno.ENOSPC, EXIT_STORE, "no space left on the disk of"),
        (errno.EINVAL, EXIT_DEFECT, "a defect of this project"),
    ],
)
def test_where_nobody_expected_the_disk_to_fail_it_is_said_too(monkeypatch, tmp_path, capsys, *, number, status, said):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # the report of a defect

    def failing(_):
        raise OSError(number, os.strerror(number), "/a/file")

    monkeypatch.setattr("matrix.cli.upkeep.do_doctor", failing)
    assert main(["doctor"]) == status
    assert said in capsys.readouterr().err
