"""Cleaning, while another process uses the store."""

from __future__ import annotations

from pathlib import Path

import pytest
from samples import result
from stores import other, put

from matrix.cli.upkeep import clean_store
from matrix.core.errors import StoreUnusable
from matrix.core.keys import now
from matrix.run.store import Store


@pytest.fixture
def store(tmp_path: Path):
    with Store(tmp_path / "store") as opened:
        yield opened


def filled(store: Store) -> None:
    """Three results: an old one that a table shows, an old one that none shows, a new one; and a blob of no result."""
    for key, finished_at in (("shown", "2020-01-01T00:00:00Z"), ("old", "2020-01-01T00:00:00Z"), ("new", now())):
        outputs = [put(store, key.encode() * 100)]
        store.record(result("compile", key=key, outputs=outputs, finished_at=finished_at))
    store.remember_run("portability", ["shown"])
    put(store, b"nobody's" * 100)


def clean(store: Store, *, days: float = 30.0, max_bytes: int | None = None, environments: bool = False):
    return clean_store(store, older_than_days=days, max_bytes=max_bytes, environments=environments)


def known(store: Store) -> set[str]:
    return {key for key in ("shown", "old", "new") if store.result(key)}


def test_nothing_is_removed_while_a_run_uses_the_store(store):
    filled(store)
    with other(store.folder, "assert store.claims.take_store(alone=False)"):
        with pytest.raises(StoreUnusable, match="a run is using it") as caught:
            clean(store)
        assert caught.value.tip
    assert known(store) == {"shown", "old", "new"}
