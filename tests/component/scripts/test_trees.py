"""Trees of any depth and mode, seen by the script that runs in containers and by the function of this process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from matrix.core.disk import held_below, remove_tree

TREES = Path(__file__).parents[3] / "scripts" / "trees.py"
LEVELS = 1500


def trees(verb, folder):
    done = subprocess.run([sys.executable, "-I", TREES, verb, folder], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.fixture
def deep(tmp_path):
    """Folders whose paths are too long to open, with a file of 64 KiB at the bottom."""
    top = tmp_path / "top"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(LEVELS):
        os.mkdir("d" * 100, dir_fd=here)
        here, above = os.open("d" * 100, os.O_RDONLY, dir_fd=here), here
        os.close(above)
    word = os.open("word", os.O_WRONLY | os.O_CREAT, dir_fd=here)
    os.write(word, b"x" * (64 << 10))
    os.close(word)
    os.close(here)
    yield top
    remove_tree(top)


def test_what_lies_deep_is_counted(deep):
    (deep / "beside").write_bytes(b"y" * (32 << 10))
    (deep / "link").symlink_to("/")
    assert held_below(deep) == (96 << 10, LEVELS + 3)
    assert trees("held", deep) == [str(96 << 10), str(LEVELS + 3)]


def test_what_lies_deep_is_removed(deep):
    (deep / "link").symlink_to(deep.parent)
    (deep.parent / "kept").write_text("kept")
    trees("empty", deep)
    assert list(deep.iterdir()) == []
    assert (deep.parent / "kept").exists()


def test_files_are_opened_and_links_are_not_followed(tmp_path):
    folder, elsewhere = tmp_path / "folder", tmp_path / "elsewhere"
    folder.mkdir()
    for path in (folder / "file", elsewhere):
        path.write_text("word")
        path.chmod(0)
    (folder / "link").symlink_to(elsewhere)
    trees("open", folder)
    assert (folder / "file").stat().st_mode & 0o777 == 0o666
    assert elsewhere.stat().st_mode & 0o777 == 0
