"""Tables of layers from locks, without a network."""

from __future__ import annotations

import shutil
from pathlib import Path

from matrix.environments.index import configured_index
from matrix.environments.wheels import FetchedFiles
from matrix.images.debian.mirror import Sources
from matrix.images.workshop import Workshop, lock_layers
from matrix.plan.locks import LockOutcome

LOCKS = Path(__file__).parents[3] / "images" / "locks"


def test_a_table_for_a_python_without_a_base_is_skipped_and_said(tmp_path):
    for name in ("base", "layers", "locks"):
        (tmp_path / "images" / name).mkdir(parents=True)
    (tmp_path / "images" / "layers" / "wanted.toml").write_text(
        'format = 1\n[[table]]\npython = "3.12"\nmachine = "x86_64"\nlocks = ["runtime/*"]\n'
    )
    shutil.copy(LOCKS / "wanted.toml", tmp_path / "images" / "locks")
    shop = Workshop(
        images=tmp_path / "images",
        files=FetchedFiles(tmp_path / "files"),
        scratch=tmp_path,
        index=configured_index({}),
        sources=Sources(mirrors=()),
    )
    (change,) = lock_layers(shop, lambda _: None)
    assert (change.name, change.change) == ("layers/3.12-x86_64", LockOutcome.SKIPPED)
    assert change.detail == "no base for Python 3.12"
    assert list((tmp_path / "images" / "layers").glob("*.json")) == []
