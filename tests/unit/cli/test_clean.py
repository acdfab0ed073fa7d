"""Cleaning frees space, and never what a shown table needs."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
from samples import result
from stores import clean, filled, known, put, show

from matrix.core import processes
from matrix.core.disk import size_of
from matrix.core.keys import now
from matrix.engines.nix import store as nixstore
from matrix.results.published.copies import Copies
from matrix.run.store import Store


@pytest.fixture
def store(tmp_path: Path):
    with Store(tmp_path / "store") as opened:
        yield opened


def test_what_is_old_and_not_shown_goes(store):
    filled(store)
    assert clean(store)["blobs"] == 300 + 800
    assert known(store) == {"shown", "new"}


@pytest.mark.parametrize("days", [0.0, -1.0])
def test_a_shown_result_stays_whatever_is_asked(store, days):
    filled(store)
    clean(store, days=days, max_bytes=0, environments=True)
    assert "shown" in known(store)
    assert "old" not in known(store)


def test_a_second_run_of_a_table_shows_other_results(store):
    filled(store)
    show(store, "portability", ["old"])
    show(store, "another", ["new"])
    clean(store, days=-1)
    assert known(store) == {"old", "new"}


def test_a_second_run_that_is_not_whole_takes_nothing_from_the_table(store):
    filled(store)
    show(store, "portability", ["old"], whole=False)
    clean(store, days=-1)
    assert known(store) == {"shown", "old"}


def test_what_a_killed_run_recorded_stays(store):
    store.begin_table("portability")
    store.record(result("compile", key="shown", outputs=()))
    clean(store, days=-1)
    assert known(store) == {"shown"}


def test_a_result_that_rotted_on_the_disk_is_measured_again_and_keeps_its_place(store):
    filled(store)
    with store._database.transaction() as database:
        database.execute("UPDATE results SET record = replace(record, 'shown', 'shawn') WHERE key = 'shown'")
        database.execute("UPDATE results SET record = substr(record, 1, 40) WHERE key = 'new'")
    assert known(store) == {"old"}
    clean(store)
    store.record(result("compile", key="shown", outputs=()))
    clean(store, days=-1)
    assert known(store) == {"shown"}


def test_the_inputs_of_a_kept_result_stay(store):
    given = put(store, b"a user's own module", "module.mlir")
    shown = dataclasses.replace(result(key="shown", outputs=()), inputs=(("module.mlir", given.digest),))
    store.record(shown)
    show(store, "portability", ["shown"])
    assert clean(store, days=-1)["blobs"] == 0
    assert store.blob(given.digest).exists()


def test_cleaning_twice_frees_nothing_more(store):
    filled(store)
    clean(store)
    assert set(clean(store).values()) == {0}


def environment(store: Store, name: str, size: int, age: int) -> Path:
    folder = store.places.environments / name
    folder.mkdir()
    (folder / "file").write_bytes(b"x" * size)
    os.utime(folder, (1e9 - age, 1e9 - age))
    return folder


def test_environments_go_oldest_first_until_the_store_is_small_enough(store):
    environment(store, "old", 100_000, 3)
    environment(store, "middle", 100_000, 2)
    environment(store, "new", 100_000, 1)
    freed = clean(store, max_bytes=size_of(store.folder) - 150_000)
    assert freed["environments"] == 200_000
    assert [path.name for path in store.places.environments.iterdir()] == ["new"]


def test_environments_stay_unless_asked_for_and_unfinished_ones_go(store):
    kept = environment(store, "kept", 10, 1)
    environment(store, "half.partial-123", 10, 1)
    assert clean(store) == {"blobs": 0, "unfinished environments": 10, "environments": 0, "wheels": 0}
    assert list(store.places.environments.iterdir()) == [kept]
    assert clean(store, environments=True)["environments"] == 10
    assert list(store.places.environments.iterdir()) == []


def test_roots_of_nix_stay_while_a_result_needs_them(store, monkeypatch):
    """On a machine without Nix: what it holds is its own, the roots go all the same."""
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(processes, "run", lambda argv, **_: pytest.fail(f"{argv} was run"))
    nixstore.settings.cache_clear()
    store.record(dataclasses.replace(result(key="kept", outputs=(), finished_at=now()), environment="a" * 64))
    store.places.roots.mkdir()
    roots = {name: store.places.roots / f"runtime-3.8.0-py3.11-{name}" for name in ("a" * 12, "b" * 12, "matrix")}
    for root in roots.values():
        root.symlink_to("/nix/store/nothing")
    assert clean(store)["paths of the Nix store"] == 0
    assert set(store.places.roots.iterdir()) == {roots["a" * 12], roots["matrix"]}
    clean(store, environments=True)
    assert list(store.places.roots.iterdir()) == []


def test_copies_of_published_results_go_by_their_age(store):
    copies = Copies(store.folder)
    assert "copies of published results" not in clean(store, days=-1), "there are none"
    copies.keep("http://one/", "http://one/", {"a.json": b"1" * 1000, "b.json": b"2"})
    copies.keep("http://two/", "http://two/", {"a.json": b"1" * 1000})
    record = next(path for path in copies.folder.glob("*.json") if "one" in path.read_text())
    record.write_text(record.read_text().replace('"fetched_at": "20', '"fetched_at": "19'))
    clean(store, days=1)
    assert copies.find("http://one/") is None and copies.find("http://two/") is not None, "a file that both have stays"
    assert clean(store, days=-1)["copies of published results"] > 1000
    assert list((copies.folder / "files").iterdir()) == []
