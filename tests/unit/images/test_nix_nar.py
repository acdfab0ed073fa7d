"""The digests and paths that Nix computes. What is expected here Nix 2.8 said (`nix-hash`, `nix-store --add`)."""

from __future__ import annotations

import os

import pytest

from matrix.core.errors import ImageFault
from matrix.images.nix.nar import file_path, nar_of, tree_path


@pytest.fixture
def sample(tmp_path):
    folder = tmp_path / "sample"
    (folder / "d").mkdir(parents=True)
    (folder / "zero").mkdir()
    (folder / "a").write_text("hello")
    (folder / "b.sh").write_text("#!/bin/sh\n")
    (folder / "b.sh").chmod(0o755)
    (folder / "l").symlink_to("a")
    (folder / "d" / "empty").touch()
    return folder


TREE = "b78961ed310ca4e97d5a44ab98575683e539999df14c6094ef3a88c902e44ec8"
HELLO = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


def test_a_tree_is_what_nix_says(sample):
    nar = nar_of(sample)
    assert nar.digest == TREE
    assert tree_path("sample", nar.digest) == "/nix/store/i2ypb3vk78l1fswnkpib2akbzgg631lp-sample"


def test_a_file_is_where_nix_says():
    assert file_path("a", HELLO) == "/nix/store/yn0imyg01yh7hbz09bq44znz672ny7a8-a"


def test_times_and_other_modes_do_not_count(sample):
    os.utime(sample / "a", (1, 1))
    (sample / "a").chmod(0o600)
    (sample / "d").chmod(0o700)
    assert nar_of(sample).digest == TREE


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "a").chmod(0o744),
        lambda folder: (folder / "a").write_text("hallo"),
        lambda folder: (folder / "a").rename(folder / "A"),
        lambda folder: (folder / "zero").rmdir(),
    ],
)
def test_all_else_counts(sample, change):
    change(sample)
    assert nar_of(sample).digest != TREE


def test_a_pipe_has_no_place_in_a_store(sample):
    os.mkfifo(sample / "pipe")
    with pytest.raises(ImageFault, match="pipe: neither a file"):
        nar_of(sample)
