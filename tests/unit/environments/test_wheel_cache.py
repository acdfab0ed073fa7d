"""The disk is counted as it is used, and wheels go with the last environment that links them."""

from __future__ import annotations

import os
from pathlib import Path

from matrix.environments import folders
from matrix.environments.wheel_cache import Footprint, WheelCache


def written(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))
    return path


def test_a_file_is_counted_once_however_often_it_is_linked(tmp_path):
    library = written(tmp_path / "cache" / "archive-v0" / "a" / "lib.so", 1 << 20)
    (tmp_path / "environment").mkdir()
    (tmp_path / "environment" / "lib.so").hardlink_to(library)
    footprint = Footprint()
    assert 1 << 20 <= footprint.add([tmp_path / "cache"]) < (1 << 20) + 65536
    before = footprint.bytes
    assert footprint.add([tmp_path / "environment", tmp_path / "cache"]) == before
    written(tmp_path / "environment" / "more", 1 << 20)
    assert footprint.add([tmp_path]) >= before + (1 << 20)


def test_a_file_that_grows_counts_as_it_is_now(tmp_path):
    library = written(tmp_path / "lib.so", 1 << 16)
    footprint = Footprint()
    footprint.add([tmp_path])
    written(library, 1 << 20)
    assert 1 << 20 <= footprint.add([tmp_path]) < (1 << 20) + 65536


def test_a_link_to_elsewhere_and_a_missing_folder_add_nothing(tmp_path):
    outside = written(tmp_path / "outside" / "big", 1 << 20).parent
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link").symlink_to(outside)
    assert Footprint().add([tmp_path / "here", tmp_path / "none"]) < 65536


def test_wheels_that_nobody_links_go_and_others_stay(tmp_path):
    cache = WheelCache(tmp_path / "wheels")
    used = written(cache.folder / "archive-v0" / "used" / "pkg" / "lib.so", 10)
    written(cache.folder / "archive-v0" / "used" / "pkg.dist-info" / "RECORD", 10)
    written(cache.folder / "archive-v0" / "free" / "pkg" / "lib.so", 10)
    index = written(cache.folder / "simple-v9" / "index", 10)
    (tmp_path / "lib.so").hardlink_to(used)
    cache.prune()
    assert [path.name for path in (cache.folder / "archive-v0").iterdir()] == ["used"]
    assert (cache.folder / "archive-v0" / "used" / "pkg.dist-info" / "RECORD").exists()
    assert index.exists()
    WheelCache(tmp_path / "never made").prune()
    assert not (tmp_path / "never made").exists()


def test_an_environment_in_use_is_not_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "CLAIM_SECONDS", 0.1)
    folder = tmp_path / "compiler-3.8.0"
    written(folder / folders.DESCRIPTION, 10)
    with folders.in_use(folder) as held:
        assert held
        assert not folders.remove_environment(folder)
        assert (folder / folders.DESCRIPTION).exists()
    assert folders.remove_environment(folder)
    assert not folder.exists()
    with folders.in_use(folder) as held:
        assert not held
