"""One folder for all wheels: what a container sees in its layers, whatever the conditions it is made under."""

from __future__ import annotations

import io
import os
import tarfile
import time

import pytest
from wheelsamples import FILES, make_wheel

from matrix.core.errors import ImageFault
from matrix.images.layer import skeleton_tree, write_tree
from matrix.images.nix.environment_tree import write_environment
from matrix.images.nix.nar import nar_of
from matrix.images.wheel_layer import wheel_tree


@pytest.fixture
def wheels(tmp_path):
    """Two that have a file in common."""
    other = {"small/__init__.py": b"NEW = 1\n", "small/more/deep.txt": b"deep"}
    return [make_wheel(tmp_path / "one"), make_wheel(tmp_path / "two", files=other)]


def test_it_is_what_the_layers_of_an_image_make(wheels, tmp_path):
    layered = tmp_path / "layered"
    trees = [skeleton_tree(python="3.11", scratch=tmp_path)]
    trees += [wheel_tree(wheel, python="3.11", scratch=tmp_path) for wheel in wheels]
    for tree in trees:
        archive = io.BytesIO()
        with tree as folder:
            write_tree(folder, archive)
        archive.seek(0)
        with tarfile.open(fileobj=archive) as tar:
            tar.extractall(layered, filter="tar")
    write_environment(wheels, tmp_path / "out", python="3.11")
    assert nar_of(tmp_path / "out") == nar_of(layered)
    site = tmp_path / "out" / "opt" / "env" / "lib" / "python3.11" / "site-packages"
    assert (site / "small" / "__init__.py").read_bytes() == b"NEW = 1\n"
    assert (site / "small" / "data.bin").read_bytes() == FILES["small/data.bin"]


def test_umask_time_zone_folder_and_hash_seed_do_not_matter(wheels, tmp_path, monkeypatch):
    write_environment(wheels, tmp_path / "one-place", python="3.11")
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    monkeypatch.setenv("LC_ALL", "C")
    time.tzset()
    before = os.umask(0o077)
    try:
        (tmp_path / "deep" / "er").mkdir(parents=True)
        write_environment(wheels, tmp_path / "deep" / "er" / "ä", python="3.11")
    finally:
        os.umask(before)
    assert nar_of(tmp_path / "one-place") == nar_of(tmp_path / "deep" / "er" / "ä")


def test_a_bad_wheel_is_named(wheels, tmp_path):
    wheels[1].write_bytes(wheels[1].read_bytes()[:-40])
    with pytest.raises(ImageFault, match=r"small-1\.0-py3-none-any\.whl: refused"):
        write_environment(wheels, tmp_path / "out", python="3.11")
