"""Cleaning, while another process uses the store."""

from __future__ import annotations

from pathlib import Path

import pytest
from stores import clean, filled, known, other

from matrix.core.errors import StoreUnusable
from matrix.run.store import Store


@pytest.fixture
def store(tmp_path: Path):
    with Store(tmp_path / "store") as opened:
        yield opened


def test_nothing_is_removed_while_a_run_uses_the_store(store):
    filled(store)
    with other(store.folder, "assert store.claims.take_store(alone=False)"):
        with pytest.raises(StoreUnusable, match="a run is using it") as caught:
            clean(store)
        assert caught.value.tip
    assert known(store) == {"shown", "old", "new"}
